/* Refused messages: their senders hear of the refusal, the process does not. */
#include "support/probe.h"

#include "kv/kv.h"
#include "observe/observe.h"

#include <criterion/criterion.h>

static struct fixture *f;
static struct kv_pid probe;

static void set_up(void)
{
    f = probe_fixture();
    cr_assert_eq(kv_services_start(f->runtime, &f->store), KV_OK);
    cr_assert_eq(kv_observe_start(f->runtime, &f->world), KV_OK);
    probe = spawn_probe(f);
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(refuse, .init = set_up, .fini = tear_down, .timeout = 20);

static const struct kv_refusal TOO_LARGE = {.error = KV_ESIZE, .amount = 135000000};

static struct kv_bytes pair(const char *kind, struct kv_bytes term)
{
    return term_tuple(term_atom(kind), term, NONE, NONE);
}

static struct kv_bytes too_large(void)
{
    return pair("too_large", term_integer(135000000));
}

/* Returns true if somebody was told. The signal lies in memory that ends right behind it. */
static bool refuse(const struct kv_signal *signal, const struct kv_refusal *refusal, int error)
{
    bool told = false;
    cr_assert_eq(kv_runtime_refuse(f->runtime, f->a, signal, refusal, &told), error);
    return told;
}

static bool refuse_message(const struct kv_pid *to, struct kv_bytes beginning,
                           const struct kv_refusal *refusal)
{
    const struct kv_signal signal = {.kind = KV_SIGNAL_MESSAGE,
                                     .from = pid_a(1),
                                     .to = *to,
                                     .payload = {beginning},
                                     .payload_parts = 1};
    return refuse(&signal, refusal, KV_OK);
}

/* {Kind, From, _}, cut off before the request. */
static struct kv_bytes beginning_of(const char *kind, struct kv_bytes from)
{
    struct kv_bytes whole = term_tuple(term_atom(kind), from, term_binary("request"), NONE);
    return kv_bytes(whole.data, whole.length - strlen("request"));
}

static struct kv_bytes from_term(void)
{
    struct kv_pid caller = pid_a(1);
    struct kv_ref alias = ref_a(7);
    return term_from(&caller, &alias);
}

static struct kv_bytes ref_term(void)
{
    struct kv_ref alias = ref_a(7);
    struct kv_buffer *term = term_buffer();
    kv_write_ref(term, &alias);
    return kv_buffer_bytes(term);
}

/* The Reply of the {Tag, Reply} that went to the alias. */
static struct kv_bytes reply(void)
{
    const struct sent *sent = sent_of(f, KV_SIGNAL_MESSAGE_ALIAS, 0);
    struct kv_reader reader = kv_reader(payload_of(sent));
    struct kv_bytes term = NONE;
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_any(&reader, NULL), KV_OK);
    cr_assert_eq(kv_read_any(&reader, &term), KV_OK);
    return term;
}

static void assert_not_seen(void)
{
    assert_term(system_call(f, &probe, term_atom("get_state")), expected_state(0, "", 0, 0));
}

Test(refuse, calls_and_system_messages_are_answered_and_the_process_sees_nothing)
{
    const char *kinds[] = {"$gen_call", "system", "$kv_call"};
    for (size_t i = 0; i < 3; i++) {
        struct kv_bytes from = i == 2 ? ref_term() : from_term();
        forget(f);
        cr_assert(refuse_message(&probe, beginning_of(kinds[i], from), &TOO_LARGE), "%s", kinds[i]);
        assert_term(reply(), pair("error", too_large()));
        cr_assert_eq(f->sent_count, 1);
    }
    assert_not_seen();
}

Test(refuse, a_from_may_be_all_that_there_is)
{
    struct kv_bytes whole = beginning_of("$gen_call", from_term());
    size_t from_ends = 2 + 2 + strlen("$gen_call") + from_term().length;
    for (size_t length = 0; length <= whole.length; length++) {
        struct kv_bytes copy = kv_bytes(malloc(length + 1), length);
        memcpy((void *)(uintptr_t)copy.data, whole.data, length);
        bool told = refuse_message(&probe, copy, &TOO_LARGE);
        cr_assert_eq(told, length >= from_ends, "%zu", length);
        free((void *)(uintptr_t)copy.data);
    }
    assert_not_seen();
}

