/* What is to be done later: a binary heap by time.
 *
 * A node's result that is due, or a session that may speak again after a refusal.
 */

#ifndef TIMERS_H
#define TIMERS_H

#include <stdbool.h>

#include "buffer.h"

enum timer_kind {
    TIMER_RESULT,
    TIMER_SPEAK,
};

struct timer {
    int64_t due_ns;
    enum timer_kind kind;
    uint32_t node;
    uint32_t session;
    uint64_t utterance;
    struct buffer message; /* the result */
};

struct timers {
    struct timer *heap;
    size_t count;
    size_t room;
};

void timers_add(struct timers *timers, struct timer timer);

/* When the first is due; INT64_MAX where there is none. */
int64_t timers_next_ns(const struct timers *timers);

/* Take the first out; false where none is due by `now`. Its message is the caller's to free. */
bool timers_take(struct timers *timers, int64_t now, struct timer *timer);

/* Drop all of them. */
void timers_free(struct timers *timers);

#endif
