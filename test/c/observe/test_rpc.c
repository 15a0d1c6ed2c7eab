/* Calls by name: erpc, rpc and rex. */
#include "support/fixture.h"

#include "kv/kv.h"
#include "observe/observe.h"

#include <criterion/criterion.h>

static struct fixture *f;
static struct kv_pid rex;

static void set_up(void)
{
    f = fixture_with_services();
    cr_assert_eq(kv_observe_start(f->runtime, &f->world), KV_OK);
    cr_assert(kv_whereis(f->runtime, kv_bytes_text("rex"), &rex));
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(rpc, .init = set_up, .fini = tear_down, .timeout = 20);

static struct kv_bytes pair(const char *name, struct kv_bytes term)
{
    return term_tuple(term_atom(name), term, NONE, NONE);
}

static struct kv_bytes list_of(struct kv_bytes one)
{
    return term_list(one, NONE, NONE);
}

static void spawn(const char *function, uint32_t arity, struct kv_bytes arguments)
{
    struct kv_signal request = {
        .kind = KV_SIGNAL_SPAWN_REQUEST,
        .from = pid_a(1),
        .ref = ref_a(98),
        .group_leader = pid_a(2),
        .spawn = {kv_bytes_text("erpc"), kv_bytes_text(function), arity},
        .spawn_options = list_of(term_atom("monitor")),
        .payload = {arguments},
        .payload_parts = 1,
    };
    forget(f);
    feed(f, f->a, &request);
}

/* The request of rpc:call/4. The answer is the reason of the exit, after the spawn's own reply. */
static struct kv_bytes erpc(const char *module, const char *function, struct kv_bytes arguments)
{
    struct kv_buffer *list = term_buffer();
    struct kv_ref res = ref_a(7);
    kv_write_list(list, 4);
    kv_write_ref(list, &res);
    kv_write_atom_text(list, module);
    kv_write_atom_text(list, function);
    kv_write_term(list, arguments);
    kv_write_nil(list);
    spawn("execute_call", 4, kv_buffer_bytes(list));
    cr_assert_eq(f->sent_count, 2);
    cr_assert_eq(f->sent[0].signal.kind, KV_SIGNAL_SPAWN_REPLY);
    return payload_of(sent_of(f, KV_SIGNAL_DOWN, 0));
}

/* {Res, return, Value} */
static struct kv_bytes value_of(struct kv_bytes outcome)
{
    struct kv_bytes value = NONE;
    struct kv_reader reader = kv_reader(outcome);
    cr_assert_eq(kv_read_tuple_of(&reader, 3), KV_OK);
    cr_assert_eq(kv_read_any(&reader, NULL), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "return"), KV_OK);
    cr_assert_eq(kv_read_any(&reader, &value), KV_OK);
    return value;
}

/* {Res, error, Reason, [{M, F, A, []}]} */
static void assert_error(struct kv_bytes outcome, const char *reason)
{
    uint32_t count = 0;
    struct kv_reader reader = kv_reader(outcome);
    cr_assert_eq(kv_read_tuple_of(&reader, 4), KV_OK);
    cr_assert_eq(kv_read_any(&reader, NULL), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "error"), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, reason), KV_OK);
    cr_assert_eq(kv_read_list(&reader, &count), KV_OK);
    cr_assert_eq(count, 1);
    cr_assert_eq(kv_read_tuple_of(&reader, 4), KV_OK);
}

Test(rpc, a_function_in_the_list_is_called)
{
    struct kv_bytes nil = term_list(NONE, NONE, NONE);
    assert_term(value_of(erpc("erlang", "node", nil)), term_atom(FIXTURE_NODE));
    assert_term(value_of(erpc("erlang", "nodes", nil)),
                term_list(term_atom("a@host"), term_atom("b@host"), NONE));
    assert_term(value_of(erpc("erlang", "registered", nil)),
                term_list(term_atom("net_kernel"), term_atom("rex"), NONE));
    assert_term(value_of(erpc("erlang", "whereis", list_of(term_atom("rex")))), term_pid(&rex));
    assert_term(value_of(erpc("erlang", "whereis", list_of(term_atom("nobody")))),
                term_atom("undefined"));
    assert_term(value_of(erpc("erlang", "is_process_alive", list_of(term_pid(&rex)))),
                term_atom("true"));
}

