#include "peer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "ws.h"

#define HEAD_BYTES_MAX (16u << 10)
/* A peer that reads so much slower than others write to it is cut off. */
#define UNREAD_BYTES_MAX (64u << 20)
/* Buffers up to here are kept for the next frames. */
#define KEPT_BYTES_MAX (4u << 10)

static const char refusal[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";

void peer_open(struct relay *relay, int fd)
{
    struct peer *peer = allocate(1, sizeof *peer);

    stream_open(&peer->stream, fd, relay->epoll, peer, false);
}

static uint32_t number_of(const char digits[NUMBER_DIGITS])
{
    uint32_t number = 0;

    for (int i = 0; i < NUMBER_DIGITS; i++) {
        if (digits[i] < '0' || digits[i] > '9') {
            return UINT32_MAX;
        }
        number = number * 10 + (uint32_t) (digits[i] - '0');
    }
    return number;
}

static void close_peer(struct relay *relay, struct peer *peer)
{
    if (peer->is_closed) {
        return;
    }
    peer->is_closed = true;
    if (peer->kind != NULL) {
        peer->kind->peers[number_of(peer->number)] = NULL;
    }
    stream_close(&peer->stream);
    peer->next_closed = relay->closed;
    relay->closed = peer;
}

/* A buffer for frames that are written at the end of the turn. */
static struct buffer *frames_of(struct relay *relay, struct peer *peer)
{
    if (!peer->is_written) {
        peer->is_written = true;
        peer->next_written = relay->written;
        relay->written = peer;
    }
    return &peer->frames;
}

static void join(struct peer *peer, struct peers *kind, struct peers *others)
{
    char text[NUMBER_DIGITS + 1];

    if (kind->count == kind->room) {
        kind->room = kind->room ? 2 * kind->room : 64;
        kind->peers = reallocate(kind->peers, kind->room, sizeof *kind->peers);
    }
    snprintf(text, sizeof text, "%08" PRIu32, kind->count % 100000000);
    memcpy(peer->number, text, NUMBER_DIGITS);
    peer->kind = kind;
    peer->others = others;
    kind->peers[kind->count++] = peer;
}

/* The size of the request at the front, 0 while it is not all there; a wrong one closes. */
static size_t take_handshake(struct relay *relay, struct peer *peer, const struct buffer *data)
{
    struct slice head = {data->data, ws_head_size(data->data, data->size)};
    struct slice path = {"", 0};
    struct buffer *frames;

    if (head.size == 0 && data->size <= HEAD_BYTES_MAX) {
        return 0;
    }
    frames = frames_of(relay, peer);
    if (head.size > 0 && ws_accept(head, frames, &path)) {
        if (slice_is(path, "/session")) {
            join(peer, &relay->sessions, &relay->nodes);
        } else if (slice_is(path, "/node")) {
            join(peer, &relay->nodes, &relay->sessions);
        }
    }
    if (peer->kind == NULL) {
        stream_write(&peer->stream, refusal, sizeof refusal - 1);
        close_peer(relay, peer);
        return 0;
    }
    ws_add_frame(frames, WS_TEXT, NULL, (struct slice) {peer->number, NUMBER_DIGITS});
    return head.size;
}

/* A session's number goes with its message in the place of the node's; a node's does not. */
static bool pass_on(struct relay *relay, struct peer *peer, const struct ws_frame *frame)
{
    struct slice message = {frame->payload, frame->size};
    struct peer *receiver;
    uint32_t number;

    if (frame->size < NUMBER_DIGITS || (number = number_of(frame->payload)) == UINT32_MAX) {
        return false;
    }
    receiver = number < peer->others->count ? peer->others->peers[number] : NULL;
    if (receiver == NULL) {
        return true;
    }
    if (peer->kind == &relay->sessions) {
        memcpy(frame->payload, peer->number, NUMBER_DIGITS);
    } else {
        message.data += NUMBER_DIGITS;
        message.size -= NUMBER_DIGITS;
    }
    ws_add_frame(frames_of(relay, receiver), WS_TEXT, NULL, message);
    return true;
}

/* False: the connection is to be closed. */
static bool take_frame(struct relay *relay, struct peer *peer, const struct ws_frame *frame)
{
    struct slice payload = {frame->payload, frame->size};

    if (!frame->masked) {
        return false;
    }
    switch (frame->opcode) {
    case WS_TEXT:
        return pass_on(relay, peer, frame);
    case WS_PING:
        ws_add_frame(frames_of(relay, peer), WS_PONG, NULL, payload);
        return true;
    case WS_CLOSE: {
        struct buffer answer = {0};

        ws_add_frame(&answer, WS_CLOSE, NULL, payload);
        stream_write(&peer->stream, answer.data, answer.size);
        buffer_free(&answer);
        return false;
    }
    case WS_PONG:
        return true;
    }
    return false;
}

static void read_peer(struct relay *relay, struct peer *peer)
{
    struct buffer *data = &relay->scratch;
    bool alive = stream_read(&peer->stream, data);
    struct ws_frame frame;
    ssize_t size = 0;
    size_t at = 0;

    if (peer->kind == NULL) {
        at = take_handshake(relay, peer, data);
    }
    while (peer->kind != NULL && !peer->is_closed
           && (size = ws_parse(data->data + at, data->size - at, &frame)) > 0) {
        alive = take_frame(relay, peer, &frame) && alive;
        at += (size_t) size;
    }
    if (!alive || size < 0) {
        close_peer(relay, peer);
    }
    if (!peer->is_closed) {
        stream_keep(&peer->stream, data, at);
    }
}

void peer_take_event(struct relay *relay, struct peer *peer, uint32_t events)
{
    if (peer->is_closed) {
        return;
    }
    if (events & EPOLLOUT && !stream_write_rest(&peer->stream)) {
        close_peer(relay, peer);
    } else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        read_peer(relay, peer);
    }
}

static void write_frames(struct relay *relay, struct peer *peer)
{
    struct buffer *frames = &peer->frames;

    if (!peer->is_closed
        && (!stream_write(&peer->stream, frames->data, frames->size)
            || peer->stream.out.size > UNREAD_BYTES_MAX)) {
        close_peer(relay, peer);
    }
    frames->size = 0;
    if (frames->room > KEPT_BYTES_MAX) {
        buffer_free(frames);
    }
    peer->is_written = false;
}

void peers_finish_turn(struct relay *relay)
{
    while (relay->written != NULL) {
        struct peer *peer = relay->written;

        relay->written = peer->next_written;
        write_frames(relay, peer);
    }
    while (relay->closed != NULL) {
        struct peer *peer = relay->closed;

        relay->closed = peer->next_closed;
        buffer_free(&peer->frames);
        free(peer);
    }
}

static void close_kind(struct relay *relay, struct peers *kind)
{
    for (uint32_t i = 0; i < kind->count; i++) {
        if (kind->peers[i] != NULL) {
            close_peer(relay, kind->peers[i]);
        }
    }
    free(kind->peers);
}

void peers_close(struct relay *relay)
{
    close_kind(relay, &relay->sessions);
    close_kind(relay, &relay->nodes);
    peers_finish_turn(relay);
    buffer_free(&relay->scratch);
}
