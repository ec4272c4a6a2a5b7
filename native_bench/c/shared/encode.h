/* SHA-1 and base64, which the opening handshake of WebSockets needs. */

#ifndef ENCODE_H
#define ENCODE_H

#include "common.h"

#define SHA1_BYTES 20
#define BASE64_CHARS(bytes) (((bytes) + 2) / 3 * 4)

/* FIPS 180-4, section 6.1; for short messages only, at most 119 bytes. */
void sha1(const void *message, size_t size, uint8_t digest[SHA1_BYTES]);

/* Write BASE64_CHARS(size) characters, padded, without a zero at the end. */
void base64(const void *data, size_t size, char *text);

#endif
