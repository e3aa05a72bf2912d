/* SRTP and SRTCP of one packet (RFC 3711, RFC 7714): no sockets, no threads, no clock. */
#ifndef CHATROOM_SRTP_H
#define CHATROOM_SRTP_H

#include "core.h"
#include "crypt.h"

enum { SRTP_MALFORMED = -1, SRTP_AUTH = -2, SRTP_REPLAY = -3, SRTP_TOO_MANY = -4 };
enum { SRTP_OVERHEAD = 20, MAX_STREAMS = 16 }; /* tag and SRTCP index; SSRCs a peer may send */

struct session_key {
    uint8_t key[32], salt[14], auth[20];
};

struct session_keys { /* of one direction */
    struct session_key rtp, rtcp;
    uint8_t profile;
};

struct replay { /* bit i of the window: `highest` - i was seen */
    uint64_t highest, window[2];
    uint8_t started;
};

struct stream { /* what an SSRC has sent */
    struct stream *next;
    struct replay rtp, rtcp;
    uint32_t ssrc;
};

static inline uint16_t read_16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static inline uint32_t read_32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
static inline void write_16(uint8_t *p, uint16_t x) { p[0] = (uint8_t)(x >> 8), p[1] = (uint8_t)x; }
static inline void write_32(uint8_t *p, uint32_t x) {
    write_16(p, (uint16_t)(x >> 16)), write_16(p + 2, (uint16_t)x);
}

/* The session keys of a master key and salt; key derivation rate 0. -1 if OpenSSL refuses. */
int derive_keys(struct session_keys *k, int profile, const uint8_t *master, int plain);
int key_crypt(struct crypt *c, int profile, const struct session_key *k, int plain);

/* Bytes before the payload: fixed header, CSRCs, extension (RFC 3550, 5.1); 0 if malformed. */
size_t rtp_header_length(const uint8_t *packet, size_t length);

/* Writes the protected packet to `out` (which does not overlap) and answers its length. The
 * sequence number written is the index's; the payload type is replaced unless negative. */
size_t protect_rtp(struct crypt *c, const uint8_t *packet, size_t header, size_t length,
                   uint64_t index, int payload_type, uint8_t *out);
size_t protect_rtcp(struct crypt *c, const uint8_t *packet, size_t length, uint32_t index,
                    uint8_t *out);
/* In place; the answer is the plaintext's length or an SRTP_ error. `streams` is kept by the
 * caller and freed with free_streams. */
int unprotect_rtp(struct crypt *c, struct stream **streams, uint8_t *packet, size_t length);
int unprotect_rtcp(struct crypt *c, struct stream **streams, uint8_t *packet, size_t length);
void free_streams(struct stream **streams);

#endif
