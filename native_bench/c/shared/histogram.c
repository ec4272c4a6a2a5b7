#include "histogram.h"

#include <inttypes.h>
#include <math.h>

#define SUB_BUCKETS (1 << HISTOGRAM_SUB_BITS)
#define NS_MAX ((1LL << (HISTOGRAM_OCTAVES + HISTOGRAM_SUB_BITS)) - 1)

/* Above 2 * SUB_BUCKETS a time is shifted until its first SUB_BITS + 1 bits are left. */
static int bucket_of(int64_t ns)
{
    int shift = 63 - __builtin_clzll((uint64_t) ns | 1) - HISTOGRAM_SUB_BITS;

    if (shift <= 0) {
        return (int) ns;
    }
    return (shift << HISTOGRAM_SUB_BITS) + (int) (ns >> shift);
}

static int64_t upper_of(int bucket)
{
    int shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;

    if (shift <= 0) {
        return bucket;
    }
    return ((int64_t) (bucket - (shift << HISTOGRAM_SUB_BITS)) + 1) * (1LL << shift) - 1;
}

void histogram_record(struct histogram *histogram, int64_t ns)
{
    ns = ns < 0 ? 0 : ns > NS_MAX ? NS_MAX : ns;
    histogram->counts[bucket_of(ns)]++;
    histogram->count++;
    if (ns > histogram->max_ns) {
        histogram->max_ns = ns;
    }
}

int64_t histogram_quantile(const struct histogram *histogram, double share)
{
    uint64_t rank = (uint64_t) ceil(share * (double) histogram->count);
    uint64_t seen = 0;

    for (int bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->counts[bucket];
        if (seen >= rank && seen > 0) {
            int64_t upper = upper_of(bucket);

            return upper < histogram->max_ns ? upper : histogram->max_ns;
        }
    }
    return 0;
}

void histogram_print(const struct histogram *histogram, struct buffer *out)
{
    const char *separator = "";

    buffer_print(out,
                 "{\"count\":%" PRIu64 ",\"p50\":%" PRId64 ",\"p90\":%" PRId64 ",\"p99\":%" PRId64
                 ",\"p999\":%" PRId64 ",\"max\":%" PRId64 ",\"buckets\":[",
                 histogram->count, histogram_quantile(histogram, 0.5),
                 histogram_quantile(histogram, 0.9), histogram_quantile(histogram, 0.99),
                 histogram_quantile(histogram, 0.999), histogram->max_ns);
    for (int bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        if (histogram->counts[bucket] > 0) {
            buffer_print(out, "%s[%" PRId64 ",%" PRIu64 "]", separator, upper_of(bucket),
                         histogram->counts[bucket]);
            separator = ",";
        }
    }
    buffer_print(out, "]}");
}
