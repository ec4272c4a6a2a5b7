/* What all programs here need: dying with a reason, checked memory, the clock, random numbers. */

#ifndef COMMON_H
#define COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NS_PER_SECOND 1000000000LL
#define NS_PER_US 1000LL

/* Bytes that belong to somebody else; not terminated by a zero. */
struct slice {
    const char *data;
    size_t size;
};

bool slice_is(struct slice slice, const char *text);

bool slices_equal(struct slice a, struct slice b);

/* Print the program's name and a reason on standard error, and exit with 1. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same with the text of errno behind it. */
_Noreturn void die_errno(const char *what);

/* Zeroed memory; dies where there is none. */
void *allocate(size_t count, size_t size);

/* Resized memory; dies where there is none. */
void *reallocate(void *memory, size_t count, size_t size);

/* Have freed memory kept for the next time: giving it back costs a page fault for each 4 KB. */
void keep_memory(void);

/* The machine's monotonic clock. */
int64_t now_ns(void);

/* CPU time of this process, in user and kernel mode. */
double cpu_seconds(void);

/* The next of a sequence of random numbers (splitmix64); state may be any number. */
uint64_t random_next(uint64_t *state);

/* One from 0 to just below 1. */
double random_unit(uint64_t *state);

#endif
