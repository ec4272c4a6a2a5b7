/* The utterances of one session from the oldest without an answer on: what was said when, and
 * what has come of it. It judges answers: once each, in their order, for what was asked.
 */

#ifndef LEDGER_H
#define LEDGER_H

#include <stdbool.h>

#include "common.h"

enum utterance_state {
    ANSWERED, /* with a result or an error */
    OPEN,
    LOST, /* given up */
};

struct utterance {
    int64_t planned_ns; /* in the open loop when it was due, else as submit_ns */
    int64_t submit_ns;  /* just before write() */
    int64_t assign_ns;  /* when a node got it, 0 before */
    int64_t result_ns;  /* just before the node's write() */
    enum utterance_state state;
};

struct ledger {
    uint64_t oldest; /* all before it are answered */
    uint64_t next;   /* index of the next utterance */
    uint32_t open;
    uint32_t room; /* of the ring, a power of two */
    struct utterance *ring;
};

enum verdict {
    IN_ORDER,
    OUT_OF_ORDER, /* an earlier one is open still */
    REPEATED,     /* it was answered before */
    LATE,         /* it was given up before */
    NEVER_ASKED,
};

/* Enter the next utterance; its index is `next` before the call. */
struct utterance *ledger_open(struct ledger *ledger);

/* An utterance that has no answer yet; NULL where there is none of that index. */
struct utterance *ledger_find(const struct ledger *ledger, uint64_t index);

/* Judge an answer and close its utterance. An error may come before earlier answers. */
enum verdict ledger_answer(struct ledger *ledger, uint64_t index, bool is_error);

/* Give up all that are open; return how many there were. */
uint32_t ledger_give_up(struct ledger *ledger);

#endif
