/* Timers: their order, and timers that are cancelled, set again, or left behind by their process.
 */
#include "base/alloc.h"
#include "support/fixture.h"

#include <criterion/criterion.h>

enum { FIRED_MAX = 1 << 17 };

static struct fixture *f;
static struct kv_process *process; /* the one that began last */
static uint64_t fired[FIRED_MAX];  /* tags, in order */
static size_t fired_count;
static void (*when_fired)(struct kv_process *self, uint64_t tag);

static int init(struct kv_process *self, struct kv_bytes options, struct kv_buffer *reason)
{
    (void)options;
    (void)reason;
    process = self;
    return KV_OK;
}

static void handle_timer(struct kv_process *self, uint64_t tag)
{
    cr_assert_lt(fired_count, (size_t)FIRED_MAX);
    fired[fired_count++] = tag;
    if (when_fired != NULL) {
        when_fired(self, tag);
    }
}

static const struct kv_behaviour timed = {
    .module = "timed",
    .state_size = 1,
    .init = init,
    .handle_call = kv_reply_bad_request,
    .handle_timer = handle_timer,
};

static struct kv_process *begin(void)
{
    struct kv_pid pid;
    struct kv_buffer reason = KV_BUFFER_INIT;
    cr_assert_eq(kv_spawn(f->runtime, &timed, term_atom("ok"), &pid, &reason), KV_OK);
    return process;
}

