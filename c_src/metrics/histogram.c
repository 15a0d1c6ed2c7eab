#include "metrics/histogram.h"

enum { NS_PER_US = 1000 };

const uint32_t kv_histogram_bounds[KV_HISTOGRAM_BOUNDS] = {
    10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 1000000};

void kv_histogram_add(struct kv_histogram *histogram, uint64_t ns)
{
    unsigned range = 0;
    while (range < KV_HISTOGRAM_BOUNDS && ns > (uint64_t)kv_histogram_bounds[range] * NS_PER_US) {
        range++;
    }
    histogram->counts[range]++;
    histogram->ns += ns;
}
