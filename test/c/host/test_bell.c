/* A bell: another thread wakes the loop. */
#include "host/bell.h"

#include <criterion/criterion.h>

enum { RINGS = 1000 };

static uv_loop_t loop;
static struct kv_bell bell;
static _Atomic unsigned rung;
static unsigned heard_all; /* rings that the last call knew of */
static unsigned times;

static void heard(void *context)
{
    cr_assert_eq(context, &times);
    times++;
    heard_all = rung;
}

static void set_up(void)
{
    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert(kv_bell_open(&bell, &loop, heard, &times));
}

static void closed(uv_handle_t *handle)
{
    cr_assert_eq(handle->data, &bell);
}

static void tear_down(void)
{
    kv_bell_close(&bell, closed);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0);
}

TestSuite(bell, .init = set_up, .fini = tear_down, .timeout = 60);

static void ring(void *context)
{
    (void)context;
    for (unsigned i = 0; i < RINGS; i++) {
        rung++;
        kv_bell_ring(&bell);
    }
}

Test(bell, wakes_the_loop_after_each_ring_of_another_thread_at_least_once)
{
    uv_thread_t thread;
    cr_assert_eq(uv_thread_create(&thread, ring, NULL), 0);
    while (heard_all < RINGS) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    cr_assert_eq(uv_thread_join(&thread), 0);
    cr_assert(times >= 1 && times <= RINGS);
}

Test(bell, is_heard_once_for_all_rings_before)
{
    ring(NULL);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    cr_assert_eq(times, 1);
}
