/* STUN binding requests as an ICE-lite agent sees them (RFC 8489, RFC 8445). Pure. */
#ifndef CHATROOM_STUN_H
#define CHATROOM_STUN_H

#include <netinet/in.h>

#include "crypt.h"

enum { STUN_REQUEST = 0, STUN_INDICATION = 1, STUN_MALFORMED = -1 };
enum { STUN_MAX_UNKNOWN = 8, STUN_MAX_ANSWER = 160 };

struct stun_request {
    const uint8_t *data;
    size_t length;
    const char *ufrag;       /* the local part of USERNAME, not terminated; or NULL */
    size_t ufrag_length;
    size_t integrity;        /* offset of the MESSAGE-INTEGRITY attribute */
    int use_candidate;
    int is_controlled;       /* carries ICE-CONTROLLED: both sides claim our role */
    uint16_t unknown[STUN_MAX_UNKNOWN]; /* attributes that must be understood and are not */
    int unknown_count;
};

union address { /* of a datagram; IPv4 is AF_INET whatever the socket */
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

int stun_parse(const uint8_t *data, size_t length, struct stun_request *out);
int stun_verify(const struct stun_request *r, const struct mac_state *key); /* 1: authentic */
/* Both write at most STUN_MAX_ANSWER bytes, signed with `key`, and answer how many. */
size_t stun_success(const struct stun_request *r, const union address *from,
                    const struct mac_state *key, uint8_t *out);
size_t stun_error(const struct stun_request *r, int code, const struct mac_state *key,
                  uint8_t *out);

#endif
