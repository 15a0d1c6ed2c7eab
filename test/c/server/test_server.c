/* The generic server: calls, replies, suspending, and many processes at once. */
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

TestSuite(server, .init = set_up, .fini = tear_down, .timeout = 20);

/* ---- the generic server ------------------------------------------------------------------------
 */

Test(server, a_reply_goes_to_the_alias_with_the_tag_as_it_came)
{
    struct kv_pid probe = spawn_probe(f);
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

Test(server, a_reply_to_a_tag_without_an_alias_goes_to_the_pid)
{
    struct kv_pid probe = spawn_probe(f);
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

Test(server, a_reply_goes_to_the_alias_or_to_the_name_that_stands_for_the_caller)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_ref alias = ref_b(3);
    struct kv_buffer reference = KV_BUFFER_INIT;
    kv_write_ref(&reference, &alias);
    struct kv_bytes name = term_tuple(term_atom("caller"), term_atom("b@host"), NONE, NONE);
    struct kv_bytes callers[] = {kv_buffer_bytes(&reference), name, term_atom("caller"),
                                 term_integer(1)};
    for (size_t i = 0; i < sizeof callers / sizeof *callers; i++) {
        struct kv_bytes from = term_tuple(callers[i], term_atom("tag"), NONE, NONE);
        feed_message(f, f->a, &probe,
                     term_tuple(term_atom("$gen_call"), from, term_atom("what"), NONE));
    }
    kv_buffer_free(&reference);
    const struct sent *reply = sent_of(f, KV_SIGNAL_MESSAGE_ALIAS, 0);
    cr_assert_not_null(reply);
    cr_assert(kv_ref_equal(&reply->signal.ref, &alias));
    reply = sent_of(f, KV_SIGNAL_MESSAGE_NAME, 0);
    cr_assert_not_null(reply);
    cr_assert_str_eq(reply->to, "b@host");
    cr_assert_null(sent_of(f, KV_SIGNAL_MESSAGE_NAME, 1));
    cr_assert_null(sent_of(f, KV_SIGNAL_MESSAGE, 0));
}

/* Returns the answer to a call that begins with these bytes instead of its own first four: 104, 3,
 * and the tag and length of an atom. */
static struct kv_bytes answer_to(const struct kv_pid *probe, struct kv_bytes call,
                                 const char *start, size_t length)
{
    struct kv_buffer message = KV_BUFFER_INIT;
    kv_buffer_append(&message, kv_bytes(start, length));
    kv_buffer_append(&message, kv_bytes(call.data + 4, call.length - 4));
    size_t before = count_of(f, KV_SIGNAL_MESSAGE_ALIAS);
    feed_message(f, f->a, probe, kv_buffer_bytes(&message));
    kv_buffer_free(&message);
    const struct sent *reply = sent_of(f, KV_SIGNAL_MESSAGE_ALIAS, before);
    cr_assert_not_null(reply);
    return payload_of(reply);
}

/* A short cut reads the usual encoding of a call. The same call in another encoding must get the
 * same answer. */
Test(server, a_call_is_answered_the_same_whatever_its_shape)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid caller = pid_a(1);
    struct kv_ref alias = ref_a(3);
    struct kv_bytes gen_call =
        term_tuple(term_atom("$gen_call"), term_from(&caller, &alias), term_atom("what"), NONE);
    struct kv_buffer ref = KV_BUFFER_INIT;
    kv_write_ref(&ref, &alias);
    struct kv_bytes kv_call =
        term_tuple(term_atom("$kv_call"), kv_buffer_bytes(&ref), term_atom("what"), NONE);
    kv_buffer_free(&ref);
    cr_assert_eq(memcmp(gen_call.data, "\x68\x03\x77\x09", 4), 0);
    cr_assert_eq(memcmp(kv_call.data, "\x68\x03\x77\x08", 4), 0);
    assert_term(answer_to(&probe, gen_call, "\x68\x03\x77\x09", 4),
                answer_to(&probe, gen_call, "\x68\x03\x76\0\x09", 5));
    assert_term(answer_to(&probe, kv_call, "\x68\x03\x77\x08", 4),
                answer_to(&probe, kv_call, "\x69\0\0\0\x03\x77\x08", 7));
}

Test(server, a_call_whose_from_is_none_is_an_ordinary_message)
{
    struct kv_pid probe = spawn_probe(f);
    feed_message(f, f->a, &probe,
                 term_tuple(term_atom("$gen_call"), term_atom("x"), term_atom("y"), NONE));
    assert_term(system_call(f, &probe, term_atom("get_state")), expected_state(0, "", 1, 0));
}

Test(server, terminate_answers_ok_and_ends_with_that_very_reason)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(1);
    struct kv_ref ref = ref_a(1);
    feed_monitor(f, f->a, &peer, &probe, &ref);
    struct kv_bytes reason = term_tuple(term_atom("shutdown"), term_integer(7), NONE, NONE);
    struct kv_bytes request = term_tuple(term_atom("terminate"), reason, NONE, NONE);
    assert_term(system_call(f, &probe, request), term_atom("ok"));
    assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)), reason);
}

Test(server, while_suspended_only_system_messages_are_handled_and_the_rest_keeps_its_order)
{
    struct kv_pid probe = spawn_probe(f);
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

Test(server, a_suspended_process_still_dies)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid peer = pid_a(1);
    (void)system_call(f, &probe, term_atom("suspend"));
    cast(f, &probe, term_atom("x"));
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &peer, &probe, term_atom("shutdown"));
    cr_assert_not(kv_is_alive(f->runtime, &probe));
}

Test(server, messages_kept_behind_a_request_to_exit_are_dropped)
{
    struct kv_pid probe = spawn_probe(f);
    (void)system_call(f, &probe, term_atom("suspend"));
    (void)call(f, &probe, term_tuple(term_atom("exit"), term_atom("done"), NONE, NONE));
    cast(f, &probe, term_atom("x"));
    (void)system_call(f, &probe, term_atom("resume"));
    cr_assert_not(kv_is_alive(f->runtime, &probe));
}

Test(server, an_unknown_system_message_is_answered_as_otp_answers_it)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_bytes request = term_tuple(term_atom("frobnicate"), term_integer(1), NONE, NONE);
    assert_term(system_call(f, &probe, request),
                term_tuple(term_atom("error"),
                           term_tuple(term_atom("unknown_system_msg"), request, NONE, NONE), NONE,
                           NONE));
}

Test(server, the_status_has_the_shape_that_sys_and_observer_read)
{
    struct kv_pid probe = spawn_probe(f);
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

Test(server, a_group_leader_can_be_set)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_signal lead = {.kind = KV_SIGNAL_GROUP_LEADER, .from = pid_a(3), .to = probe};
    feed(f, f->a, &lead);
    cr_assert(kv_is_alive(f->runtime, &probe));
}

Test(server, ten_thousand_processes_with_links_and_monitors_leave_nothing_behind)
{
    static struct kv_pid pids[10000];
    struct kv_pid peer = pid_a(1);
    for (uint32_t i = 0; i < 10000; i++) {
        struct kv_ref ref = ref_a(i);
        pids[i] = spawn_probe(f);
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
