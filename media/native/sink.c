/* See sink.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "sink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 256
#define DATAGRAM 1500
#define STREAMS 4
#define RECORD_HEADER 16

typedef struct {
    uint32_t ssrc;
    uint32_t first, highest; /* extended sequence numbers; valid when received > 0 */
    uint64_t window;         /* which of the 64 before `highest` came */
    uint64_t received, duplicates, reordered;
    uint32_t reported_expected, reported_received; /* at the last receiver report */
    uint64_t last_ns;
} stream;

typedef struct {
    stream streams[STREAMS];
    uint64_t first_ns, last_ns, longest_gap_ns;
    uint8_t sampled;
} client;

struct sink {
    int fd, wake, epoll, pass_fd;
    uint32_t first_address, clients;
    client *table;
    sink_totals totals;
    pthread_mutex_t lock; /* the table and totals: the thread holds it for a batch */
    struct upkeep *upkeep;
    pthread_t thread;
    clockid_t thread_clock;
};

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static stream *stream_of(client *c, uint32_t ssrc) {
    for (int i = 0; i < STREAMS; i++) {
        stream *s = &c->streams[i];
        if (s->received && s->ssrc == ssrc)
            return s;
        if (!s->received) {
            memset(s, 0, sizeof *s);
            s->ssrc = ssrc;
            return s;
        }
    }
    return NULL;
}

static void count_rtp(sink *s, client *c, const uint8_t *p, size_t size, uint64_t at) {
    uint32_t seq = (uint32_t)p[2] << 8 | p[3];
    uint32_t ssrc = (uint32_t)p[8] << 24 | (uint32_t)p[9] << 16 | (uint32_t)p[10] << 8 | p[11];
    stream *t = stream_of(c, ssrc);
    s->totals.packets++;
    s->totals.bytes += size;
    if (!c->first_ns)
        c->first_ns = at;
    else if (at - c->last_ns > c->longest_gap_ns)
        c->longest_gap_ns = at - c->last_ns;
    c->last_ns = at;
    if (!t)
        return;
    t->last_ns = at;
    if (!t->received) {
        t->first = t->highest = seq + 65536;
        t->window = 1;
        t->received = 1;
        return;
    }
    int16_t delta = (int16_t)(seq - (t->highest & 0xffff));
    if (delta > 0) {
        t->highest += (uint32_t)delta;
        t->window = delta < 64 ? t->window << delta | 1 : 1;
        t->received++;
    } else {
        unsigned behind = (unsigned)-delta;
        if (behind < 64 && !(t->window >> behind & 1)) {
            t->window |= (uint64_t)1 << behind;
            t->received++;
            t->reordered++;
            uint32_t extended = t->highest - behind;
            if (extended < t->first)
                t->first = extended;
        } else {
            t->duplicates++;
        }
    }
}

static void pass_on(sink *s, uint32_t index, uint32_t kind, uint64_t at, const void *data, size_t size) {
    uint8_t header[RECORD_HEADER];
    memcpy(header, &index, 4);
    memcpy(header + 4, &kind, 4);
    memcpy(header + 8, &at, 8);
    struct iovec parts[2] = {{header, sizeof header}, {(void *)(uintptr_t)data, size}};
    struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2};
    /* STUN and DTLS are worth a short wait; the loss of a sample is only counted. */
    for (int tries = 0; sendmsg(s->pass_fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0; tries++) {
        if ((errno != EAGAIN && errno != ENOBUFS) || kind >= SINK_RTP || tries > 20) {
            s->totals.not_passed++;
            return;
        }
        struct timespec pause = {0, 200000};
        nanosleep(&pause, NULL);
    }
}

static void take(sink *s, struct mmsghdr *m, uint64_t at) {
    const uint8_t *p = m->msg_hdr.msg_iov->iov_base;
    size_t size = m->msg_len;
    uint32_t to = 0;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&m->msg_hdr); h; h = CMSG_NXTHDR(&m->msg_hdr, h)) {
        if (h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(h), sizeof info);
            to = ntohl(info.ipi_addr.s_addr);
        } else if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SO_RXQ_OVFL) {
            uint32_t dropped;
            memcpy(&dropped, CMSG_DATA(h), sizeof dropped);
            s->totals.overflow = dropped;
        }
    }
    uint32_t index = to - s->first_address;
    if (index >= s->clients || size < 12) {
        s->totals.unknown++;
        return;
    }
    client *c = &s->table[index];
    if (p[0] >= 128 && p[0] < 192) {
        if (p[1] >= 192 && p[1] <= 223) {
            s->totals.rtcp++;
            if (c->sampled)
                pass_on(s, index, SINK_RTCP, at, p, size);
        } else {
            count_rtp(s, c, p, size, at);
            if (c->sampled)
                pass_on(s, index, SINK_RTP, at, p, size);
        }
    } else if (p[0] == 1 && p[1] == 1 && !memcmp(p + 8, "swarm-upkeep", 12)) {
        s->totals.checks++;
    } else if (p[0] < 4) {
        pass_on(s, index, SINK_STUN, at, p, size);
    } else if (p[0] >= 20 && p[0] < 64) {
        pass_on(s, index, SINK_DTLS, at, p, size);
    } else {
        s->totals.unknown++;
    }
}

