/* See srtp.h. Section numbers are RFC 3711's unless RFC 7714 is named. */
#include "srtp.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

/* ---- keys (4.3) */

/* The derivation function is AES in counter mode under the master key, of 128 or 256 bits. */
static void derive(struct crypt *prf, const uint8_t *salt, size_t salt_length, uint8_t label,
                   uint8_t *out, size_t length) {
    static const uint8_t zeros[32];
    uint8_t iv[16] = {0};
    memcpy(iv, salt, salt_length); /* RFC 7714, section 11: twelve bytes, padded at the end */
    iv[7] ^= label;
    crypt_counter(prf, iv, zeros, length, out);
}

int derive_keys(struct session_keys *k, int profile, const uint8_t *master, int plain) {
    size_t key_length = profile_key_length(profile), salt_length = profile_salt_length(profile);
    const uint8_t *salt = master + key_length;
    struct crypt prf;
    memset(&prf, 0, sizeof prf);
    memset(k, 0, sizeof *k);
    if (crypt_init_counter(&prf, key_length, master, plain) != 0) {
        crypt_wipe(&prf);
        return -1;
    }
    struct session_key *keys[2] = {&k->rtp, &k->rtcp};
    for (int i = 0; i < 2; i++) {
        uint8_t label = (uint8_t)(3 * i);
        derive(&prf, salt, salt_length, label, keys[i]->key, key_length);
        derive(&prf, salt, salt_length, (uint8_t)(label + 1), keys[i]->auth, 20);
        derive(&prf, salt, salt_length, (uint8_t)(label + 2), keys[i]->salt, salt_length);
    }
    k->profile = (uint8_t)profile;
    crypt_wipe(&prf);
    return 0;
}

int key_crypt(struct crypt *c, int profile, const struct session_key *k, int plain) {
    return crypt_init(c, profile, k->key, k->salt, k->auth, plain);
}

/* ---- headers */

size_t rtp_header_length(const uint8_t *packet, size_t length) {
    if (length < 12 || packet[0] >> 6 != 2)
        return 0;
    size_t header = 12 + 4 * (size_t)(packet[0] & 15);
    if (packet[0] & 0x10) {
        if (header + 4 > length)
            return 0;
        header += 4 + 4 * (size_t)read_16(packet + header + 2);
    }
    return header <= length ? header : 0;
}

/* RFC 7714, 8.1: 00 00, SSRC, roll-over counter, sequence number; XOR the salt. */
static void gcm_rtp_iv(const struct crypt *c, const uint8_t ssrc[4], uint64_t index,
                       uint8_t iv[12]) {
    iv[0] = iv[1] = 0;
    memcpy(iv + 2, ssrc, 4);
    write_32(iv + 6, (uint32_t)(index >> 16));
    write_16(iv + 10, (uint16_t)index);
    for (int i = 0; i < 12; i++)
        iv[i] ^= c->salt[i];
}

/* RFC 7714, 9.1: 00 00, SSRC, 00 00, index; XOR the salt. */
static void gcm_rtcp_iv(const struct crypt *c, const uint8_t ssrc[4], uint32_t index,
                        uint8_t iv[12]) {
    memset(iv, 0, 8);
    memcpy(iv + 2, ssrc, 4);
    write_32(iv + 8, index);
    for (int i = 0; i < 12; i++)
        iv[i] ^= c->salt[i];
}

/* 4.1.1: salt * 2^16 XOR SSRC * 2^64 XOR index * 2^16. */
static void counter_iv(const struct crypt *c, const uint8_t ssrc[4], uint64_t index,
                       uint8_t iv[16]) {
    memcpy(iv, c->salt, 14);
    iv[14] = iv[15] = 0;
    for (int i = 0; i < 4; i++)
        iv[4 + i] ^= ssrc[i];
    for (int i = 0; i < 6; i++)
        iv[8 + i] ^= (uint8_t)(index >> (40 - 8 * i));
}

/* ---- protecting */

