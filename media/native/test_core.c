/* The core under the sanitizers: members join, move, leave and vanish while group packets are on
 * their way and clients send checks, reports, requests and garbage at it from another thread.
 * Then every client must have got exactly what was sent while it was a member, decryptable and
 * numbered without a gap. Built and run by sanitize.sh; the rest is tested from Python. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal.h"

enum { CLIENTS = 300, GROUPS = 3, ROUNDS = 40, SSRC = 0x01020304, SEEN = 1 << 16 };

struct client {
    int fd, group;          /* group: -1 none */
    uint64_t peer, next;    /* next: the index that it gets next */
    uint8_t send_key[44], receive_key[44];
    int profile;
    srtp *receive;
    uint8_t *seen;
    char ufrag[16], password[32];
    pthread_mutex_t lock;   /* of `talk` and `rtcp_index` */
    srtp *talk;
    uint32_t rtcp_index;
};

static struct client clients[CLIENTS];
static struct { uint64_t handle, index; } groups[GROUPS];
static plane *core;
static struct sockaddr_in server;
static atomic_bool chatting = true;
static uint64_t expected_packets, threads_sent;

#define CHECK(condition)                                                                         \
    do {                                                                                         \
        if (!(condition)) {                                                                      \
            fprintf(stderr, "%s:%d: %s is not so\n", __FILE__, __LINE__, #condition);            \
            exit(1);                                                                             \
        }                                                                                        \
    } while (0)

static uint32_t random_below(unsigned *seed, uint32_t n) { return (uint32_t)rand_r(seed) % n; }

static int udp_socket(void) {
    struct sockaddr_in any = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), size = 1 << 20;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof any) == 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    return fd;
}

static void send_to_core(const struct client *c, const uint8_t *data, size_t length) {
    sendto(c->fd, data, length, 0, (struct sockaddr *)&server, sizeof server);
}

static size_t put_attribute(uint8_t *d, size_t at, uint16_t type, const void *value, size_t n) {
    write_16(d + at, type);
    write_16(d + at + 2, (uint16_t)n);
    memset(d + at + 4, 0, (n + 3) / 4 * 4);
    if (n > 0)
        memcpy(d + at + 4, value, n);
    return at + 4 + (n + 3) / 4 * 4;
}

static void send_check(const struct client *c) {
    uint8_t d[256] = {0}, mac[20];
    char name[40];
    struct mac_state key;
    write_16(d, 1);
    write_32(d + 4, 0x2112a442);
    int n = snprintf(name, sizeof name, "%s:them", c->ufrag);
    size_t at = put_attribute(d, 20, 0x0006, name, (size_t)n);
    at = put_attribute(d, at, 0x0025, NULL, 0);
    write_16(d + 2, (uint16_t)(at + 24 - 20));
    mac_init(&key, (const uint8_t *)c->password, strlen(c->password));
    mac_sum(&key, d, at, NULL, 0, mac);
    at = put_attribute(d, at, 0x0008, mac, 20);
    send_to_core(c, d, at);
}

/* ---- events */

static int validated, received;

static void drain(void) {
    static uint8_t buffer[1 << 16];
    size_t n;
    while ((n = plane_drain(core, buffer, sizeof buffer)) > 0)
        for (size_t at = 0; at < n;) {
            plane_event event;
            memcpy(&event, buffer + at, sizeof event);
            validated += event.kind == 1;
            received += event.kind == 3;
            at += sizeof event + (event.length + 7) / 8 * 8;
        }
}

