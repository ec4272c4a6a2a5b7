/* WebSocket frames and the opening handshake, RFC 6455, for both ends.
 *
 * Only what the programs here meet: no fragments, no extensions. What breaks that is an error.
 */

#ifndef WS_H
#define WS_H

#include <stdbool.h>
#include <sys/types.h>

#include "buffer.h"

enum ws_opcode {
    WS_TEXT = 1,
    WS_CLOSE = 8,
    WS_PING = 9,
    WS_PONG = 10,
};

#define WS_HEADER_BYTES_MAX 14
#define WS_PAYLOAD_BYTES_MAX (64u << 20)
#define WS_KEY_CHARS 24

struct ws_frame {
    enum ws_opcode opcode;
    bool masked;
    char *payload; /* unmasked, where it was received */
    size_t size;
};

/* Parse the frame at the front of `data`, and unmask it there.
 * Returns its whole size, 0 where it is not all there, -1 where it is none. */
ssize_t ws_parse(char *data, size_t size, struct ws_frame *frame);

/* Append a frame; with `mask`, as clients must, 4 bytes of it. */
void ws_add_frame(struct buffer *out, enum ws_opcode opcode, const uint32_t *mask,
                  struct slice payload);

/* XOR with a mask while copying; `to` may be `from`. */
void ws_mask(char *to, const char *from, size_t size, uint32_t mask);

/* The client's key: 16 random bytes in base64. */
void ws_make_key(uint64_t *random, char key[WS_KEY_CHARS]);

void ws_add_request(struct buffer *out, const char *host, int port, const char *path,
                    const char key[WS_KEY_CHARS]);

/* Whether the head of an HTTP answer accepts the handshake that was asked for with the key. */
bool ws_is_accepted(struct slice head, const char key[WS_KEY_CHARS]);

/* Answer a request's head: true and a response that accepts it, or false where it is no handshake.
 * `path` becomes what the request asks for. */
bool ws_accept(struct slice head, struct buffer *out, struct slice *path);

/* The size of the HTTP head at the front, with its empty line; 0 where it is not all there. */
size_t ws_head_size(const char *data, size_t size);

#endif
