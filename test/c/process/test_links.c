/* Links: every row of the link protocol. */
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

TestSuite(links, .init = set_up, .fini = tear_down, .timeout = 20);

/* ---- links ------------------------------------------------
 */

Test(links, a_linked_process_that_dies_sends_exit_with_its_reason)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(1);
    feed_link(f, f->a, &peer, &probe);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("shutdown"));
    const struct sent *exit = sent_of(f, KV_SIGNAL_EXIT_LINK, 0);
    assert_term(payload_of(exit), term_atom("shutdown"));
    cr_assert(kv_pid_equal(&exit->signal.to, &peer));
    cr_assert(kv_pid_equal(&exit->signal.from, &probe));
    cr_assert_eq(count_of(f, KV_SIGNAL_EXIT_LINK), 1);
}

Test(links, a_second_link_to_the_same_process_is_the_same_link)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(1);
    feed_link(f, f->a, &peer, &probe);
    feed_link(f, f->a, &peer, &probe);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("kill"));
    cr_assert_eq(count_of(f, KV_SIGNAL_EXIT_LINK), 1);
}

Test(links, a_link_to_a_dead_process_is_answered_with_exit_noproc)
{
    struct kv_pid dead = {.node = kv_bytes_text(FIXTURE_NODE), .id = 9999, .creation = 100};
    struct kv_pid peer = pid_a(1);
    feed_link(f, f->a, &peer, &dead);
    assert_term(payload_of(sent_of(f, KV_SIGNAL_EXIT_LINK, 0)), term_atom("noproc"));
}

Test(links, a_link_to_a_process_of_an_earlier_run_is_answered_with_exit_noproc)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(1);
    probe.creation--;
    feed_link(f, f->a, &peer, &probe);
    assert_term(payload_of(sent_of(f, KV_SIGNAL_EXIT_LINK, 0)), term_atom("noproc"));
}

Test(links, an_unlink_is_acknowledged_and_no_exit_follows)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(1);
    feed_link(f, f->a, &peer, &probe);
    feed_unlink(f, f->a, &peer, &probe, 42);
    const struct sent *ack = sent_of(f, KV_SIGNAL_UNLINK_ACK, 0);
    cr_assert_not_null(ack);
    cr_assert_eq(ack->signal.unlink_id, 42);
    cr_assert(kv_pid_equal(&ack->signal.from, &probe));
    cr_assert(kv_pid_equal(&ack->signal.to, &peer));
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("kill"));
    cr_assert_eq(count_of(f, KV_SIGNAL_EXIT_LINK), 0);
}

Test(links, an_unlink_without_a_link_and_of_a_dead_process_is_acknowledged_too)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(1);
    feed_unlink(f, f->a, &peer, &probe, 1);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("kill"));
    feed_unlink(f, f->a, &peer, &probe, 2);
    cr_assert_eq(count_of(f, KV_SIGNAL_UNLINK_ACK), 2);
}

Test(links, the_old_unlink_breaks_the_link_and_has_no_answer)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(1);
    feed_link(f, f->a, &peer, &probe);
    feed_unlink(f, f->a, &peer, &probe, 0);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("kill"));
    cr_assert_eq(f->sent_count, 0);
}

Test(links, we_link_once_and_die_with_a_linked_process)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(5);
    do_with_pid(f, &probe, "link", &peer);
    do_with_pid(f, &probe, "link", &peer);
    cr_assert_eq(count_of(f, KV_SIGNAL_LINK), 1);
    feed_exit(f, f->a, KV_SIGNAL_EXIT_LINK, &peer, &probe, term_atom("boom"));
    cr_assert_not(kv_is_alive(f->runtime, &probe));
}

Test(links, exit_normal_from_a_link_is_ignored_and_ends_the_link)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(5);
    feed_link(f, f->a, &peer, &probe);
    feed_exit(f, f->a, KV_SIGNAL_EXIT_LINK, &peer, &probe, term_atom("normal"));
    cr_assert(kv_is_alive(f->runtime, &probe));
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("kill"));
    cr_assert_eq(count_of(f, KV_SIGNAL_EXIT_LINK), 0);
}

