/* When the loop looks at the lanes (docs/local.md), and when it sleeps.
 *
 * A loop that looks takes a whole processor. So it looks only while requests come so fast that the
 * processor is worth it, and for a while after the last one. Callers that find it asleep send
 * messages, and count here, too: enough of them wake the lanes.
 *
 * Fast callers may be stopped for some milliseconds, if other programs want the processors. When
 * they come back, the loop looks again at once: requests that were served pay for it. */
#ifndef KV_HOST_LANE_PACE_H
#define KV_HOST_LANE_PACE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    KV_LANE_GAP_US = 250,         /* requests that are further apart are sparse */
    KV_LANE_PATIENCE_US = 1000,   /* how long to look after the last request */
    KV_LANE_SLOW_US = 4000,       /* a longer pause counts as this one */
    KV_LANE_EARNED_US = 20,       /* of looking in vain, that each request pays for, */
    KV_LANE_SAVED_US = 4000,      /* all of them together, */
    KV_LANE_SAVED_FOR_US = 50000, /* until a pause that is longer */
};

/* Times are nanoseconds of a clock that never goes back. */
struct kv_lane_pace {
    uint64_t last;  /* when requests were last seen */
    uint64_t gap;   /* between requests: a moving average */
    uint64_t saved; /* nanoseconds of looking in vain that are paid for */
};

/* Begins with requests that are far apart. */
void kv_lane_pace_init(struct kv_lane_pace *pace, uint64_t now);

/* `count` requests, one or more, have come since this was last called. */
void kv_lane_pace_saw(struct kv_lane_pace *pace, uint64_t count, uint64_t now);

/* The loop has looked for so long, and served so many requests. */
void kv_lane_pace_looked(struct kv_lane_pace *pace, uint64_t served, uint64_t ns);

/* Returns true if the loop should look. */
bool kv_lane_pace_is_fast(const struct kv_lane_pace *pace, uint64_t now);

#endif
