/* What Observer asks of the node: its functions, and the processes that send to it. */
#include "fixture.h"

#include "kv/kv.h"
#include "observe/functions.h"
#include "observe/observe.h"
#include "process/inspect.h"

#include <criterion/criterion.h>

static struct fixture *f;
static struct kv_pid bucket;

static void set_up(void)
{
    f = fixture_new();
    cr_assert_eq(kv_services_start(f->runtime), KV_OK);
    cr_assert_eq(kv_observe_start(f->runtime), KV_OK);
    bucket = feed_spawn(
        f, f->a, "kv_bucket", term_list(NONE, NONE, NONE),
        term_list(term_tuple(term_atom("label"), term_binary("shop"), NONE, NONE), NONE, NONE));
    bucket.node = kv_bytes_text(FIXTURE_NODE);
    forget(f);
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(viewers, .init = set_up, .fini = tear_down, .timeout = 60);

static void spawn(const char *module, const char *function, uint32_t arity,
                  struct kv_bytes arguments, const char *option)
{
    struct kv_signal request = {
        .kind = KV_SIGNAL_SPAWN_REQUEST,
        .from = pid_a(1),
        .ref = ref_a(98),
        .group_leader = pid_a(2),
        .spawn = {kv_bytes_text(module), kv_bytes_text(function), arity},
        .spawn_options = term_list(term_atom(option), NONE, NONE),
        .payload = {arguments},
        .payload_parts = 1,
    };
    forget(f);
    feed(f, f->a, &request);
}

/* The outcome of a call by name: {Res, return, Value} or {Res, error, Reason, Stack}. */
static struct kv_bytes call_by_name(const char *module, const char *function,
                                    struct kv_bytes arguments)
{
    struct kv_buffer *list = term_buffer();
    kv_write_list(list, 4);
    kv_write_atom_text(list, "res");
    kv_write_atom_text(list, module);
    kv_write_atom_text(list, function);
    kv_write_term(list, arguments);
    kv_write_nil(list);
    spawn("erpc", "execute_call", 4, kv_buffer_bytes(list), "monitor");
    return payload_of(sent_of(f, KV_SIGNAL_DOWN, 0));
}

static struct kv_bytes value_of(struct kv_bytes outcome)
{
    struct kv_bytes value = NONE;
    struct kv_reader reader = kv_reader(outcome);
    cr_assert_eq(kv_read_tuple_of(&reader, 3), KV_OK);
    (void)kv_read_any(&reader, NULL);
    (void)kv_read_any(&reader, NULL);
    cr_assert_eq(kv_read_any(&reader, &value), KV_OK);
    return value;
}

static bool is_error(struct kv_bytes outcome, const char *reason)
{
    struct kv_reader reader = kv_reader(outcome);
    return kv_read_tuple_of(&reader, 4) == KV_OK && kv_read_any(&reader, NULL) == KV_OK &&
           kv_read_this_atom(&reader, "error") == KV_OK &&
           kv_read_this_atom(&reader, reason) == KV_OK;
}

static struct kv_bytes list_of(struct kv_bytes one)
{
    return term_list(one, NONE, NONE);
}

static struct kv_bytes table(void)
{
    return term_tuple(term_binary("shop"), term_pid(&bucket), NONE, NONE);
}

static struct kv_bytes row(int64_t key, int64_t value)
{
    return term_tuple(term_integer(key), term_integer(value), NONE, NONE);
}

static size_t processes(void)
{
    return kv_runtime_process_count(f->runtime);
}

/* ---- wrong arguments ------------------------------------------------------------------------- */

enum { WRONG_KINDS = 9 };

/* Made anew each time: terms of the fixture do not last. */
static struct kv_bytes wrong(size_t kind)
{
    struct kv_pid dead = bucket;
    struct kv_pid elsewhere = pid_a(1);
    dead.id = 0xffffff;
    switch (kind) {
    case 0:
        return term_integer(-1);
    case 1:
        return term_atom("nothing");
    case 2:
        return term_binary("x");
    case 3:
        return term_pid(&elsewhere);
    case 4:
        return term_pid(&dead);
    case 5:
        return term_list(NONE, NONE, NONE);
    case 6:
        return table();
    case 7:
        return list_of(term_atom(""));
    default:
        return row(1, 1);
    }
}

static void call_wrongly(const struct kv_function *function)
{
    for (size_t i = 0; i < (size_t)WRONG_KINDS * WRONG_KINDS; i++) {
        struct kv_buffer *list = term_buffer();
        if (function->arity > 0) {
            kv_write_list(list, function->arity);
        }
        for (uint32_t n = 0; n < function->arity; n++) {
            kv_write_term(list, wrong((n % 2 == 0 ? i : i / WRONG_KINDS) % WRONG_KINDS));
        }
        kv_write_nil(list);
        struct kv_bytes outcome =
            call_by_name(function->module, function->function, kv_buffer_bytes(list));
        cr_assert(outcome.length > 0, "%s:%s", function->module, function->function);
        cr_assert_not(is_error(outcome, "undef"), "%s:%s", function->module, function->function);
    }
}

Test(viewers, every_function_answers_whatever_its_arguments_are_and_the_node_lives)
{
    for (size_t i = 0; kv_function_tables[i] != NULL; i++) {
        for (const struct kv_function *one = kv_function_tables[i]; one->module != NULL; one++) {
            call_wrongly(one);
        }
    }
    cr_assert(kv_is_alive(f->runtime, &bucket));
}

Test(viewers, arguments_of_the_wrong_kind_are_badarg)
{
    struct kv_pid elsewhere = pid_a(1);
    cr_assert(
        is_error(call_by_name("erlang", "process_info", list_of(term_pid(&elsewhere))), "badarg"));
    cr_assert(is_error(call_by_name("erlang", "process_info",
                                    term_list(term_pid(&bucket), term_atom("nothing"), NONE)),
                       "badarg"));
    cr_assert(is_error(call_by_name("erlang", "system_info", list_of(term_atom("x"))), "badarg"));
    cr_assert(
        is_error(call_by_name("observer_backend", "get_table",
                              term_list(term_pid(&elsewhere), term_atom("x"), term_atom("ets"))),
                 "badarg"));
}

/* ---- processes ------------------------------------------------------------------------------- */

Test(viewers, a_process_that_is_dead_has_undefined_information_and_no_state)
{
    struct kv_pid dead = bucket;
    dead.id = 0xffffff;
    assert_term(value_of(call_by_name("erlang", "process_info", list_of(term_pid(&dead)))),
                term_atom("undefined"));
    struct kv_reader status = kv_reader(value_of(
        call_by_name("sys", "get_status", term_list(term_pid(&dead), term_integer(200), NONE))));
    cr_assert_eq(kv_read_tuple_of(&status, 4), KV_OK);
    cr_assert_eq(kv_read_this_atom(&status, "status"), KV_OK);
}

Test(viewers, the_registered_name_of_a_process_without_one_is_nil_when_asked_for_alone)
{
    assert_term(
        value_of(call_by_name("erlang", "process_info",
                              term_list(term_pid(&bucket), term_atom("registered_name"), NONE))),
        term_list(NONE, NONE, NONE));
}

Test(viewers, whoever_has_an_initial_call_has_attributes)
{
    static const char *const modules[] = {"kv_bucket",        "kv_registry", "rex",
                                          "observer_backend", "appmon_info", "net_kernel"};
    for (size_t i = 0; i < sizeof modules / sizeof modules[0]; i++) {
        struct kv_reader reader = kv_reader(
            value_of(call_by_name(modules[i], "module_info", list_of(term_atom("attributes")))));
        uint32_t count = 0;
        cr_assert_eq(kv_read_list(&reader, &count), KV_OK, "%s", modules[i]);
        cr_assert_eq(count, 1);
    }
}

Test(viewers, procs_info_sends_every_process_and_ends)
{
    struct kv_pid viewer = pid_a(1);
    size_t before = processes();
    spawn("observer_backend", "procs_info", 1, list_of(term_pid(&viewer)), "link");
    cr_assert_eq(processes(), before + 1);
    kv_runtime_run_timers(f->runtime);
    struct kv_reader reader = kv_reader(payload_of(sent_of(f, KV_SIGNAL_MESSAGE, 0)));
    uint32_t rows = 0;
    cr_assert_eq(kv_read_tuple_of(&reader, 3), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "procs_info"), KV_OK);
    (void)kv_read_any(&reader, NULL);
    cr_assert_eq(kv_read_list(&reader, &rows), KV_OK);
    cr_assert_eq(rows, before + 1);
    cr_assert_eq(processes(), before);
}