Test(rpc, the_process_that_runs_a_call_is_among_the_processes_and_gone_afterwards)
{
    size_t before = kv_runtime_process_count(f->runtime);
    struct kv_reader reader =
        kv_reader(value_of(erpc("erlang", "processes", term_list(NONE, NONE, NONE))));
    uint32_t count = 0;
    cr_assert_eq(kv_read_list(&reader, &count), KV_OK);
    cr_assert_eq(count, before + 1);
    cr_assert_eq(kv_runtime_process_count(f->runtime), before);
}

Test(rpc, everything_else_is_undef)
{
    static const uint8_t string[] = {107, 0, 1, 7};
    assert_error(erpc("os", "cmd", list_of(term_binary("ls"))), "undef");
    assert_error(erpc("erlang", "node", term_list(term_integer(1), term_integer(2), NONE)),
                 "undef");
    assert_error(erpc("Elixir.KV.Bucket", "get", term_list(term_pid(&rex), term_atom("k"), NONE)),
                 "undef");
    assert_error(erpc("erlang", "halt", kv_bytes(string, sizeof string)), "undef");
}

Test(rpc, wrong_arguments_are_badarg)
{
    struct kv_pid elsewhere = pid_a(1);
    assert_error(erpc("erlang", "whereis", list_of(term_integer(1))), "badarg");
    assert_error(erpc("erlang", "is_process_alive", list_of(term_atom("x"))), "badarg");
    assert_error(erpc("erlang", "is_process_alive", list_of(term_pid(&elsewhere))), "badarg");
}

Test(rpc, a_fun_cannot_be_called_and_the_error_says_so)
{
    assert_error(erpc("erlang", "apply", term_list(term_atom("f"), term_atom("a"), NONE)),
                 "cannot_run_closures");
}

static struct kv_bytes apply_of(struct kv_bytes module, const char *function, struct kv_bytes list)
{
    return term_list(module, term_atom(function), list);
}

Test(rpc, apply_is_the_call_that_it_names)
{
    struct kv_bytes nil = term_list(NONE, NONE, NONE);
    struct kv_bytes node = apply_of(term_atom("erlang"), "node", nil);
    assert_term(value_of(erpc("erlang", "apply", node)), term_atom(FIXTURE_NODE));
    assert_term(value_of(erpc("Elixir.Kernel", "apply", node)), term_atom(FIXTURE_NODE));
    assert_term(value_of(erpc("erlang", "apply", apply_of(term_atom("erlang"), "apply", node))),
                term_atom(FIXTURE_NODE));
    assert_error(erpc("erlang", "apply", apply_of(term_atom("no"), "thing", nil)), "undef");
    assert_error(erpc("erlang", "apply", apply_of(term_integer(1), "thing", nil)), "badarg");
}

/* The arguments of a call of apply/3 that is one of `levels`, each of which has this tail. */
static struct kv_bytes nested_apply(unsigned levels, struct kv_bytes tail)
{
    struct kv_buffer *term = term_buffer();
    for (unsigned i = 1; i <= levels; i++) {
        kv_write_list(term, 3);
        kv_write_atom_text(term, "erlang");
        kv_write_atom_text(term, i < levels ? "apply" : "node");
    }
    kv_write_nil(term);
    for (unsigned i = 0; i < levels; i++) {
        kv_write_term(term, tail);
    }
    return kv_buffer_bytes(term);
}

