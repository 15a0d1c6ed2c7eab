/* A node that nobody holds: any other node whose processes own some of ours may be away. Here these
 * are a@host and b@host. */
#include "support/probe.h"

#include "kv/kv.h"

#include <criterion/criterion.h>

static struct fixture *f;

static void set_up(void)
{
    f = fixture_keeping_all();
    kv_offer(f->runtime, &probe_behaviour, NULL);
    cr_assert_eq(kv_services_start(f->runtime, &f->store), KV_OK);
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(away_all, .init = set_up, .fini = tear_down, .timeout = 20);

static struct kv_pid owned_by(struct kv_pid owner)
{
    struct kv_pid probe = spawn_probe(f);
    do_with_pid(f, &probe, "own", &owner);
    return probe;
}

static void lose(struct kv_peer **peer)
{
    kv_runtime_peer_down(f->runtime, *peer);
    *peer = NULL;
}

static void connects(struct kv_peer **peer, char *name, uint32_t creation)
{
    *peer = kv_runtime_peer_up(f->runtime, kv_bytes_text(name), creation, name);
    kv_runtime_peer_ready(*peer);
}

static void a_connects(uint32_t creation)
{
    static char name[] = "a@host";
    connects(&f->a, name, creation);
}

static void b_connects(uint32_t creation)
{
    static char name[] = "b@host";
    connects(&f->b, name, creation);
}

static size_t away(void)
{
    return kv_runtime_absences(f->runtime).count;
}

/* The number of the absence of a node, or 0. */
static uint64_t absence_of(const char *node)
{
    struct kv_bytes name = kv_bytes(NULL, 0);
    uint64_t number = 0;
    do {
        number = kv_runtime_next_absence(f->runtime, number, &name);
    } while (number != 0 && !kv_bytes_is(name, node));
    return number;
}

Test(away_all, a_node_that_owns_nothing_is_only_lost)
{
    (void)owned_by(pid_b(5));
    lose(&f->a);
    cr_assert_eq(away(), 0);
    cr_assert_eq(absence_of("a@host"), 0);
}

Test(away_all, each_node_that_owns_something_may_be_away)
{
    struct kv_pid of_a = owned_by(pid_a(5));
    struct kv_pid of_b = owned_by(pid_b(5));
    lose(&f->a);
    lose(&f->b);
    cr_assert_eq(away(), 2);
    cr_assert_gt(absence_of("b@host"), absence_of("a@host"));
    forget(f);
    b_connects(8);
    cr_assert_eq(away(), 1);
    cr_assert_eq(count_of(f, KV_SIGNAL_MONITOR), 1);
    cr_assert_str_eq(sent_of(f, KV_SIGNAL_MONITOR, 0)->to, "b@host");
    cr_assert(kv_is_alive(f->runtime, &of_a));
    cr_assert(kv_is_alive(f->runtime, &of_b));
    a_connects(7);
    cr_assert_eq(away(), 0);
    cr_assert_eq(count_of(f, KV_SIGNAL_MONITOR), 2);
}

/* Returns how many processes that its owner has lost the probe has heard of. */
static void expect_downs(const struct kv_pid *probe, int64_t downs)
{
    assert_term(system_call(f, probe, term_atom("get_state")),
                expected_state(downs, downs > 0 ? "noconnection" : "", 0, 0));
}

Test(away_all, the_time_of_one_is_over_without_that_of_the_other)
{
    struct kv_pid of_a = owned_by(pid_a(5));
    struct kv_pid of_b = owned_by(pid_b(5));
    lose(&f->a);
    lose(&f->b);
    a_connects(9); /* another run, which asks for the states below */
    expect_downs(&of_a, 1);
    expect_downs(&of_b, 0);
    kv_runtime_absence_expired(f->runtime, absence_of("b@host"));
    expect_downs(&of_b, 1);
    cr_assert_eq(away(), 0);
}

Test(away_all, an_absence_that_is_over_does_not_expire)
{
    struct kv_pid of_b = owned_by(pid_b(5));
    lose(&f->b);
    uint64_t first = absence_of("b@host");
    b_connects(8);
    lose(&f->b);
    cr_assert_gt(absence_of("b@host"), first);
    kv_runtime_absence_expired(f->runtime, first);
    cr_assert_eq(away(), 1);
    expect_downs(&of_b, 0);
    cr_assert_eq(kv_runtime_absences(f->runtime).begun, 2);
}
