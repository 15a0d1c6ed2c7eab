/* When the loop waits, and when it looks on: at times of the test's own. */
#include "host/pace.h"

#include <criterion/criterion.h>

#define US(n) ((uint64_t)(n)*1000)
#define MS(n) US((uint64_t)(n)*1000)

static struct kv_pace pace;
static uint64_t now;

static void set_up(void)
{
    pace = (struct kv_pace){.gather = {.pause_ns = US(75)}, .spin_ns = US(200)};
    now = MS(1000000);
}

TestSuite(pace, .init = set_up, .timeout = 10);

static void hear(unsigned messages, unsigned senders)
{
    for (unsigned i = 0; i < messages; i++) {
        kv_pace_saw(&pace, i % senders, -1);
    }
}

/* A turn with messages, `after` nanoseconds later. Returns for how long it is waited. */
static uint64_t turn(uint64_t after, unsigned messages, unsigned senders)
{
    now += after;
    hear(messages, senders);
    return kv_gather_pause(&pace.gather, now);
}

/* ---- gathering ------------------------------------------------------------------------------- */

Test(pace, it_waits_when_many_processes_have_sent_something)
{
    (void)turn(0, 8, 8);
    cr_assert_eq(turn(US(100), 8, 8), US(75));
}

Test(pace, it_does_not_wait_for_few)
{
    (void)turn(0, 7, 7);
    cr_assert_eq(turn(US(100), 50, 7), 0);
}

Test(pace, it_does_not_wait_after_a_turn_with_plenty_to_do)
{
    (void)turn(0, 8, 8);
    cr_assert_eq(turn(US(100), KV_GATHER_PLENTY, 8), 0);
}

Test(pace, senders_of_two_windows_ago_are_forgotten)
{
    (void)turn(0, 8, 8);
    (void)turn(2 * US(KV_GATHER_WINDOW_US), 1, 1);
    cr_assert_eq(turn(US(1), 1, 1), 0);
    cr_assert(!kv_gather_has_many(&pace.gather));
}

Test(pace, it_never_waits_when_it_is_off)
{
    pace.gather.pause_ns = 0;
    (void)turn(0, 8, 8);
    cr_assert_eq(turn(US(100), 8, 8), 0);
}

Test(pace, a_clock_that_jumps_back_or_ahead_only_forgets_senders)
{
    (void)turn(0, 8, 8);
    now -= MS(5000);
    (void)turn(0, 8, 8);
    (void)turn(US(100), 8, 8);
    cr_assert_eq(turn(US(100), 8, 8), US(75));
    now += MS(50000000);
    (void)turn(0, 8, 8);
    cr_assert_eq(turn(US(100), 8, 8), US(75));
}

Test(pace, it_does_not_wait_while_the_loop_looks_at_lanes)
{
    pace.gather.pause_ns = UINT64_MAX; /* would never end */
    hear(8, 8);
    kv_pace_go_on(&pace, 1);
    cr_assert_eq(pace.gather.messages, 0U);
}

Test(pace, it_leaves_the_processor_of_its_callers_when_it_looks_at_lanes)
{
    cpu_set_t all;
    cr_assert_eq(sched_getaffinity(0, sizeof all, &all), 0);
    pace.follow = (struct kv_follow){.able = true, .processor = 0, .socket = -1, .allowed = all};
    hear(8, 8);
    kv_pace_go_on(&pace, 1);
    cr_assert_eq(pace.follow.processor, -1);
}

/* ---- looking on ------------------------------------------------------------------------------ */

static bool looks_on(uint64_t after)
{
    now += after;
    return kv_pace_is_worth_looking_at(&pace, now);
}

/* Messages of one caller, so far apart. */
static void call(unsigned times, uint64_t apart)
{
    for (unsigned i = 0; i < times; i++) {
        hear(1, 1);
        (void)looks_on(apart);
    }
}

Test(pace, it_looks_on_while_messages_come_fast)
{
    call(20, US(20));
    cr_assert(looks_on(US(40)));
}

Test(pace, it_stops_when_none_has_come_for_some_times_the_usual_distance)
{
    call(20, US(20));
    cr_assert(!looks_on(KV_SPIN_GAPS * US(20) + US(30)));
}

Test(pace, it_looks_for_some_time_even_when_messages_come_very_fast)
{
    call(40, US(1));
    cr_assert(looks_on(US(KV_SPIN_LEAST_US - 5)));
}

Test(pace, it_never_looks_longer_than_it_may)
{
    call(20, US(100));
    cr_assert(!looks_on(US(201)));
}

Test(pace, it_does_not_look_for_messages_that_are_far_apart)
{
    call(20, MS(2));
    hear(1, 1);
    cr_assert(!looks_on(0));
}

Test(pace, it_does_not_look_when_it_is_off_or_many_call)
{
    call(20, US(20));
    pace.spin_ns = 0;
    cr_assert(!kv_pace_is_worth_looking(&pace));
    pace.spin_ns = US(200);
    hear(8, 8);
    cr_assert(!kv_pace_is_worth_looking(&pace));
}

Test(pace, it_does_not_look_while_many_callers_wait_for_the_disk_nor_right_after)
{
    const uint64_t began = 1000;
    call(20, US(20));
    kv_pace_waits(&pace, KV_GATHER_SENDERS - 1, began);
    cr_assert(looks_on(US(1)));
    kv_pace_waits(&pace, KV_GATHER_SENDERS, began);
    cr_assert(!looks_on(US(1)));
    kv_pace_waits(&pace, 0, began + KV_PACE_WAITED_MS);
    cr_assert(!looks_on(US(1)));
    kv_pace_waits(&pace, 0, began + KV_PACE_WAITED_MS + 1);
    cr_assert(looks_on(US(1)));
}

Test(pace, after_a_long_silence_it_needs_a_few_messages_to_look_on_again)
{
    call(20, US(20));
    call(1, MS(3600 * 1000));
    hear(1, 1);
    cr_assert(!looks_on(0), "the silence counts as %d us", KV_PACE_SLOW_US);
    call(20, US(20));
    cr_assert(looks_on(US(20)));
}

Test(pace, a_clock_that_jumps_back_is_a_long_silence)
{
    call(20, US(20));
    now -= MS(5000);
    hear(1, 1);
    cr_assert(!looks_on(0));
    call(20, US(20));
    cr_assert(looks_on(US(20)));
}

/* ---- following ------------------------------------------------------------------------------- */

Test(pace, it_remembers_the_socket_of_this_host_that_a_message_came_from)
{
    struct kv_follow follow = {.processor = -1, .socket = -1};
    kv_follow_saw(&follow, 7);
    kv_follow_saw(&follow, -1);
    cr_assert_eq(follow.socket, 7);
}

Test(pace, it_never_moves_when_it_is_not_able_to)
{
    struct kv_follow follow = {.processor = -1, .socket = -1};
    kv_follow_saw(&follow, 0);
    kv_follow_tend(&follow, true, 10, 1000);
    cr_assert_eq(follow.processor, -1);
    cr_assert_eq(follow.looked, 0);
}

Test(pace, what_is_no_socket_is_not_local)
{
    cr_assert(!kv_follow_is_local(-1));
    cr_assert(!kv_follow_is_local(0));
}