Test(rpc, apply_within_apply_is_the_innermost_call_at_any_depth)
{
    struct kv_bytes nil = term_list(NONE, NONE, NONE);
    assert_term(value_of(erpc("erlang", "apply", nested_apply(3, nil))), term_atom(FIXTURE_NODE));
    assert_term(value_of(erpc("erlang", "apply", nested_apply(17, nil))), term_atom(FIXTURE_NODE));
    assert_term(value_of(erpc("erlang", "apply", nested_apply(100000, nil))),
                term_atom(FIXTURE_NODE));
}

/* {Res, error, badarg, [{Module, Function, Args, []}]} */
static void assert_badarg_of(struct kv_bytes outcome, const char *function, struct kv_bytes args)
{
    struct kv_bytes found = NONE;
    uint32_t count = 0;
    assert_error(outcome, "badarg");
    struct kv_reader reader = kv_reader(outcome);
    (void)kv_read_tuple_of(&reader, 4);
    for (int i = 0; i < 3; i++) {
        (void)kv_read_any(&reader, NULL);
    }
    (void)kv_read_list(&reader, &count);
    (void)kv_read_tuple_of(&reader, 4);
    (void)kv_read_any(&reader, NULL);
    cr_assert_eq(kv_read_this_atom(&reader, function), KV_OK);
    cr_assert_eq(kv_read_any(&reader, &found), KV_OK);
    assert_term(found, args);
}

Test(rpc, apply_with_an_improper_list_is_badarg_and_the_stack_names_apply)
{
    struct kv_bytes nil = term_list(NONE, NONE, NONE);
    struct kv_bytes one = nested_apply(1, term_atom("x"));
    struct kv_bytes two = nested_apply(2, term_atom("x"));
    struct kv_bytes wrong = apply_of(term_integer(1), "node", nil);
    assert_badarg_of(erpc("erlang", "apply", one), "apply", one);
    assert_badarg_of(erpc("erlang", "apply", two), "apply", two);
    assert_badarg_of(erpc("erlang", "apply", apply_of(term_atom("erlang"), "apply", wrong)),
                     "apply", wrong);
    assert_badarg_of(erpc("erlang", "apply", apply_of(term_atom("erlang"), "node", term_atom("x"))),
                     "node", term_atom("x"));
}

Test(rpc, an_empty_list_is_no_unit_of_time)
{
    static const char *const functions[][2] = {
        {"erlang", "monotonic_time"}, {"erlang", "system_time"}, {"erlang", "time_offset"},
        {"os", "perf_counter"},       {"os", "system_time"},     {"Elixir.System", "os_time"},
    };
    struct kv_bytes nil = term_list(NONE, NONE, NONE);
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        assert_error(erpc(functions[i][0], functions[i][1], list_of(nil)), "badarg");
        (void)value_of(erpc(functions[i][0], functions[i][1], list_of(term_atom("second"))));
        (void)value_of(erpc(functions[i][0], functions[i][1], nil));
    }
}

Test(rpc, the_list_of_applications_takes_a_number_or_infinity_as_its_time_out)
{
    static const char *const functions[][2] = {{"application", "which_applications"},
                                               {"Elixir.Application", "started_applications"}};
    for (size_t i = 0; i < 2; i++) {
        const char *module = functions[i][0];
        const char *function = functions[i][1];
        (void)value_of(erpc(module, function, list_of(term_integer(10))));
        (void)value_of(erpc(module, function, list_of(term_atom("infinity"))));
        assert_error(erpc(module, function, list_of(term_atom("a"))), "badarg");
        assert_error(erpc(module, function, list_of(term_integer(-1))), "badarg");
    }
}

Test(rpc, the_environment_of_any_term_is_empty_as_on_a_beam)
{
    struct kv_bytes nil = term_list(NONE, NONE, NONE);
    struct kv_bytes text = term_binary("x");
    assert_term(value_of(erpc("application", "get_env", term_list(text, text, term_atom("d")))),
                term_atom("d"));
    assert_term(value_of(erpc("application", "get_env", term_list(text, text, NONE))),
                term_atom("undefined"));
    assert_term(value_of(erpc("application", "get_key", term_list(text, text, NONE))),
                term_atom("undefined"));
    assert_term(value_of(erpc("application", "get_all_env", list_of(text))), nil);
    assert_error(
        erpc("Elixir.Application", "get_env", term_list(text, term_atom("k"), term_atom("d"))),
        "badarg");
}

