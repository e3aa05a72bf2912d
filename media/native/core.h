/* The native data plane's face: what media/plane_native.py calls. The text between the two
 * markers is also read by native_build.py as cffi declarations, so it keeps to plain C.
 *
 * Threads: every function but plane_open is called from one thread (the event loop's), without
 * the GIL. A plane runs one receiving thread a socket and some sending threads of its own; what
 * they have to say is put on a bounded queue that plane_drain empties when the descriptor
 * plane_event_fd becomes readable. Handles are never reused; 0 is no handle. */
#ifndef CHATROOM_CORE_H
#define CHATROOM_CORE_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin */
typedef struct plane plane;

typedef struct {
    int sending_threads;      /* 0: one a core */
    double consent_timeout_s; /* RFC 7675 */
    double history_s;         /* how long group packets can be asked for again */
    double retransmit_rate;   /* retransmissions a second and peer */
    double retransmit_burst;
    uint32_t queue_bytes;     /* of events that wait for plane_drain */
    int plain_crypto;         /* not 0: OpenSSL only, no processor-specific code */
} plane_options;

typedef struct {
    uint64_t packets_sent, bytes_sent, packets_received, bytes_received;
    uint64_t send_blocked, retransmitted, retransmissions_refused;
    uint64_t stun_malformed, stun_unknown_peer, stun_bad_integrity, dtls_unknown_peer;
    uint64_t srtp_unknown_peer, srtp_no_keys, srtp_auth, srtp_replay, srtcp_auth;
    uint64_t rtp_malformed, rtp_too_many_sources, not_webrtc, queue_full;
    uint64_t peers, groups, group_packets_queued;
    uint64_t shed;            /* of send_blocked: given up for want of time */
} plane_counters;

typedef struct {              /* since the last call, or since plane_open */
    double late_s;            /* the most that a group datagram has been behind, up to now */
    double busy;              /* of the busiest sending thread: share of time with work, 0 to 1 */
    double cpu;               /* of the busiest: share of time on a core */
    uint64_t datagrams, shed; /* by the sending threads */
} plane_backlog;

typedef struct {
    uint64_t reports;
    double loss_mean, loss_p95;
    double jitter_ms_p50, jitter_ms_p95, rtt_ms_p50, rtt_ms_p95;
} plane_reception;

/* One event on the queue; `length` bytes of data follow it, then padding to a multiple of 8. */
typedef struct {
    uint64_t peer;
    double now;               /* CLOCK_MONOTONIC, seconds */
    uint32_t kind;            /* 1 validated, 2 datagram, 3 RTP, 4 RTCP, 5 expired */
    uint32_t length;
    uint16_t family;          /* 4 or 6 */
    uint16_t port;
    uint8_t ip[16];
    uint32_t scope;           /* zone of a link-local IPv6 address, else 0 */
} plane_event;

/* Takes over bound, non-blocking UDP sockets (8 at most). NULL, with errno set and the sockets
 * left alone, where threads or memory cannot be had. */
plane *plane_open(const int *sockets, int count, const plane_options *options);
void plane_close(plane *p);   /* sends what is queued for a second at most, joins, frees */
int plane_event_fd(const plane *p);
size_t plane_drain(plane *p, uint8_t *out, size_t capacity);

/* 0: the ufrag is taken, or a string is too long (256 characters at most). */
uint64_t plane_add_peer(plane *p, const char *local_ufrag, const char *local_password);
/* These answer 0, or -1 for an unknown handle, a bad argument or a packet not sent; those that
 * send to a group -2 for an unknown group. */
int plane_restart_peer(plane *p, uint64_t peer, const char *local_ufrag,
                       const char *local_password);
int plane_remove_peer(plane *p, uint64_t peer);
int plane_set_keys(plane *p, uint64_t peer, int profile, const uint8_t *send,
                   const uint8_t *receive, size_t length);
int plane_send_datagram(plane *p, uint64_t peer, const uint8_t *data, size_t length);
int plane_send_rtp(plane *p, uint64_t peer, const uint8_t *packet, size_t length, uint64_t index);
int plane_send_rtcp(plane *p, uint64_t peer, const uint8_t *packet, size_t length);
uint64_t plane_add_group(plane *p);
int plane_remove_group(plane *p, uint64_t group);
int plane_join_group(plane *p, uint64_t group, uint64_t peer, int payload_type,
                     const uint32_t *ssrcs, const int64_t *offsets, size_t count);
int plane_leave_group(plane *p, uint64_t group, uint64_t peer);
int plane_send_group(plane *p, uint64_t group, const uint8_t *packet, size_t length,
                     uint64_t index, double spread_s);
int plane_send_group_rtcp(plane *p, uint64_t group, const uint8_t *packet, size_t length);
int plane_take_reception(plane *p, uint64_t group, plane_reception *out);
void plane_read_counters(plane *p, plane_counters *out);
/* CPU nanoseconds of the sending and of the receiving threads so far. */
void plane_cpu(plane *p, uint64_t *sending_ns, uint64_t *receiving_ns);
int plane_sending_threads(const plane *p);
void plane_take_backlog(plane *p, plane_backlog *out);
size_t plane_peer_bytes(void); /* of one peer's record, without its group's and tables' share */

/* One SRTP direction by itself, for the known-answer tests. Profiles: 0 AEAD_AES_256_GCM,
 * 1 AEAD_AES_128_GCM, 2 AES128_CM_HMAC_SHA1_80. Keys are the master key and salt; or, for
 * srtp_new_raw, the session key and salt (and authentication key), the same for RTP and RTCP.
 * `out` has room for length + 20; the answer is the length, or a negative srtp error. */
typedef struct srtp srtp;
srtp *srtp_new(int profile, const uint8_t *master, size_t length, int plain_crypto);
srtp *srtp_new_raw(int profile, const uint8_t *key, const uint8_t *salt, const uint8_t *auth,
                   int plain_crypto);
void srtp_delete(srtp *s);
int srtp_protect_rtp(srtp *s, const uint8_t *packet, size_t length, uint64_t index, uint8_t *out);
int srtp_unprotect_rtp(srtp *s, const uint8_t *packet, size_t length, uint8_t *out);
int srtp_protect_rtcp(srtp *s, const uint8_t *packet, size_t length, uint32_t index, uint8_t *out);
int srtp_unprotect_rtcp(srtp *s, const uint8_t *packet, size_t length, uint8_t *out);
void srtp_session_keys(srtp *s, int rtcp, uint8_t *key, uint8_t *salt, uint8_t *auth);
int crypt_has_fast(void);     /* is there processor-specific code for this machine */

/* For bench/fanout.py: sends `rounds` datagrams of `size` bytes to each of the IPv4 addresses
 * with bare sendmmsg, and answers how many the kernel took; *cpu_ns is this thread's CPU. */
uint64_t bench_sendmmsg(int fd, const uint32_t *ips, uint16_t port, size_t count, size_t size,
                        size_t batch, size_t rounds, uint64_t *cpu_ns);
/* Sends one datagram to 127.0.0.1:to_port from an address of this machine's loopback. */
int bench_send_from(int fd, uint32_t from_ip, uint16_t to_port, const uint8_t *data, size_t size);
/* cffi: end */

#endif