static void *receive(void *argument) {
    sink *s = argument;
    static const size_t control_size = CMSG_SPACE(sizeof(struct in_pktinfo)) + CMSG_SPACE(sizeof(uint32_t));
    struct mmsghdr *messages = calloc(BATCH, sizeof *messages);
    struct iovec *parts = calloc(BATCH, sizeof *parts);
    uint8_t *data = malloc((size_t)BATCH * DATAGRAM), *control = malloc(BATCH * control_size);
    if (!messages || !parts || !data || !control)
        goto out;
    for (;;) {
        for (int i = 0; i < BATCH; i++) {
            parts[i] = (struct iovec){data + (size_t)i * DATAGRAM, DATAGRAM};
            messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i],
                                                  .msg_iovlen = 1,
                                                  .msg_control = control + (size_t)i * control_size,
                                                  .msg_controllen = control_size};
        }
        int n = recvmmsg(s->fd, messages, BATCH, MSG_DONTWAIT, NULL);
        if (n > 0) {
            uint64_t at = now_ns();
            pthread_mutex_lock(&s->lock);
            for (int i = 0; i < n; i++)
                take(s, &messages[i], at);
            pthread_mutex_unlock(&s->lock);
            continue;
        }
        struct epoll_event events[2];
        int ready = epoll_wait(s->epoll, events, 2, -1);
        for (int i = 0; i < ready; i++)
            if (events[i].data.fd == s->wake)
                goto out;
    }
out:
    free(messages);
    free(parts);
    free(data);
    free(control);
    return NULL;
}

sink *sink_open(uint32_t first_address, uint32_t clients, int receive_buffer, int pass_fd) {
    sink *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->fd = s->wake = s->epoll = -1;
    s->pass_fd = pass_fd;
    s->first_address = first_address;
    s->clients = clients;
    pthread_mutex_init(&s->lock, NULL);
    int on = 1;
    struct sockaddr_in any = {.sin_family = AF_INET};
    s->table = calloc(clients ? clients : 1, sizeof *s->table);
    s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    s->wake = eventfd(0, EFD_CLOEXEC);
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event in = {.events = EPOLLIN};
    s->upkeep = upkeep_new(s, clients);
    if (!s->table || !s->upkeep || s->fd < 0 || s->wake < 0 || s->epoll < 0)
        goto failed;
    /* Beyond rmem_max only with CAP_NET_ADMIN; the plain call takes what is allowed. */
    if (setsockopt(s->fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer, sizeof receive_buffer) < 0)
        setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    if (setsockopt(s->fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) < 0 ||
        setsockopt(s->fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on) < 0 ||
        bind(s->fd, (struct sockaddr *)&any, sizeof any) < 0)
        goto failed;
    in.data.fd = s->fd;
    if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->fd, &in) < 0)
        goto failed;
    in.data.fd = s->wake;
    if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->wake, &in) < 0)
        goto failed;
    if ((errno = pthread_create(&s->thread, NULL, receive, s)))
        goto failed;
    pthread_getcpuclockid(s->thread, &s->thread_clock);
    return s;
failed:;
    int error = errno;
    if (s->upkeep)
        upkeep_free(s->upkeep);
    if (s->fd >= 0)
        close(s->fd);
    if (s->wake >= 0)
        close(s->wake);
    if (s->epoll >= 0)
        close(s->epoll);
    free(s->table);
    free(s);
    errno = error;
    return NULL;
}

int sink_port(const sink *s) {
    struct sockaddr_in a;
    socklen_t size = sizeof a;
    return getsockname(s->fd, (struct sockaddr *)&a, &size) < 0 ? -errno : ntohs(a.sin_port);
}

int sink_fd(const sink *s) { return s->fd; }

int sink_buffer(const sink *s) {
    int size = 0;
    socklen_t length = sizeof size;
    getsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &size, &length);
    return size;
}

