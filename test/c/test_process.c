/* The process runtime: links, monitors, exits, spawns, names and the generic server. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>

/* ---- a process to look into --------------------------------------------------------------------
 */

struct probe {
    uint64_t monitor;
    uint64_t downs;
    uint64_t infos;
    uint64_t casts;
    char last_reason[64];
};

static void reason_text(struct kv_bytes reason, char *to, size_t size)
{
    struct kv_bytes text = NONE;
    struct kv_reader reader = kv_reader(reason);
    if (kv_read_atom(&reader, &text) == KV_OK) {
        (void)snprintf(to, size, "%.*s", (int)text.length, (const char *)text.data);
    }
}

static int probe_init(struct kv_process *self, struct kv_bytes options, struct kv_buffer *reason)
{
    (void)self;
    if (kv_term_is_atom(options, "fail")) {
        kv_write_atom_text(reason, "told_to_fail");
        return KV_EEXIST;
    }
    if (kv_term_is_atom(options, "exit")) {
        kv_process_exit_atom(self, "left_at_once");
    }
    return KV_OK;
}

/* {monitor, Pid}, {demonitor, _}, {link, Pid}, {unlink, Pid}, {register, Name}, {exit, Reason},
 * count */
static void probe_call(struct kv_process *self, const struct kv_from *from, struct kv_bytes request)
{
    struct probe *probe = kv_process_state(self);
    struct kv_pid pid;
    struct kv_bytes term = NONE;
    struct kv_bytes command = NONE;
    struct kv_bytes name = NONE;
    struct kv_reader reader = kv_reader(request);
    if (kv_read_tuple_of(&reader, 2) != KV_OK || kv_read_atom(&reader, &command) != KV_OK) {
        kv_reply_bad_request(self, from, request);
        return;
    }
    struct kv_reader name_reader = reader;
    struct kv_reader pid_reader = reader;
    (void)kv_read_any(&reader, &term);
    bool is_pid = kv_read_pid(&pid_reader, &pid) == KV_OK;
    if (is_pid && kv_bytes_is(command, "monitor")) {
        probe->monitor = kv_monitor(self, &pid);
    } else if (kv_bytes_is(command, "demonitor")) {
        kv_demonitor(self, probe->monitor);
    } else if (is_pid && kv_bytes_is(command, "link")) {
        kv_link(self, &pid);
    } else if (is_pid && kv_bytes_is(command, "unlink")) {
        kv_unlink(self, &pid);
    } else if (kv_bytes_is(command, "exit")) {
        kv_process_exit(self, term);
    } else if (kv_bytes_is(command, "register") && kv_read_atom(&name_reader, &name) == KV_OK) {
        kv_reply_atom(self, from, kv_process_register(self, name) == KV_OK ? "ok" : "taken");
        return;
    }
    kv_reply_atom(self, from, "ok");
}

static void probe_down(struct kv_process *self, uint64_t monitor, struct kv_bytes reason)
{
    struct probe *probe = kv_process_state(self);
    cr_assert_eq(monitor, probe->monitor);
    probe->downs++;
    reason_text(reason, probe->last_reason, sizeof probe->last_reason);
}

static void probe_cast(struct kv_process *self, struct kv_bytes request)
{
    (void)request;
    ((struct probe *)kv_process_state(self))->casts++;
}

static void probe_info(struct kv_process *self, struct kv_bytes message)
{
    (void)message;
    ((struct probe *)kv_process_state(self))->infos++;
}

/* {Downs, LastReason, Infos, Casts} */
static void probe_state(const struct kv_process *self, struct kv_buffer *to)
{
    const struct probe *probe = kv_process_const_state(self);
    kv_write_tuple(to, 4);
    kv_write_u64(to, probe->downs);
    kv_write_atom_text(to, probe->last_reason);
    kv_write_u64(to, probe->infos);
    kv_write_u64(to, probe->casts);
}

static const struct kv_behaviour probe_behaviour = {
    .module = "probe",
    .state_size = sizeof(struct probe),
    .init = probe_init,
    .handle_call = probe_call,
    .handle_cast = probe_cast,
    .handle_info = probe_info,
    .handle_down = probe_down,
    .write_state = probe_state,
};

