#include "host/pace.h"

#include <unistd.h>
#include <uv.h>

enum { NS_PER_US = 1000 };

void kv_pace_init(struct kv_pace *pace, bool follow, uint64_t gather_us, uint64_t spin_us)
{
    bool single = sysconf(_SC_NPROCESSORS_ONLN) < 2;
    *pace = (struct kv_pace){.spin_ns = single ? 0 : spin_us * NS_PER_US};
    bool follows = kv_follow_init(&pace->follow, follow);
    kv_gather_init(&pace->gather, follows ? 0 : gather_us);
}

void kv_pace_rest(struct kv_pace *pace, uint64_t now)
{
    kv_follow_tend(&pace->follow, kv_gather_has_many(&pace->gather), pace->gather.seen, now);
    kv_gather_wait(&pace->gather);
}

void kv_pace_go_on(struct kv_pace *pace, uint64_t now)
{
    kv_follow_tend(&pace->follow, false, pace->gather.seen, now);
    (void)kv_gather_pause(&pace->gather, uv_hrtime());
}

/* A pause of hours must not count more than one that is merely long: messages may come fast again
 * right after it. */
static void note(struct kv_pace *pace, uint64_t now)
{
    if (pace->seen != pace->gather.seen) {
        const uint64_t slowest = (uint64_t)KV_PACE_SLOW_US * NS_PER_US;
        uint64_t gap = now - pace->last;
        gap = gap < slowest ? gap : slowest;
        pace->gap = (3 * pace->gap + gap) / 4;
        pace->seen = pace->gather.seen;
        pace->last = now;
    }
}

bool kv_pace_is_worth_looking_at(struct kv_pace *pace, uint64_t now)
{
    note(pace, now);
    const uint64_t least = (uint64_t)KV_SPIN_LEAST_US * NS_PER_US;
    uint64_t patience = KV_SPIN_GAPS * pace->gap;
    patience = patience > least ? patience : least;
    patience = patience < pace->spin_ns ? patience : pace->spin_ns;
    return !pace->waits && pace->gap < pace->spin_ns + (uint64_t)KV_SPIN_WAKE_US * NS_PER_US &&
           now - pace->last < patience;
}

void kv_pace_waits(struct kv_pace *pace, size_t answers, uint64_t now)
{
    if (answers >= KV_GATHER_SENDERS) {
        pace->waits = true;
        pace->waited = now;
    } else if (now - pace->waited > KV_PACE_WAITED_MS) {
        pace->waits = false;
    }
}

bool kv_pace_is_worth_looking(struct kv_pace *pace)
{
    if (pace->spin_ns == 0 || kv_gather_has_many(&pace->gather)) {
        return false;
    }
    return kv_pace_is_worth_looking_at(pace, uv_hrtime());
}
