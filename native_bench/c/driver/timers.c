#include "timers.h"

#include <stdlib.h>

#define ROOM_MIN 64

void timers_add(struct timers *timers, struct timer timer)
{
    size_t at = timers->count;

    if (timers->count == timers->room) {
        timers->room = timers->room ? 2 * timers->room : ROOM_MIN;
        timers->heap = reallocate(timers->heap, timers->room, sizeof *timers->heap);
    }
    timers->count++;
    while (at > 0 && timers->heap[(at - 1) / 2].due_ns > timer.due_ns) {
        timers->heap[at] = timers->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    timers->heap[at] = timer;
}

int64_t timers_next_ns(const struct timers *timers)
{
    return timers->count > 0 ? timers->heap[0].due_ns : INT64_MAX;
}

bool timers_take(struct timers *timers, int64_t now, struct timer *timer)
{
    struct timer last;
    size_t at = 0;

    if (timers_next_ns(timers) > now) {
        return false;
    }
    *timer = timers->heap[0];
    last = timers->heap[--timers->count];
    for (;;) {
        size_t child = 2 * at + 1;

        if (child + 1 < timers->count
            && timers->heap[child + 1].due_ns < timers->heap[child].due_ns) {
            child++;
        }
        if (child >= timers->count || timers->heap[child].due_ns >= last.due_ns) {
            break;
        }
        timers->heap[at] = timers->heap[child];
        at = child;
    }
    timers->heap[at] = last;
    return true;
}

void timers_free(struct timers *timers)
{
    for (size_t i = 0; i < timers->count; i++) {
        buffer_free(&timers->heap[i].message);
    }
    free(timers->heap);
    *timers = (struct timers) {0};
}
