/* Monitors in both directions. */
#include "support/probe.h"

#include <criterion/criterion.h>

static struct fixture *f;

static void set_up(void)
{
    f = probe_fixture();
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(monitors, .init = set_up, .fini = tear_down, .timeout = 20);

/* ---- monitors ----------------------------------------------------------------------------------
 */

Test(monitors, a_monitor_fires_once_with_the_same_reference)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(1);
    struct kv_ref ref = ref_a(77);
    feed_monitor(f, f->a, &peer, &probe, &ref);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("boom"));
    const struct sent *down = sent_of(f, KV_SIGNAL_DOWN, 0);
    assert_term(payload_of(down), term_atom("boom"));
    cr_assert(kv_ref_equal(&down->signal.ref, &ref));
    cr_assert(kv_pid_equal(&down->signal.from, &probe));
    cr_assert(kv_pid_equal(&down->signal.to, &peer));
    cr_assert_eq(count_of(f, KV_SIGNAL_DOWN), 1);
}

Test(monitors, a_monitor_on_a_dead_process_fires_at_once_with_noproc)
{
    struct kv_pid dead = {.node = kv_bytes_text(FIXTURE_NODE), .id = 9999, .creation = 100};
    struct kv_pid peer = pid_a(1);
    struct kv_ref ref = ref_a(1);
    feed_monitor(f, f->a, &peer, &dead, &ref);
    const struct sent *down = sent_of(f, KV_SIGNAL_DOWN, 0);
    assert_term(payload_of(down), term_atom("noproc"));
    cr_assert(kv_pid_equal(&down->signal.from, &dead));
}

Test(monitors, a_monitor_on_an_unknown_name_fires_at_once_with_that_name)
{
    struct kv_signal monitor = {.kind = KV_SIGNAL_MONITOR,
                                .from = pid_a(1),
                                .ref = ref_a(1),
                                .by_name = true,
                                .name = kv_bytes_text("nobody")};
    feed(f, f->a, &monitor);
    const struct sent *down = sent_of(f, KV_SIGNAL_DOWN, 0);
    assert_term(payload_of(down), term_atom("noproc"));
    cr_assert(down->signal.by_name);
    cr_assert(kv_bytes_is(down->signal.name, "nobody"));
}

Test(monitors, a_monitor_by_name_is_bound_to_the_process_and_fires_with_the_name)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(1);
    (void)call(f, &probe, term_tuple(term_atom("register"), term_atom("bob"), NONE, NONE));
    struct kv_signal monitor = {.kind = KV_SIGNAL_MONITOR,
                                .from = peer,
                                .ref = ref_a(1),
                                .by_name = true,
                                .name = kv_bytes_text("bob")};
    feed(f, f->a, &monitor);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("kill"));
    const struct sent *down = sent_of(f, KV_SIGNAL_DOWN, 0);
    assert_term(payload_of(down), term_atom("killed"));
    cr_assert(down->signal.by_name);
    cr_assert(kv_bytes_is(down->signal.name, "bob"));
}

Test(monitors, a_demonitored_monitor_does_not_fire)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(1);
    struct kv_ref ref = ref_a(1);
    feed_monitor(f, f->a, &peer, &probe, &ref);
    struct kv_signal demonitor = {
        .kind = KV_SIGNAL_DEMONITOR, .from = peer, .to = probe, .ref = ref};
    feed(f, f->a, &demonitor);
    feed(f, f->a, &demonitor); /* an unknown reference is normal */
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("kill"));
    cr_assert_eq(count_of(f, KV_SIGNAL_DOWN), 0);
}

Test(monitors, only_the_watcher_can_take_its_monitor_back)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(1);
    struct kv_ref ref = ref_a(1);
    feed_monitor(f, f->a, &peer, &probe, &ref);
    struct kv_signal demonitor = {
        .kind = KV_SIGNAL_DEMONITOR, .from = pid_a(2), .to = probe, .ref = ref};
    feed(f, f->a, &demonitor);
    demonitor.from = pid_b(1);
    feed(f, f->b, &demonitor);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("kill"));
    cr_assert_eq(count_of(f, KV_SIGNAL_DOWN), 1);
}

Test(monitors, a_reference_that_is_in_use_is_refused)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_signal monitor = {
        .kind = KV_SIGNAL_MONITOR, .from = pid_a(1), .to = probe, .ref = ref_a(1)};
    feed(f, f->a, &monitor);
    const struct kv_incoming again = {.signal = monitor};
    cr_assert_eq(kv_runtime_receive(f->runtime, f->a, &again), KV_EPROTOCOL);
}

Test(monitors, references_of_five_words_are_kept_whole)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(1);
    struct kv_ref ref = {
        .node = kv_bytes_text("a@host"), .creation = 7, .count = 5, .words = {1, 2, 3, 4, 5}};
    feed_monitor(f, f->a, &peer, &probe, &ref);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("kill"));
    cr_assert(kv_ref_equal(&sent_of(f, KV_SIGNAL_DOWN, 0)->signal.ref, &ref));
}

Test(monitors, our_monitor_fires_when_the_peer_says_so)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid target = pid_a(5);
    do_with_pid(f, &probe, "monitor", &target);
    const struct sent *monitor = sent_of(f, KV_SIGNAL_MONITOR, 0);
    cr_assert(kv_pid_equal(&monitor->signal.to, &target));
    struct kv_signal down = {.kind = KV_SIGNAL_DOWN,
                             .from = target,
                             .to = probe,
                             .ref = monitor->signal.ref,
                             .payload = {term_atom("boom")},
                             .payload_parts = 1};
    feed(f, f->b, &down); /* another node's word does not count */
    feed(f, f->a, &down);
    feed(f, f->a, &down);
    assert_term(system_call(f, &probe, term_atom("get_state")), expected_state(1, "boom", 0, 0));
}

Test(monitors, our_monitor_taken_back_is_told_to_the_peer)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid target = pid_a(5);
    do_with_pid(f, &probe, "monitor", &target);
    do_with_pid(f, &probe, "demonitor", &target);
    cr_assert(kv_ref_equal(&sent_of(f, KV_SIGNAL_MONITOR, 0)->signal.ref,
                           &sent_of(f, KV_SIGNAL_DEMONITOR, 0)->signal.ref));
}

Test(monitors, a_process_that_dies_takes_its_monitors_back)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid target = pid_a(5);
    do_with_pid(f, &probe, "monitor", &target);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &target, &probe, term_atom("kill"));
    cr_assert_eq(count_of(f, KV_SIGNAL_DEMONITOR), 1);
}

Test(monitors, our_monitor_on_a_node_that_is_not_connected_fires_with_noconnection)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid nowhere = {.node = kv_bytes_text("c@host"), .id = 1, .creation = 1};
    do_with_pid(f, &probe, "monitor", &nowhere);
    assert_term(system_call(f, &probe, term_atom("get_state")),
                expected_state(1, "noconnection", 0, 0));
}

Test(monitors, native_processes_monitor_each_other)
{
    struct kv_pid one = spawn_probe(f);
    struct kv_pid two = spawn_probe(f);
    struct kv_pid killer = pid_a(1);
    do_with_pid(f, &one, "monitor", &two);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &killer, &two, term_atom("boom"));
    assert_term(system_call(f, &one, term_atom("get_state")), expected_state(1, "boom", 0, 0));
    do_with_pid(f, &one, "monitor", &two);
    assert_term(system_call(f, &one, term_atom("get_state")), expected_state(2, "noproc", 0, 0));
}
