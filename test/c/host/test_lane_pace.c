/* When the loop looks at lanes, at times of the test's own. */
#include "host/lane_pace.h"

#include <criterion/criterion.h>

#define US(n) ((uint64_t)(n)*1000)
#define MS(n) US((uint64_t)(n)*1000)

static struct kv_lane_pace pace;
static uint64_t now;

static void set_up(void)
{
    now = MS(1000000);
    kv_lane_pace_init(&pace, now);
}

TestSuite(lane_pace, .init = set_up, .timeout = 10);

/* So many times `count` requests, so far apart. Returns how often the loop would have looked. */
static unsigned ask(unsigned times, uint64_t count, uint64_t apart)
{
    unsigned looks = 0;
    for (unsigned i = 0; i < times; i++) {
        now += apart;
        kv_lane_pace_saw(&pace, count, now);
        looks += kv_lane_pace_is_fast(&pace, now);
    }
    return looks;
}

Test(lane_pace, it_begins_without_looking)
{
    cr_assert(!kv_lane_pace_is_fast(&pace, now));
}

Test(lane_pace, it_looks_when_requests_come_fast)
{
    (void)ask(20, 1, US(50));
    cr_assert(kv_lane_pace_is_fast(&pace, now));
    cr_assert(kv_lane_pace_is_fast(&pace, now + US(KV_LANE_PATIENCE_US - 1)));
}

Test(lane_pace, it_stops_a_while_after_the_last_request)
{
    (void)ask(20, 1, US(50));
    cr_assert(!kv_lane_pace_is_fast(&pace, now + US(KV_LANE_PATIENCE_US)));
}

Test(lane_pace, it_never_looks_for_sparse_callers)
{
    cr_assert_eq(ask(5000, 1, MS(2)), 0U);
    cr_assert_eq(ask(5000, 1, US(KV_LANE_GAP_US + 10)), 0U);
}

Test(lane_pace, a_few_requests_after_a_silence_are_not_enough)
{
    (void)ask(100, 1, US(10));
    for (unsigned i = 0; i < 100; i++) {
        cr_assert_eq(ask(1, 1, MS(5000)), 0U);
        cr_assert_eq(ask(1, 1, US(10)), 0U);
    }
}

Test(lane_pace, fast_callers_that_were_stopped_for_a_while_find_it_looking_again)
{
    (void)ask(100, 1, US(10));
    kv_lane_pace_looked(&pace, 100, US(1000));
    for (unsigned i = 0; i < 100; i++) {
        cr_assert_eq(ask(1, 1, MS(8)), 1U);
        kv_lane_pace_looked(&pace, 50, US(50));
    }
}

Test(lane_pace, requests_pay_for_a_little_looking_in_vain_each)
{
    (void)ask(100, 1, US(10));
    kv_lane_pace_looked(&pace, 1000, US(1000));
    uint64_t vain = 0;
    for (unsigned i = 0; i < 1000; i++) {
        const uint64_t looks = ask(1, 1, MS(2)) == 0 ? 0 : US(KV_LANE_PATIENCE_US);
        kv_lane_pace_looked(&pace, 1, 0);
        kv_lane_pace_looked(&pace, 0, looks);
        vain += looks < pace.saved ? looks : pace.saved;
    }
    cr_assert_leq(vain, US(KV_LANE_SAVED_US + 1000 * KV_LANE_EARNED_US));
    cr_assert_leq(pace.saved, US(KV_LANE_EARNED_US));
}

Test(lane_pace, what_was_paid_for_is_forgotten_after_a_silence)
{
    (void)ask(100, 1, US(10));
    kv_lane_pace_looked(&pace, 1000, US(1000));
    cr_assert_eq(ask(1, 1, US(KV_LANE_SAVED_FOR_US + 1)), 0U);
}

Test(lane_pace, many_requests_at_once_count_as_many)
{
    cr_assert_gt(ask(3, 100, US(500)), 0U);
}