size_t protect_rtp(struct crypt *c, const uint8_t *packet, size_t header, size_t length,
                   uint64_t index, int payload_type, uint8_t *out) {
    size_t payload = length - header;
    memcpy(out, packet, header);
    if (payload_type >= 0)
        out[1] = (uint8_t)((out[1] & 0x80) | payload_type);
    write_16(out + 2, (uint16_t)index);
    if (c->profile != PROFILE_CM_SHA1_80) {
        uint8_t iv[12];
        gcm_rtp_iv(c, out + 8, index, iv);
        crypt_seal(c, iv, out, header, packet + header, payload, out + header, out + length);
        return length + 16;
    }
    uint8_t iv[16], roc[4], mac[20];
    counter_iv(c, out + 8, index, iv);
    crypt_counter(c, iv, packet + header, payload, out + header);
    write_32(roc, (uint32_t)(index >> 16));
    mac_sum(&c->auth.mac, out, length, roc, 4, mac);
    memcpy(out + length, mac, 10);
    return length + 10;
}

size_t protect_rtcp(struct crypt *c, const uint8_t *packet, size_t length, uint32_t index,
                    uint8_t *out) {
    uint8_t trailer[4];
    write_32(trailer, index | 0x80000000u);
    memcpy(out, packet, 8);
    if (c->profile != PROFILE_CM_SHA1_80) {
        uint8_t iv[12], aad[12];
        memcpy(aad, packet, 8);
        memcpy(aad + 8, trailer, 4);
        gcm_rtcp_iv(c, packet + 4, index, iv);
        crypt_seal(c, iv, aad, 12, packet + 8, length - 8, out + 8, out + length);
        memcpy(out + length + 16, trailer, 4);
        return length + 20;
    }
    uint8_t iv[16], mac[20];
    counter_iv(c, packet + 4, index, iv);
    crypt_counter(c, iv, packet + 8, length - 8, out + 8);
    memcpy(out + length, trailer, 4);
    mac_sum(&c->auth.mac, out, length + 4, NULL, 0, mac);
    memcpy(out + length + 4, mac, 10);
    return length + 14;
}

/* ---- the replay window (3.3.2) and the packet index (3.3.1, appendix A) */

static int replayed(const struct replay *r, uint64_t index) {
    if (!r->started || index > r->highest)
        return 0;
    uint64_t age = r->highest - index;
    return age >= 128 || (r->window[age >> 6] >> (age & 63) & 1);
}

static void note_index(struct replay *r, uint64_t index) {
    if (!r->started) {
        r->started = 1;
        r->highest = index;
        r->window[0] = 1, r->window[1] = 0;
        return;
    }
    if (index <= r->highest) {
        uint64_t age = r->highest - index;
        r->window[age >> 6] |= 1ull << (age & 63);
        return;
    }
    uint64_t ahead = index - r->highest;
    if (ahead >= 128) {
        r->window[0] = r->window[1] = 0;
    } else if (ahead >= 64) {
        r->window[1] = r->window[0] << (ahead - 64);
        r->window[0] = 0;
    } else {
        r->window[1] = r->window[1] << ahead | r->window[0] >> (64 - ahead);
        r->window[0] <<= ahead;
    }
    r->window[0] |= 1;
    r->highest = index;
}

static uint64_t guess_index(const struct replay *r, uint16_t sequence) {
    if (!r->started)
        return sequence;
    uint64_t roc = r->highest >> 16;
    int32_t ahead = (int32_t)sequence - (int32_t)(r->highest & 0xffff);
    if (ahead > 0x8000 && roc > 0)
        roc--;
    else if (ahead < -0x8000)
        roc++;
    return roc << 16 | sequence;
}

static struct stream *find_stream(struct stream *s, uint32_t ssrc) {
    while (s != NULL && s->ssrc != ssrc)
        s = s->next;
    return s;
}

