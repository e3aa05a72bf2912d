/* AES-NI and PCLMULQDQ. Constant time by construction: no tables, no branches on secrets. */
#ifndef CHATROOM_CRYPT_X86_H
#define CHATROOM_CRYPT_X86_H

#include "crypt.h"

int x86_usable(void); /* 0 on other machines; nothing below may be called then */
void x86_expand(struct crypt *c, const uint8_t *key);
void x86_seal(const struct crypt *c, const uint8_t iv[12], const uint8_t *aad, size_t aad_length,
              const uint8_t *in, size_t length, uint8_t *out, uint8_t tag[16]);
int x86_open(const struct crypt *c, const uint8_t iv[12], const uint8_t *aad, size_t aad_length,
             const uint8_t *in, size_t length, uint8_t *out, const uint8_t tag[16]);
void x86_counter(const struct crypt *c, const uint8_t iv[16], const uint8_t *in, size_t length,
                 uint8_t *out);

#endif