static void set_up(void)
{
    f = fixture_new();
    f->clock = 1000;
    fired_count = 0;
    when_fired = NULL;
    (void)begin();
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(timers, .init = set_up, .fini = tear_down, .timeout = 120);

static uint64_t run_at(uint64_t clock)
{
    f->clock = clock;
    return kv_runtime_run_timers(f->runtime);
}

#define assert_fired(...)                                                                          \
    do {                                                                                           \
        const uint64_t wanted_[] = {__VA_ARGS__};                                                  \
        cr_assert_eq(fired_count, sizeof wanted_ / sizeof wanted_[0]);                             \
        cr_assert_arr_eq(fired, wanted_, sizeof wanted_);                                          \
    } while (0)

/* ---- order ----------------------------------------------------------------------------------- */

Test(timers, come_by_their_time_and_at_one_time_by_their_start)
{
    (void)kv_timer_start(process, 30, 3);
    (void)kv_timer_start(process, 10, 1);
    (void)kv_timer_start(process, 20, 2);
    (void)kv_timer_start(process, 10, 11);
    cr_assert_eq(run_at(1009), 1);
    cr_assert_eq(fired_count, 0);
    cr_assert_eq(run_at(1010), 10);
    assert_fired(1, 11);
    cr_assert_eq(run_at(1030), KV_NO_TIMER);
    assert_fired(1, 11, 2, 3);
}

Test(timers, of_several_processes_come_in_one_order)
{
    struct kv_process *first = process;
    struct kv_process *second = begin();
    (void)kv_timer_start(second, 5, 2);
    (void)kv_timer_start(first, 5, 3);
    (void)kv_timer_start(first, 4, 1);
    (void)run_at(2000);
    assert_fired(1, 2, 3);
}

Test(timers, have_numbers_that_are_not_used_twice)
{
    uint64_t first = kv_timer_start(process, 0, 1);
    cr_assert_neq(first, 0);
    (void)run_at(1000);
    cr_assert_neq(kv_timer_start(process, 0, 1), first);
}

static uint64_t random_of(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

Test(timers, a_hundred_thousand_come_in_order_though_every_third_is_cancelled)
{
    enum { COUNT = 100000, SPAN = 5000 };
    static uint64_t numbers[COUNT];
    static uint64_t due[COUNT];
    uint64_t random = 7;
    size_t cancelled = 0;
    for (size_t i = 0; i < COUNT; i++) {
        due[i] = random_of(&random) % SPAN;
        numbers[i] = kv_timer_start(process, due[i], i);
    }
    for (size_t i = 0; i < COUNT; i += 3, cancelled++) {
        cr_assert(kv_timer_cancel(process, numbers[i]));
    }
    for (uint64_t now = 1000; now < 1000 + SPAN; now += 7) {
        (void)run_at(now);
    }
    cr_assert_eq(run_at(1000 + SPAN), KV_NO_TIMER);
    cr_assert_eq(fired_count, COUNT - cancelled);
    for (size_t i = 1; i < fired_count; i++) {
        uint64_t before = fired[i - 1];
        uint64_t after = fired[i];
        cr_assert_neq(after % 3, 0);
        cr_assert(due[before] < due[after] || (due[before] == due[after] && before < after));
    }
}

/* ---- cancelled, and set again ---------------------------------------------------------------- */

Test(timers, one_that_is_cancelled_does_not_come)
{
    uint64_t timer = kv_timer_start(process, 10, 1);
    (void)kv_timer_start(process, 20, 2);
    cr_assert(kv_timer_cancel(process, timer));
    cr_assert_not(kv_timer_cancel(process, timer));
    cr_assert_eq(run_at(1000), 20);
    (void)run_at(1020);
    assert_fired(2);
}

Test(timers, one_that_has_come_or_is_another_s_cannot_be_cancelled)
{
    struct kv_process *first = process;
    struct kv_process *second = begin();
    uint64_t timer = kv_timer_start(first, 10, 1);
    cr_assert_not(kv_timer_cancel(second, timer));
    cr_assert_not(kv_timer_cancel(first, 0));
    (void)run_at(1010);
    cr_assert_not(kv_timer_cancel(first, timer));
    assert_fired(1);
}

static uint64_t victim;

static void cancel_victim(struct kv_process *self, uint64_t tag)
{
    if (tag == 1) {
        cr_assert(kv_timer_cancel(self, victim));
    }
}

Test(timers, one_that_is_due_in_the_same_turn_can_still_be_cancelled)
{
    (void)kv_timer_start(process, 10, 1);
    victim = kv_timer_start(process, 11, 2);
    (void)kv_timer_start(process, 12, 3);
    when_fired = cancel_victim;
    (void)run_at(1100);
    assert_fired(1, 3);
}

static void start_again(struct kv_process *self, uint64_t tag)
{
    (void)kv_timer_start(self, 0, tag + 1);
}

Test(timers, one_that_is_started_within_a_callback_comes_in_the_next_turn)
{
    (void)kv_timer_start(process, 0, 1);
    when_fired = start_again;
    cr_assert_eq(run_at(1000), 0);
    assert_fired(1);
    cr_assert_eq(run_at(1000), 0);
    assert_fired(1, 2);
}

Test(timers, the_usual_one_replaces_itself_and_leaves_the_others)
{
    kv_process_set_timer(process, 10);
    (void)kv_timer_start(process, 10, 1);
    kv_process_set_timer(process, 20);
    (void)run_at(1010);
    assert_fired(1);
    (void)run_at(1020);
    assert_fired(1, 0);
    kv_process_set_timer(process, 5);
    cr_assert_eq(run_at(1020), 5);
}

/* ---- ends and clocks ------------------------------------------------------------------------- */

Test(timers, of_a_process_that_ends_do_not_come)
{
    struct kv_process *first = process;
    (void)kv_timer_start(first, 10, 1);
    (void)kv_timer_start(begin(), 10, 2);
    struct kv_pid pid = kv_process_pid(first);
    struct kv_pid from = pid_a(1);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &from, &pid, term_atom("kill"));
    cr_assert_eq(run_at(1020), KV_NO_TIMER);
    assert_fired(2);
}

static void end_itself(struct kv_process *self, uint64_t tag)
{
    if (tag == 1) {
        kv_process_exit_atom(self, "normal");
    }
}

Test(timers, of_a_process_that_ends_in_the_same_turn_do_not_come)
{
    (void)kv_timer_start(process, 10, 1);
    (void)kv_timer_start(process, 11, 2);
    (void)kv_timer_start(begin(), 12, 3);
    when_fired = end_itself;
    (void)run_at(1100);
    assert_fired(1, 3);
}

Test(timers, are_freed_with_the_runtime)
{
    for (uint64_t i = 0; i < 100; i++) {
        (void)kv_timer_start(process, i, i);
    }
}

Test(timers, all_come_once_when_the_clock_jumps_ahead)
{
    (void)kv_timer_start(process, 10, 1);
    (void)kv_timer_start(process, 100000, 2);
    cr_assert_eq(run_at(UINT64_MAX / 2), KV_NO_TIMER);
    assert_fired(1, 2);
}

Test(timers, wait_as_long_as_they_were_set_for_when_the_clock_jumps_back)
{
    (void)kv_timer_start(process, 10, 1);
    cr_assert_eq(run_at(500), 510);
    (void)kv_timer_start(process, 20, 2);
    cr_assert_eq(run_at(519), 1);
    (void)run_at(520);
    assert_fired(2);
    (void)run_at(1010);
    assert_fired(2, 1);
}

Test(timers, one_set_for_longer_than_there_is_time_never_comes)
{
    (void)kv_timer_start(process, UINT64_MAX, 1);
    cr_assert_eq(run_at(UINT64_MAX - 1), 1);
    cr_assert_eq(fired_count, 0);
}
