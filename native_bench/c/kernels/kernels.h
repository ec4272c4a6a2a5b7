/* What this machine can do at best, piece by piece: each runs so often and says how long it took.
 *
 * native_bench/kernels.py measures beside each what the scheduler does in its place.
 */

#ifndef KERNELS_H
#define KERNELS_H

#include "common.h"

/* Do it `turns` times; return the time of all of them. `size` means what the kernel says. */
typedef int64_t kernel(size_t size, uint64_t turns);

/* choose.c: the least of `size` scores, as often as the dispatcher looks for a node. */
kernel choose_least;
/* The same among those that a bit each allows, half of them. */
kernel choose_least_allowed;

/* pipes.c: a record there and back between two processes. */
kernel pipe_round_trip;
/* Records one way, `size` in a write; a turn is one record. */
kernel pipe_one_way;

/* memory.c: `size` bytes into shared memory, and out again where their number is as told. */
kernel arena_put_get;
/* A row of `size` bytes, read between two looks at its sequence. */
kernel seqlock_read;

/* frames.c: the frame of a message of `size` bytes, parsed and unmasked. */
kernel frame_parse;

/* Have the compiler believe that the value is used, and that memory may have changed. */
static inline void use(uint64_t value)
{
    __asm__ volatile("" : : "r"(value) : "memory");
}

#endif
