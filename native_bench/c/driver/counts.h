/* What a measurement counts, and its report. */

#ifndef COUNTS_H
#define COUNTS_H

#include <stdbool.h>

#include "histogram.h"

#define CODES_MAX 32
#define CODE_CHARS_MAX 48

struct code {
    char name[CODE_CHARS_MAX + 1];
    uint64_t count;
};

/* All are of the whole measurement, its warm-up and its end included, but for `jobs` and the
 * histograms: results that came in the window, and utterances that were due in it. */
struct counts {
    uint64_t jobs;
    uint64_t submitted;
    uint64_t answered; /* with a result */
    uint64_t failed;   /* with an error */
    uint64_t lost;
    uint64_t late; /* answers to what an earlier measurement gave up */
    uint64_t duplicated;
    uint64_t out_of_order;
    uint64_t crossed;
    uint64_t wrong_audio;    /* assigned to a node, but not what the session said */
    uint64_t assigned_twice; /* a first attempt that had been assigned before */
    uint64_t retried;
    uint64_t cancelled;
    uint64_t late_sends;
    uint64_t closed; /* connections that the server closed */
    struct code errors[CODES_MAX];
    struct histogram submit_to_assign;
    struct histogram assign_to_result_out;
    struct histogram result_to_reply;
    struct histogram submit_to_reply;
    struct histogram planned_to_reply;
};

void counts_add_error(struct counts *counts, struct slice code);

/* Append the report, one line. `open_loop`: with times from when an utterance was due. */
void counts_print(const struct counts *counts, double seconds, double cpu, bool open_loop,
                  struct buffer *out);

#endif
