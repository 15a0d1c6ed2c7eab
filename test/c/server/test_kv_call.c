/* $kv_call: its callers do not monitor the process, so they are told when it is gone. */
#include "support/probe.h"

#include "kv/kv.h"

#include <criterion/criterion.h>

static struct fixture *f;
static struct kv_pid probe;

static void set_up(void)
{
    f = probe_fixture();
    cr_assert_eq(kv_services_start(f->runtime, &f->store), KV_OK);
    probe = spawn_probe(f);
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(kv_call, .init = set_up, .fini = tear_down, .timeout = 20);

static struct kv_bytes term_ref(const struct kv_ref *ref)
{
    struct kv_buffer *term = term_buffer();
    kv_write_ref(term, ref);
    return kv_buffer_bytes(term);
}

static struct kv_bytes kv_call(uint32_t alias, struct kv_bytes request)
{
    struct kv_ref ref = ref_a(alias);
    return term_tuple(term_atom("$kv_call"), term_ref(&ref), request, NONE);
}

static void send_call(const struct kv_pid *to, uint32_t alias, struct kv_bytes request)
{
    feed_message(f, f->a, to, kv_call(alias, request));
}

static struct kv_bytes command(const char *name, const char *argument)
{
    return term_tuple(term_atom(name), term_atom(argument), NONE, NONE);
}

static void end(const struct kv_pid *process, struct kv_bytes reason)
{
    struct kv_pid killer = pid_a(1);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &killer, process, reason);
}

/* The n-th message to an alias: {Alias, Answer}. */
static void assert_answer(size_t n, uint32_t alias, struct kv_bytes answer)
{
    struct kv_ref ref = ref_a(alias);
    const struct sent *sent = sent_of(f, KV_SIGNAL_MESSAGE_ALIAS, n);
    assert_term(payload_of(sent), term_tuple(term_ref(&ref), answer, NONE, NONE));
    cr_assert(kv_ref_equal(&sent->signal.ref, &ref));
}

/* The n-th message to an alias: {Alias, down, Reason}. */
static void assert_down(size_t n, uint32_t alias, struct kv_bytes reason)
{
    struct kv_ref ref = ref_a(alias);
    const struct sent *sent = sent_of(f, KV_SIGNAL_MESSAGE_ALIAS, n);
    assert_term(payload_of(sent), term_tuple(term_ref(&ref), term_atom("down"), reason, NONE));
    cr_assert(kv_ref_equal(&sent->signal.ref, &ref));
    cr_assert_str_eq(sent->to, "a@host");
}

static void assert_count(size_t count)
{
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE_ALIAS), count);
}

Test(kv_call, is_answered_by_way_of_its_alias)
{
    send_call(&probe, 7, command("register", "me"));
    assert_answer(0, 7, term_atom("ok"));
    assert_count(1);
}

Test(kv_call, of_a_dead_process_hears_noproc)
{
    end(&probe, term_atom("kill"));
    send_call(&probe, 7, command("register", "me"));
    assert_down(0, 7, term_atom("noproc"));
    assert_count(1);
}

Test(kv_call, of_another_life_of_the_node_hears_noproc)
{
    probe.creation++;
    send_call(&probe, 7, command("register", "me"));
    assert_down(0, 7, term_atom("noproc"));
}

Test(kv_call, of_a_name_that_nobody_has_hears_noproc)
{
    struct kv_signal message = {
        .kind = KV_SIGNAL_MESSAGE_NAME,
        .from = pid_a(1),
        .name = kv_bytes_text("nobody"),
        .payload = {kv_call(7, term_atom("size"))},
        .payload_parts = 1,
    };
    feed(f, f->a, &message);
    assert_down(0, 7, term_atom("noproc"));
}

Test(kv_call, that_waits_while_its_process_is_suspended_hears_why_that_ended)
{
    (void)system_call(f, &probe, term_atom("suspend"));
    forget(f);
    send_call(&probe, 7, command("register", "me"));
    feed_message(f, f->a, &probe, term_atom("between"));
    send_call(&probe, 8, command("register", "me"));
    assert_count(0);
    struct kv_bytes reason = term_tuple(term_atom("shutdown"), term_integer(3), NONE, NONE);
    end(&probe, reason);
    assert_down(0, 7, reason);
    assert_down(1, 8, reason);
    assert_count(2);
}