Test(refuse, each_reason_has_its_words)
{
    const struct {
        struct kv_refusal refusal;
        struct kv_bytes why;
    } rows[] = {
        {{KV_ESIZE, 5}, pair("too_large", term_integer(5))},
        {{KV_EDEPTH, 6}, pair("too_deep", term_integer(6))},
        {{KV_EPENDING, 7}, pair("too_much_pending", term_integer(7))},
        {{KV_ERECORD, 8}, pair("unsupported_term", term_atom("record"))},
        {{KV_EBIG, 9}, pair("unsupported_term", term_atom("integer"))},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        forget(f);
        cr_assert(refuse_message(&probe, beginning_of("$gen_call", from_term()), &rows[i].refusal));
        assert_term(reply(), pair("error", rows[i].why));
    }
}

Test(refuse, a_suspended_process_refuses_at_once)
{
    (void)system_call(f, &probe, term_atom("suspend"));
    forget(f);
    cr_assert(refuse_message(&probe, beginning_of("$gen_call", from_term()), &TOO_LARGE));
    assert_term(reply(), pair("error", too_large()));
    (void)system_call(f, &probe, term_atom("resume"));
    assert_not_seen();
}

Test(refuse, a_name_is_as_good_as_a_pid)
{
    struct kv_signal signal = {.kind = KV_SIGNAL_MESSAGE_NAME,
                               .from = pid_a(1),
                               .name = kv_bytes_text("net_kernel"),
                               .payload = {beginning_of("$gen_call", from_term())},
                               .payload_parts = 1};
    cr_assert(refuse(&signal, &TOO_LARGE, KV_OK));
    assert_term(reply(), pair("error", too_large()));
    forget(f);
    signal.name = kv_bytes_text("nobody");
    cr_assert(refuse(&signal, &TOO_LARGE, KV_OK));
    cr_assert_eq(f->sent_count, 0, "its caller has a monitor");
}

Test(refuse, a_kv_call_of_a_dead_process_hears_noproc)
{
    probe.creation++;
    cr_assert(refuse_message(&probe, beginning_of("$kv_call", ref_term()), &TOO_LARGE));
    assert_term(payload_of(sent_of(f, KV_SIGNAL_MESSAGE_ALIAS, 0)),
                term_tuple(ref_term(), term_atom("down"), term_atom("noproc"), NONE));
    cr_assert_eq(f->sent_count, 1);
}

Test(refuse, nobody_is_told_of_other_messages)
{
    struct kv_bytes wrong[] = {
        NONE,
        kv_bytes("\x6d\0\xff\xff\xff", 5),
        term_atom("hello"),
        kv_bytes("\xff", 1),
        term_tuple(term_atom("$gen_cast"), term_atom("a"), NONE, NONE),
        term_tuple(term_atom("a"), from_term(), term_atom("b"), NONE),
        term_tuple(term_atom("$gen_call"), term_atom("nobody"), term_atom("b"), NONE),
        term_tuple(term_atom("$gen_call"), ref_term(), term_atom("b"), NONE),
        term_tuple(term_atom("$kv_call"), from_term(), term_atom("b"), NONE),
        term_tuple(term_atom("system"), ref_term(), term_atom("b"), NONE),
        kv_bytes("\x69\0\0\0", 4),
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_assert_not(refuse_message(&probe, wrong[i], &TOO_LARGE), "%zu", i);
    }
    cr_assert_eq(f->sent_count, 0);
    assert_not_seen();
}

Test(refuse, a_malformed_beginning_closes_the_connection)
{
    struct kv_signal signal = {.kind = KV_SIGNAL_MESSAGE,
                               .from = pid_a(1),
                               .to = probe,
                               .payload = {kv_bytes("\x68\x03\xff", 3)},
                               .payload_parts = 1};
    (void)refuse(&signal, &TOO_LARGE, KV_EMALFORMED);
    signal.payload[0] = kv_bytes("\x68\x03\x61\x01\x77\x01\xff", 7);
    (void)refuse(&signal, &TOO_LARGE, KV_EMALFORMED);
}

Test(refuse, an_exit_signal_acts_with_the_reason_why)
{
    struct kv_pid watcher = pid_a(5);
    struct kv_ref ref = ref_a(5);
    feed_monitor(f, f->a, &watcher, &probe, &ref);
    forget(f);
    const struct kv_signal signal = {.kind = KV_SIGNAL_EXIT, .from = pid_a(1), .to = probe};
    cr_assert(refuse(&signal, &TOO_LARGE, KV_OK));
    assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)), too_large());
}

