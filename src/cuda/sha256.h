/* sha256.h - SHA-256 (FIPS 180-4), for the keys and the checksums of the kernel cache. */
#ifndef FASC_SHA256_H
#define FASC_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct fasc_sha256 {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t block[64];
} fasc_sha256;

void fasc_sha256_begin(fasc_sha256 *sha);
void fasc_sha256_add(fasc_sha256 *sha, const void *data, size_t bytes);
void fasc_sha256_end(fasc_sha256 *sha, uint8_t digest[32]);

/* 64 hexadecimal digits and a 0. */
void fasc_sha256_hex(const uint8_t digest[32], char text[65]);

#endif