static void add(struct client *c, int number, unsigned *seed) {
    static const size_t lengths[] = {44, 28, 30};
    c->profile = number % 3;
    size_t length = lengths[c->profile];
    for (size_t i = 0; i < length; i++) {
        c->send_key[i] = (uint8_t)rand_r(seed);
        c->receive_key[i] = (uint8_t)rand_r(seed);
    }
    snprintf(c->ufrag, sizeof c->ufrag, "u%d.%u", number, random_below(seed, 1u << 24));
    snprintf(c->password, sizeof c->password, "password %d", number);
    c->fd = udp_socket();
    c->group = -1;
    c->next = 65000; /* rolls over on the way */
    c->peer = plane_add_peer(core, c->ufrag, c->password);
    CHECK(c->peer != 0);
    CHECK(plane_add_peer(core, c->ufrag, c->password) == 0);
    CHECK(plane_set_keys(core, c->peer, c->profile, c->send_key, c->receive_key, length) == 0);
    c->receive = srtp_new(c->profile, c->send_key, length, number % 2);
    pthread_mutex_lock(&c->lock);
    srtp_delete(c->talk);
    c->talk = srtp_new(c->profile, c->receive_key, length, number % 2);
    c->rtcp_index = 0;
    pthread_mutex_unlock(&c->lock);
    c->seen = calloc(1, SEEN);
    int before = validated;
    for (int tries = 0; validated == before; tries++) {
        CHECK(tries < 200);
        if (tries % 20 == 0)
            send_check(c);
        struct pollfd p = {.fd = plane_event_fd(core), .events = POLLIN};
        poll(&p, 1, 50);
        drain();
    }
}

/* ---- what must have come */

static void read_all(struct client *c) {
    uint8_t d[2048], out[2048];
    ssize_t n;
    while ((n = recv(c->fd, d, sizeof d, MSG_DONTWAIT)) > 0) {
        if (d[0] < 4) /* the answer to a check */
            continue;
        if (d[1] >= 192 && d[1] <= 223) {
            int length = srtp_unprotect_rtcp(c->receive, d, (size_t)n, out);
            CHECK(length == 28);
            continue;
        }
        int length = srtp_unprotect_rtp(c->receive, d, (size_t)n, out);
        if (length == SRTP_REPLAY) /* asked for again by the talker */
            continue;
        CHECK(length > 12 && (out[1] & 0x7f) == 96 + c->profile);
        CHECK(read_32(out + 8) == SSRC && out[12] == (uint8_t)length);
        uint64_t index = 65000 + (uint16_t)(read_16(out + 2) - 65000);
        CHECK(index < SEEN + 60000 && index < c->next);
        c->seen[index - 65000 + 0] = 1;
    }
}

static void verify(struct client *c) {
    for (int tries = 0;; tries++) {
        read_all(c);
        uint64_t missing = 0;
        for (uint64_t i = 65000; i < c->next; i++)
            missing += !c->seen[i - 65000];
        if (missing == 0)
            return;
        if (tries == 400) {
            plane_counters n;
            plane_read_counters(core, &n);
            fprintf(stderr, "client %d (group %d) lacks %llu of %llu; %llu sent, %llu blocked, "
                    "%llu to members\n", (int)(c - clients), c->group,
                    (unsigned long long)missing, (unsigned long long)(c->next - 65000),
                    (unsigned long long)n.packets_sent, (unsigned long long)n.send_blocked,
                    (unsigned long long)expected_packets);
            for (uint64_t i = 65000; i < c->next; i++)
                if (!c->seen[i - 65000])
                    fprintf(stderr, " %llu", (unsigned long long)i);
            exit(1);
        }
        usleep(5000);
    }
}

/* ---- the other thread: what clients send */

static void say(struct client *c, unsigned *seed) {
    uint8_t d[128] = {0x81, 201, 0, 7}, out[160];
    if (pthread_mutex_trylock(&c->lock) != 0)
        return;
    if (c->talk != NULL) {
        write_32(d + 8, SSRC);
        d[12] = (uint8_t)random_below(seed, 256);
        write_32(d + 20, random_below(seed, 5000));
        size_t length = 32;
        if (random_below(seed, 4) == 0) { /* a request for packets */
            d[32] = 0x81, d[33] = 205, d[35] = 3;
            write_32(d + 40, SSRC);
            write_16(d + 44, (uint16_t)(65000 + random_below(seed, 500)));
            write_16(d + 46, (uint16_t)rand_r(seed));
            length = 48;
        }
        int n = srtp_protect_rtcp(c->talk, d, length, ++c->rtcp_index, out);
        send_to_core(c, out, (size_t)n);
        d[0] = 0x80, d[1] = 111;
        write_16(d + 2, (uint16_t)c->rtcp_index);
        n = srtp_protect_rtp(c->talk, d, 60, c->rtcp_index, out);
        if (c->rtcp_index < 30000)
            send_to_core(c, out, (size_t)n);
        send_check(c);
        out[random_below(seed, (uint32_t)n)] ^= 1;
        send_to_core(c, out, 1 + random_below(seed, (uint32_t)n));
    }
    pthread_mutex_unlock(&c->lock);
}

