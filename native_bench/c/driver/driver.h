/* The driver's parts and what they share. */

#ifndef DRIVER_H
#define DRIVER_H

#include "counts.h"
#include "ledger.h"
#include "link.h"
#include "message.h"
#include "options.h"
#include "speech.h"
#include "table.h"
#include "timers.h"

#define ID_CHARS_MAX 64
#define ADDRESS_CHARS 8 /* in front of the bare relay's messages */

struct session {
    struct link link; /* first: a link of its kind is cast to it */
    char id_chars[ID_CHARS_MAX];
    struct slice id;
    char language[2];
    struct ledger ledger;
};

struct node {
    struct link link; /* first, as above */
    char id_chars[ID_CHARS_MAX];
    struct slice id; /* with a relay its address */
    uint32_t running;
};

/* A result among the frames that a node is about to write. */
struct result_out {
    uint32_t session;
    uint64_t utterance;
};

struct driver {
    struct options options;
    int epoll;
    struct session *sessions;
    struct node *nodes;
    struct speech speech;
    struct timers timers;
    uint64_t random;

    /* Opening. */
    bool opened;
    bool ending;
    uint32_t opening; /* connections that the server has not answered yet */
    uint32_t sessions_ready;
    uint32_t nodes_ready;
    struct table session_table; /* by their ids */

    /* What goes through. `frames` are for one socket and empty between events. */
    struct buffer scratch;
    struct buffer message;
    struct buffer identity;
    struct buffer frames;
    struct result_out *results;
    size_t results_count;
    size_t results_room;

    /* Heartbeats: when they began, and how many were sent or passed over. */
    int64_t beats_from_ns;
    uint64_t node_beats;
    uint64_t session_beats;

    /* The load. */
    bool speaking;       /* in the closed loop sessions go on after an answer */
    uint64_t to_start;   /* utterances that begin the closed loop */
    int64_t planned_ns;  /* the next utterance of the open loop */
    uint32_t next_session;
    uint64_t open;       /* utterances without an answer */
    int64_t answered_ns; /* the last answer */

    /* The measurement: what is due from one to the other moment counts. */
    int64_t from_ns;
    int64_t until_ns;
    struct counts counts;
};

/* wire.c: the connections. */
void wire_open_all(struct driver *driver);
void wire_take_event(struct driver *driver, struct link *link, uint32_t events);
/* Append a frame to those that go out with the next flush. */
void wire_add(struct driver *driver, enum ws_opcode opcode, struct slice payload);
void wire_flush(struct driver *driver, struct link *link);
void wire_close_all(struct driver *driver);

/* turn.c: wait until the moment at most, and do all that is due by then. True: input came. */
bool turn(struct driver *driver, int64_t until_ns);

/* session.c */
void session_greet(struct driver *driver, struct session *session);
void session_take(struct driver *driver, struct session *session, struct slice text, int64_t now);
void session_speak(struct driver *driver, struct session *session, int64_t planned_ns);
void session_beat(struct driver *driver, struct session *session);
void session_close(struct driver *driver, struct session *session);

/* node.c */
void node_greet(struct driver *driver, struct node *node);
void node_take(struct driver *driver, struct node *node, struct slice text, int64_t now);
void node_send_due(struct driver *driver, struct timer *timer);
void node_flush(struct driver *driver, struct node *node);
void node_beat(struct driver *driver, struct node *node);

/* load.c: who speaks when. */
void load_begin(struct driver *driver, int64_t now);
void load_run(struct driver *driver, int64_t now);
int64_t load_next_ns(const struct driver *driver);

/* beats.c: heartbeats, spread over their interval. */
void beats_run(struct driver *driver, int64_t now);
int64_t beats_next_ns(const struct driver *driver);

#endif