static struct kv_bytes expected_state(int64_t downs, const char *reason, int64_t infos,
                                      int64_t casts)
{
    return term_tuple(term_integer(downs), term_atom(reason), term_integer(infos),
                      term_integer(casts));
}

static struct fixture *f;

static void set_up(void)
{
    f = fixture_new();
    kv_runtime_offer(f->runtime, &probe_behaviour);
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(process, .init = set_up, .fini = tear_down, .timeout = 20);

static struct kv_pid spawn_probe(void)
{
    struct kv_pid pid = feed_spawn(f, f->a, "probe", term_list(NONE, NONE, NONE), term_atom("ok"));
    forget(f);
    /* The node name of the reply went with it. */
    pid.node = kv_bytes_text(FIXTURE_NODE);
    return pid;
}

static void do_with_pid(const struct kv_pid *probe, const char *command, const struct kv_pid *pid)
{
    (void)call(f, probe, term_tuple(term_atom(command), term_pid(pid), NONE, NONE));
}

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
    struct kv_pid first = spawn_probe();
    struct kv_pid caller = pid_a(1);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &caller, &first, term_atom("kill"));
    struct kv_pid second = spawn_probe();
    cr_assert_not(kv_pid_equal(&first, &second));
}

/* ---- links: a row of dist-protocol's table each ------------------------------------------------
 */

Test(process, a_linked_process_that_dies_sends_exit_with_its_reason)
{
    struct kv_pid probe = spawn_probe();
    struct kv_pid peer = pid_a(1);
    feed_link(f, f->a, &peer, &probe);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("shutdown"));
    const struct sent *exit = sent_of(f, KV_SIGNAL_EXIT_LINK, 0);
    assert_term(payload_of(exit), term_atom("shutdown"));
    cr_assert(kv_pid_equal(&exit->signal.to, &peer));
    cr_assert(kv_pid_equal(&exit->signal.from, &probe));
    cr_assert_eq(count_of(f, KV_SIGNAL_EXIT_LINK), 1);
}

Test(process, a_second_link_to_the_same_process_is_the_same_link)
{
    struct kv_pid probe = spawn_probe();
    struct kv_pid peer = pid_a(1);
    feed_link(f, f->a, &peer, &probe);
    feed_link(f, f->a, &peer, &probe);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("kill"));
    cr_assert_eq(count_of(f, KV_SIGNAL_EXIT_LINK), 1);
}

Test(process, a_link_to_a_dead_process_is_answered_with_exit_noproc)
{
    struct kv_pid dead = {.node = kv_bytes_text(FIXTURE_NODE), .id = 9999, .creation = 100};
    struct kv_pid peer = pid_a(1);
    feed_link(f, f->a, &peer, &dead);
    assert_term(payload_of(sent_of(f, KV_SIGNAL_EXIT_LINK, 0)), term_atom("noproc"));
}

Test(process, a_link_to_a_process_of_an_earlier_run_is_answered_with_exit_noproc)
{
    struct kv_pid probe = spawn_probe();
    struct kv_pid peer = pid_a(1);
    probe.creation--;
    feed_link(f, f->a, &peer, &probe);
    assert_term(payload_of(sent_of(f, KV_SIGNAL_EXIT_LINK, 0)), term_atom("noproc"));
}

Test(process, an_unlink_is_acknowledged_and_no_exit_follows)
{
    struct kv_pid probe = spawn_probe();
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

Test(process, an_unlink_without_a_link_and_of_a_dead_process_is_acknowledged_too)
{
    struct kv_pid probe = spawn_probe();
    struct kv_pid peer = pid_a(1);
    feed_unlink(f, f->a, &peer, &probe, 1);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("kill"));
    feed_unlink(f, f->a, &peer, &probe, 2);
    cr_assert_eq(count_of(f, KV_SIGNAL_UNLINK_ACK), 2);
}

