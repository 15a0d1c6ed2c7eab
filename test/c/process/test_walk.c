/* Walks over processes while processes begin and end. */
#include "support/viewer.h"

#include <criterion/criterion.h>

enum { BUCKETS = 1000 };

static struct fixture *f;
static struct kv_pid pids[BUCKETS];
static size_t visits[BUCKETS];
static size_t others;

static void set_up(void)
{
    f = viewer_fixture(&pids[0]);
    for (size_t i = 1; i < BUCKETS; i++) {
        pids[i] = viewer_bucket(f, term_list(NONE, NONE, NONE));
    }
    memset(visits, 0, sizeof visits);
    others = 0;
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(walk, .init = set_up, .fini = tear_down, .timeout = 60);

static void visit(void *context, const struct kv_process *process)
{
    struct kv_pid pid = kv_process_pid(process);
    size_t at = pid.id - pids[0].id;
    (void)context;
    if (pid.id < pids[0].id || at >= BUCKETS) {
        others++;
    } else {
        visits[at]++;
    }
}

static void kill(size_t i)
{
    struct kv_pid killer = pid_a(9);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &killer, &pids[i], term_atom("kill"));
    forget(f);
}

Test(walk, every_process_is_visited_once_whatever_the_size_of_a_step)
{
    for (size_t step = 1; step < 3000; step *= 7) {
        struct kv_walk walk = {.runtime = NULL};
        tear_down();
        set_up();
        kv_walk_begin(&walk, f->runtime);
        while (kv_walk_step(&walk, step, visit, NULL)) {
        }
        for (size_t i = 0; i < BUCKETS; i++) {
            cr_assert_eq(visits[i], 1);
        }
        cr_assert_eq(others, 2); /* rex and net_kernel */
        kv_walk_end(&walk);      /* of a walk that has ended: nothing */
    }
}

Test(walk, processes_that_end_are_passed_and_those_that_begin_are_not_visited)
{
    struct kv_walk walk = {.runtime = NULL};
    kv_walk_begin(&walk, f->runtime);
    for (size_t i = 0; kv_walk_step(&walk, 3, visit, NULL); i++) {
        (void)viewer_bucket(f, term_list(NONE, NONE, NONE));
        if (3 * i + 2 < BUCKETS) {
            kill(3 * i + 1); /* the next one: rex and net_kernel were first */
            kill(3 * i + 2);
        }
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        cr_assert_leq(visits[i], 1);
    }
    cr_assert_eq(others, 2);
    cr_assert_eq(visits[0], 1);
}

Test(walk, when_all_end_the_walk_does)
{
    struct kv_walk walk = {.runtime = NULL};
    kv_walk_begin(&walk, f->runtime);
    cr_assert(kv_walk_step(&walk, 10, visit, NULL));
    for (size_t i = 0; i < BUCKETS; i++) {
        kill(i);
    }
    cr_assert_not(kv_walk_step(&walk, 10, visit, NULL));
    cr_assert_not(kv_walk_step(&walk, 10, visit, NULL));
}

Test(walk, two_walks_do_not_disturb_each_other_and_one_may_end_before_its_time)
{
    struct kv_walk walk = {.runtime = NULL};
    struct kv_walk other = {.runtime = NULL};
    kv_walk_begin(&walk, f->runtime);
    kv_walk_begin(&other, f->runtime);
    (void)kv_walk_step(&other, 500, visit, NULL);
    kv_walk_end(&other);
    memset(visits, 0, sizeof visits);
    while (kv_walk_step(&walk, 64, visit, NULL)) {
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        cr_assert_eq(visits[i], 1);
    }
}