static void *chatter(void *unused) {
    unsigned seed = 7;
    (void)unused;
    while (chatting) {
        say(&clients[random_below(&seed, CLIENTS)], &seed);
        usleep(50);
    }
    return NULL;
}

/* ---- parsers alone, on buffers of exactly the right size */

static void fuzz_parsers(void) {
    unsigned seed = 99;
    uint8_t key[44] = {1}, out[2048];
    struct mac_state mac;
    mac_init(&mac, key, sizeof key);
    for (int profile = 0; profile < 3; profile++) {
        static const size_t lengths[] = {44, 28, 30};
        srtp *s = srtp_new(profile, key, lengths[profile], 0);
        for (int i = 0; i < 20000; i++) {
            size_t length = random_below(&seed, 120);
            uint8_t *d = malloc(length + 1);
            for (size_t at = 0; at < length; at++)
                d[at] = (uint8_t)(random_below(&seed, 3) ? rand_r(&seed) : 0);
            if (length >= 20) { /* a header that lets the parser go on */
                struct stun_request request;
                length -= length % 4;
                write_16(d, 1);
                write_16(d + 2, (uint16_t)(length - 20));
                write_32(d + 4, 0x2112a442);
                for (size_t at = 20; at + 4 <= length; at += 4 * (1 + random_below(&seed, 6))) {
                    static const uint16_t types[] = {6, 8, 0x25, 0x24, 0x802a, 0x7777, 0x8028};
                    write_16(d + at, types[random_below(&seed, 7)]);
                    write_16(d + at + 2, (uint16_t)random_below(&seed, 24));
                }
                if (stun_parse(d, length, &request) == STUN_REQUEST) {
                    CHECK(stun_verify(&request, &mac) == 0);
                    CHECK(stun_error(&request, 420, &mac, out) <= STUN_MAX_ANSWER);
                }
            }
            if (length > 0)
                d[0] = (uint8_t)(0x80 | random_below(&seed, 64));
            CHECK(srtp_unprotect_rtp(s, d, length, out) < 0);
            CHECK(srtp_unprotect_rtcp(s, d, length, out) < 0);
            srtp_protect_rtp(s, d, length, (uint64_t)i, out);
            srtp_protect_rtcp(s, d, length, (uint32_t)i, out);
            free(d);
        }
        srtp_delete(s);
    }
}

/* ---- the control thread: what Python would do */

static void take_backlog(void) {
    plane_backlog backlog;
    plane_take_backlog(core, &backlog);
    CHECK(backlog.busy >= 0 && backlog.busy <= 1 && backlog.late_s >= 0 && backlog.shed == 0);
    threads_sent += backlog.datagrams;
}

static void send_group(int g, double spread) {
    uint8_t d[200] = {0x80, 0};
    uint64_t index = ++groups[g].index;
    size_t length = 13 + index % 180;
    write_16(d + 2, (uint16_t)index);
    write_32(d + 8, SSRC);
    d[12] = (uint8_t)length;
    CHECK(plane_send_group(core, groups[g].handle, d, length, index, spread) == 0);
    for (int i = 0; i < CLIENTS; i++)
        if (clients[i].group == g) {
            clients[i].next++;
            expected_packets++;
        }
    if (index % 16 == 0)
        take_backlog();
}

static void join(struct client *c, int g) {
    uint32_t ssrcs[] = {1, 2, 3, 4, SSRC};
    int64_t offsets[] = {0, 0, 0, 0, (int64_t)c->next - (int64_t)(groups[g].index + 1)};
    size_t skip = c->peer % 2 ? 0 : 4; /* both ways of keeping offsets */
    CHECK(plane_join_group(core, groups[g].handle, c->peer, 96 + c->profile, ssrcs + skip,
                           offsets + skip, 5 - skip) == 0);
    c->group = g;
}

