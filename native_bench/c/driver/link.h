/* A WebSocket to the server: opening it, frames in and out without blocking. */

#ifndef LINK_H
#define LINK_H

#include <stdbool.h>
#include <sys/types.h>

#include "ws.h"

enum link_kind {
    LINK_SESSION,
    LINK_NODE,
};

enum link_state {
    LINK_CLOSED,
    LINK_CONNECTING,
    LINK_UPGRADING, /* the handshake is sent */
    LINK_GREETING,  /* open; who we are is sent */
    LINK_WAITING,   /* a node that is accepted, but gets no jobs yet */
    LINK_READY,
};

struct link {
    int fd;
    enum link_kind kind;
    enum link_state state;
    uint32_t number; /* of its kind, from 0 */
    bool wants_write;
    bool close_sent;
    char key[WS_KEY_CHARS];
    struct buffer in;  /* the beginning of what is not whole yet */
    struct buffer out; /* what the socket did not take */
};

struct link_target {
    const char *host;
    int port;
    const char *path;
    uint32_t source; /* from 127.0.0.1 + this */
};

/* Begin to connect; the socket is watched by `epoll` with the link as its data. */
void link_connect(struct link *link, int epoll, const struct link_target *target);

/* The socket is connected, or dies saying why not; send the handshake. */
void link_upgrade(struct link *link, int epoll, const struct link_target *target,
                  uint64_t *random);

/* Write, and keep what the socket does not take. False: the connection is broken. */
bool link_write(struct link *link, int epoll, const char *data, size_t size);

/* Write what was kept, now that the socket takes it. False: the connection is broken. */
bool link_write_rest(struct link *link, int epoll);

/* Read behind what is left from before, into `scratch`, which is then all that is to be parsed.
 * False: the connection is at its end. Nothing may have come. */
bool link_read(struct link *link, struct buffer *scratch);

/* Keep the rest of `scratch`, from `at` on, for the next time. */
void link_keep(struct link *link, const struct buffer *scratch, size_t at);

void link_close(struct link *link);

#endif
