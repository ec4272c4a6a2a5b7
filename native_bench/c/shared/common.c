#include "common.h"

#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define KEPT_BYTES_MAX (32 << 20) /* the most that mallopt takes */

bool slice_is(struct slice slice, const char *text)
{
    return slices_equal(slice, (struct slice) {text, strlen(text)});
}

bool slices_equal(struct slice a, struct slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

void die(const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "%s: ", program_invocation_short_name);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

void die_errno(const char *what)
{
    die("%s: %s", what, strerror(errno));
}

void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);

    if (memory == NULL) {
        die("no memory for %zu times %zu bytes", count, size);
    }
    return memory;
}

void *reallocate(void *memory, size_t count, size_t size)
{
    void *moved = reallocarray(memory, count ? count : 1, size);

    if (moved == NULL) {
        die("no memory for %zu times %zu bytes", count, size);
    }
    return moved;
}

void keep_memory(void)
{
    /* An allocator that does not take these, a sanitizer's say, is slower and no worse. */
    (void) mallopt(M_MMAP_THRESHOLD, KEPT_BYTES_MAX);
    (void) mallopt(M_TRIM_THRESHOLD, KEPT_BYTES_MAX);
}

int64_t now_ns(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_MONOTONIC, &now) < 0) {
        die_errno("clock_gettime");
    }
    return now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

double cpu_seconds(void)
{
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) < 0) {
        die_errno("getrusage");
    }
    return (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
           + (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

double random_unit(uint64_t *state)
{
    return (double) (random_next(state) >> 11) * 0x1p-53;
}
