/* The process runtime: spawns, exits, names and lost connections. */
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

TestSuite(process, .init = set_up, .fini = tear_down, .timeout = 20);

/* ---- spawn -------------------------------------------------------------------------------------
 */

Test(process, a_spawn_request_is_answered_with_the_pid_of_the_new_process)
{
    struct kv_pid pid = feed_spawn(f, f->a, "probe", term_list(NONE, NONE, NONE), term_atom("ok"));
    const struct sent *reply = sent_of(f, KV_SIGNAL_SPAWN_REPLY, 0);
    cr_assert(kv_is_alive(f->runtime, &pid));
    cr_assert_eq(reply->signal.spawn_flags, 0);
    cr_assert_str_eq(reply->to, "a@host");
}

Test(process, a_spawn_request_for_an_unknown_function_is_answered_with_undef)
{
    (void)feed_spawn(f, f->a, "lists", term_list(NONE, NONE, NONE), term_atom("ok"));
    const struct sent *reply = sent_of(f, KV_SIGNAL_SPAWN_REPLY, 0);
    cr_assert(reply->signal.by_name);
    cr_assert(kv_bytes_is(reply->signal.name, "undef"));
    cr_assert_eq(kv_runtime_process_count(f->runtime), 0);
}

Test(process, spawn_options_that_are_not_known_are_ignored)
{
    struct kv_bytes options =
        term_list(term_tuple(term_atom("priority"), term_atom("high"), NONE, NONE),
                  term_atom("link"), term_atom("monitor"));
    (void)feed_spawn(f, f->a, "probe", options, term_atom("ok"));
    cr_assert_eq(sent_of(f, KV_SIGNAL_SPAWN_REPLY, 0)->signal.spawn_flags,
                 KV_SPAWN_LINKED | KV_SPAWN_MONITORED);
}

Test(process, a_process_whose_init_fails_tells_its_link_then_its_monitor_after_the_reply)
{
    (void)feed_spawn(f, f->a, "probe", term_list(term_atom("link"), term_atom("monitor"), NONE),
                     term_atom("fail"));
    cr_assert_eq(f->sent_count, 3);
    cr_assert_eq(f->sent[0].signal.kind, KV_SIGNAL_SPAWN_REPLY);
    cr_assert_eq(f->sent[1].signal.kind, KV_SIGNAL_EXIT_LINK);
    cr_assert_eq(f->sent[2].signal.kind, KV_SIGNAL_DOWN);
    assert_term(payload_of(&f->sent[1]), term_atom("told_to_fail"));
    struct kv_ref ref = ref_a(99);
    cr_assert(kv_ref_equal(&f->sent[2].signal.ref, &ref));
}

Test(process, an_exit_asked_for_in_init_takes_effect)
{
    (void)feed_spawn(f, f->a, "probe", term_list(term_atom("monitor"), NONE, NONE),
                     term_atom("exit"));
    assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)), term_atom("left_at_once"));
    cr_assert_eq(kv_runtime_process_count(f->runtime), 0);
}

Test(process, pids_are_never_used_twice)
{
    struct kv_pid first = spawn_probe(f);
    struct kv_pid caller = pid_a(1);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &caller, &first, term_atom("kill"));
    struct kv_pid second = spawn_probe(f);
    cr_assert_not(kv_pid_equal(&first, &second));
}

/* ---- exit/2 ------------------------------------------------------------------------------------
 */

Test(process, exit_2_with_normal_is_ignored)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(1);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("normal"));
    cr_assert(kv_is_alive(f->runtime, &probe));
}

Test(process, exit_2_with_kill_is_seen_as_killed)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(1);
    struct kv_ref ref = ref_a(1);
    feed_link(f, f->a, &peer, &probe);
    feed_monitor(f, f->a, &peer, &probe, &ref);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("kill"));
    assert_term(payload_of(sent_of(f, KV_SIGNAL_EXIT_LINK, 0)), term_atom("killed"));
    assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)), term_atom("killed"));
}

Test(process, exit_2_needs_no_link_and_any_reason_will_do)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid stranger = pid_b(1);
    struct kv_pid peer = pid_a(1);
    struct kv_ref ref = ref_a(1);
    feed_monitor(f, f->a, &peer, &probe, &ref);
    struct kv_bytes reason = term_tuple(term_atom("some"), term_integer(1), NONE, NONE);
    feed_exit(f, f->b, KV_SIGNAL_EXIT, &stranger, &probe, reason);
    assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)), reason);
}

Test(process, links_are_told_before_monitors)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(1);
    struct kv_ref ref = ref_a(1);
    feed_monitor(f, f->a, &peer, &probe, &ref);
    feed_link(f, f->a, &peer, &probe);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("kill"));
    cr_assert_eq(f->sent_count, 2);
    cr_assert_eq(f->sent[0].signal.kind, KV_SIGNAL_EXIT_LINK);
    cr_assert_eq(f->sent[1].signal.kind, KV_SIGNAL_DOWN);
}

/* ---- connections -------------------------------------------------------------------------------
 */

Test(process, a_lost_connection_breaks_links_with_noconnection)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(1);
    struct kv_pid other = pid_b(1);
    struct kv_ref ref = ref_b(1);
    feed_link(f, f->a, &peer, &probe);
    feed_monitor(f, f->b, &other, &probe, &ref);
    kv_runtime_peer_down(f->runtime, f->a);
    cr_assert_not(kv_is_alive(f->runtime, &probe));
    assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)), term_atom("noconnection"));
    cr_assert_str_eq(sent_of(f, KV_SIGNAL_DOWN, 0)->to, "b@host");
}