Test(links, exit_kill_from_a_link_keeps_its_reason)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(5);
    struct kv_pid other = pid_a(6);
    feed_link(f, f->a, &peer, &probe);
    feed_link(f, f->a, &other, &probe);
    feed_exit(f, f->a, KV_SIGNAL_EXIT_LINK, &peer, &probe, term_atom("kill"));
    assert_term(payload_of(sent_of(f, KV_SIGNAL_EXIT_LINK, 0)), term_atom("kill"));
}

Test(links, an_exit_over_a_link_that_is_not_there_is_ignored)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(5);
    feed_exit(f, f->a, KV_SIGNAL_EXIT_LINK, &peer, &probe, term_atom("boom"));
    cr_assert(kv_is_alive(f->runtime, &probe));
}

Test(links, while_we_unlink_neither_their_exit_nor_their_link_counts)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(5);
    do_with_pid(f, &probe, "link", &peer);
    do_with_pid(f, &probe, "unlink", &peer);
    uint64_t id = sent_of(f, KV_SIGNAL_UNLINK, 0)->signal.unlink_id;
    cr_assert_gt(id, 0);
    feed_link(f, f->a, &peer, &probe);
    feed_exit(f, f->a, KV_SIGNAL_EXIT_LINK, &peer, &probe, term_atom("boom"));
    cr_assert(kv_is_alive(f->runtime, &probe));
}

Test(links, only_the_acknowledgement_with_our_id_ends_an_unlink)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(5);
    do_with_pid(f, &probe, "link", &peer);
    do_with_pid(f, &probe, "unlink", &peer);
    struct kv_signal ack = {.kind = KV_SIGNAL_UNLINK_ACK,
                            .from = peer,
                            .to = probe,
                            .unlink_id = sent_of(f, KV_SIGNAL_UNLINK, 0)->signal.unlink_id + 1};
    feed(f, f->a, &ack);
    feed_link(f, f->a, &peer, &probe); /* still unlinking: does not count */
    ack.unlink_id--;
    feed(f, f->a, &ack);
    forget(f);
    feed_link(f, f->a, &peer, &probe); /* counts */
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("kill"));
    cr_assert_eq(count_of(f, KV_SIGNAL_EXIT_LINK), 1);
}

Test(links, linking_again_cancels_an_unlink)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(5);
    do_with_pid(f, &probe, "link", &peer);
    do_with_pid(f, &probe, "unlink", &peer);
    do_with_pid(f, &probe, "link", &peer);
    cr_assert_eq(count_of(f, KV_SIGNAL_LINK), 2);
    feed_exit(f, f->a, KV_SIGNAL_EXIT_LINK, &peer, &probe, term_atom("boom"));
    cr_assert_not(kv_is_alive(f->runtime, &probe));
}

Test(links, a_process_that_dies_while_it_unlinks_sends_no_exit)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(5);
    do_with_pid(f, &probe, "link", &peer);
    do_with_pid(f, &probe, "unlink", &peer);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("kill"));
    cr_assert_eq(count_of(f, KV_SIGNAL_EXIT_LINK), 0);
}

Test(links, linking_to_a_node_that_is_not_connected_ends_with_noconnection)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid watcher = pid_a(1);
    struct kv_ref ref = ref_a(1);
    struct kv_pid nowhere = {.node = kv_bytes_text("c@host"), .id = 1, .creation = 1};
    feed_monitor(f, f->a, &watcher, &probe, &ref);
    do_with_pid(f, &probe, "link", &nowhere);
    assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)), term_atom("noconnection"));
}

Test(links, native_processes_link_to_each_other)
{
    struct kv_pid one = spawn_probe(f);
    struct kv_pid two = spawn_probe(f);
    struct kv_pid killer = pid_a(1);
    do_with_pid(f, &one, "link", &two);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &killer, &two, term_atom("boom"));
    cr_assert_not(kv_is_alive(f->runtime, &one));
    cr_assert_eq(kv_runtime_process_count(f->runtime), 0);
}

Test(links, native_processes_unlink_from_each_other)
{
    struct kv_pid one = spawn_probe(f);
    struct kv_pid two = spawn_probe(f);
    struct kv_pid killer = pid_a(1);
    do_with_pid(f, &one, "link", &two);
    do_with_pid(f, &one, "unlink", &two);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &killer, &two, term_atom("boom"));
    cr_assert(kv_is_alive(f->runtime, &one));
}
