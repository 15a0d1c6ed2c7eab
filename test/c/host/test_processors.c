/* The processors that a thread may use, and leaving one of them. */
#include "host/processors.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdint.h>

static cpu_set_t before;

static void set_up(void)
{
    cr_assert_eq(sched_getaffinity(0, sizeof before, &before), 0);
}

TestSuite(processors, .init = set_up, .timeout = 10);

static bool may_use_what_it_could(void)
{
    cpu_set_t now;
    return sched_getaffinity(0, sizeof now, &now) == 0 && CPU_EQUAL(&now, &before);
}

Test(processors, a_thread_that_leaves_its_processor_may_still_use_all)
{
    const unsigned here = (unsigned)sched_getcpu();
    (void)kv_processors_leave(here);
    cr_expect(may_use_what_it_could());
    cr_expect_eq(kv_processors_allowed(), (unsigned)CPU_COUNT(&before));
}

Test(processors, a_thread_leaves_only_the_processor_on_which_it_runs)
{
    cr_expect_not(kv_processors_leave(CPU_SETSIZE - 1));
    cr_expect_not(kv_processors_leave(UINT32_MAX));
}

Test(processors, a_thread_that_may_use_one_processor_stays)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((unsigned)sched_getcpu(), &one);
    cr_assert_eq(sched_setaffinity(0, sizeof one, &one), 0);
    cr_expect_not(kv_processors_leave((unsigned)sched_getcpu()));
    cr_expect_eq(kv_processors_allowed(), 1U);
}