Test(process, the_old_unlink_breaks_the_link_and_has_no_answer)
{
    struct kv_pid probe = spawn_probe();
    struct kv_pid peer = pid_a(1);
    feed_link(f, f->a, &peer, &probe);
    feed_unlink(f, f->a, &peer, &probe, 0);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("kill"));
    cr_assert_eq(f->sent_count, 0);
}

Test(process, we_link_once_and_die_with_what_we_are_linked_to)
{
    struct kv_pid probe = spawn_probe();
    struct kv_pid peer = pid_a(5);
    do_with_pid(&probe, "link", &peer);
    do_with_pid(&probe, "link", &peer);
    cr_assert_eq(count_of(f, KV_SIGNAL_LINK), 1);
    feed_exit(f, f->a, KV_SIGNAL_EXIT_LINK, &peer, &probe, term_atom("boom"));
    cr_assert_not(kv_is_alive(f->runtime, &probe));
}

Test(process, exit_normal_from_a_link_is_ignored_and_ends_the_link)
{
    struct kv_pid probe = spawn_probe();
    struct kv_pid peer = pid_a(5);
    feed_link(f, f->a, &peer, &probe);
    feed_exit(f, f->a, KV_SIGNAL_EXIT_LINK, &peer, &probe, term_atom("normal"));
    cr_assert(kv_is_alive(f->runtime, &probe));
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("kill"));
    cr_assert_eq(count_of(f, KV_SIGNAL_EXIT_LINK), 0);
}

Test(process, exit_kill_from_a_link_keeps_its_reason)
{
    struct kv_pid probe = spawn_probe();
    struct kv_pid peer = pid_a(5);
    struct kv_pid other = pid_a(6);
    feed_link(f, f->a, &peer, &probe);
    feed_link(f, f->a, &other, &probe);
    feed_exit(f, f->a, KV_SIGNAL_EXIT_LINK, &peer, &probe, term_atom("kill"));
    assert_term(payload_of(sent_of(f, KV_SIGNAL_EXIT_LINK, 0)), term_atom("kill"));
}

Test(process, an_exit_over_a_link_that_is_not_there_is_ignored)
{
    struct kv_pid probe = spawn_probe();
    struct kv_pid peer = pid_a(5);
    feed_exit(f, f->a, KV_SIGNAL_EXIT_LINK, &peer, &probe, term_atom("boom"));
    cr_assert(kv_is_alive(f->runtime, &probe));
}

Test(process, while_we_unlink_neither_their_exit_nor_their_link_counts)
{
    struct kv_pid probe = spawn_probe();
    struct kv_pid peer = pid_a(5);
    do_with_pid(&probe, "link", &peer);
    do_with_pid(&probe, "unlink", &peer);
    uint64_t id = sent_of(f, KV_SIGNAL_UNLINK, 0)->signal.unlink_id;
    cr_assert_gt(id, 0);
    feed_link(f, f->a, &peer, &probe);
    feed_exit(f, f->a, KV_SIGNAL_EXIT_LINK, &peer, &probe, term_atom("boom"));
    cr_assert(kv_is_alive(f->runtime, &probe));
}

Test(process, only_the_acknowledgement_with_our_id_ends_an_unlink)
{
    struct kv_pid probe = spawn_probe();
    struct kv_pid peer = pid_a(5);
    do_with_pid(&probe, "link", &peer);
    do_with_pid(&probe, "unlink", &peer);
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

Test(process, linking_again_cancels_an_unlink)
{
    struct kv_pid probe = spawn_probe();
    struct kv_pid peer = pid_a(5);
    do_with_pid(&probe, "link", &peer);
    do_with_pid(&probe, "unlink", &peer);
    do_with_pid(&probe, "link", &peer);
    cr_assert_eq(count_of(f, KV_SIGNAL_LINK), 2);
    feed_exit(f, f->a, KV_SIGNAL_EXIT_LINK, &peer, &probe, term_atom("boom"));
    cr_assert_not(kv_is_alive(f->runtime, &probe));
}

Test(process, a_process_that_dies_while_it_unlinks_sends_no_exit)
{
    struct kv_pid probe = spawn_probe();
    struct kv_pid peer = pid_a(5);
    do_with_pid(&probe, "link", &peer);
    do_with_pid(&probe, "unlink", &peer);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("kill"));
    cr_assert_eq(count_of(f, KV_SIGNAL_EXIT_LINK), 0);
}

