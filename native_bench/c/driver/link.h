/* A WebSocket to the server, and how far it is open. */

#ifndef LINK_H
#define LINK_H

#include "stream.h"
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
    struct stream stream;
    enum link_kind kind;
    enum link_state state;
    uint32_t number; /* of its kind, from 0 */
    bool close_sent;
    char key[WS_KEY_CHARS];
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
void link_upgrade(struct link *link, const struct link_target *target, uint64_t *random);

void link_close(struct link *link);

#endif