Test(kv_call, behind_one_that_ends_its_process_hears_the_reason)
{
    (void)system_call(f, &probe, term_atom("suspend"));
    send_call(&probe, 7, command("exit", "done"));
    send_call(&probe, 8, command("register", "me"));
    forget(f);
    (void)system_call(f, &probe, term_atom("resume")); /* its answer is the first */
    assert_answer(1, 7, term_atom("ok"));
    assert_down(2, 8, term_atom("done"));
    assert_count(3);
}

Test(kv_call, whose_callback_ends_the_process_without_an_answer_hears_the_reason)
{
    send_call(&probe, 7, command("leave", "gone"));
    assert_down(0, 7, term_atom("gone"));
    assert_count(1);
}

Test(kv_call, that_was_answered_hears_nothing_of_the_end)
{
    send_call(&probe, 7, command("exit", "done"));
    assert_answer(0, 7, term_atom("ok"));
    assert_count(1);
    cr_assert_not(kv_is_alive(f->runtime, &probe));
}

Test(kv_call, that_a_registry_has_kept_hears_why_that_ended)
{
    struct kv_pid creator = pid_a(50);
    struct kv_bytes options =
        term_list(term_tuple(term_atom("creator"), term_pid(&creator), NONE, NONE), NONE, NONE);
    struct kv_pid registry =
        feed_spawn(f, f->a, "kv_registry", term_list(NONE, NONE, NONE), options);
    registry.node = kv_bytes_text(FIXTURE_NODE);
    forget(f);
    send_call(&registry, 7, term_tuple(term_atom("create"), term_binary("x"), NONE, NONE));
    send_call(&registry, 8, term_tuple(term_atom("lookup"), term_binary("x"), NONE, NONE));
    assert_count(0);
    end(&registry, term_atom("shutdown"));
    assert_down(0, 7, term_atom("shutdown"));
    assert_down(1, 8, term_atom("shutdown"));
    assert_count(2);
}

Test(kv_call, of_others_is_as_silent_as_it_always_was)
{
    struct kv_pid caller = pid_a(1);
    struct kv_ref alias = ref_a(7);
    struct kv_bytes message =
        term_tuple(term_atom("$gen_call"), term_from(&caller, &alias), term_atom("size"), NONE);
    (void)system_call(f, &probe, term_atom("suspend"));
    forget(f);
    feed_message(f, f->a, &probe, message);
    end(&probe, term_atom("kill"));
    feed_message(f, f->a, &probe, message);
    feed_message(f, f->a, &probe, term_atom("anything"));
    assert_count(0);
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE), 0);
}

Test(kv_call, without_an_alias_is_a_message_like_any_other)
{
    struct kv_pid caller = pid_a(1);
    struct kv_ref alias = ref_a(7);
    struct kv_bytes request = term_atom("size");
    struct kv_bytes wrong[] = {
        term_tuple(term_atom("$kv_call"), term_from(&caller, &alias), request, NONE),
        term_tuple(term_atom("$kv_call"), term_integer(1), request, NONE),
        term_tuple(term_atom("$kv_call"), term_ref(&alias), NONE, NONE),
        term_tuple(term_atom("$gen_call"), term_ref(&alias), request, NONE),
        term_tuple(term_atom("system"), term_ref(&alias), term_atom("suspend"), NONE),
    };
    size_t count = sizeof wrong / sizeof wrong[0];
    for (size_t i = 0; i < count; i++) {
        feed_message(f, f->a, &probe, wrong[i]);
    }
    assert_count(0);
    assert_term(system_call(f, &probe, term_atom("get_state")),
                expected_state(0, "", (int64_t)count, 0));
    end(&probe, term_atom("kill"));
    forget(f);
    for (size_t i = 0; i < count; i++) {
        feed_message(f, f->a, &probe, wrong[i]);
    }
    assert_count(0);
}

Test(kv_call, of_a_node_that_has_gone_is_told_nothing)
{
    struct kv_ref alias = ref_b(7);
    (void)system_call(f, &probe, term_atom("suspend"));
    forget(f);
    feed_message(f, f->b, &probe,
                 term_tuple(term_atom("$kv_call"), term_ref(&alias), term_atom("size"), NONE));
    kv_runtime_peer_down(f->runtime, f->b);
    end(&probe, term_atom("kill"));
    assert_count(0);
}