Test(process, linking_to_a_node_that_is_not_connected_ends_with_noconnection)
{
    struct kv_pid probe = spawn_probe();
    struct kv_pid watcher = pid_a(1);
    struct kv_ref ref = ref_a(1);
    struct kv_pid nowhere = {.node = kv_bytes_text("c@host"), .id = 1, .creation = 1};
    feed_monitor(f, f->a, &watcher, &probe, &ref);
    do_with_pid(&probe, "link", &nowhere);
    assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)), term_atom("noconnection"));
}

Test(process, native_processes_link_to_each_other)
{
    struct kv_pid one = spawn_probe();
    struct kv_pid two = spawn_probe();
    struct kv_pid killer = pid_a(1);
    do_with_pid(&one, "link", &two);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &killer, &two, term_atom("boom"));
    cr_assert_not(kv_is_alive(f->runtime, &one));
    cr_assert_eq(kv_runtime_process_count(f->runtime), 0);
}

Test(process, native_processes_unlink_from_each_other)
{
    struct kv_pid one = spawn_probe();
    struct kv_pid two = spawn_probe();
    struct kv_pid killer = pid_a(1);
    do_with_pid(&one, "link", &two);
    do_with_pid(&one, "unlink", &two);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &killer, &two, term_atom("boom"));
    cr_assert(kv_is_alive(f->runtime, &one));
}

/* ---- exit/2 ------------------------------------------------------------------------------------
 */

Test(process, exit_2_with_normal_is_ignored)
{
    struct kv_pid probe = spawn_probe();
    struct kv_pid peer = pid_a(1);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("normal"));
    cr_assert(kv_is_alive(f->runtime, &probe));
}

Test(process, exit_2_with_kill_is_seen_as_killed)
{
    struct kv_pid probe = spawn_probe();
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
    struct kv_pid probe = spawn_probe();
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
    struct kv_pid probe = spawn_probe();
    struct kv_pid peer = pid_a(1);
    struct kv_ref ref = ref_a(1);
    feed_monitor(f, f->a, &peer, &probe, &ref);
    feed_link(f, f->a, &peer, &probe);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("kill"));
    cr_assert_eq(f->sent_count, 2);
    cr_assert_eq(f->sent[0].signal.kind, KV_SIGNAL_EXIT_LINK);
    cr_assert_eq(f->sent[1].signal.kind, KV_SIGNAL_DOWN);
}

/* ---- monitors ----------------------------------------------------------------------------------
 */

