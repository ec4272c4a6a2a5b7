#include "ws.h"

#include <string.h>
#include <strings.h>

#include "encode.h"

#define FIN 0x80
#define RESERVED 0x70
#define OPCODE 0x0f
#define MASKED 0x80
#define LENGTH 0x7f
#define LENGTH_16_BITS 126
#define LENGTH_64_BITS 127
#define CONTROL_BYTES_MAX 125

#define ACCEPT_CHARS BASE64_CHARS(SHA1_BYTES)

static bool is_known(unsigned opcode)
{
    return opcode == WS_TEXT || opcode == WS_CLOSE || opcode == WS_PING || opcode == WS_PONG;
}

ssize_t ws_parse(char *data, size_t size, struct ws_frame *frame)
{
    const uint8_t *bytes = (const uint8_t *) data;
    size_t header = 2;
    uint64_t length;
    uint32_t mask = 0;

    if (size < header) {
        return 0;
    }
    if ((bytes[0] & (FIN | RESERVED)) != FIN || !is_known(bytes[0] & OPCODE)) {
        return -1;
    }
    frame->opcode = bytes[0] & OPCODE;
    frame->masked = bytes[1] & MASKED;
    length = bytes[1] & LENGTH;
    header += length == LENGTH_64_BITS ? 8 : length == LENGTH_16_BITS ? 2 : 0;
    header += frame->masked ? sizeof mask : 0;
    if (size < header) {
        return 0;
    }
    if (length >= LENGTH_16_BITS) {
        size_t digits = length == LENGTH_64_BITS ? 8 : 2;

        length = 0;
        for (size_t i = 0; i < digits; i++) {
            length = length << 8 | bytes[2 + i];
        }
    }
    if (length > WS_PAYLOAD_BYTES_MAX || (frame->opcode >= WS_CLOSE && length > CONTROL_BYTES_MAX)) {
        return -1;
    }
    if (size < header + length) {
        return 0;
    }
    frame->payload = data + header;
    frame->size = length;
    if (frame->masked) {
        memcpy(&mask, data + header - sizeof mask, sizeof mask);
        ws_mask(frame->payload, frame->payload, frame->size, mask);
    }
    return (ssize_t) (header + length);
}

void ws_mask(char *to, const char *from, size_t size, uint32_t mask)
{
    uint64_t wide = (uint64_t) mask << 32 | mask;
    size_t i = 0;

    for (; i + 32 <= size; i += 32) {
        uint64_t words[4];

        memcpy(words, from + i, sizeof words);
        for (int k = 0; k < 4; k++) {
            words[k] ^= wide;
        }
        memcpy(to + i, words, sizeof words);
    }
    for (; i < size; i++) {
        to[i] = (char) ((uint8_t) from[i] ^ (uint8_t) (mask >> (8 * (i % 4))));
    }
}

void ws_add_frame(struct buffer *out, enum ws_opcode opcode, const uint32_t *mask,
                  struct slice payload)
{
    uint8_t header[WS_HEADER_BYTES_MAX];
    size_t size = 2;

    header[0] = (uint8_t) (FIN | opcode);
    if (payload.size < LENGTH_16_BITS) {
        header[1] = (uint8_t) payload.size;
    } else {
        size_t digits = payload.size <= UINT16_MAX ? 2 : 8;

        header[1] = digits == 2 ? LENGTH_16_BITS : LENGTH_64_BITS;
        for (size_t i = 0; i < digits; i++) {
            header[size++] = (uint8_t) ((uint64_t) payload.size >> (8 * (digits - 1 - i)));
        }
    }
    if (mask != NULL) {
        header[1] |= MASKED;
        memcpy(header + size, mask, sizeof *mask);
        size += sizeof *mask;
    }
    buffer_add(out, header, size);
    if (mask == NULL) {
        buffer_add_slice(out, payload);
    } else {
        ws_mask(buffer_reserve(out, payload.size), payload.data, payload.size, *mask);
        out->size += payload.size;
    }
}

void ws_make_key(uint64_t *random, char key[WS_KEY_CHARS])
{
    uint64_t bytes[2] = {random_next(random), random_next(random)};

    base64(bytes, sizeof bytes, key);
}

void ws_add_request(struct buffer *out, const char *host, int port, const char *path,
                    const char key[WS_KEY_CHARS])
{
    buffer_print(out,
                 "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Key: %.*s\r\nSec-WebSocket-Version: 13\r\n\r\n",
                 path, host, port, WS_KEY_CHARS, key);
}

static void accept_text(const char key[WS_KEY_CHARS], char text[ACCEPT_CHARS])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char joined[WS_KEY_CHARS + sizeof guid - 1];
    uint8_t digest[SHA1_BYTES];

    memcpy(joined, key, WS_KEY_CHARS);
    memcpy(joined + WS_KEY_CHARS, guid, sizeof guid - 1);
    sha1(joined, sizeof joined, digest);
    base64(digest, sizeof digest, text);
}

/* The value of a header, without the spaces around it; empty where there is none. */
static struct slice header_value(struct slice head, const char *name)
{
    const char *at = head.data;
    const char *end = head.data + head.size;
    size_t name_size = strlen(name);

    while ((at = memchr(at, '\n', (size_t) (end - at))) != NULL) {
        const char *stop;

        at++;
        if ((size_t) (end - at) <= name_size || strncasecmp(at, name, name_size) != 0
            || at[name_size] != ':') {
            continue;
        }
        at += name_size + 1;
        stop = memchr(at, '\r', (size_t) (end - at));
        if (stop == NULL) {
            break;
        }
        while (at < stop && *at == ' ') {
            at++;
        }
        while (stop > at && stop[-1] == ' ') {
            stop--;
        }
        return (struct slice) {at, (size_t) (stop - at)};
    }
    return (struct slice) {"", 0};
}

bool ws_is_accepted(struct slice head, const char key[WS_KEY_CHARS])
{
    static const char status[] = "HTTP/1.1 101 ";
    struct slice found = header_value(head, "Sec-WebSocket-Accept");
    char expected[ACCEPT_CHARS];

    accept_text(key, expected);
    return head.size > sizeof status && memcmp(head.data, status, sizeof status - 1) == 0
           && found.size == sizeof expected && memcmp(found.data, expected, sizeof expected) == 0;
}

bool ws_accept(struct slice head, struct buffer *out, struct slice *path)
{
    static const char method[] = "GET ";
    struct slice key = header_value(head, "Sec-WebSocket-Key");
    char accept[ACCEPT_CHARS];
    const char *end;

    if (key.size != WS_KEY_CHARS || memcmp(head.data, method, sizeof method - 1) != 0) {
        return false;
    }
    path->data = head.data + sizeof method - 1;
    end = memchr(path->data, ' ', head.size - (sizeof method - 1));
    if (end == NULL) {
        return false;
    }
    path->size = (size_t) (end - path->data);
    accept_text(key.data, accept);
    buffer_print(out,
                 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                 "Connection: Upgrade\r\nSec-WebSocket-Accept: %.*s\r\n\r\n",
                 (int) ACCEPT_CHARS, accept);
    return true;
}

size_t ws_head_size(const char *data, size_t size)
{
    const char *end = memmem(data, size, "\r\n\r\n", 4);

    return end == NULL ? 0 : (size_t) (end - data) + 4;
}
