/* The receiving end of the load generator: one UDP socket that plays many hosts of 127.0.0.0/8.
 *
 * Every simulated listener has an address of its own; the socket is bound to the wildcard and tells
 * them apart by the destination address of each datagram (IP_PKTINFO). A thread receives, keeps
 * RFC 3550 sequence statistics for each listener, and passes on what Python must see (DTLS, STUN while
 * joining, the RTP and RTCP of sampled listeners) as records over a SOCK_SEQPACKET pair:
 * u32 client, u32 kind, u64 CLOCK_MONOTONIC ns, then the datagram.
 */
#ifndef SINK_H
#define SINK_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin */
enum sink_kind { SINK_STUN = 0, SINK_DTLS = 1, SINK_RTP = 2, SINK_RTCP = 3 };

typedef struct sink sink;

typedef struct {
    uint64_t packets;      /* RTP packets received */
    uint64_t bytes;        /* of RTP, without UDP and IP headers */
    uint64_t lost;         /* expected by sequence number and not received */
    uint64_t duplicates;
    uint64_t reordered;    /* arrived after a later one */
    uint64_t rtcp;
    uint64_t unknown;      /* to an address that is no client, or not WebRTC */
    uint64_t overflow;     /* dropped by the kernel because this socket's buffer was full */
    uint64_t not_passed;   /* records that did not fit into the pair */
    uint64_t checks;       /* answers to the upkeep's connectivity checks */
    uint64_t cpu_ns;       /* of the receiving thread */
} sink_totals;

typedef struct {
    uint64_t packets, lost, duplicates, reordered;
    uint64_t first_ns, last_ns; /* arrival of the first and latest RTP packet, CLOCK_MONOTONIC */
    uint64_t longest_gap_ns;    /* between two RTP packets */
} sink_client;

/* `first_address` (host order) belongs to client 0, the next to client 1, … Returns NULL with errno. */
sink *sink_open(uint32_t first_address, uint32_t clients, int receive_buffer, int pass_fd);
int sink_port(const sink *s);
int sink_fd(const sink *s);
int sink_buffer(const sink *s);
void sink_sample(sink *s, uint32_t client, int on);
/* Forget what a client received so far (start of a measurement). */
void sink_reset(sink *s, uint32_t client);
void sink_read(sink *s, uint32_t client, sink_client *out);
void sink_sum(sink *s, sink_totals *out);
/* Send one datagram from a client's address; 0 or -errno. */
int sink_send(sink *s, uint32_t client, uint32_t to_address, uint16_t to_port, const void *data, size_t size);
/* Once joined: keep consent with the given check and send receiver reports, from a thread of the
 * sink's, until released. `master` is the SRTP master key and salt for sending. 0 or -1. */
int sink_keep(sink *s, uint32_t client, uint32_t to_address, uint16_t to_port, const void *check,
              size_t check_size, int profile, const void *master, uint32_t own_ssrc);
void sink_release(sink *s, uint32_t client);
/* Starts the upkeep: every client checks and reports once in these times, evenly spread. */
int sink_upkeep(sink *s, uint32_t check_ms, uint32_t report_ms);
void sink_close(sink *s);
/* cffi: end */

/* Between sink.c and sink_upkeep.c. */
struct upkeep;
struct upkeep *upkeep_new(sink *s, uint32_t clients);
void upkeep_free(struct upkeep *u);
/* What a receiver report says of the listener's latest stream; 0 where it has heard nothing. */
typedef struct {
    uint32_t ssrc, highest, lost;
    uint8_t fraction;
} sink_reception;
int sink_reception_of(sink *s, uint32_t client, sink_reception *out);
struct upkeep *sink_upkeep_of(sink *s);

#endif
