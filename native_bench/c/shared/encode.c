#include "encode.h"

#include <string.h>

#define BLOCK_BYTES 64
#define LENGTH_BYTES 8

static uint32_t rotate(uint32_t word, int bits)
{
    return word << bits | word >> (32 - bits);
}

static void sha1_block(uint32_t state[5], const uint8_t *block)
{
    uint32_t w[80];
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];

    for (int t = 0; t < 16; t++) {
        w[t] = (uint32_t) block[4 * t] << 24 | (uint32_t) block[4 * t + 1] << 16
               | (uint32_t) block[4 * t + 2] << 8 | block[4 * t + 3];
    }
    for (int t = 16; t < 80; t++) {
        w[t] = rotate(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
    }
    for (int t = 0; t < 80; t++) {
        uint32_t mixed, k, next;

        if (t < 20) {
            mixed = (b & c) | (~b & d);
            k = 0x5a827999;
        } else if (t < 40) {
            mixed = b ^ c ^ d;
            k = 0x6ed9eba1;
        } else if (t < 60) {
            mixed = (b & c) | (b & d) | (c & d);
            k = 0x8f1bbcdc;
        } else {
            mixed = b ^ c ^ d;
            k = 0xca62c1d6;
        }
        next = rotate(a, 5) + mixed + e + k + w[t];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
}

void sha1(const void *message, size_t size, uint8_t digest[SHA1_BYTES])
{
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t padded[2 * BLOCK_BYTES] = {0};
    size_t blocks = (size + 1 + LENGTH_BYTES + BLOCK_BYTES - 1) / BLOCK_BYTES;

    if (blocks > 2) {
        die("SHA-1 of %zu bytes", size);
    }
    memcpy(padded, message, size);
    padded[size] = 0x80;
    for (size_t i = 0; i < LENGTH_BYTES; i++) {
        padded[blocks * BLOCK_BYTES - 1 - i] = (uint8_t) ((uint64_t) size * 8 >> (8 * i));
    }
    for (size_t i = 0; i < blocks; i++) {
        sha1_block(state, padded + i * BLOCK_BYTES);
    }
    for (int i = 0; i < SHA1_BYTES; i++) {
        digest[i] = (uint8_t) (state[i / 4] >> (24 - 8 * (i % 4)));
    }
}

void base64(const void *data, size_t size, char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *bytes = data;

    for (size_t i = 0; i < size; i += 3, text += 4) {
        size_t left = size - i;
        uint32_t group = (uint32_t) bytes[i] << 16 | (left > 1 ? (uint32_t) bytes[i + 1] << 8 : 0)
                         | (left > 2 ? bytes[i + 2] : 0);

        text[0] = digits[group >> 18];
        text[1] = digits[group >> 12 & 63];
        text[2] = left > 1 ? digits[group >> 6 & 63] : '=';
        text[3] = left > 2 ? digits[group & 63] : '=';
    }
}
