/* The requests of sys to a native process, and the forms of spawn requests. */
#include "support/fixture.h"

#include "kv/kv.h"

#include <criterion/criterion.h>

static struct fixture *f;
static struct kv_pid bucket;

static void set_up(void)
{
    f = bucket_fixture(&bucket);
    forget(f);
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(system, .init = set_up, .fini = tear_down, .timeout = 20);

static struct kv_bytes pair(const char *name, struct kv_bytes term)
{
    return term_tuple(term_atom(name), term, NONE, NONE);
}

static struct kv_bytes debug(struct kv_bytes what)
{
    return system_call(f, &bucket, pair("debug", what));
}

static struct kv_bytes ok(void)
{
    return term_atom("ok");
}

Test(system, a_state_is_tagged_for_releases_that_expect_it)
{
    fixture_free(f);
    f = fixture_answering(KV_GET_STATE_TAGGED);
    cr_assert_eq(kv_services_start(f->runtime, &f->store), KV_OK);
    struct kv_bytes nil = term_list(NONE, NONE, NONE);
    bucket = feed_spawn(f, f->a, "kv_bucket", nil, nil);
    bucket.node = kv_bytes_text(FIXTURE_NODE);
    static const uint8_t empty[] = {116, 0, 0, 0, 0};
    assert_term(system_call(f, &bucket, term_atom("get_state")),
                pair("ok", kv_bytes(empty, sizeof empty)));
}

Test(system, a_peer_that_is_known_to_expect_a_tagged_state_gets_one)
{
    static const uint8_t empty[] = {116, 0, 0, 0, 0};
    struct kv_bytes state = kv_bytes(empty, sizeof empty);
    assert_term(system_call(f, &bucket, term_atom("get_state")), state);
    kv_runtime_peer_expects(f->a, KV_GET_STATE_TAGGED);
    assert_term(system_call(f, &bucket, term_atom("get_state")), pair("ok", state));
}

/* ---- debug ----------------------------------------------------------------------------------- */

Test(system, switches_of_debug_are_taken)
{
    struct kv_bytes rows[] = {pair("trace", term_atom("true")),
                              pair("trace", term_atom("false")),
                              pair("log", term_atom("true")),
                              pair("log", term_atom("false")),
                              pair("log", term_atom("print")),
                              pair("log", pair("true", term_integer(5))),
                              pair("statistics", term_atom("true")),
                              pair("statistics", term_atom("false")),
                              pair("log_to_file", term_atom("false")),
                              pair("install", term_tuple(ok(), ok(), NONE, NONE)),
                              pair("remove", ok()),
                              term_atom("no_debug")};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_term(debug(rows[i]), ok());
    }
}

Test(system, an_unknown_debug_request_is_told_so)
{
    struct kv_bytes rows[] = {pair("trace", term_integer(1)),
                              pair("log", term_integer(1)),
                              pair("log", pair("true", term_integer(0))),
                              pair("statistics", term_atom("maybe")),
                              pair("fly", ok()),
                              term_atom("fly")};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_term(debug(rows[i]), term_atom("unknown_debug"));
    }
}

Test(system, a_log_in_a_file_cannot_be_opened)
{
    assert_term(debug(pair("log_to_file", term_binary("/tmp/x"))),
                pair("error", term_atom("open_file")));
}

Test(system, the_log_keeps_the_last_events_in_order)
{
    (void)debug(pair("log", pair("true", term_integer(2))));
    struct kv_bytes message = pair("$gen_cast", term_atom("clear"));
    feed_message(f, f->a, &bucket, term_atom("first"));
    feed_message(f, f->a, &bucket, term_atom("second"));
    feed_message(f, f->a, &bucket, message);
    assert_term(debug(pair("log", term_atom("get"))),
                pair("ok", term_list(pair("in", term_atom("second")), pair("in", message), NONE)));
    (void)debug(pair("log", term_atom("false")));
    assert_term(debug(pair("log", term_atom("get"))), pair("ok", term_list(NONE, NONE, NONE)));
}

Test(system, a_reply_is_an_event_too)
{
    (void)debug(pair("log", term_atom("true")));
    (void)call(f, &bucket, term_atom("size"));
    struct kv_reader reader = kv_reader(debug(pair("log", term_atom("get"))));
    uint32_t count = 0;
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "ok"), KV_OK);
    cr_assert_eq(kv_read_list(&reader, &count), KV_OK);
    cr_assert_eq(count, 2);
    cr_assert_eq(kv_read_any(&reader, NULL), KV_OK);
    cr_assert_eq(kv_read_tuple_of(&reader, 3), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "out"), KV_OK);
}

/* {Key, {{2026, 11, 21}, {9, 30, 59}}}: the fixture's clock stands still. */
static struct kv_bytes date(const char *key)
{
    return pair(key,
                term_tuple(term_tuple(term_integer(2026), term_integer(11), term_integer(21), NONE),
                           term_tuple(term_integer(9), term_integer(30), term_integer(59), NONE),
                           NONE, NONE));
}