/* fun erlang:node/0 */
Test(rpc, a_fun_that_names_a_function_is_called)
{
    struct kv_bytes nil = term_list(NONE, NONE, NONE);
    struct kv_buffer *fun = term_buffer();
    static const uint8_t tag = KV_TAG_EXPORT;
    kv_buffer_append(fun, kv_bytes(&tag, 1));
    kv_write_atom_text(fun, "erlang");
    kv_write_atom_text(fun, "node");
    kv_write_u64(fun, 0);
    struct kv_bytes term = kv_buffer_bytes(fun);
    assert_term(value_of(erpc("erlang", "apply", term_list(term, nil, NONE))),
                term_atom(FIXTURE_NODE));
    assert_error(erpc("erlang", "apply", term_list(term, list_of(term_atom("x")), NONE)), "badarg");
}

Test(rpc, hidden_nodes_are_listed_apart)
{
    struct kv_bytes nil = term_list(NONE, NONE, NONE);
    kv_runtime_peer_is_hidden(f->b);
    assert_term(value_of(erpc("erlang", "nodes", nil)), list_of(term_atom("a@host")));
    assert_term(value_of(erpc("erlang", "nodes", list_of(term_atom("hidden")))),
                list_of(term_atom("b@host")));
    assert_term(value_of(erpc("erlang", "nodes",
                              list_of(term_list(term_atom("this"), term_atom("hidden"), NONE)))),
                term_list(term_atom(FIXTURE_NODE), term_atom("b@host"), NONE));
    assert_error(erpc("erlang", "nodes", list_of(term_atom("near"))), "badarg");
}

/* ---- gen_server:call ------------------------------------------------------------------------- */

static struct kv_bytes request_to(struct kv_bytes server, struct kv_bytes request)
{
    return term_list(server, request, NONE);
}

Test(rpc, a_process_can_be_asked_by_name_and_by_pid)
{
    struct kv_bytes question = pair("is_auth", term_atom("a@host"));
    assert_term(value_of(erpc("gen_server", "call", request_to(term_atom("net_kernel"), question))),
                term_atom("yes"));
    struct kv_pid kernel;
    cr_assert(kv_whereis(f->runtime, kv_bytes_text("net_kernel"), &kernel));
    assert_term(value_of(erpc("Elixir.GenServer", "call", request_to(term_pid(&kernel), question))),
                term_atom("yes"));
    assert_term(value_of(erpc("gen_server", "call",
                              request_to(pair("net_kernel", term_atom(FIXTURE_NODE)), question))),
                term_atom("yes"));
}

/* {Res, exit, {Reason, {Module, call, Args}}} */
static void assert_exit(struct kv_bytes outcome, const char *reason)
{
    struct kv_reader reader = kv_reader(outcome);
    cr_assert_eq(kv_read_tuple_of(&reader, 3), KV_OK);
    (void)kv_read_any(&reader, NULL);
    cr_assert_eq(kv_read_this_atom(&reader, "exit"), KV_OK);
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, reason), KV_OK);
    cr_assert_eq(kv_read_tuple_of(&reader, 3), KV_OK);
}

Test(rpc, a_question_to_nobody_exits_as_gen_server_does)
{
    assert_exit(erpc("gen_server", "call", request_to(term_atom("nobody"), term_atom("x"))),
                "noproc");
    struct kv_pid elsewhere = pid_a(1);
    assert_error(erpc("gen_server", "call", request_to(term_pid(&elsewhere), term_atom("x"))),
                 "badarg");
}

