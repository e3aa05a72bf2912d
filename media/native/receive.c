/* The receiving threads, one a socket: connectivity checks are answered here, SRTP is opened
 * here, and what somebody has to decide on goes to Python. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "internal.h"

enum { READ_BATCH = 64 };

/* Thousands of listeners answer with a report or a check now and then, one small packet at a
 * time: waking up for each would cost more than reading it. Above so many a second the thread
 * lets some come together first. A speaker's packet waits for it too, so it is short. */
#define BUSY_PER_S 4000.0
#define NAP_NS 300000
#define RATE_WINDOW_S 0.05

struct inbox {
    struct mmsghdr messages[READ_BATCH];
    struct iovec pieces[READ_BATCH];
    struct endpoint from[READ_BATCH];
    union {
        struct cmsghdr header;
        uint8_t bytes[64];
    } control[READ_BATCH];
    uint8_t bytes[READ_BATCH][MAX_DATAGRAM];
};

/* ---- what Python is told */

static void put_address(plane_event *event, const union address *a) {
    if (a->any.sa_family == AF_INET) {
        event->family = 4;
        event->port = ntohs(a->v4.sin_port);
        memcpy(event->ip, &a->v4.sin_addr, 4);
        return;
    }
    event->port = ntohs(a->v6.sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr)) { /* on a dual-stack socket */
        event->family = 4;
        memcpy(event->ip, a->v6.sin6_addr.s6_addr + 12, 4);
    } else {
        event->family = 6;
        event->scope = a->v6.sin6_scope_id;
        memcpy(event->ip, &a->v6.sin6_addr, 16);
    }
}

static void tell(struct plane *p, const struct peer *peer, uint32_t kind, const uint8_t *data,
                 size_t length, const union address *from, double now) {
    plane_event event;
    memset(&event, 0, sizeof event);
    event.peer = peer->handle;
    event.now = now;
    event.kind = kind;
    event.length = (uint32_t)length;
    if (from != NULL)
        put_address(&event, from);
    if (!events_push(&p->events, &event, data))
        COUNT(p, queue_full, 1);
}

/* ---- connectivity checks */

static union address unmapped(const union address *a) {
    union address plain = *a;
    if (a->any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr)) {
        memset(&plain, 0, sizeof plain);
        plain.v4.sin_family = AF_INET;
        plain.v4.sin_port = a->v6.sin6_port;
        memcpy(&plain.v4.sin_addr, a->v6.sin6_addr.s6_addr + 12, 4);
    }
    return plain;
}

static void on_stun(struct plane *p, const uint8_t *data, size_t length,
                    const struct endpoint *from, double now) {
    struct stun_request request;
    uint8_t answer[STUN_MAX_ANSWER];
    switch (stun_parse(data, length, &request)) {
    case STUN_INDICATION: return; /* a keep-alive wants no answer */
    case STUN_MALFORMED: COUNT(p, stun_malformed, 1); return;
    }
    struct credential *used = NULL;
    if (request.ufrag != NULL)
        used = credential_find(p, request.ufrag, request.ufrag_length);
    if (used == NULL) {
        COUNT(p, stun_unknown_peer, 1);
        return;
    }
    if (!stun_verify(&request, &used->key)) {
        COUNT(p, stun_bad_integrity, 1);
        return;
    }
    if (request.unknown_count > 0 || request.is_controlled) {
        size_t n = stun_error(&request, request.unknown_count > 0 ? 420 : 487, &used->key, answer);
        send_one(p, from, answer, n);
        return;
    }
    /* the answer is made first: a check with new credentials frees the old ones */
    union address shown = unmapped(&from->to);
    size_t n = stun_success(&request, &shown, &used->key, answer);
    bool changed;
    struct peer *peer = used->peer;
    peer_checked(p, peer, used, from, request.use_candidate, now, &changed);
    send_one(p, from, answer, n);
    if (changed)
        tell(p, peer, EVENT_VALIDATED, NULL, 0, &from->to, now);
}

/* ---- SRTP */

static void on_srtp(struct plane *p, struct receiver *r, uint8_t *data, size_t length,
                    const union address *from, double now) {
    const struct route *route = route_find(p, from);
    if (route == NULL) {
        COUNT(p, srtp_unknown_peer, 1);
        return;
    }
    struct peer *peer = route->peer;
    if (length < 12) {
        COUNT(p, rtp_malformed, 1);
        return;
    }
    if (!peer->can_receive) {
        COUNT(p, srtp_no_keys, 1);
        return;
    }
    bool rtcp = data[1] >= 192 && data[1] <= 223; /* RFC 5761, section 4 */
    if (key_crypt(&r->scratch, peer->receive.profile,
                  rtcp ? &peer->receive.rtcp : &peer->receive.rtp, p->options.plain_crypto) != 0)
        return;
    int n = rtcp ? unprotect_rtcp(&r->scratch, &peer->streams, data, length)
                 : unprotect_rtp(&r->scratch, &peer->streams, data, length);
    if (n == SRTP_TOO_MANY)
        COUNT(p, rtp_too_many_sources, 1);
    else if (n < 0 && rtcp)
        COUNT(p, srtcp_auth, 1);
    else if (n == SRTP_MALFORMED)
        COUNT(p, rtp_malformed, 1);
    else if (n == SRTP_REPLAY)
        COUNT(p, srtp_replay, 1);
    else if (n < 0)
        COUNT(p, srtp_auth, 1);
    else if (!rtcp)
        tell(p, peer, EVENT_RTP, data, (size_t)n, NULL, now);
    else if (peer->group == NULL || take_feedback(p, peer, data, (size_t)n, now))
        tell(p, peer, EVENT_RTCP, data, (size_t)n, NULL, now);
}

