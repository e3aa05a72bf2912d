/* See crypt_x86.h. GHASH is computed as POLYVAL on reversed bytes (RFC 8452, appendix A), eight
 * blocks to one reduction; counter blocks go through the rounds eight at a time. */
#include "crypt_x86.h"

#include <openssl/crypto.h>
#include <string.h>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

#include <immintrin.h>

#define FAST __attribute__((target("aes,pclmul,ssse3,sse4.1")))
#define LANES 8

int x86_usable(void) {
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul") &&
           __builtin_cpu_supports("ssse3") && __builtin_cpu_supports("sse4.1");
}

FAST static inline __m128i load(const void *p) { return _mm_loadu_si128(p); }
FAST static inline void store(void *p, __m128i x) { _mm_storeu_si128(p, x); }

FAST static inline __m128i reversed(__m128i x) {
    return _mm_shuffle_epi8(x, _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

/* ---- AES key expansion (FIPS 197, 5.2) */

FAST static inline __m128i mix(__m128i key, __m128i assist) {
    key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
    key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
    return _mm_xor_si128(key, assist);
}

#define NEXT_128(i, rcon)                                                                        \
    k = mix(k, _mm_shuffle_epi32(_mm_aeskeygenassist_si128(k, rcon), 0xff));                     \
    store(c->round_keys[i], k)

#define NEXT_EVEN(i, rcon)                                                                       \
    a = mix(a, _mm_shuffle_epi32(_mm_aeskeygenassist_si128(b, rcon), 0xff));                     \
    store(c->round_keys[i], a)

#define NEXT_ODD(i)                                                                              \
    b = mix(b, _mm_shuffle_epi32(_mm_aeskeygenassist_si128(a, 0), 0xaa));                        \
    store(c->round_keys[i], b)

FAST static void expand_128(struct crypt *c, const uint8_t *key) {
    __m128i k = load(key);
    store(c->round_keys[0], k);
    NEXT_128(1, 0x01);
    NEXT_128(2, 0x02);
    NEXT_128(3, 0x04);
    NEXT_128(4, 0x08);
    NEXT_128(5, 0x10);
    NEXT_128(6, 0x20);
    NEXT_128(7, 0x40);
    NEXT_128(8, 0x80);
    NEXT_128(9, 0x1b);
    NEXT_128(10, 0x36);
}

FAST static void expand_256(struct crypt *c, const uint8_t *key) {
    __m128i a = load(key), b = load(key + 16);
    store(c->round_keys[0], a);
    store(c->round_keys[1], b);
    NEXT_EVEN(2, 0x01);
    NEXT_ODD(3);
    NEXT_EVEN(4, 0x02);
    NEXT_ODD(5);
    NEXT_EVEN(6, 0x04);
    NEXT_ODD(7);
    NEXT_EVEN(8, 0x08);
    NEXT_ODD(9);
    NEXT_EVEN(10, 0x10);
    NEXT_ODD(11);
    NEXT_EVEN(12, 0x20);
    NEXT_ODD(13);
    NEXT_EVEN(14, 0x40);
}

/* ---- AES on eight blocks */

FAST static inline __attribute__((always_inline)) void
encrypt_lanes(const struct crypt *c, __m128i b[LANES], int rounds) {
    __m128i k = load(c->round_keys[0]);
    for (int j = 0; j < LANES; j++)
        b[j] = _mm_xor_si128(b[j], k);
    for (int r = 1; r < rounds; r++) {
        k = load(c->round_keys[r]);
        for (int j = 0; j < LANES; j++)
            b[j] = _mm_aesenc_si128(b[j], k);
    }
    k = load(c->round_keys[rounds]);
    for (int j = 0; j < LANES; j++)
        b[j] = _mm_aesenclast_si128(b[j], k);
}

/* Keystream of eight counter blocks that begin at `counter`. */
FAST static inline __attribute__((always_inline)) void
keystream(const struct crypt *c, __m128i iv, uint32_t counter, __m128i b[LANES]) {
    for (int j = 0; j < LANES; j++)
        b[j] = _mm_insert_epi32(iv, (int)__builtin_bswap32(counter + (uint32_t)j), 3);
    if (c->rounds == 10)
        encrypt_lanes(c, b, 10);
    else
        encrypt_lanes(c, b, 14);
}

/* XORs up to a block; a short one is read and written byte by byte at its end. */
FAST static inline __m128i xor_block(__m128i key, const uint8_t *in, size_t n, uint8_t *out) {
    if (n >= 16) {
        __m128i x = _mm_xor_si128(key, load(in));
        store(out, x);
        return x;
    }
    uint8_t block[16] = {0}, stream[16];
    store(stream, key);
    memcpy(block, in, n);
    for (size_t i = 0; i < n; i++)
        block[i] ^= stream[i];
    memcpy(out, block, n);
    return load(block);
}

/* ---- GHASH */

/* Multiplies by x in POLYVAL's field. */
FAST static __m128i times_x(__m128i h) {
    __m128i carry = _mm_srai_epi32(_mm_shuffle_epi32(h, 0xff), 31); /* all ones if bit 127 */
    __m128i up = _mm_slli_si128(_mm_srli_epi64(h, 63), 8);
    __m128i poly = _mm_set_epi32((int)0xc2000000, 0, 0, 1);
    return _mm_xor_si128(_mm_or_si128(_mm_slli_epi64(h, 1), up), _mm_and_si128(carry, poly));
}

struct product {
    __m128i low, middle, high;
};

FAST static inline void add_product(struct product *p, __m128i a, __m128i b) {
    p->low = _mm_xor_si128(p->low, _mm_clmulepi64_si128(a, b, 0x00));
    p->high = _mm_xor_si128(p->high, _mm_clmulepi64_si128(a, b, 0x11));
    p->middle = _mm_xor_si128(p->middle, _mm_xor_si128(_mm_clmulepi64_si128(a, b, 0x10),
                                                       _mm_clmulepi64_si128(a, b, 0x01)));
}

FAST static inline __m128i reduced(struct product p) {
    const __m128i poly = _mm_set_epi32((int)0xc2000000, 0, 0, 1);
    __m128i low = _mm_xor_si128(p.low, _mm_slli_si128(p.middle, 8));
    __m128i high = _mm_xor_si128(p.high, _mm_srli_si128(p.middle, 8));
    for (int i = 0; i < 2; i++)
        low = _mm_xor_si128(_mm_shuffle_epi32(low, 78), _mm_clmulepi64_si128(low, poly, 0x10));
    return _mm_xor_si128(high, low);
}

/* POLYVAL of `n` blocks that are byte-reversed already, up to eight to one reduction. */
FAST static __m128i polyval(const struct crypt *c, const __m128i *x, size_t n) {
    __m128i sum = _mm_setzero_si128();
    while (n > 0) {
        size_t k = n > LANES ? LANES : n;
        struct product p = {_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128()};
        add_product(&p, _mm_xor_si128(x[0], sum), load(c->auth.powers[k - 1]));
        for (size_t i = 1; i < k; i++)
            add_product(&p, x[i], load(c->auth.powers[k - 1 - i]));
        sum = reduced(p);
        x += k;
        n -= k;
    }
    return sum;
}

FAST void x86_expand(struct crypt *c, const uint8_t *key) {
    if (c->rounds == 14)
        expand_256(c, key);
    else
        expand_128(c, key);
    if (c->profile == PROFILE_CM_SHA1_80)
        return;
    __m128i b[LANES];
    for (int j = 0; j < LANES; j++)
        b[j] = _mm_setzero_si128();
    encrypt_lanes(c, b, c->rounds);
    __m128i h = times_x(reversed(b[0])), power = h;
    store(c->auth.powers[0], h);
    for (int i = 1; i < LANES; i++) {
        struct product p = {_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128()};
        add_product(&p, power, h);
        power = reduced(p);
        store(c->auth.powers[i], power);
    }
}

/* ---- GCM. The block array holds additional data, ciphertext and lengths. */

enum { MAX_BLOCKS = 2 * (MAX_DATAGRAM / 16) + 3 };

FAST static size_t put_blocks(__m128i *x, const uint8_t *data, size_t length) {
    size_t n = 0;
    for (; length >= 16; length -= 16, data += 16)
        x[n++] = reversed(load(data));
    if (length > 0) {
        uint8_t block[16] = {0};
        memcpy(block, data, length);
        x[n++] = reversed(load(block));
    }
    return n;
}

FAST static inline __m128i lengths(size_t aad_length, size_t length) {
    return _mm_set_epi64x((long long)(aad_length * 8), (long long)(length * 8));
}

FAST static inline __m128i load_iv(const uint8_t iv[12]) {
    uint8_t block[16] = {0};
    memcpy(block, iv, 12);
    return load(block);
}

/* Keystream block 0 makes the tag (J0, counter 1); the data follow. Ciphertext blocks are put
 * into `x` where that is not NULL. */
FAST static __m128i run_counter(const struct crypt *c, __m128i iv, const uint8_t *in,
                                size_t length, uint8_t *out, __m128i *x) {
    __m128i b[LANES], first;
    keystream(c, iv, 1, b);
    first = b[0];
    uint32_t counter = 1;
    for (int j = 1; length > 0; j++) {
        if (j == LANES) {
            counter += LANES;
            keystream(c, iv, counter, b);
            j = 0;
        }
        size_t n = length < 16 ? length : 16;
        __m128i y = xor_block(b[j], in, n, out);
        if (x != NULL)
            *x++ = reversed(y);
        in += n, out += n, length -= n;
    }
    return first;
}

FAST void x86_seal(const struct crypt *c, const uint8_t iv[12], const uint8_t *aad,
                   size_t aad_length, const uint8_t *in, size_t length, uint8_t *out,
                   uint8_t tag[16]) {
    __m128i x[MAX_BLOCKS];
    size_t n = put_blocks(x, aad, aad_length);
    __m128i first = run_counter(c, load_iv(iv), in, length, out, x + n);
    n += (length + 15) / 16;
    x[n++] = lengths(aad_length, length);
    store(tag, _mm_xor_si128(first, reversed(polyval(c, x, n))));
}

FAST int x86_open(const struct crypt *c, const uint8_t iv[12], const uint8_t *aad,
                  size_t aad_length, const uint8_t *in, size_t length, uint8_t *out,
                  const uint8_t tag[16]) {
    __m128i x[MAX_BLOCKS], b[LANES];
    uint8_t expected[16];
    size_t n = put_blocks(x, aad, aad_length);
    n += put_blocks(x + n, in, length);
    x[n++] = lengths(aad_length, length);
    keystream(c, load_iv(iv), 1, b);
    store(expected, _mm_xor_si128(b[0], reversed(polyval(c, x, n))));
    if (CRYPTO_memcmp(expected, tag, 16) != 0)
        return -1;
    run_counter(c, load_iv(iv), in, length, out, NULL);
    return 0;
}

FAST void x86_counter(const struct crypt *c, const uint8_t iv[16], const uint8_t *in,
                      size_t length, uint8_t *out) {
    __m128i base = load(iv), b[LANES];
    uint32_t high = (uint32_t)iv[12] << 24 | (uint32_t)iv[13] << 16, counter = 0;
    for (int j = LANES; length > 0; j++) {
        if (j == LANES) {
            keystream(c, base, high | counter, b);
            counter += LANES;
            j = 0;
        }
        size_t n = length < 16 ? length : 16;
        xor_block(b[j], in, n, out);
        in += n, out += n, length -= n;
    }
}

#else

int x86_usable(void) { return 0; }
void x86_expand(struct crypt *c, const uint8_t *key) { (void)c, (void)key; }
void x86_seal(const struct crypt *c, const uint8_t iv[12], const uint8_t *aad, size_t aad_length,
              const uint8_t *in, size_t length, uint8_t *out, uint8_t tag[16]) {
    (void)c, (void)iv, (void)aad, (void)aad_length, (void)in, (void)length, (void)out, (void)tag;
}
int x86_open(const struct crypt *c, const uint8_t iv[12], const uint8_t *aad, size_t aad_length,
             const uint8_t *in, size_t length, uint8_t *out, const uint8_t tag[16]) {
    (void)c, (void)iv, (void)aad, (void)aad_length, (void)in, (void)length, (void)out, (void)tag;
    return -1;
}
void x86_counter(const struct crypt *c, const uint8_t iv[16], const uint8_t *in, size_t length,
                 uint8_t *out) {
    (void)c, (void)iv, (void)in, (void)length, (void)out;
}

#endif