/* {Res, exit, {noproc, {sys, get_status, Args}}} */
static void assert_no_status(struct kv_bytes args)
{
    struct kv_bytes outcome = erpc("sys", "get_status", args);
    struct kv_bytes reason = NONE;
    struct kv_bytes call = term_tuple(term_atom("sys"), term_atom("get_status"), args, NONE);
    struct kv_reader reader = kv_reader(outcome);
    assert_exit(outcome, "noproc");
    (void)kv_read_tuple_of(&reader, 3);
    (void)kv_read_any(&reader, NULL);
    (void)kv_read_any(&reader, NULL);
    cr_assert_eq(kv_read_any(&reader, &reason), KV_OK);
    assert_term(reason, pair("noproc", call));
}

Test(rpc, the_status_of_nobody_exits_as_sys_does)
{
    struct kv_pid dead = rex;
    struct kv_pid elsewhere = pid_a(1);
    dead.id = 0xffffff;
    assert_no_status(list_of(term_pid(&dead)));
    assert_no_status(list_of(term_atom("nobody")));
    assert_no_status(list_of(pair("nobody", term_atom(FIXTURE_NODE))));
    assert_no_status(term_list(term_atom("nobody"), term_integer(200), NONE));
    assert_error(erpc("sys", "get_status", list_of(term_integer(1))), "badarg");
    assert_error(erpc("sys", "get_status", list_of(term_pid(&elsewhere))), "badarg");
    assert_error(erpc("sys", "get_status", list_of(pair("rex", term_atom("a@host")))), "badarg");
}

Test(rpc, the_status_of_a_process_is_told_by_pid_and_by_name)
{
    struct kv_bytes servers[] = {term_pid(&rex), term_atom("rex"),
                                 pair("rex", term_atom(FIXTURE_NODE))};
    for (size_t i = 0; i < 3; i++) {
        struct kv_reader reader =
            kv_reader(value_of(erpc("sys", "get_status", list_of(servers[i]))));
        struct kv_pid pid;
        cr_assert_eq(kv_read_tuple_of(&reader, 4), KV_OK);
        cr_assert_eq(kv_read_this_atom(&reader, "status"), KV_OK);
        cr_assert_eq(kv_read_pid(&reader, &pid), KV_OK);
        assert_term(term_pid(&pid), term_pid(&rex));
    }
}

Test(rpc, a_question_to_a_suspended_process_ends_with_its_time_out)
{
    struct kv_pid bucket =
        feed_spawn(f, f->a, "kv_bucket", term_list(NONE, NONE, NONE), term_list(NONE, NONE, NONE));
    (void)system_call(f, &bucket, term_atom("suspend"));
    struct kv_buffer *list = term_buffer();
    struct kv_ref res = ref_a(7);
    kv_write_list(list, 4);
    kv_write_ref(list, &res);
    kv_write_atom_text(list, "gen_server");
    kv_write_atom_text(list, "call");
    kv_write_term(list, term_list(term_pid(&bucket), term_atom("size"), term_integer(50)));
    kv_write_nil(list);
    spawn("execute_call", 4, kv_buffer_bytes(list));
    cr_assert_null(sent_of(f, KV_SIGNAL_DOWN, 0));
    f->clock += 50;
    (void)kv_runtime_run_timers(f->runtime);
    assert_exit(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)), "timeout");
}

Test(rpc, a_misshapen_request_ends_with_badarg)
{
    spawn("execute_call", 4,
          term_list(term_atom("a"), term_integer(1), term_atom("b"))); /* one too few, too */
    assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)), term_atom("badarg"));
    spawn("execute_cast", 3, term_list(term_integer(1), term_atom("a"), term_atom("b")));
    assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)), term_atom("badarg"));
}

Test(rpc, a_cast_answers_nothing)
{
    struct kv_bytes nil = term_list(NONE, NONE, NONE);
    spawn("execute_cast", 3, term_list(term_atom("erlang"), term_atom("node"), nil));
    assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)), term_atom("normal"));
    spawn("execute_cast", 3, term_list(term_atom("no"), term_atom("thing"), nil));
    assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)), term_atom("normal"));
}

