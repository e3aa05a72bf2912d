/* See stun.h. */
#include "stun.h"

#include <openssl/crypto.h>
#include <string.h>

#include "srtp.h" /* read_16 and its kin */

#define COOKIE 0x2112a442u

enum { /* attributes (RFC 8489, 18.3; RFC 8445, 16.1) */
    MAPPED_ADDRESS = 0x0001, USERNAME = 0x0006, MESSAGE_INTEGRITY = 0x0008, ERROR_CODE = 0x0009,
    UNKNOWN_ATTRIBUTES = 0x000a, REALM = 0x0014, NONCE = 0x0015,
    MESSAGE_INTEGRITY_SHA256 = 0x001c, PASSWORD_ALGORITHM = 0x001d, USERHASH = 0x001e,
    XOR_MAPPED_ADDRESS = 0x0020, PRIORITY = 0x0024, USE_CANDIDATE = 0x0025,
    FINGERPRINT = 0x8028, ICE_CONTROLLED = 0x8029,
};

/* CRC-32 of ITU V.42, bit by bit: 100 bytes of it are 0.4 us, eight times a minute and peer. */
static uint32_t crc(const uint8_t *data, size_t length) {
    uint32_t c = 0xffffffffu;
    for (size_t i = 0; i < length; i++) {
        c ^= data[i];
        for (int k = 0; k < 8; k++)
            c = c >> 1 ^ (0xedb88320u & (0u - (c & 1)));
    }
    return ~c;
}

static int understood(uint16_t type) {
    switch (type) {
    case MAPPED_ADDRESS: case USERNAME: case MESSAGE_INTEGRITY: case ERROR_CODE:
    case UNKNOWN_ATTRIBUTES: case REALM: case NONCE: case MESSAGE_INTEGRITY_SHA256:
    case PASSWORD_ALGORITHM: case USERHASH: case XOR_MAPPED_ADDRESS: case PRIORITY:
    case USE_CANDIDATE:
        return 1;
    default:
        return type >= 0x8000; /* comprehension-optional */
    }
}

static void take_username(struct stun_request *out, const uint8_t *value, size_t length) {
    const uint8_t *colon = length > 0 ? memchr(value, ':', length) : NULL;
    out->ufrag = (const char *)value;
    out->ufrag_length = colon != NULL ? (size_t)(colon - value) : length;
}

int stun_parse(const uint8_t *data, size_t length, struct stun_request *out) {
    memset(out, 0, sizeof *out);
    if (length < 20 || length % 4 != 0 || read_16(data + 2) != length - 20 ||
        read_32(data + 4) != COOKIE)
        return STUN_MALFORMED;
    if (read_16(data) == 0x0011)
        return STUN_INDICATION;
    if (read_16(data) != 0x0001)
        return STUN_MALFORMED;
    out->data = data;
    out->length = length;
    for (size_t at = 20; at < length;) {
        uint16_t type = read_16(data + at);
        size_t size = read_16(data + at + 2);
        const uint8_t *value = data + at + 4;
        if (size > length - at - 4)
            return STUN_MALFORMED;
        if (type == FINGERPRINT) {
            if (size != 4 || at + 8 != length ||
                read_32(value) != (crc(data, at) ^ 0x5354554eu))
                return STUN_MALFORMED;
        } else if (out->integrity != 0) {
            /* what stands between integrity and fingerprint is not protected: ignored */
        } else if (type == MESSAGE_INTEGRITY) {
            if (size != 20)
                return STUN_MALFORMED;
            out->integrity = at;
        } else if (type == USERNAME) {
            take_username(out, value, size);
        } else if (type == USE_CANDIDATE) {
            out->use_candidate = 1;
        } else if (type == ICE_CONTROLLED) {
            out->is_controlled = 1;
        } else if (!understood(type) && out->unknown_count < STUN_MAX_UNKNOWN) {
            out->unknown[out->unknown_count++] = type;
        }
        at += 4 + (size + 3) / 4 * 4;
    }
    return STUN_REQUEST;
}

int stun_verify(const struct stun_request *r, const struct mac_state *key) {
    if (r->integrity == 0)
        return 0;
    uint8_t header[20], mac[20];
    memcpy(header, r->data, sizeof header);
    write_16(header + 2, (uint16_t)(r->integrity + 24 - 20)); /* as if it were the last */
    mac_sum(key, header, sizeof header, r->data + 20, r->integrity - 20, mac);
    return CRYPTO_memcmp(mac, r->data + r->integrity + 4, 20) == 0;
}

static size_t begin(const struct stun_request *r, uint16_t type, uint8_t *out) {
    write_16(out, type);
    memcpy(out + 4, r->data + 4, 16);
    return 20;
}

static uint8_t *attribute(uint8_t *out, size_t *at, uint16_t type, size_t size) {
    uint8_t *value = out + *at + 4;
    write_16(out + *at, type);
    write_16(out + *at + 2, (uint16_t)size);
    memset(value, 0, (size + 3) / 4 * 4);
    *at += 4 + (size + 3) / 4 * 4;
    return value;
}

static size_t finish(uint8_t *out, size_t at, const struct mac_state *key) {
    size_t before = at;
    uint8_t *value = attribute(out, &at, MESSAGE_INTEGRITY, 20);
    write_16(out + 2, (uint16_t)(at - 20));
    mac_sum(key, out, before, NULL, 0, value);
    before = at;
    value = attribute(out, &at, FINGERPRINT, 4);
    write_16(out + 2, (uint16_t)(at - 20));
    write_32(value, crc(out, before) ^ 0x5354554eu);
    return at;
}

size_t stun_success(const struct stun_request *r, const union address *from,
                    const struct mac_state *key, uint8_t *out) {
    size_t at = begin(r, 0x0101, out);
    int v6 = from->any.sa_family == AF_INET6;
    uint8_t *value = attribute(out, &at, XOR_MAPPED_ADDRESS, v6 ? 20 : 8);
    const void *ip = v6 ? (const void *)&from->v6.sin6_addr : (const void *)&from->v4.sin_addr;
    value[1] = v6 ? 2 : 1;
    write_16(value + 2, (uint16_t)(ntohs(v6 ? from->v6.sin6_port : from->v4.sin_port) ^
                                   (COOKIE >> 16)));
    memcpy(value + 4, ip, v6 ? 16 : 4);
    for (int i = 0; i < (v6 ? 16 : 4); i++)
        value[4 + i] ^= r->data[4 + i]; /* cookie and transaction id, as they stand there */
    return finish(out, at, key);
}

size_t stun_error(const struct stun_request *r, int code, const struct mac_state *key,
                  uint8_t *out) {
    const char *reason = code == 487 ? "Role Conflict" : "Unknown Attribute";
    size_t at = begin(r, 0x0111, out), size = strlen(reason);
    uint8_t *value = attribute(out, &at, ERROR_CODE, 4 + size);
    value[2] = (uint8_t)(code / 100);
    value[3] = (uint8_t)(code % 100);
    memcpy(value + 4, reason, size);
    if (code == 420) {
        value = attribute(out, &at, UNKNOWN_ATTRIBUTES, 2 * (size_t)r->unknown_count);
        for (int i = 0; i < r->unknown_count; i++)
            write_16(value + 2 * i, r->unknown[i]);
    }
    return finish(out, at, key);
}