Test(process, a_monitor_fires_once_with_the_same_reference)
{
    struct kv_pid probe = spawn_probe();
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

Test(process, a_monitor_on_a_dead_process_fires_at_once_with_noproc)
{
    struct kv_pid dead = {.node = kv_bytes_text(FIXTURE_NODE), .id = 9999, .creation = 100};
    struct kv_pid peer = pid_a(1);
    struct kv_ref ref = ref_a(1);
    feed_monitor(f, f->a, &peer, &dead, &ref);
    const struct sent *down = sent_of(f, KV_SIGNAL_DOWN, 0);
    assert_term(payload_of(down), term_atom("noproc"));
    cr_assert(kv_pid_equal(&down->signal.from, &dead));
}

Test(process, a_monitor_on_an_unknown_name_fires_at_once_with_that_name)
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

Test(process, a_monitor_by_name_is_bound_to_the_process_and_fires_with_the_name)
{
    struct kv_pid probe = spawn_probe();
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

Test(process, a_demonitored_monitor_does_not_fire)
{
    struct kv_pid probe = spawn_probe();
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

Test(process, only_the_watcher_can_take_its_monitor_back)
{
    struct kv_pid probe = spawn_probe();
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

Test(process, a_reference_that_is_in_use_is_refused)
{
    struct kv_pid probe = spawn_probe();
    struct kv_signal monitor = {
        .kind = KV_SIGNAL_MONITOR, .from = pid_a(1), .to = probe, .ref = ref_a(1)};
    feed(f, f->a, &monitor);
    cr_assert_eq(kv_runtime_receive(f->runtime, f->a, &monitor), KV_EPROTOCOL);
}

Test(process, references_of_five_words_are_kept_whole)
{
    struct kv_pid probe = spawn_probe();
    struct kv_pid peer = pid_a(1);
    struct kv_ref ref = {
        .node = kv_bytes_text("a@host"), .creation = 7, .count = 5, .words = {1, 2, 3, 4, 5}};
    feed_monitor(f, f->a, &peer, &probe, &ref);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("kill"));
    cr_assert(kv_ref_equal(&sent_of(f, KV_SIGNAL_DOWN, 0)->signal.ref, &ref));
}

Test(process, our_monitor_fires_when_the_peer_says_so)
{
    struct kv_pid probe = spawn_probe();
    struct kv_pid target = pid_a(5);
    do_with_pid(&probe, "monitor", &target);
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

Test(process, our_monitor_taken_back_is_told_to_the_peer)
{
    struct kv_pid probe = spawn_probe();
    struct kv_pid target = pid_a(5);
    do_with_pid(&probe, "monitor", &target);
    do_with_pid(&probe, "demonitor", &target);
    cr_assert(kv_ref_equal(&sent_of(f, KV_SIGNAL_MONITOR, 0)->signal.ref,
                           &sent_of(f, KV_SIGNAL_DEMONITOR, 0)->signal.ref));
}

Test(process, a_process_that_dies_takes_its_monitors_back)
{
    struct kv_pid probe = spawn_probe();
    struct kv_pid target = pid_a(5);
    do_with_pid(&probe, "monitor", &target);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &target, &probe, term_atom("kill"));
    cr_assert_eq(count_of(f, KV_SIGNAL_DEMONITOR), 1);
}

Test(process, our_monitor_on_a_node_that_is_not_connected_fires_with_noconnection)
{
    struct kv_pid probe = spawn_probe();
    struct kv_pid nowhere = {.node = kv_bytes_text("c@host"), .id = 1, .creation = 1};
    do_with_pid(&probe, "monitor", &nowhere);
    assert_term(system_call(f, &probe, term_atom("get_state")),
                expected_state(1, "noconnection", 0, 0));
}

Test(process, native_processes_monitor_each_other)
{
    struct kv_pid one = spawn_probe();
    struct kv_pid two = spawn_probe();
    struct kv_pid killer = pid_a(1);
    do_with_pid(&one, "monitor", &two);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &killer, &two, term_atom("boom"));
    assert_term(system_call(f, &one, term_atom("get_state")), expected_state(1, "boom", 0, 0));
    do_with_pid(&one, "monitor", &two);
    assert_term(system_call(f, &one, term_atom("get_state")), expected_state(2, "noproc", 0, 0));
}

/* ---- connections -------------------------------------------------------------------------------
 */

Test(process, a_lost_connection_breaks_links_with_noconnection)
{
    struct kv_pid probe = spawn_probe();
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
    struct kv_pid probe = spawn_probe();
    struct kv_pid target = pid_b(5);
    do_with_pid(&probe, "monitor", &target);
    kv_runtime_peer_down(f->runtime, f->b);
    assert_term(system_call(f, &probe, term_atom("get_state")),
                expected_state(1, "noconnection", 0, 0));
}

Test(process, nothing_is_sent_over_a_lost_connection)
{
    struct kv_pid probe = spawn_probe();
    struct kv_pid other = spawn_probe();
    struct kv_pid peer = pid_a(1);
    struct kv_pid target = pid_a(9);
    struct kv_ref ref = ref_a(1);
    feed_link(f, f->a, &peer, &probe);
    feed_monitor(f, f->a, &peer, &probe, &ref);
    feed_link(f, f->a, &peer, &other);
    do_with_pid(&probe, "monitor", &target);
    forget(f);
    kv_runtime_peer_down(f->runtime, f->a);
    cr_assert_eq(f->sent_count, 0);
    cr_assert_eq(kv_runtime_process_count(f->runtime), 0);
}

Test(process, a_peer_that_comes_back_gets_nothing_of_its_former_life)
{
    struct kv_pid probe = spawn_probe();
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
    struct kv_pid probe = spawn_probe();
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
    struct kv_pid probe = spawn_probe();
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
    struct kv_pid one = spawn_probe();
    struct kv_pid two = spawn_probe();
    struct kv_bytes bob = term_tuple(term_atom("register"), term_atom("bob"), NONE, NONE);
    struct kv_bytes eve = term_tuple(term_atom("register"), term_atom("eve"), NONE, NONE);
    assert_term(call(f, &one, bob), term_atom("ok"));
    assert_term(call(f, &two, bob), term_atom("taken"));
    assert_term(call(f, &one, eve), term_atom("taken"));
}

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

/* ---- the generic server ------------------------------------------------------------------------
 */

Test(process, a_reply_goes_to_the_alias_with_the_tag_as_it_came)
{
    struct kv_pid probe = spawn_probe();
    struct kv_pid caller = pid_a(1);
    struct kv_ref alias = ref_a(3);
    struct kv_bytes from = term_from(&caller, &alias);
    feed_message(f, f->a, &probe,
                 term_tuple(term_atom("$gen_call"), from, term_atom("what"), NONE));
    const struct sent *reply = sent_of(f, KV_SIGNAL_MESSAGE_ALIAS, 0);
    cr_assert_not_null(reply);
    cr_assert(kv_ref_equal(&reply->signal.ref, &alias));
    struct kv_from parsed;
    cr_assert_eq(kv_from_read(from, &parsed), KV_OK);
    struct kv_bytes tag = NONE;
    struct kv_reader reader = kv_reader(payload_of(reply));
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_any(&reader, &tag), KV_OK);
    assert_term(tag, parsed.tag);
}

Test(process, a_reply_to_a_tag_without_an_alias_goes_to_the_pid)
{
    struct kv_pid probe = spawn_probe();
    struct kv_pid caller = pid_b(4);
    struct kv_bytes tag = term_tuple(term_atom("any"), term_integer(1), NONE, NONE);
    struct kv_bytes from = term_tuple(term_pid(&caller), tag, NONE, NONE);
    feed_message(f, f->a, &probe,
                 term_tuple(term_atom("$gen_call"), from, term_atom("what"), NONE));
    const struct sent *reply = sent_of(f, KV_SIGNAL_MESSAGE, 0);
    cr_assert_not_null(reply);
    cr_assert(kv_pid_equal(&reply->signal.to, &caller));
    cr_assert_str_eq(reply->to, "b@host");
}

Test(process, a_call_whose_from_is_none_is_an_ordinary_message)
{
    struct kv_pid probe = spawn_probe();
    feed_message(f, f->a, &probe,
                 term_tuple(term_atom("$gen_call"), term_atom("x"), term_atom("y"), NONE));
    assert_term(system_call(f, &probe, term_atom("get_state")), expected_state(0, "", 1, 0));
}

Test(process, terminate_answers_ok_and_ends_with_that_very_reason)
{
    struct kv_pid probe = spawn_probe();
    struct kv_pid peer = pid_a(1);
    struct kv_ref ref = ref_a(1);
    feed_monitor(f, f->a, &peer, &probe, &ref);
    struct kv_bytes reason = term_tuple(term_atom("shutdown"), term_integer(7), NONE, NONE);
    struct kv_bytes request = term_tuple(term_atom("terminate"), reason, NONE, NONE);
    assert_term(system_call(f, &probe, request), term_atom("ok"));
    assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)), reason);
}