/* ---- load charts ----------------------------------------------------------------------------- */

static struct kv_pid start_charts(void)
{
    struct kv_pid viewer = pid_a(1);
    spawn("observer_backend", "fetch_stats", 2,
          term_list(term_pid(&viewer), term_integer(500), NONE), "link");
    struct kv_pid charts = sent_of(f, KV_SIGNAL_SPAWN_REPLY, 0)->signal.from;
    return charts;
}

Test(viewers, fetch_stats_sends_figures_every_period_though_no_time_seems_to_pass)
{
    (void)start_charts();
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE), i);
        f->clock += 500;
        kv_runtime_run_timers(f->runtime);
    }
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE), 3);
}

Test(viewers, fetch_stats_ends_when_its_viewer_exits_normally_or_says_anything)
{
    struct kv_pid viewer = pid_a(1);
    size_t before = processes();
    struct kv_pid charts = start_charts();
    cr_assert_eq(processes(), before + 1);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &viewer, &charts, term_atom("normal"));
    cr_assert_eq(processes(), before);
    charts = start_charts();
    feed_message(f, f->a, &charts, term_atom("exit"));
    cr_assert_eq(processes(), before);
}

/* ---- tables ---------------------------------------------------------------------------------- */

Test(viewers, a_row_can_be_edited_and_deleted)
{
    assert_term(value_of(call_by_name("ets", "insert", term_list(table(), row(1, 2), NONE))),
                term_atom("true"));
    assert_term(value_of(call_by_name("ets", "info", term_list(table(), term_atom("size"), NONE))),
                term_integer(1));
    assert_term(value_of(call_by_name("ets", "delete_object", term_list(table(), row(1, 3), NONE))),
                term_atom("true"));
    assert_term(value_of(call_by_name("ets", "info", term_list(table(), term_atom("size"), NONE))),
                term_integer(1)); /* another row */
    (void)call_by_name("ets", "delete_object", term_list(table(), row(1, 2), NONE));
    assert_term(value_of(call_by_name("ets", "info", term_list(table(), term_atom("size"), NONE))),
                term_integer(0));
}