/* ---- rex ------------------------------------------------------------------------------------- */

static struct kv_bytes five(const char *kind, const char *function)
{
    struct kv_buffer *term = term_buffer();
    kv_write_tuple(term, 5);
    kv_write_atom_text(term, kind);
    kv_write_atom_text(term, "erlang");
    kv_write_atom_text(term, function);
    kv_write_nil(term);
    kv_write_atom_text(term, "user");
    return kv_buffer_bytes(term);
}

static struct kv_bytes stack_of(const char *function)
{
    struct kv_bytes nil = term_list(NONE, NONE, NONE);
    return list_of(term_tuple(term_atom("erlang"), term_atom(function), nil, nil));
}

Test(rpc, rex_answers_block_calls)
{
    assert_term(call(f, &rex, five("block_call", "node")), term_atom(FIXTURE_NODE));
    struct kv_bytes undef = term_tuple(term_atom("undef"), stack_of("fly"), NONE, NONE);
    assert_term(call(f, &rex, five("block_call", "fly")), pair("badrpc", pair("EXIT", undef)));
}

/* rpc:call/4 of OTP 22 and earlier. */
Test(rpc, rex_answers_calls_of_older_releases_with_the_plain_result)
{
    assert_term(call(f, &rex, five("call", "node")), term_atom(FIXTURE_NODE));
    struct kv_bytes undef = term_tuple(term_atom("undef"), stack_of("fly"), NONE, NONE);
    assert_term(call(f, &rex, five("call", "fly")), pair("badrpc", pair("EXIT", undef)));
}

Test(rpc, rex_runs_casts_of_older_releases_and_answers_nothing)
{
    forget(f);
    cast(f, &rex, five("cast", "node"));
    cast(f, &rex, five("cast", "fly"));
    cr_assert_eq(f->sent_count, 0);
    assert_term(call(f, &rex, five("call", "node")), term_atom(FIXTURE_NODE));
}

Test(rpc, rex_answers_an_unknown_request_with_an_error)
{
    assert_term(call(f, &rex, term_atom("fly")),
                pair("error", pair("bad_request", term_atom("fly"))));
}

static struct kv_bytes tell_rex(struct kv_bytes request)
{
    struct kv_pid caller = pid_a(1);
    forget(f);
    feed_message(f, f->a, &rex, term_tuple(term_pid(&caller), request, NONE, NONE));
    return payload_of(sent_of(f, KV_SIGNAL_MESSAGE, 0));
}

Test(rpc, rex_answers_calls_of_c_nodes)
{
    assert_term(tell_rex(five("call", "node")), pair("rex", term_atom(FIXTURE_NODE)));
}

Test(rpc, rex_tells_its_features)
{
    assert_term(tell_rex(term_atom("features_request")),
                term_tuple(term_atom("features_reply"), term_atom(FIXTURE_NODE),
                           list_of(term_atom("erpc")), NONE));
}

Test(rpc, rex_broadcasts_and_says_when_there_is_nobody)
{
    struct kv_bytes node = term_atom(FIXTURE_NODE);
    assert_term(
        tell_rex(term_tuple(term_atom("sbcast"), term_atom("net_kernel"), term_atom("x"), NONE)),
        term_tuple(term_atom("rex"), node, node, NONE));
    assert_term(
        tell_rex(term_tuple(term_atom("sbcast"), term_atom("nobody"), term_atom("x"), NONE)),
        term_tuple(term_atom("rex"), node, pair("nonexisting_name", term_atom("nobody")), NONE));
}

Test(rpc, rex_ignores_messages_without_a_meaning)
{
    feed_message(f, f->a, &rex, term_atom("hello"));
    feed_message(f, f->a, &rex, pair("hello", term_atom("rex")));
    cr_assert(kv_is_alive(f->runtime, &rex));
    cr_assert_eq(f->sent_count, 0);
}
