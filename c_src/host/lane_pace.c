#include "host/lane_pace.h"

enum { NS_PER_US = 1000, PART = 4, STEPS_MAX = 16 };

void kv_lane_pace_init(struct kv_lane_pace *pace, uint64_t now)
{
    *pace = (struct kv_lane_pace){.last = now, .gap = (uint64_t)KV_LANE_SLOW_US * NS_PER_US};
}

/* The average moves by a quarter for one request, and further for several at once. */
void kv_lane_pace_saw(struct kv_lane_pace *pace, uint64_t count, uint64_t now)
{
    const uint64_t slowest = (uint64_t)KV_LANE_SLOW_US * NS_PER_US;
    const uint64_t since = now - pace->last < slowest ? now - pace->last : slowest;
    const uint64_t each = since / count;
    for (uint64_t i = 0; i < count && i < STEPS_MAX; i++) {
        pace->gap = ((PART - 1) * pace->gap + each) / PART;
    }
    pace->last = now;
}

bool kv_lane_pace_is_fast(const struct kv_lane_pace *pace, uint64_t now)
{
    return pace->gap < (uint64_t)KV_LANE_GAP_US * NS_PER_US &&
           now - pace->last < (uint64_t)KV_LANE_PATIENCE_US * NS_PER_US;
}
