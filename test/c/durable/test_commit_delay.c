/* The commit delay: a commit waits for the callers that were just answered, for half the time of a
 * commit at most, and not after waits in vain. */
#include "durable/commit_delay.h"

#include <criterion/criterion.h>

#define US(n) ((uint64_t)(n)*1000)

static struct kv_commit_delay delay;
static uint64_t now;

static void set_up(void)
{
    delay = (struct kv_commit_delay){0};
    now = US(1000000);
}

TestSuite(commit_delay, .init = set_up, .timeout = 10);

/* A commit that takes so long; `before` answers wait at its end, of which `after` are not its own.
 */
static void commit(uint64_t took, size_t before, size_t after)
{
    kv_commit_delay_begin(&delay, now);
    now += took;
    kv_commit_delay_done(&delay, now, before, after);
}

static uint64_t left(uint64_t later, size_t waiting)
{
    now += later;
    return kv_commit_delay_left(&delay, now, waiting);
}

/* A commit of ten callers that answers five of them, and none of them comes back. */
static void commit_in_vain(void)
{
    commit(US(1000), 10, 5);
    cr_assert_gt(left(0, 5), 0);
    cr_assert_eq(left(US(501), 5), 0);
}

Test(commit_delay, the_first_commit_does_not_wait)
{
    cr_assert_eq(left(0, 1), 0);
}

Test(commit_delay, a_commit_waits_for_half_the_time_of_one)
{
    commit(US(1000), 10, 5);
    cr_assert_eq(left(0, 5), US(500));
    cr_assert_eq(left(US(200), 7), US(300));
    cr_assert_eq(left(US(300), 7), 0);
}

Test(commit_delay, it_never_waits_longer_than_two_milliseconds)
{
    commit(US(100000), 10, 5);
    cr_assert_eq(left(0, 5), KV_COMMIT_DELAY_MOST_NS);
}

Test(commit_delay, the_wait_ends_when_as_many_answers_wait_as_before)
{
    commit(US(1000), 4, 2);
    cr_assert_gt(left(US(10), 3), 0);
    cr_assert_eq(left(US(10), 4), 0);
    cr_assert_eq(left(0, 2), 0);
}

Test(commit_delay, one_caller_of_eight_need_not_come_back)
{
    commit(US(1000), 64, 32);
    cr_assert_gt(left(US(10), 55), 0);
    cr_assert_eq(left(US(10), 56), 0);
}

Test(commit_delay, a_lone_caller_waits_for_nobody)
{
    commit(US(1000), 1, 0);
    cr_assert_eq(left(US(10), 1), 0);
}

Test(commit_delay, a_commit_that_answers_nobody_is_not_followed_by_a_wait)
{
    commit(US(1000), 5, 5);
    cr_assert_eq(left(0, 5), 0);
}

Test(commit_delay, a_commit_that_has_begun_ends_the_wait)
{
    commit(US(1000), 10, 5);
    kv_commit_delay_begin(&delay, now);
    cr_assert_eq(left(0, 5), 0);
}

Test(commit_delay, after_a_wait_in_vain_one_commit_does_not_wait)
{
    commit_in_vain();
    commit(US(1000), 10, 5);
    cr_assert_eq(left(0, 5), 0);
    commit(US(1000), 10, 5);
    cr_assert_gt(left(0, 5), 0);
}

Test(commit_delay, waits_in_vain_become_rare)
{
    size_t waits = 0;
    for (int i = 0; i < 1000; i++) {
        commit(US(1000), 10, 5);
        waits += left(0, 5) > 0;
        cr_assert_eq(left(US(501), 5), 0);
    }
    cr_assert(waits >= 1000 / (KV_COMMIT_SKIPS + 1) && waits < 25, "%zu waits", waits);
}

Test(commit_delay, a_wait_that_was_worth_it_makes_up_for_those_in_vain)
{
    for (int i = 0; i < 3; i++) {
        commit_in_vain();
        while (delay.skips > 0) {
            commit(US(1000), 10, 5);
        }
    }
    commit(US(1000), 10, 5);
    cr_assert_eq(left(US(10), 10), 0);
    commit(US(1000), 10, 5);
    cr_assert_gt(left(0, 5), 0);
}

Test(commit_delay, the_usual_time_follows_the_disk)
{
    commit(US(100), 2, 1);
    for (int i = 0; i < 60; i++) {
        commit(US(1000), 2, 1);
    }
    cr_assert(left(0, 1) > US(490) && left(0, 1) <= US(500));
}