Test(viewers, a_suspended_table_cannot_be_edited)
{
    (void)system_call(f, &bucket, term_atom("suspend"));
    assert_term(value_of(call_by_name("ets", "insert", term_list(table(), row(1, 2), NONE))),
                term_atom("false"));
}

Test(viewers, the_rows_of_a_table_come_in_chunks_and_then_its_end)
{
    enum { ROWS = 20000, CHUNK_MAX = 128 << 10 };
    struct kv_pid viewer = pid_a(1);
    for (int64_t i = 0; i < ROWS; i++) {
        (void)call_by_name("ets", "insert", term_list(table(), row(i, i), NONE));
    }
    size_t before = processes();
    (void)value_of(call_by_name("observer_backend", "get_table",
                                term_list(term_pid(&viewer), table(), term_atom("ets"))));
    forget(f);
    for (int turn = 0; processes() > before; turn++) {
        cr_assert_lt(turn, 1000);
        kv_runtime_run_timers(f->runtime);
    }
    uint64_t rows = 0;
    size_t last = count_of(f, KV_SIGNAL_MESSAGE) - 1;
    cr_assert_gt(last, 2);
    for (size_t i = 0; i < last; i++) {
        uint32_t count = 0;
        struct kv_bytes chunk = payload_of(sent_of(f, KV_SIGNAL_MESSAGE, i));
        struct kv_reader reader = kv_reader(chunk);
        cr_assert_lt(chunk.length, CHUNK_MAX);
        cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
        (void)kv_read_any(&reader, NULL);
        cr_assert_eq(kv_read_list(&reader, &count), KV_OK);
        rows += count;
    }
    cr_assert_eq(rows, ROWS);
}