static void on_datagram(struct plane *p, struct receiver *r, uint8_t *data, size_t length,
                        const struct endpoint *from, double now) {
    uint8_t first = length > 0 ? data[0] : 255; /* RFC 7983 */
    if (first < 4) {
        on_stun(p, data, length, from, now);
    } else if (first >= 20 && first <= 63) {
        const struct route *route = route_find(p, &from->to);
        if (route != NULL)
            tell(p, route->peer, EVENT_DATAGRAM, data, length, NULL, now);
        else
            COUNT(p, dtls_unknown_peer, 1);
    } else if (first >= 128 && first <= 191) {
        on_srtp(p, r, data, length, &from->to, now);
    } else {
        COUNT(p, not_webrtc, 1);
    }
}

/* ---- the thread */

/* Which of the machine's addresses the datagram came to: answers leave from there. */
static void note_local(struct msghdr *h, struct endpoint *from) {
    from->local_family = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            memcpy(from->local, &info.ipi_spec_dst, 4);
            from->local_family = 4;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            memcpy(from->local, &info.ipi6_addr, 16);
            from->local_family = 6;
        }
    }
}

/* Reads what is there, a batch at most; how many. */
static int read_batch(struct plane *p, struct receiver *r) {
    struct inbox *in = r->inbox;
    for (int i = 0; i < READ_BATCH; i++) {
        in->messages[i].msg_hdr.msg_namelen = sizeof in->from[i].to;
        in->messages[i].msg_hdr.msg_controllen = sizeof in->control[i];
    }
    int n = recvmmsg(p->sockets[r->socket], in->messages, READ_BATCH, MSG_DONTWAIT, NULL);
    if (n <= 0)
        return 0;
    double now = now_s();
    uint64_t bytes = 0;
    for (int i = 0; i < n; i++) {
        size_t length = in->messages[i].msg_len;
        bytes += length;
        if (in->messages[i].msg_hdr.msg_flags & MSG_TRUNC)
            COUNT(p, not_webrtc, 1);
        else {
            if (p->wildcard[r->socket])
                note_local(&in->messages[i].msg_hdr, &in->from[i]);
            pthread_mutex_lock(&p->lock);
            on_datagram(p, r, in->bytes[i], length, &in->from[i], now);
            pthread_mutex_unlock(&p->lock);
        }
    }
    COUNT(p, packets_received, n);
    COUNT(p, bytes_received, bytes);
    return n;
}

struct rate {
    double since;
    int count;
    bool busy;
};

static void pause_if_busy(struct rate *rate, int n) {
    double now = now_s();
    rate->count += n;
    if (now - rate->since >= RATE_WINDOW_S) {
        rate->busy = rate->count > BUSY_PER_S * (now - rate->since);
        rate->since = now;
        rate->count = 0;
    }
    if (rate->busy && n < READ_BATCH / 2) {
        struct timespec nap = {.tv_nsec = NAP_NS};
        nanosleep(&nap, NULL);
    }
}

static void *receive_loop(void *argument) {
    struct receiver *r = argument;
    struct plane *p = r->plane;
    struct pollfd wait[2] = {{.fd = p->sockets[r->socket], .events = POLLIN},
                             {.fd = p->stop_fd, .events = POLLIN}};
    struct rate rate = {.since = now_s()};
    double every = p->options.consent_timeout_s / 4, next_sweep = now_s();
    if (every > 1)
        every = 1;
    for (;;) {
        double now = now_s();
        int timeout = -1;
        if (r->socket == 0) { /* one of them looks for the silent */
            if (now >= next_sweep) {
                peers_sweep(p, now);
                next_sweep = now + every;
            }
            timeout = (int)((next_sweep - now) * 1000) + 1;
        }
        if (poll(wait, 2, timeout) < 0 && errno != EINTR)
            break;
        if (wait[1].revents != 0)
            break;
        if (wait[0].revents != 0)
            pause_if_busy(&rate, read_batch(p, r));
    }
    return NULL;
}

bool receiver_start(struct receiver *r) {
    r->inbox = calloc(1, sizeof *r->inbox);
    if (r->inbox == NULL)
        return false;
    for (int i = 0; i < READ_BATCH; i++) {
        r->inbox->pieces[i].iov_base = r->inbox->bytes[i];
        r->inbox->pieces[i].iov_len = MAX_DATAGRAM;
        r->inbox->from[i].socket = r->socket;
        r->inbox->messages[i].msg_hdr.msg_name = &r->inbox->from[i].to;
        r->inbox->messages[i].msg_hdr.msg_control = &r->inbox->control[i];
        r->inbox->messages[i].msg_hdr.msg_iov = &r->inbox->pieces[i];
        r->inbox->messages[i].msg_hdr.msg_iovlen = 1;
    }
    if (pthread_create(&r->thread, NULL, receive_loop, r) != 0)
        return false;
    pthread_setname_np(r->thread, "chatroom-recv");
    return true;
}

void receiver_free(struct receiver *r) {
    free(r->inbox);
    crypt_wipe(&r->scratch);
}