Test(process, while_suspended_only_system_messages_are_handled_and_the_rest_keeps_its_order)
{
    struct kv_pid probe = spawn_probe();
    assert_term(system_call(f, &probe, term_atom("suspend")), term_atom("ok"));
    cast(f, &probe, term_atom("x"));
    feed_message(f, f->a, &probe, term_atom("info"));
    assert_term(call(f, &probe, term_atom("what")), NONE);
    assert_term(system_call(f, &probe, term_atom("get_state")), expected_state(0, "", 0, 0));
    forget(f);
    assert_term(system_call(f, &probe, term_atom("resume")), term_atom("ok"));
    assert_term(system_call(f, &probe, term_atom("get_state")), expected_state(0, "", 1, 1));
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE_ALIAS), 3); /* ok, the kept call, the state */
}

Test(process, a_suspended_process_still_dies)
{
    struct kv_pid probe = spawn_probe();
    struct kv_pid peer = pid_a(1);
    (void)system_call(f, &probe, term_atom("suspend"));
    cast(f, &probe, term_atom("x"));
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("shutdown"));
    cr_assert_not(kv_is_alive(f->runtime, &probe));
}

Test(process, what_was_kept_after_a_request_to_exit_is_dropped)
{
    struct kv_pid probe = spawn_probe();
    (void)system_call(f, &probe, term_atom("suspend"));
    (void)call(f, &probe, term_tuple(term_atom("exit"), term_atom("done"), NONE, NONE));
    cast(f, &probe, term_atom("x"));
    (void)system_call(f, &probe, term_atom("resume"));
    cr_assert_not(kv_is_alive(f->runtime, &probe));
}

