/* Times in log-linear buckets, as HdrHistogram has them.
 *
 * Below 128 ns a bucket is 1 ns wide; above it each octave has 64 of them, so that none is wider
 * than 1.6 % of the times in it. What is over 18 minutes counts as that.
 */

#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include "buffer.h"

#define HISTOGRAM_SUB_BITS 6
#define HISTOGRAM_OCTAVES 35
#define HISTOGRAM_BUCKETS ((HISTOGRAM_OCTAVES + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t count;
    int64_t max_ns;
};

void histogram_record(struct histogram *histogram, int64_t ns);

/* The upper end of the bucket in which the share (0 to 1) of the times ends; 0 without times. */
int64_t histogram_quantile(const struct histogram *histogram, double share);

/* Append {"count", "p50", "p90", "p99", "p999", "max", "buckets": [[upper_ns, count], ...]}. */
void histogram_print(const struct histogram *histogram, struct buffer *out);

#endif
