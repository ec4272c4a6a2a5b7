/* The relay's peers: sessions and nodes, each numbered from 0 in the order of their handshakes. */

#ifndef PEER_H
#define PEER_H

#include "stream.h"

#define NUMBER_DIGITS 8

struct peer;

struct peers {
    struct peer **peers; /* by number; NULL where one has gone */
    uint32_t count;
    uint32_t room;
};

struct relay {
    int epoll;
    struct peers sessions;
    struct peers nodes;
    struct buffer scratch;
    struct peer *written; /* those with frames for the end of this turn */
    struct peer *closed;  /* those to be freed at the end of this turn */
};

struct peer {
    struct stream stream;
    struct peers *kind; /* NULL before the handshake */
    struct peers *others; /* whom its messages go to */
    char number[NUMBER_DIGITS];
    bool is_closed;
    bool is_written;
    struct buffer frames;
    struct peer *next_written;
    struct peer *next_closed;
};

/* Take a socket that was accepted. */
void peer_open(struct relay *relay, int fd);

void peer_take_event(struct relay *relay, struct peer *peer, uint32_t events);

/* Write to all that there is something for, one write each, and free those that are closed. */
void peers_finish_turn(struct relay *relay);

/* Close and free all. */
void peers_close(struct relay *relay);

#endif