Test(process, an_unknown_system_message_is_answered_as_otp_answers_it)
{
    struct kv_pid probe = spawn_probe();
    struct kv_bytes request = term_tuple(term_atom("frobnicate"), term_integer(1), NONE, NONE);
    assert_term(system_call(f, &probe, request),
                term_tuple(term_atom("error"),
                           term_tuple(term_atom("unknown_system_msg"), request, NONE, NONE), NONE,
                           NONE));
}

Test(process, the_status_has_the_shape_that_sys_and_observer_read)
{
    struct kv_pid probe = spawn_probe();
    struct kv_bytes status = system_call(f, &probe, term_atom("get_status"));
    struct kv_reader reader = kv_reader(status);
    struct kv_pid pid;
    uint32_t count = 0;
    cr_assert_eq(kv_read_tuple_of(&reader, 4), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "status"), KV_OK);
    cr_assert_eq(kv_read_pid(&reader, &pid), KV_OK);
    cr_assert(kv_pid_equal(&pid, &probe));
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "module"), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "gen_server"), KV_OK);
    cr_assert_eq(kv_read_list(&reader, &count), KV_OK);
    cr_assert_eq(count, 5);
    size_t length = 0;
    struct kv_term_limits limits = KV_TERM_LIMITS_DEFAULT;
    cr_assert_eq(kv_term_validate(status, &limits, &length), KV_OK);
    cr_assert_eq(length, status.length);
}

Test(process, a_group_leader_can_be_set)
{
    struct kv_pid probe = spawn_probe();
    struct kv_signal lead = {.kind = KV_SIGNAL_GROUP_LEADER, .from = pid_a(3), .to = probe};
    feed(f, f->a, &lead);
    cr_assert(kv_is_alive(f->runtime, &probe));
}

Test(process, ten_thousand_processes_with_links_and_monitors_leave_nothing_behind)
{
    static struct kv_pid pids[10000];
    struct kv_pid peer = pid_a(1);
    for (uint32_t i = 0; i < 10000; i++) {
        struct kv_ref ref = ref_a(i);
        pids[i] = spawn_probe();
        feed_link(f, f->a, &peer, &pids[i]);
        feed_monitor(f, f->a, &peer, &pids[i], &ref);
    }
    for (uint32_t i = 0; i < 10000; i += 2) {
        feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &pids[i], term_atom("kill"));
        forget(f);
    }
    cr_assert_eq(kv_runtime_process_count(f->runtime), 5000);
    kv_runtime_peer_down(f->runtime, f->a);
    cr_assert_eq(kv_runtime_process_count(f->runtime), 0);
}
