/* Opening, closing and counting: see core.h, and internal.h for who holds which lock. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

static bool shard_init(struct plane *p, struct shard *s) {
    pthread_condattr_t monotonic;
    s->plane = p;
    s->end = &s->jobs;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return outbox_init(s);
}

static void stop_threads(struct plane *p) {
    for (int i = 0; i < p->shards_started; i++) {
        struct shard *s = &p->shards[i];
        pthread_mutex_lock(&s->lock);
        s->stop = true;
        s->stop_at = now_s() + 1;
        pthread_cond_signal(&s->wake);
        pthread_mutex_unlock(&s->lock);
    }
    for (int i = 0; i < p->shards_started; i++)
        pthread_join(p->shards[i].thread, NULL);
    if (p->stop_fd >= 0)
        eventfd_write(p->stop_fd, 1);
    for (int i = 0; i < p->receivers_started; i++)
        pthread_join(p->receivers[i].thread, NULL);
}

static void release(struct plane *p) {
    for (int i = 0; i < p->shard_count; i++) {
        struct shard *s = &p->shards[i];
        outbox_free(s);
        crypt_wipe(&s->scratch);
        pthread_cond_destroy(&s->wake);
        pthread_mutex_destroy(&s->lock);
    }
    for (int i = 0; i < p->socket_count; i++)
        receiver_free(&p->receivers[i]);
    table_free(&p->by_handle);
    table_free(&p->by_ufrag);
    table_free(&p->by_address);
    table_free(&p->groups);
    free(p->all);
    crypt_wipe(&p->scratch);
    events_free(&p->events);
    if (p->stop_fd >= 0)
        close(p->stop_fd);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static bool has_all_addresses(int fd) {
    union address bound;
    socklen_t size = sizeof bound;
    memset(&bound, 0, sizeof bound);
    if (getsockname(fd, &bound.any, &size) != 0)
        return false;
    return bound.any.sa_family == AF_INET ? bound.v4.sin_addr.s_addr == htonl(INADDR_ANY)
                                          : IN6_IS_ADDR_UNSPECIFIED(&bound.v6.sin6_addr);
}

/* Nothing here is longer than the 1,200 bytes that any path takes (RFC 9000, section 14), so no
 * packet is ever to be cut up; saying so spares the kernel an identification for each, which is
 * one contended counter for all of them. */
static void never_fragment(int fd) {
    int probe = IP_PMTUDISC_PROBE;
    setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &probe, sizeof probe);
}

/* The threads must not take the signals that Python waits for. */
static bool start_threads(struct plane *p) {
    sigset_t all, before;
    bool ok = true;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int i = 0; ok && i < p->shard_count; i++)
        if ((ok = shard_start(&p->shards[i])))
            p->shards_started++;
    for (int i = 0; ok && i < p->socket_count; i++)
        if ((ok = receiver_start(&p->receivers[i])))
            p->receivers_started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ok;
}

plane *plane_open(const int *sockets, int count, const plane_options *options) {
    if (count < 1 || count > MAX_SOCKETS) {
        errno = EINVAL;
        return NULL;
    }
    struct plane *p = aligned_alloc(64, (sizeof *p + 63) / 64 * 64);
    if (p == NULL)
        return NULL;
    memset(p, 0, sizeof *p);
    p->options = *options;
    p->next_handle = 1;
    p->socket_count = count;
    p->random = 2463534242u;
    atomic_init(&p->shed_at, -1e9);
    p->backlog_at = now_s();
    pthread_mutex_init(&p->lock, NULL);
    for (int i = 0; i < count; i++) {
        p->sockets[i] = sockets[i];
        p->wildcard[i] = has_all_addresses(sockets[i]);
        never_fragment(sockets[i]);
        p->receivers[i].plane = p;
        p->receivers[i].socket = (uint8_t)i;
    }
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int threads = options->sending_threads > 0 ? options->sending_threads : (int)cores;
    p->shard_count = threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads;
    bool ok = true;
    for (int i = 0; i < p->shard_count; i++)
        ok = shard_init(p, &p->shards[i]) && ok;
    p->stop_fd = eventfd(0, EFD_CLOEXEC);
    ok = events_init(&p->events, options->queue_bytes) && ok && p->stop_fd >= 0 &&
         getrandom(&p->seed, sizeof p->seed, 0) == (ssize_t)sizeof p->seed;
    if (ok && start_threads(p))
        return p;
    int error = errno;
    stop_threads(p);
    release(p);
    errno = error;
    return NULL;
}

