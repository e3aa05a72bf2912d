/* AES in the two modes that SRTP wants, and HMAC-SHA1, keyed once and used for many packets.
 *
 * Two makers of the same bytes: AES-NI and PCLMULQDQ where the processor has them, with the
 * whole keyed state in this struct (no allocation, nothing shared between listeners), and
 * OpenSSL's EVP everywhere else. OpenSSL's own GCM is as quick per byte, but setting the IV of
 * a keyed context costs more than a packet of speech does, and a context takes 1.2 KB. */
#ifndef CHATROOM_CRYPT_H
#define CHATROOM_CRYPT_H

#include <stddef.h>
#include <stdint.h>

#define MAX_DATAGRAM 2048 /* longer ones are not speech; GHASH's block array relies on it */

enum { PROFILE_GCM_256 = 0, PROFILE_GCM_128 = 1, PROFILE_CM_SHA1_80 = 2 };

struct mac_state { /* SHA-1 after the padded key: RFC 2104's two halves */
    uint32_t inner[5], outer[5];
};

struct crypt {
    _Alignas(16) uint8_t round_keys[15][16];
    union {
        uint8_t powers[8][16]; /* GCM: H to H^8 in POLYVAL's form (RFC 8452, appendix A) */
        struct mac_state mac;  /* AES-CM */
    } auth;
    void *evp;                 /* EVP_CIPHER_CTX where round_keys are not used, else NULL */
    uint8_t salt[14];
    uint8_t rounds;            /* 10 or 14 */
    uint8_t profile;
};

/* Length of the cipher key, of the salt and of the tag of a profile. */
size_t profile_key_length(int profile);
size_t profile_salt_length(int profile);
size_t profile_tag_length(int profile);

int crypt_has_fast(void);
/* Keys `c`; a `c` that was keyed before is keyed anew. `auth` is 20 bytes, for AES-CM only.
 * Answers 0, or -1 if OpenSSL refuses. */
int crypt_init(struct crypt *c, int profile, const uint8_t *key, const uint8_t *salt,
               const uint8_t *auth, int plain);
/* For key derivation: counter mode only, with a key of 16 or 32 bytes. */
int crypt_init_counter(struct crypt *c, size_t key_length, const uint8_t *key, int plain);
void crypt_wipe(struct crypt *c);

/* AES-GCM (NIST SP 800-38D) with a 12-byte IV and a 16-byte tag; `in` may be `out`. */
void crypt_seal(struct crypt *c, const uint8_t iv[12], const uint8_t *aad, size_t aad_length,
                const uint8_t *in, size_t length, uint8_t *out, uint8_t tag[16]);
/* -1 if the tag is wrong; then `out` is not to be used. */
int crypt_open(struct crypt *c, const uint8_t iv[12], const uint8_t *aad, size_t aad_length,
               const uint8_t *in, size_t length, uint8_t *out, const uint8_t tag[16]);
/* XORs the AES-CM keystream of RFC 3711, section 4.1.1; `iv` ends in two zero bytes. */
void crypt_counter(struct crypt *c, const uint8_t iv[16], const uint8_t *in, size_t length,
                   uint8_t *out);

/* HMAC-SHA1 over two pieces. */
void mac_init(struct mac_state *m, const uint8_t *key, size_t length);
void mac_sum(const struct mac_state *m, const uint8_t *a, size_t a_length, const uint8_t *b,
             size_t b_length, uint8_t out[20]);

#endif