Test(refuse, a_link_breaks_with_the_reason_why)
{
    struct kv_pid linked = pid_a(1);
    struct kv_pid other = pid_b(2);
    feed_link(f, f->a, &linked, &probe);
    feed_link(f, f->b, &other, &probe);
    forget(f);
    const struct kv_signal signal = {.kind = KV_SIGNAL_EXIT_LINK, .from = linked, .to = probe};
    cr_assert(refuse(&signal, &TOO_LARGE, KV_OK));
    assert_term(payload_of(sent_of(f, KV_SIGNAL_EXIT_LINK, 0)), too_large());
    cr_assert_eq(count_of(f, KV_SIGNAL_EXIT_LINK), 1);
}

Test(refuse, a_monitor_fires)
{
    struct kv_pid target = pid_a(3);
    do_with_pid(f, &probe, "monitor", &target);
    struct kv_signal down = sent_of(f, KV_SIGNAL_MONITOR, 0)->signal;
    struct kv_signal signal = {
        .kind = KV_SIGNAL_DOWN, .from = target, .to = probe, .ref = down.ref};
    cr_assert(refuse(&signal, &TOO_LARGE, KV_OK));
    assert_term(system_call(f, &probe, term_atom("get_state")), expected_state(1, "", 0, 0));
}

Test(refuse, a_spawn_request_fails_with_an_atom)
{
    const struct kv_signal signal = {
        .kind = KV_SIGNAL_SPAWN_REQUEST, .from = pid_a(1), .ref = ref_a(9)};
    cr_assert(refuse(&signal, &TOO_LARGE, KV_OK));
    const struct sent *sent = sent_of(f, KV_SIGNAL_SPAWN_REPLY, 0);
    struct kv_ref ref = ref_a(9);
    cr_assert(sent->signal.by_name);
    cr_assert(kv_bytes_is(sent->signal.name, "system_limit"));
    cr_assert(kv_ref_equal(&sent->signal.ref, &ref));
}

/* ---- rex ------------------------------------------------------------------------------------- */

static struct kv_pid rex(void)
{
    struct kv_pid pid = {.id = 0};
    cr_assert(kv_whereis(f->runtime, kv_bytes_text("rex"), &pid));
    return pid;
}

static void send_rex(struct kv_bytes beginning, bool told)
{
    struct kv_pid to = rex();
    forget(f);
    cr_assert_eq(refuse_message(&to, beginning, &TOO_LARGE), told);
}

Test(refuse, rex_answers_a_call_with_badrpc)
{
    send_rex(beginning_of("$gen_call", from_term()), true);
    assert_term(reply(), pair("badrpc", too_large()));
    send_rex(beginning_of("system", from_term()), true);
    assert_term(reply(), pair("error", too_large()));
}

/* {Pid, {call, ...}} and {Pid, {sbcast, Name, ...}}, whose senders wait for a message. */
Test(refuse, rex_answers_a_message_that_is_a_request)
{
    struct kv_pid caller = pid_a(1);
    struct kv_buffer *call = term_buffer();
    kv_write_tuple(call, 2);
    kv_write_pid(call, &caller);
    size_t request = call->length;
    kv_write_tuple(call, 5);
    kv_write_atom_text(call, "call");
    send_rex(kv_buffer_bytes(call), true);
    assert_term(payload_of(sent_of(f, KV_SIGNAL_MESSAGE, 0)),
                pair("rex", pair("badrpc", too_large())));

    call->length = request;
    kv_write_tuple(call, 3);
    kv_write_atom_text(call, "sbcast");
    kv_write_atom_text(call, "name");
    send_rex(kv_buffer_bytes(call), true);
    assert_term(payload_of(sent_of(f, KV_SIGNAL_MESSAGE, 0)),
                term_tuple(term_atom("rex"), term_atom("kv@host"),
                           pair("nonexisting_name", term_atom("name")), NONE));

    call->length = request;
    kv_write_tuple(call, 3);
    kv_write_atom_text(call, "something");
    send_rex(kv_buffer_bytes(call), false);
    cr_assert_eq(f->sent_count, 0);
}