/* The stream of an SSRC that was just authenticated; NULL if it has too many of them. */
static struct stream *need_stream(struct stream **streams, uint32_t ssrc) {
    int n = 0;
    for (struct stream *s = *streams; s != NULL; s = s->next, n++)
        if (s->ssrc == ssrc)
            return s;
    struct stream *s = n < MAX_STREAMS ? calloc(1, sizeof *s) : NULL;
    if (s != NULL) {
        s->ssrc = ssrc;
        s->next = *streams;
        *streams = s;
    }
    return s;
}

void free_streams(struct stream **streams) {
    while (*streams != NULL) {
        struct stream *s = *streams;
        *streams = s->next;
        free(s);
    }
}

/* ---- unprotecting: replay first, as it costs nothing; state changes only after the tag */

int unprotect_rtp(struct crypt *c, struct stream **streams, uint8_t *packet, size_t length) {
    size_t tag = profile_tag_length(c->profile);
    if (length < 12 + tag)
        return SRTP_MALFORMED;
    length -= tag;
    size_t header = rtp_header_length(packet, length);
    if (header == 0)
        return SRTP_MALFORMED;
    static const struct replay fresh;
    struct stream *s = find_stream(*streams, read_32(packet + 8));
    const struct replay *known = s != NULL ? &s->rtp : &fresh;
    uint64_t index = guess_index(known, read_16(packet + 2));
    if (replayed(known, index))
        return SRTP_REPLAY;
    uint8_t *payload = packet + header;
    if (c->profile != PROFILE_CM_SHA1_80) {
        uint8_t iv[12];
        gcm_rtp_iv(c, packet + 8, index, iv);
        if (crypt_open(c, iv, packet, header, payload, length - header, payload,
                       packet + length) != 0)
            return SRTP_AUTH;
    } else {
        uint8_t iv[16], roc[4], mac[20];
        write_32(roc, (uint32_t)(index >> 16));
        mac_sum(&c->auth.mac, packet, length, roc, 4, mac);
        if (CRYPTO_memcmp(mac, packet + length, 10) != 0)
            return SRTP_AUTH;
        counter_iv(c, packet + 8, index, iv);
        crypt_counter(c, iv, payload, length - header, payload);
    }
    s = need_stream(streams, read_32(packet + 8));
    if (s == NULL)
        return SRTP_TOO_MANY;
    note_index(&s->rtp, index);
    return (int)length;
}

int unprotect_rtcp(struct crypt *c, struct stream **streams, uint8_t *packet, size_t length) {
    size_t tag = profile_tag_length(c->profile);
    if (length < 8 + 4 + tag || packet[0] >> 6 != 2)
        return SRTP_MALFORMED;
    int gcm = c->profile != PROFILE_CM_SHA1_80;
    length -= 4 + tag;
    /* the index stands after the tag in RFC 7714's layout, before it in RFC 3711's */
    const uint8_t *trailer = packet + length + (gcm ? tag : 0);
    uint32_t word = read_32(trailer), index = word & 0x7fffffff;
    if (word == index) /* unencrypted: never negotiated in WebRTC */
        return SRTP_AUTH;
    struct stream *s = find_stream(*streams, read_32(packet + 4));
    if (s != NULL && replayed(&s->rtcp, index))
        return SRTP_REPLAY;
    if (gcm) {
        uint8_t iv[12], aad[12];
        memcpy(aad, packet, 8);
        memcpy(aad + 8, trailer, 4);
        gcm_rtcp_iv(c, packet + 4, index, iv);
        if (crypt_open(c, iv, aad, 12, packet + 8, length - 8, packet + 8, packet + length) != 0)
            return SRTP_AUTH;
    } else {
        uint8_t iv[16], mac[20];
        mac_sum(&c->auth.mac, packet, length + 4, NULL, 0, mac);
        if (CRYPTO_memcmp(mac, packet + length + 4, 10) != 0)
            return SRTP_AUTH;
        counter_iv(c, packet + 4, index, iv);
        crypt_counter(c, iv, packet + 8, length - 8, packet + 8);
    }
    s = need_stream(streams, read_32(packet + 4));
    if (s == NULL)
        return SRTP_TOO_MANY;
    note_index(&s->rtcp, index);
    return (int)length;
}