static void step(unsigned *seed) {
    struct client *c = &clients[random_below(seed, CLIENTS)];
    int g = (int)random_below(seed, GROUPS);
    switch (random_below(seed, 8)) {
    case 0: case 1: case 2:
        join(c, g);
        break;
    case 3:
        if (c->group >= 0)
            CHECK(plane_leave_group(core, groups[c->group].handle, c->peer) == 0);
        c->group = -1;
        break;
    case 4: { /* vanishes, and comes again as somebody else */
        int number = (int)(c - clients);
        CHECK(plane_remove_peer(core, c->peer) == 0);
        verify(c);
        pthread_mutex_lock(&c->lock); /* the talker uses the socket */
        close(c->fd);
        srtp_delete(c->receive);
        free(c->seen);
        srtp_delete(c->talk);
        c->talk = NULL;
        pthread_mutex_unlock(&c->lock);
        add(c, number, seed);
        break;
    }
    case 5:
        pthread_mutex_lock(&c->lock);
        snprintf(c->password, sizeof c->password, "password %u", random_below(seed, 1000));
        pthread_mutex_unlock(&c->lock);
        CHECK(plane_restart_peer(core, c->peer, c->ufrag, c->password) == 0);
        break;
    case 6: {
        uint8_t report[28] = {0x80, 200, 0, 6, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8};
        plane_reception reception;
        CHECK(plane_send_group_rtcp(core, groups[g].handle, report, sizeof report) == 0);
        CHECK(plane_send_rtcp(core, c->peer, report, sizeof report) == 0);
        CHECK(plane_take_reception(core, groups[g].handle, &reception) == 0);
        break;
    }
    default:
        send_group(g, random_below(seed, 3) * 0.01);
    }
}

int main(void) {
    plane_options options = {.sending_threads = 2, .consent_timeout_s = 60, .history_s = 1,
                             .retransmit_rate = 50, .retransmit_burst = 50,
                             .queue_bytes = 1 << 20};
    unsigned seed = 1;
    socklen_t size = sizeof server;
    pthread_t talker;
    fuzz_parsers();
    for (int plain = 0; plain < 2; plain++) {
        int fd = udp_socket();
        getsockname(fd, (struct sockaddr *)&server, &size);
        options.plain_crypto = plain;
        core = plane_open(&fd, 1, &options);
        CHECK(core != NULL);
        memset(groups, 0, sizeof groups);
        for (int g = 0; g < GROUPS; g++)
            groups[g].handle = plane_add_group(core);
        for (int i = 0; i < CLIENTS; i++) {
            pthread_mutex_init(&clients[i].lock, NULL);
            add(&clients[i], i, &seed);
            join(&clients[i], i % 5 == 0 ? 1 : 0);
        }
        chatting = true;
        CHECK(pthread_create(&talker, NULL, chatter, NULL) == 0);
        for (int round = 0; round < ROUNDS; round++) {
            for (int i = 0; i < 40; i++)
                step(&seed);
            drain();
            for (int i = 0; i < CLIENTS; i++)
                verify(&clients[i]);
        }
        send_group(0, 0.02);
        CHECK(plane_remove_group(core, groups[0].handle) == 0);
        for (int i = 0; i < CLIENTS; i++)
            verify(&clients[i]);
        chatting = false;
        pthread_join(talker, NULL);
        drain();
        plane_counters counters;
        plane_read_counters(core, &counters);
        CHECK(counters.send_blocked == 0 && counters.peers == CLIENTS && received > 0);
        take_backlog();
        CHECK(threads_sent > expected_packets / 2);
        threads_sent = 0;
        printf("%s: %llu packets to members, all there; %llu sent again, %llu refused, %d events\n",
               plain ? "OpenSSL" : crypt_has_fast() ? "AES-NI" : "OpenSSL (no AES-NI here)",
               (unsigned long long)expected_packets, (unsigned long long)counters.retransmitted,
               (unsigned long long)counters.retransmissions_refused, validated + received);
        expected_packets = 0;
        plane_close(core);
        for (int i = 0; i < CLIENTS; i++) {
            struct client *c = &clients[i];
            close(c->fd);
            free(c->seen);
            srtp_delete(c->receive);
            srtp_delete(c->talk);
            pthread_mutex_destroy(&c->lock);
            memset(c, 0, sizeof *c);
        }
    }
    return 0;
}
