/* See crypt.h. This file: choosing a maker, OpenSSL's way, and HMAC-SHA1. */
#define OPENSSL_SUPPRESS_DEPRECATED /* SHA1_Update: EVP cannot restore a keyed state */
#include "crypt.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>

#include "crypt_x86.h"

size_t profile_key_length(int profile) { return profile == PROFILE_GCM_256 ? 32 : 16; }
size_t profile_salt_length(int profile) { return profile == PROFILE_CM_SHA1_80 ? 14 : 12; }
size_t profile_tag_length(int profile) { return profile == PROFILE_CM_SHA1_80 ? 10 : 16; }

int crypt_has_fast(void) { return x86_usable(); }

static const EVP_CIPHER *cipher_of(int profile) {
    switch (profile) {
    case PROFILE_GCM_256: return EVP_aes_256_gcm();
    case PROFILE_GCM_128: return EVP_aes_128_gcm();
    default: return EVP_aes_128_ctr();
    }
}

static int key_aes(struct crypt *c, const EVP_CIPHER *cipher, const uint8_t *key, int plain) {
    if (!plain && x86_usable()) {
        EVP_CIPHER_CTX_free(c->evp);
        c->evp = NULL;
        x86_expand(c, key);
        return 0;
    }
    if (c->evp == NULL)
        c->evp = EVP_CIPHER_CTX_new();
    if (c->evp == NULL || EVP_EncryptInit_ex(c->evp, cipher, NULL, key, NULL) != 1)
        return -1;
    return 0;
}

int crypt_init_counter(struct crypt *c, size_t key_length, const uint8_t *key, int plain) {
    c->profile = PROFILE_CM_SHA1_80;
    c->rounds = key_length == 32 ? 14 : 10;
    return key_aes(c, key_length == 32 ? EVP_aes_256_ctr() : EVP_aes_128_ctr(), key, plain);
}

int crypt_init(struct crypt *c, int profile, const uint8_t *key, const uint8_t *salt,
               const uint8_t *auth, int plain) {
    c->profile = (uint8_t)profile;
    c->rounds = profile == PROFILE_GCM_256 ? 14 : 10;
    memset(c->salt, 0, sizeof c->salt);
    memcpy(c->salt, salt, profile_salt_length(profile));
    if (key_aes(c, cipher_of(profile), key, plain) != 0)
        return -1;
    if (profile == PROFILE_CM_SHA1_80)
        mac_init(&c->auth.mac, auth, 20);
    return 0;
}

void crypt_wipe(struct crypt *c) {
    EVP_CIPHER_CTX_free(c->evp);
    OPENSSL_cleanse(c, sizeof *c);
}

void crypt_seal(struct crypt *c, const uint8_t iv[12], const uint8_t *aad, size_t aad_length,
                const uint8_t *in, size_t length, uint8_t *out, uint8_t tag[16]) {
    if (c->evp == NULL) {
        x86_seal(c, iv, aad, aad_length, in, length, out, tag);
        return;
    }
    int n = 0;
    EVP_EncryptInit_ex(c->evp, NULL, NULL, NULL, iv);
    EVP_EncryptUpdate(c->evp, NULL, &n, aad, (int)aad_length);
    if (length > 0) /* OpenSSL takes an empty last piece for the end */
        EVP_EncryptUpdate(c->evp, out, &n, in, (int)length);
    EVP_EncryptFinal_ex(c->evp, out + length, &n);
    EVP_CIPHER_CTX_ctrl(c->evp, EVP_CTRL_AEAD_GET_TAG, 16, tag);
}

int crypt_open(struct crypt *c, const uint8_t iv[12], const uint8_t *aad, size_t aad_length,
               const uint8_t *in, size_t length, uint8_t *out, const uint8_t tag[16]) {
    if (c->evp == NULL)
        return x86_open(c, iv, aad, aad_length, in, length, out, tag);
    int n = 0;
    uint8_t expected[16], last[16];
    memcpy(expected, tag, 16);
    if (EVP_DecryptInit_ex(c->evp, NULL, NULL, NULL, iv) != 1 ||
        EVP_DecryptUpdate(c->evp, NULL, &n, aad, (int)aad_length) != 1 ||
        (length > 0 && EVP_DecryptUpdate(c->evp, out, &n, in, (int)length) != 1) ||
        EVP_CIPHER_CTX_ctrl(c->evp, EVP_CTRL_AEAD_SET_TAG, 16, expected) != 1 ||
        EVP_DecryptFinal_ex(c->evp, last, &n) != 1)
        return -1;
    return 0;
}

void crypt_counter(struct crypt *c, const uint8_t iv[16], const uint8_t *in, size_t length,
                   uint8_t *out) {
    if (c->evp == NULL) {
        x86_counter(c, iv, in, length, out);
        return;
    }
    int n = 0;
    EVP_EncryptInit_ex(c->evp, NULL, NULL, NULL, iv);
    EVP_EncryptUpdate(c->evp, out, &n, in, (int)length);
}

static void save_state(uint32_t state[5], const SHA_CTX *h) {
    state[0] = h->h0, state[1] = h->h1, state[2] = h->h2, state[3] = h->h3, state[4] = h->h4;
}

static void load_state(SHA_CTX *h, const uint32_t state[5]) {
    SHA1_Init(h);
    h->h0 = state[0], h->h1 = state[1], h->h2 = state[2], h->h3 = state[3], h->h4 = state[4];
    h->Nl = 64 * 8; /* one block is in it */
}

void mac_init(struct mac_state *m, const uint8_t *key, size_t length) {
    uint8_t block[64] = {0};
    SHA_CTX h;
    if (length > sizeof block)
        SHA1(key, length, block);
    else
        memcpy(block, key, length);
    for (size_t i = 0; i < sizeof block; i++)
        block[i] ^= 0x36;
    SHA1_Init(&h);
    SHA1_Update(&h, block, sizeof block);
    save_state(m->inner, &h);
    for (size_t i = 0; i < sizeof block; i++)
        block[i] ^= 0x36 ^ 0x5c;
    SHA1_Init(&h);
    SHA1_Update(&h, block, sizeof block);
    save_state(m->outer, &h);
    OPENSSL_cleanse(block, sizeof block);
}

void mac_sum(const struct mac_state *m, const uint8_t *a, size_t a_length, const uint8_t *b,
             size_t b_length, uint8_t out[20]) {
    SHA_CTX h;
    uint8_t inner[20];
    load_state(&h, m->inner);
    SHA1_Update(&h, a, a_length);
    if (b_length > 0)
        SHA1_Update(&h, b, b_length);
    SHA1_Final(inner, &h);
    load_state(&h, m->outer);
    SHA1_Update(&h, inner, sizeof inner);
    SHA1_Final(out, &h);
}
