/* A thread aside from the loop. */
#include "host/aside.h"

#include <criterion/criterion.h>

enum { JOBS = 1000 };

static uv_loop_t loop;
static struct kv_aside aside;
static uv_thread_t loops;
static unsigned worked;
static unsigned done;

static void work(void *context)
{
    const uv_thread_t self = uv_thread_self();
    cr_assert_eq(context, &worked);
    cr_assert_not(uv_thread_equal(&self, &loops));
    worked++;
}

static void on_done(void *context)
{
    const uv_thread_t self = uv_thread_self();
    cr_assert_eq(context, &worked);
    cr_assert(uv_thread_equal(&self, &loops));
    done++;
    cr_assert_eq(worked, done);
    if (done < JOBS) {
        kv_aside_do(&aside);
    }
}

static void set_up(void)
{
    loops = uv_thread_self();
    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert(kv_aside_start(&aside, &loop, work, on_done, &worked));
}

static void tear_down(void)
{
    kv_aside_end(&aside);
    kv_aside_end(&aside);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0);
}

TestSuite(aside, .init = set_up, .fini = tear_down, .timeout = 60);

Test(aside, does_one_job_after_the_other_and_tells_the_loop_of_each)
{
    kv_aside_do(&aside);
    while (done < JOBS) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
}

Test(aside, ends_with_a_job_under_way_and_tells_nobody)
{
    kv_aside_do(&aside);
    kv_aside_end(&aside);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(done, 0);
}

Test(aside, ends_without_a_job)
{
    cr_assert_eq(worked, 0);
}
