/* How long something took: a count for each range of durations. */
#ifndef KV_METRICS_HISTOGRAM_H
#define KV_METRICS_HISTOGRAM_H

#include <stdint.h>

enum { KV_HISTOGRAM_BOUNDS = 15 };

/* The upper bounds of the ranges, in microseconds. A bound belongs to its range. */
extern const uint32_t kv_histogram_bounds[KV_HISTOGRAM_BOUNDS];

struct kv_histogram {
    uint64_t counts[KV_HISTOGRAM_BOUNDS + 1]; /* the last one: over all bounds */
    uint64_t ns;                              /* of all together */
};

void kv_histogram_add(struct kv_histogram *histogram, uint64_t ns);

#endif