Test(system, statistics_count_from_when_they_were_switched_on)
{
    assert_term(debug(pair("statistics", term_atom("get"))),
                pair("ok", term_atom("no_statistics")));
    (void)call(f, &bucket, term_atom("size"));
    (void)debug(pair("statistics", term_atom("true")));
    (void)call(f, &bucket, term_atom("size"));
    cast(f, &bucket, term_atom("clear"));
    struct kv_reader reader = kv_reader(debug(pair("statistics", term_atom("get"))));
    struct kv_bytes rows[] = {
        date("start_time"), date("current_time"), pair("reductions", term_integer(2)),
        pair("messages_in", term_integer(2)), pair("messages_out", term_integer(1))};
    uint32_t count = 0;
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "ok"), KV_OK);
    cr_assert_eq(kv_read_list(&reader, &count), KV_OK);
    cr_assert_eq(count, 5);
    for (size_t i = 0; i < 5; i++) {
        struct kv_bytes row = NONE;
        cr_assert_eq(kv_read_any(&reader, &row), KV_OK);
        assert_term(row, rows[i]);
    }
}

Test(system, statistics_that_are_on_are_not_started_anew)
{
    (void)debug(pair("statistics", term_atom("true")));
    (void)call(f, &bucket, term_atom("size"));
    assert_term(debug(pair("statistics", term_atom("true"))), ok());
    struct kv_reader reader = kv_reader(debug(pair("statistics", term_atom("get"))));
    struct kv_bytes row = NONE;
    uint32_t count = 0;
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_any(&reader, NULL), KV_OK);
    cr_assert_eq(kv_read_list(&reader, &count), KV_OK);
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(kv_read_any(&reader, &row), KV_OK);
    }
    assert_term(row, pair("messages_in", term_integer(1)));
}

/* ---- code and state -------------------------------------------------------------------------- */

Test(system, code_can_be_changed_only_while_suspended)
{
    struct kv_bytes change = term_tuple(term_atom("change_code"), term_atom("kv_bucket"),
                                        term_atom("undefined"), term_list(NONE, NONE, NONE));
    assert_term(system_call(f, &bucket, change), pair("error", pair("unknown_system_msg", change)));
    (void)system_call(f, &bucket, term_atom("suspend"));
    assert_term(system_call(f, &bucket, change), ok());
}

Test(system, the_state_cannot_be_replaced_by_a_fun)
{
    struct kv_bytes failed = term_tuple(
        term_atom("callback_failed"),
        term_tuple(term_atom("gen_server"), term_atom("system_replace_state"), NONE, NONE),
        term_tuple(term_atom("error"), term_atom("notsup"), NONE, NONE), NONE);
    assert_term(system_call(f, &bucket, pair("replace_state", term_atom("fun"))),
                pair("error", failed));
}

/* ---- forms of spawn -------------------------------------------------------------------------- */

static struct kv_bytes proc_lib_arguments(const char *module, const char *function,
                                          struct kv_bytes arguments)
{
    struct kv_buffer *list = term_buffer();
    struct kv_pid parent = pid_a(1);
    kv_write_list(list, 5);
    kv_write_pid(list, &parent);
    kv_write_nil(list);
    kv_write_atom_text(list, module);
    kv_write_atom_text(list, function);
    kv_write_term(list, arguments);
    kv_write_nil(list);
    return kv_buffer_bytes(list);
}

Test(system, proc_lib_spawns_the_function_that_it_would_call)
{
    struct kv_bytes nil = term_list(NONE, NONE, NONE);
    struct kv_bytes arguments = proc_lib_arguments("kv_bucket", "init", term_list(nil, NONE, NONE));
    cr_assert_not(feed_spawn_of(f, "proc_lib", "init_p", 5, nil, arguments)->signal.by_name);
    arguments = proc_lib_arguments("lists", "seq", term_list(nil, nil, NONE));
    cr_assert(kv_bytes_is(feed_spawn_of(f, "proc_lib", "init_p", 5, nil, arguments)->signal.name,
                          "undef"));
}

Test(system, a_fun_cannot_be_spawned_and_the_error_says_so)
{
    struct kv_bytes nil = term_list(NONE, NONE, NONE);
    struct kv_bytes arguments = term_list(ok(), nil, NONE);
    cr_assert(kv_bytes_is(feed_spawn_of(f, "erlang", "apply", 2, nil, arguments)->signal.name,
                          "cannot_run_closures"));
}

Test(system, a_known_function_of_another_arity_is_not_known)
{
    struct kv_bytes nil = term_list(NONE, NONE, NONE);
    cr_assert(
        kv_bytes_is(feed_spawn_of(f, "kv_bucket", "init", 0, nil, nil)->signal.name, "undef"));
}

Test(system, options_that_are_numbers_are_bad_options)
{
    static const uint8_t numbers[] = {107, 0, 1, 7};
    struct kv_bytes nil = term_list(NONE, NONE, NONE);
    const struct sent *reply = feed_spawn_of(
        f, "kv_bucket", "init", 1, kv_bytes(numbers, sizeof numbers), term_list(nil, NONE, NONE));
    cr_assert(kv_bytes_is(reply->signal.name, "badopt"));
}

Test(system, a_single_number_as_the_argument_is_a_bad_option)
{
    static const uint8_t seven[] = {107, 0, 1, 7};
    struct kv_bytes monitor = term_list(term_atom("monitor"), NONE, NONE);
    (void)feed_spawn_of(f, "kv_bucket", "init", 1, monitor, kv_bytes(seven, sizeof seven));
    assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)), pair("bad_option", term_integer(7)));
}
