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
    if (now - pace->last > (uint64_t)KV_LANE_SAVED_FOR_US * NS_PER_US) {
        pace->saved = 0;
    }
    pace->last = now;
}

void kv_lane_pace_looked(struct kv_lane_pace *pace, uint64_t served, uint64_t ns)
{
    const uint64_t most = (uint64_t)KV_LANE_SAVED_US * NS_PER_US;
    const uint64_t earned = served * KV_LANE_EARNED_US * NS_PER_US;
    if (served > 0) {
        pace->saved = pace->saved + earned < most ? pace->saved + earned : most;
    } else {
        pace->saved -= ns < pace->saved ? ns : pace->saved;
    }
}

bool kv_lane_pace_is_fast(const struct kv_lane_pace *pace, uint64_t now)
{
    return (pace->gap < (uint64_t)KV_LANE_GAP_US * NS_PER_US || pace->saved > 0) &&
           now - pace->last < (uint64_t)KV_LANE_PATIENCE_US * NS_PER_US;
}