/* ---- one direction by itself (core.h) */

struct srtp {
    struct crypt rtp, rtcp;
    struct session_keys keys;
    struct stream *streams;
};

static srtp *keyed(const struct session_keys *keys, int plain) {
    srtp *s = aligned_alloc(16, (sizeof *s + 15) / 16 * 16);
    if (s == NULL)
        return NULL;
    memset(s, 0, sizeof *s);
    s->keys = *keys;
    if (key_crypt(&s->rtp, keys->profile, &keys->rtp, plain) != 0 ||
        key_crypt(&s->rtcp, keys->profile, &keys->rtcp, plain) != 0) {
        srtp_delete(s);
        return NULL;
    }
    return s;
}

srtp *srtp_new(int profile, const uint8_t *master, size_t length, int plain_crypto) {
    struct session_keys keys;
    if (profile < PROFILE_GCM_256 || profile > PROFILE_CM_SHA1_80 ||
        length != profile_key_length(profile) + profile_salt_length(profile) ||
        derive_keys(&keys, profile, master, plain_crypto) != 0)
        return NULL;
    return keyed(&keys, plain_crypto);
}

srtp *srtp_new_raw(int profile, const uint8_t *key, const uint8_t *salt, const uint8_t *auth,
                   int plain_crypto) {
    struct session_keys keys;
    memset(&keys, 0, sizeof keys);
    keys.profile = (uint8_t)profile;
    memcpy(keys.rtp.key, key, profile_key_length(profile));
    memcpy(keys.rtp.salt, salt, profile_salt_length(profile));
    if (auth != NULL)
        memcpy(keys.rtp.auth, auth, sizeof keys.rtp.auth);
    keys.rtcp = keys.rtp;
    return keyed(&keys, plain_crypto);
}

void srtp_delete(srtp *s) {
    if (s == NULL)
        return;
    free_streams(&s->streams);
    crypt_wipe(&s->rtp);
    crypt_wipe(&s->rtcp);
    OPENSSL_cleanse(&s->keys, sizeof s->keys);
    free(s);
}

int srtp_protect_rtp(srtp *s, const uint8_t *packet, size_t length, uint64_t index, uint8_t *out) {
    size_t header = rtp_header_length(packet, length);
    if (header == 0 || length > MAX_DATAGRAM - SRTP_OVERHEAD)
        return SRTP_MALFORMED;
    return (int)protect_rtp(&s->rtp, packet, header, length, index, -1, out);
}

int srtp_unprotect_rtp(srtp *s, const uint8_t *packet, size_t length, uint8_t *out) {
    if (length > MAX_DATAGRAM)
        return SRTP_MALFORMED;
    memcpy(out, packet, length);
    return unprotect_rtp(&s->rtp, &s->streams, out, length);
}

int srtp_protect_rtcp(srtp *s, const uint8_t *packet, size_t length, uint32_t index,
                      uint8_t *out) {
    if (length < 8 || length > MAX_DATAGRAM - SRTP_OVERHEAD)
        return SRTP_MALFORMED;
    return (int)protect_rtcp(&s->rtcp, packet, length, index, out);
}

int srtp_unprotect_rtcp(srtp *s, const uint8_t *packet, size_t length, uint8_t *out) {
    if (length > MAX_DATAGRAM)
        return SRTP_MALFORMED;
    memcpy(out, packet, length);
    return unprotect_rtcp(&s->rtcp, &s->streams, out, length);
}

void srtp_session_keys(srtp *s, int rtcp, uint8_t *key, uint8_t *salt, uint8_t *auth) {
    const struct session_key *k = rtcp ? &s->keys.rtcp : &s->keys.rtp;
    memcpy(key, k->key, sizeof k->key);
    memcpy(salt, k->salt, sizeof k->salt);
    memcpy(auth, k->auth, sizeof k->auth);
}
