/* The alarm wakes the loop once. */
#include "host/alarm.h"

#include <criterion/criterion.h>

static uv_loop_t loop;
static struct kv_alarm it;

static void set_up(void)
{
    cr_assert_eq(uv_loop_init(&loop), 0);
    kv_alarm_open(&it, &loop);
    cr_assert(it.is_open);
}

static void tear_down(void)
{
    kv_alarm_close(&it);
    uv_close((uv_handle_t *)&it.poll, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0);
}

TestSuite(alarm, .init = set_up, .fini = tear_down, .timeout = 60);

Test(alarm, wakes_the_loop)
{
    const uint64_t begun = uv_hrtime();
    kv_alarm_set(&it, 300000);
    cr_assert(it.is_set);
    (void)uv_run(&loop, UV_RUN_ONCE);
    cr_assert(!it.is_set && uv_hrtime() - begun >= 300000);
}

Test(alarm, wakes_it_again_when_it_is_set_again)
{
    for (int i = 0; i < 3; i++) {
        kv_alarm_set(&it, 1);
        (void)uv_run(&loop, UV_RUN_ONCE);
        cr_assert(!it.is_set);
    }
}

Test(alarm, stays_as_it_was_set_first)
{
    kv_alarm_set(&it, 1000);
    kv_alarm_set(&it, UINT64_C(3600) * 1000000000);
    (void)uv_run(&loop, UV_RUN_ONCE);
    cr_assert(!it.is_set);
}

Test(alarm, does_not_wake_the_loop_once_it_is_unset)
{
    kv_alarm_set(&it, 1);
    kv_alarm_unset(&it);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    cr_assert(!it.is_set);
    kv_alarm_set(&it, UINT64_C(3600) * 1000000000);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    cr_assert(it.is_set);
}

Test(alarm, may_be_closed_while_it_is_set)
{
    kv_alarm_set(&it, UINT64_C(3600) * 1000000000);
    kv_alarm_close(&it);
    kv_alarm_close(&it);
    kv_alarm_set(&it, 1);
    kv_alarm_unset(&it);
    cr_assert(!it.is_set && !it.is_open);
}
