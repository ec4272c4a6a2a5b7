/* Runs one kernel for each line of its input, and says how long a turn took.
 *
 *     choose_least 10000    ->    612.4
 *
 * Each runs for about 20 ms, after as long to warm up. The end of the input ends it.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

#define RUN_NS (NS_PER_SECOND / 50)
#define TURNS_MIN 16
#define LINE_CHARS_MAX 128
#define SIZE_MAX_ALLOWED (64u << 20)

#define KERNEL(name) {#name, name}

static const struct {
    const char *name;
    kernel *run;
} kernels[] = {
    KERNEL(choose_least), KERNEL(choose_least_allowed), KERNEL(pipe_round_trip),
    KERNEL(pipe_one_way), KERNEL(arena_put_get),        KERNEL(seqlock_read),
    KERNEL(frame_parse),
};

static kernel *find(const char *name)
{
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        if (strcmp(kernels[i].name, name) == 0) {
            return kernels[i].run;
        }
    }
    die("there is no kernel '%s'", name);
}

/* Run it longer and longer until that is long enough, then once more. */
static double ns_per_turn(kernel *run, size_t size)
{
    uint64_t turns = TURNS_MIN;

    while (run(size, turns) < RUN_NS) {
        turns *= 2;
    }
    return (double) run(size, turns) / (double) turns;
}

int main(void)
{
    char line[LINE_CHARS_MAX];

    keep_memory();
    while (fgets(line, sizeof line, stdin) != NULL) {
        char *space = strchr(line, ' ');
        unsigned long size;

        if (space == NULL) {
            die("a line is NAME SIZE, not '%s'", line);
        }
        *space = '\0';
        errno = 0;
        size = strtoul(space + 1, NULL, 10);
        if (errno != 0 || size == 0 || size > SIZE_MAX_ALLOWED) {
            die("'%s' is no size", space + 1);
        }
        if (printf("%.3f\n", ns_per_turn(find(line), size)) < 0 || fflush(stdout) != 0) {
            die_errno("standard output");
        }
    }
    return 0;
}
