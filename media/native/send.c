/* The sending threads: one packet, encrypted for each member of a group, in batches, in time. */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "internal.h"

#define QUANTUM_S 0.001 /* a spread job wakes the thread this often at most */
/* When there is more to send than the machine can: a packet that nobody has got after half a
 * second is shed whole, so that the loss is everybody's and the delay stays bounded; one that
 * has begun to go out is carried to the end, within reason. */
#define LATE_WHOLE_S 0.5
#define LATE_REST_S 1.0
#define AHEAD 6         /* members whose state is fetched before it is needed */

union control {
    struct cmsghdr header;
    uint8_t v4[CMSG_SPACE(sizeof(struct in_pktinfo))];
    uint8_t v6[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

struct outbox { /* one batch, sorted by the socket that it leaves through */
    struct mmsghdr messages[MAX_SOCKETS][BATCH];
    struct iovec pieces[MAX_SOCKETS][BATCH];
    union address to[MAX_SOCKETS][BATCH];
    union control control[MAX_SOCKETS][BATCH];
    int counts[MAX_SOCKETS];
    _Alignas(64) uint8_t bytes[BATCH * (MAX_DATAGRAM + 64)];
};

double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

bool outbox_init(struct shard *s) {
    s->outbox = aligned_alloc(64, (sizeof *s->outbox + 63) / 64 * 64);
    if (s->outbox == NULL)
        return false;
    memset(s->outbox->control, 0, sizeof s->outbox->control);
    for (int i = 0; i < MAX_SOCKETS; i++) {
        s->outbox->counts[i] = 0;
        for (int j = 0; j < BATCH; j++) {
            struct msghdr *h = &s->outbox->messages[i][j].msg_hdr;
            memset(h, 0, sizeof *h);
            h->msg_name = &s->outbox->to[i][j];
            h->msg_iov = &s->outbox->pieces[i][j];
            h->msg_iovlen = 1;
        }
    }
    return true;
}

void outbox_free(struct shard *s) { free(s->outbox); }

static socklen_t address_size(const union address *a) {
    return a->any.sa_family == AF_INET6 ? sizeof a->v6 : sizeof a->v4;
}

/* A client drops what comes from another address than the one it checked (RFC 8445, section
 * 7.2.5.2.1), so a socket that has several is told which one to send from. */
static void set_source(struct msghdr *h, const struct endpoint *e, union control *c) {
    h->msg_control = c;
    if (e->local_family == 4) {
        struct in_pktinfo info = {0};
        memcpy(&info.ipi_spec_dst, e->local, 4);
        c->header.cmsg_level = IPPROTO_IP;
        c->header.cmsg_type = IP_PKTINFO;
        c->header.cmsg_len = CMSG_LEN(sizeof info);
        memcpy(CMSG_DATA(&c->header), &info, sizeof info);
        h->msg_controllen = sizeof c->v4;
    } else if (e->local_family == 6) {
        struct in6_pktinfo info = {0};
        memcpy(&info.ipi6_addr, e->local, 16);
        c->header.cmsg_level = IPPROTO_IPV6;
        c->header.cmsg_type = IPV6_PKTINFO;
        c->header.cmsg_len = CMSG_LEN(sizeof info);
        memcpy(CMSG_DATA(&c->header), &info, sizeof info);
        h->msg_controllen = sizeof c->v6;
    } else {
        h->msg_control = NULL;
        h->msg_controllen = 0;
    }
}

/* ---- one member's datagram */

int64_t peer_offset(const struct peer *peer, uint32_t ssrc) {
    const struct offset *o = peer->more != NULL ? peer->more : peer->offsets;
    for (int i = 0; i < peer->offset_count; i++)
        if (o[i].ssrc == ssrc)
            return o[i].add;
    return 0;
}

size_t member_packet(struct peer *peer, const struct packet *packet, struct crypt *scratch,
                     bool plain, uint8_t *out) {
    if (!peer->keyed || !peer->reachable)
        return 0;
    if (packet->rtcp) {
        if (key_crypt(scratch, peer->profile, &peer->send_rtcp, plain) != 0)
            return 0;
        peer->rtcp_index = (peer->rtcp_index + 1) & 0x7fffffff;
        return protect_rtcp(scratch, packet->data, packet->length, peer->rtcp_index, out);
    }
    uint64_t index = packet->index + (uint64_t)peer_offset(peer, packet->ssrc);
    return protect_rtp(&peer->send, packet->data, packet->header, packet->length,
                       index & 0xffffffffffffull, peer->payload_type, out);
}

bool send_one(struct plane *p, const struct endpoint *to, const uint8_t *data, size_t length) {
    union address address = to->to;
    union control control;
    struct iovec piece = {(void *)data, length};
    struct msghdr message = {.msg_name = &address, .msg_namelen = address_size(&address),
                             .msg_iov = &piece, .msg_iovlen = 1};
    ssize_t n;
    memset(&control, 0, sizeof control);
    set_source(&message, to, &control);
    do
        n = sendmsg(p->sockets[to->socket], &message, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        COUNT(p, send_blocked, 1);
        return false;
    }
    COUNT(p, packets_sent, 1);
    COUNT(p, bytes_sent, length);
    return true;
}

/* ---- batches */

/* What the kernel does not take is tried again for a few milliseconds where its buffer is
 * full, given up where the destination is the cause, and counted either way. */
static void flush_socket(struct shard *s, int socket) {
    struct plane *p = s->plane;
    struct outbox *o = s->outbox;
    int at = 0, count = o->counts[socket], waits = 0;
    uint64_t sent = 0, bytes = 0, lost = 0;
    while (at < count) {
        int n = sendmmsg(p->sockets[socket], o->messages[socket] + at, (unsigned)(count - at),
                         MSG_DONTWAIT);
        if (n > 0) {
            for (int i = at; i < at + n; i++)
                bytes += o->pieces[socket][i].iov_len;
            sent += (uint64_t)n;
            at += n;
        } else if (errno == EINTR) {
            continue;
        } else if (errno == EAGAIN && waits < 4) {
            struct pollfd room = {.fd = p->sockets[socket], .events = POLLOUT};
            poll(&room, 1, 1);
            waits++;
        } else if (errno == EAGAIN) {
            lost += (uint64_t)(count - at);
            break;
        } else {
            lost++;
            at++;
        }
    }
    o->counts[socket] = 0;
    COUNT(p, packets_sent, sent);
    COUNT(p, bytes_sent, bytes);
    atomic_fetch_add_explicit(&s->datagrams, sent, memory_order_relaxed);
    if (lost > 0)
        COUNT(p, send_blocked, lost);
}

static void prefetch(const struct peer *peer) {
    for (size_t at = 0; at < offsetof(struct peer, rtcp_index); at += 64)
        __builtin_prefetch((const char *)peer + at);
}

/* Takes `n` members off the end of the job and puts their datagrams into the outbox. */
static void fill(struct shard *s, struct job *job, uint32_t n) {
    struct outbox *o = s->outbox;
    struct peer **all = job->group->shards[s - s->plane->shards].all;
    size_t stride = (job->packet->length + SRTP_OVERHEAD + 63) / 64 * 64;
    bool plain = s->plane->options.plain_crypto != 0;
    uint32_t first = job->remaining;
    for (uint32_t i = 0; i < n; i++) {
        struct peer *peer = all[first - 1 - i];
        if (first - 1 - i >= AHEAD)
            prefetch(all[first - 1 - i - AHEAD]);
        uint8_t *out = o->bytes + i * stride;
        size_t length = member_packet(peer, job->packet, &s->scratch, plain, out);
        if (length == 0)
            continue;
        int k = peer->to.socket, j = o->counts[k]++;
        o->to[k][j] = peer->to.to;
        o->pieces[k][j].iov_base = out;
        o->pieces[k][j].iov_len = length;
        o->messages[k][j].msg_hdr.msg_namelen = address_size(&peer->to.to);
        set_source(&o->messages[k][j].msg_hdr, &peer->to, &o->control[k][j]);
    }
    job->remaining = first - n;
}

/* ---- jobs */

static bool same_stream(const struct job *a, const struct job *b) {
    return a->group == b->group && a->packet->ssrc == b->packet->ssrc &&
           a->packet->rtcp == b->packet->rtcp;
}

bool shard_add(struct shard *s, struct group *g, struct packet *packet, double spread) {
    size_t index = (size_t)(s - s->plane->shards);
    uint32_t count = g->shards[index].count; /* plane.lock is held: it does not change */
    if (count == 0)
        return true;
    struct job *job = calloc(1, sizeof *job);
    pthread_mutex_lock(&s->lock);
    if (job == NULL || s->job_count >= MAX_JOBS) {
        s->shed += count;
        pthread_mutex_unlock(&s->lock);
        free(job);
        COUNT(s->plane, send_blocked, count);
        COUNT(s->plane, shed, count);
        return false;
    }
    job->group = g;
    job->packet = packet;
    atomic_fetch_add(&packet->references, 1);
    job->remaining = job->total = count;
    job->start = packet->at;
    job->spread = count <= BATCH / 2 || !(spread > 0) ? 0 : spread;
    for (struct job *j = s->jobs; j != NULL; j = j->next)
        if (same_stream(j, job)) {
            job->follows = true;
            j->spread = 0; /* the next one is here, so this one is late */
        }
    *s->end = job;
    s->end = &job->next;
    s->job_count++;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    return true;
}

double job_late(const struct job *job, double now) {
    double due = job->spread * (job->total - job->remaining) / job->total;
    return now - job->start - due;
}

/* How many members a job may serve now; where none, *wake becomes the time when it may. */
static uint32_t due(const struct shard *s, const struct job *job, double now, double *wake) {
    uint32_t served = job->total - job->remaining, n = job->remaining;
    if (job->spread > 0 && !s->stop) {
        double share = (now + QUANTUM_S - job->start) / job->spread;
        double until = share < 1 ? ceil(job->total * share) : job->total;
        if (until <= served) {
            double when = job->start + job->spread * served / job->total;
            if (when < *wake)
                *wake = when;
            return 0;
        }
        n = (uint32_t)until - served;
        if (n > job->remaining)
            n = job->remaining;
    }
    for (const struct job *j = s->jobs; job->follows && j != job; j = j->next)
        if (same_stream(j, job)) {
            uint32_t room = job->remaining > j->remaining ? job->remaining - j->remaining : 0;
            n = n < room ? n : room;
        }
    return n < BATCH ? n : BATCH;
}

static void drop_job(struct shard *s, struct job **at) {
    struct job *job = *at;
    *at = job->next;
    if (s->end == &job->next)
        s->end = at;
    s->job_count--;
    packet_release(job->packet);
    free(job);
}

/* One round over all jobs, a batch of each: nobody's large room holds up another's small one.
 * Answers whether anything was sent. The lock is let go of while the kernel works. */
static bool run_jobs(struct shard *s, double now, double *wake) {
    bool progress = false;
    for (struct job **at = &s->jobs; *at != NULL;) {
        struct job *job = *at;
        if (job->group == NULL || job->remaining == 0) {
            drop_job(s, at);
            continue;
        }
        double late = job->remaining == job->total ? LATE_WHOLE_S : job->spread + LATE_REST_S;
        if (now - job->start > late || (s->stop && now > s->stop_at)) {
            COUNT(s->plane, send_blocked, job->remaining);
            COUNT(s->plane, shed, job->remaining);
            s->shed += job->remaining;
            s->late_s = larger(s->late_s, now - job->start);
            atomic_store(&s->plane->shed_at, now);
            drop_job(s, at);
            continue;
        }
        uint32_t n = due(s, job, now, wake);
        if (n > 0) {
            progress = true;
            s->late_s = larger(s->late_s, job_late(job, now));
            fill(s, job, n);
            pthread_mutex_unlock(&s->lock);
            for (int i = 0; i < s->plane->socket_count; i++)
                if (s->outbox->counts[i] > 0)
                    flush_socket(s, i);
            pthread_mutex_lock(&s->lock);
            if (job->remaining == 0)
                continue;
        }
        at = &job->next;
    }
    return progress;
}

static void *send_loop(void *argument) {
    struct shard *s = argument;
    pthread_mutex_lock(&s->lock);
    s->awake_since = now_s();
    while (!s->stop || s->jobs != NULL) {
        double wake = INFINITY;
        if (run_jobs(s, now_s(), &wake))
            continue;
        if (s->stop && s->jobs == NULL)
            break;
        /* Time without a core counts as work: it is as little free for more. */
        s->busy_s += now_s() - s->awake_since;
        s->awake_since = 0;
        if (s->jobs == NULL) {
            pthread_cond_wait(&s->wake, &s->lock);
        } else if (wake < INFINITY) {
            struct timespec until = {.tv_sec = (time_t)wake};
            until.tv_nsec = (long)((wake - (double)until.tv_sec) * 1e9);
            pthread_cond_timedwait(&s->wake, &s->lock, &until);
        }
        s->awake_since = now_s();
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

bool shard_start(struct shard *s) {
    if (pthread_create(&s->thread, NULL, send_loop, s) != 0)
        return false;
    pthread_setname_np(s->thread, "chatroom-send");
    return true;
}

/* ---- to one peer, from the calling thread */

static int send_single(struct plane *p, uint64_t handle, const uint8_t *data, size_t length,
                       bool rtcp, uint64_t index) {
    uint8_t out[MAX_DATAGRAM];
    int result = -1;
    size_t header = rtcp ? 8 : rtp_header_length(data, length);
    if (length > MAX_DATAGRAM - SRTP_OVERHEAD || header == 0 || length < header)
        return -1;
    pthread_mutex_lock(&p->lock);
    struct peer *peer = peer_find(p, handle);
    if (peer != NULL) {
        struct shard *s = &p->shards[peer->shard];
        struct endpoint to;
        size_t n = 0;
        pthread_mutex_lock(&s->lock);
        if (peer->keyed && peer->reachable) {
            if (!rtcp) {
                n = protect_rtp(&peer->send, data, header, length, index, -1, out);
            } else if (key_crypt(&p->scratch, peer->profile, &peer->send_rtcp,
                                 p->options.plain_crypto) == 0) {
                peer->rtcp_index = (peer->rtcp_index + 1) & 0x7fffffff;
                n = protect_rtcp(&p->scratch, data, length, peer->rtcp_index, out);
            }
        }
        to = peer->to;
        pthread_mutex_unlock(&s->lock);
        result = n > 0 && send_one(p, &to, out, n) ? 0 : -1;
    }
    pthread_mutex_unlock(&p->lock);
    return result;
}

int plane_send_rtp(plane *p, uint64_t peer, const uint8_t *packet, size_t length,
                   uint64_t index) {
    return send_single(p, peer, packet, length, false, index);
}

int plane_send_rtcp(plane *p, uint64_t peer, const uint8_t *packet, size_t length) {
    return send_single(p, peer, packet, length, true, 0);
}

int plane_send_datagram(plane *p, uint64_t handle, const uint8_t *data, size_t length) {
    int result = -1;
    pthread_mutex_lock(&p->lock);
    struct peer *peer = peer_find(p, handle);
    const struct route *r = peer == NULL ? NULL
                            : peer->nominated != NULL ? peer->nominated : peer->latest;
    if (r != NULL)
        result = send_one(p, &r->at, data, length) ? 0 : -1;
    pthread_mutex_unlock(&p->lock);
    return result;
}