void plane_close(plane *p) {
    stop_threads(p);
    /* alone from here on */
    while (p->peer_count > 0)
        plane_remove_peer(p, p->all[p->peer_count - 1]->handle);
    for (size_t i = 0; p->groups.slots != NULL && i <= p->groups.mask; i++)
        if (p->groups.slots[i].value != NULL)
            group_free(p, p->groups.slots[i].value);
    for (int i = 0; i < p->socket_count; i++)
        close(p->sockets[i]);
    release(p);
}

int plane_event_fd(const plane *p) { return p->events.fd; }
int plane_sending_threads(const plane *p) { return p->shard_count; }

size_t plane_drain(plane *p, uint8_t *out, size_t capacity) {
    return events_drain(&p->events, out, capacity);
}

#define READ(what) out->what = atomic_load_explicit(&p->counters.what, memory_order_relaxed)

void plane_read_counters(plane *p, plane_counters *out) {
    READ(packets_sent);
    READ(bytes_sent);
    READ(packets_received);
    READ(bytes_received);
    READ(send_blocked);
    READ(retransmitted);
    READ(retransmissions_refused);
    READ(stun_malformed);
    READ(stun_unknown_peer);
    READ(stun_bad_integrity);
    READ(dtls_unknown_peer);
    READ(srtp_unknown_peer);
    READ(srtp_no_keys);
    READ(srtp_auth);
    READ(srtp_replay);
    READ(srtcp_auth);
    READ(rtp_malformed);
    READ(rtp_too_many_sources);
    READ(not_webrtc);
    READ(queue_full);
    READ(group_packets_queued);
    READ(shed);
    pthread_mutex_lock(&p->lock);
    out->peers = p->peer_count;
    out->groups = p->groups.count;
    pthread_mutex_unlock(&p->lock);
}

static uint64_t thread_ns(pthread_t thread) {
    clockid_t clock;
    struct timespec t;
    if (pthread_getcpuclockid(thread, &clock) != 0 || clock_gettime(clock, &t) != 0)
        return 0;
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void plane_take_backlog(plane *p, plane_backlog *out) {
    double now = now_s(), span = now - p->backlog_at;
    memset(out, 0, sizeof *out);
    p->backlog_at = now;
    for (int i = 0; i < p->shard_count; i++) {
        struct shard *s = &p->shards[i];
        pthread_mutex_lock(&s->lock);
        double busy = s->busy_s, late = s->late_s;
        if (s->awake_since > 0) {
            busy += larger(now - s->awake_since, 0);
            s->awake_since = now;
        }
        for (const struct job *job = s->jobs; job != NULL; job = job->next)
            if (job->group != NULL && job->remaining > 0)
                late = larger(late, job_late(job, now));
        out->shed += s->shed;
        s->busy_s = s->late_s = 0;
        s->shed = 0;
        pthread_mutex_unlock(&s->lock);
        out->late_s = larger(out->late_s, late);
        uint64_t cpu_ns = thread_ns(s->thread);
        if (span > 0) {
            out->busy = smaller(larger(out->busy, busy / span), 1);
            out->cpu = smaller(larger(out->cpu, (double)(cpu_ns - s->cpu_ns) * 1e-9 / span), 1);
        }
        s->cpu_ns = cpu_ns;
        out->datagrams += atomic_exchange_explicit(&s->datagrams, 0, memory_order_relaxed);
    }
}

void plane_cpu(plane *p, uint64_t *sending_ns, uint64_t *receiving_ns) {
    *sending_ns = *receiving_ns = 0;
    for (int i = 0; i < p->shards_started; i++)
        *sending_ns += thread_ns(p->shards[i].thread);
    for (int i = 0; i < p->receivers_started; i++)
        *receiving_ns += thread_ns(p->receivers[i].thread);
}