Test(process, a_lost_connection_fires_our_monitors_with_noconnection)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid target = pid_b(5);
    do_with_pid(f, &probe, "monitor", &target);
    kv_runtime_peer_down(f->runtime, f->b);
    assert_term(system_call(f, &probe, term_atom("get_state")),
                expected_state(1, "noconnection", 0, 0));
}

Test(process, nothing_is_sent_over_a_lost_connection)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid other = spawn_probe(f);
    struct kv_pid peer = pid_a(1);
    struct kv_pid target = pid_a(9);
    struct kv_ref ref = ref_a(1);
    feed_link(f, f->a, &peer, &probe);
    feed_monitor(f, f->a, &peer, &probe, &ref);
    feed_link(f, f->a, &peer, &other);
    do_with_pid(f, &probe, "monitor", &target);
    forget(f);
    kv_runtime_peer_down(f->runtime, f->a);
    cr_assert_eq(f->sent_count, 0);
    cr_assert_eq(kv_runtime_process_count(f->runtime), 0);
}

Test(process, a_peer_that_comes_back_gets_nothing_of_its_former_life)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(1);
    struct kv_ref ref = ref_a(1);
    feed_monitor(f, f->a, &peer, &probe, &ref);
    kv_runtime_peer_down(f->runtime, f->a);
    static char name[] = "a@host";
    f->a = kv_runtime_peer_up(f->runtime, kv_bytes_text(name), 9, name);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("kill"));
    cr_assert_eq(f->sent_count, 0);
}

Test(process, link_signals_to_a_former_incarnation_are_not_sent)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid stale = pid_a(1);
    stale.creation = 6;
    feed_link(f, f->a, &stale, &probe);
    feed_unlink(f, f->a, &stale, &probe, 5);
    feed_link(f, f->a, &stale, &probe);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &stale, &probe, term_atom("kill"));
    cr_assert_eq(f->sent_count, 0);
}

/* ---- names -------------------------------------------------------------------------------------
 */

Test(process, a_name_reaches_its_process_and_is_free_after_its_end)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid killer = pid_a(1);
    struct kv_pid found;
    struct kv_bytes take = term_tuple(term_atom("register"), term_atom("bob"), NONE, NONE);
    assert_term(call(f, &probe, take), term_atom("ok"));
    struct kv_signal message = {.kind = KV_SIGNAL_MESSAGE_NAME,
                                .name = kv_bytes_text("bob"),
                                .payload = {term_atom("hello")},
                                .payload_parts = 1};
    feed(f, f->a, &message);
    assert_term(system_call(f, &probe, term_atom("get_state")), expected_state(0, "", 1, 0));
    cr_assert(kv_whereis(f->runtime, kv_bytes_text("bob"), &found));
    cr_assert(kv_pid_equal(&found, &probe));
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &killer, &probe, term_atom("kill"));
    cr_assert_not(kv_whereis(f->runtime, kv_bytes_text("bob"), &found));
}

Test(process, a_name_has_one_process_and_a_process_one_name)
{
    struct kv_pid one = spawn_probe(f);
    struct kv_pid two = spawn_probe(f);
    struct kv_bytes bob = term_tuple(term_atom("register"), term_atom("bob"), NONE, NONE);
    struct kv_bytes eve = term_tuple(term_atom("register"), term_atom("eve"), NONE, NONE);
    assert_term(call(f, &one, bob), term_atom("ok"));
    assert_term(call(f, &two, bob), term_atom("taken"));
    assert_term(call(f, &one, eve), term_atom("taken"));
}

/* ---- services ----------------------------------------------------------------------------------
 */

static const struct kv_behaviour clerk = {.module = "clerk",
                                          .state_size = 1,
                                          .init = kv_service_init,
                                          .handle_call = kv_reply_bad_request};

static struct kv_pid pid_of_clerk(void)
{
    struct kv_pid pid;
    cr_assert(kv_whereis(f->runtime, kv_bytes_text("clerk"), &pid));
    return pid;
}

static void feed_kill(const struct kv_pid *pid)
{
    struct kv_pid killer = pid_a(1);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &killer, pid, term_atom("kill"));
}

Test(process, a_service_that_was_killed_is_started_again_under_its_name)
{
    cr_assert_eq(kv_start_service(f->runtime, &clerk, NULL), KV_OK);
    for (int i = 0; i < 3; i++) {
        struct kv_pid before = pid_of_clerk();
        feed_kill(&before);
        struct kv_pid now = pid_of_clerk();
        cr_assert_not(kv_pid_equal(&before, &now));
        assert_term(system_call(f, &now, term_atom("get_state")), term_atom("undefined"));
    }
}

Test(process, a_service_is_not_started_again_if_another_process_has_its_name_by_then)
{
    cr_assert_eq(kv_start_service(f->runtime, &clerk, NULL), KV_OK);
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid before = pid_of_clerk();
    f->stepwise = true;
    feed_kill(&before);
    assert_term(call(f, &probe, term_tuple(term_atom("register"), term_atom("clerk"), NONE, NONE)),
                term_atom("ok"));
    cr_assert_not(kv_runtime_step(f->runtime));
    struct kv_pid now = pid_of_clerk();
    cr_assert(kv_pid_equal(&now, &probe));
}

/* ---- messages ----------------------------------------------------------------------------------
 */

Test(process, messages_to_dead_processes_and_unknown_names_vanish)
{
    struct kv_pid dead = {.node = kv_bytes_text(FIXTURE_NODE), .id = 9999, .creation = 100};
    feed_message(f, f->a, &dead, term_atom("hello"));
    struct kv_signal message = {.kind = KV_SIGNAL_MESSAGE_NAME,
                                .name = kv_bytes_text("nobody"),
                                .payload = {term_atom("hello")},
                                .payload_parts = 1};
    feed(f, f->a, &message);
    cr_assert_eq(f->sent_count, 0);
}