void sink_sample(sink *s, uint32_t index, int on) {
    if (index >= s->clients)
        return;
    pthread_mutex_lock(&s->lock);
    s->table[index].sampled = on != 0;
    pthread_mutex_unlock(&s->lock);
}

void sink_reset(sink *s, uint32_t index) {
    if (index >= s->clients)
        return;
    pthread_mutex_lock(&s->lock);
    uint8_t sampled = s->table[index].sampled;
    memset(&s->table[index], 0, sizeof s->table[index]);
    s->table[index].sampled = sampled;
    pthread_mutex_unlock(&s->lock);
}

static void read_client(const client *c, sink_client *out) {
    memset(out, 0, sizeof *out);
    for (int i = 0; i < STREAMS; i++) {
        const stream *t = &c->streams[i];
        if (!t->received)
            continue;
        uint64_t expected = (uint64_t)t->highest - t->first + 1;
        out->packets += t->received;
        out->duplicates += t->duplicates;
        out->reordered += t->reordered;
        if (expected > t->received)
            out->lost += expected - t->received;
    }
    out->first_ns = c->first_ns;
    out->last_ns = c->last_ns;
    out->longest_gap_ns = c->longest_gap_ns;
}

void sink_read(sink *s, uint32_t index, sink_client *out) {
    memset(out, 0, sizeof *out);
    if (index >= s->clients)
        return;
    pthread_mutex_lock(&s->lock);
    read_client(&s->table[index], out);
    pthread_mutex_unlock(&s->lock);
}

void sink_sum(sink *s, sink_totals *out) {
    pthread_mutex_lock(&s->lock);
    *out = s->totals;
    for (uint32_t i = 0; i < s->clients; i++) {
        sink_client c;
        read_client(&s->table[i], &c);
        out->lost += c.lost;
        out->duplicates += c.duplicates;
        out->reordered += c.reordered;
    }
    pthread_mutex_unlock(&s->lock);
    struct timespec t;
    if (clock_gettime(s->thread_clock, &t) == 0)
        out->cpu_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct upkeep *sink_upkeep_of(sink *s) { return s->upkeep; }

int sink_reception_of(sink *s, uint32_t index, sink_reception *out) {
    int found = 0;
    pthread_mutex_lock(&s->lock);
    stream *latest = NULL;
    for (int i = 0; i < STREAMS; i++) {
        stream *t = &s->table[index].streams[i];
        if (t->received && (!latest || t->last_ns > latest->last_ns))
            latest = t;
    }
    if (latest) {
        uint32_t expected = latest->highest - latest->first + 1;
        uint32_t received = (uint32_t)latest->received;
        uint32_t due = expected - latest->reported_expected;
        uint32_t came = received - latest->reported_received;
        out->ssrc = latest->ssrc;
        out->highest = latest->highest - 65536; /* cycles from 0 */
        out->lost = expected > received ? expected - received : 0;
        out->fraction = due > came && due < 1 << 24 ? (uint8_t)((due - came) * 256 / due) : 0;
        latest->reported_expected = expected;
        latest->reported_received = received;
        found = 1;
    }
    pthread_mutex_unlock(&s->lock);
    return found;
}

int sink_send(sink *s, uint32_t index, uint32_t to_address, uint16_t to_port, const void *data, size_t size) {
    if (index >= s->clients)
        return -EINVAL;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(to_port), .sin_addr = {htonl(to_address)}};
    struct iovec part = {(void *)(uintptr_t)data, size};
    union {
        struct cmsghdr header;
        uint8_t bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
    } control = {.bytes = {0}};
    struct in_pktinfo from = {.ipi_spec_dst = {htonl(s->first_address + index)}};
    struct msghdr m = {.msg_name = &to,
                       .msg_namelen = sizeof to,
                       .msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = IPPROTO_IP;
    h->cmsg_type = IP_PKTINFO;
    h->cmsg_len = CMSG_LEN(sizeof from);
    memcpy(CMSG_DATA(h), &from, sizeof from);
    return sendmsg(s->fd, &m, 0) < 0 ? -errno : 0;
}

void sink_close(sink *s) {
    if (!s)
        return;
    upkeep_free(s->upkeep);
    uint64_t one = 1;
    if (write(s->wake, &one, sizeof one) == sizeof one)
        pthread_join(s->thread, NULL);
    close(s->fd);
    close(s->wake);
    close(s->epoll);
    pthread_mutex_destroy(&s->lock);
    free(s->table);
    free(s);
}
