/* Processes that send to a viewer, or show it one process: how they begin, how they bound what they
 * send, and how they end. */
#include "support/probe.h"
#include "support/viewer.h"

#include <criterion/criterion.h>

static struct fixture *f;
static struct kv_pid bucket;

static void set_up(void)
{
    f = viewer_fixture(&bucket);
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(viewers, .init = set_up, .fini = tear_down, .timeout = 60);

static struct kv_bytes one(struct kv_bytes argument)
{
    return term_list(argument, NONE, NONE);
}

static size_t processes(void)
{
    return kv_runtime_process_count(f->runtime);
}

static void make_buckets(size_t count)
{
    for (size_t i = 0; i < count; i++) {
        (void)viewer_bucket(f, term_list(NONE, NONE, NONE));
    }
}

/* ---- answers that take many turns ------------------------------------------------------------ */

static uint32_t length_of(struct kv_bytes list)
{
    uint32_t count = 0;
    struct kv_reader reader = kv_reader(list);
    cr_assert_eq(kv_read_list(&reader, &count), KV_OK);
    return count;
}

Test(viewers, a_question_about_every_process_is_answered_over_several_turns)
{
    make_buckets(1000);
    struct kv_bytes nil = term_list(NONE, NONE, NONE);
    viewer_spawn(f, "erpc", "execute_call", 4,
                 term_list(term_atom("res"), term_atom("erlang"), term_atom("processes")),
                 "monitor");
    assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)), term_atom("badarg")); /* no arguments */
    struct kv_buffer *list = term_buffer();
    kv_write_list(list, 4);
    kv_write_atom_text(list, "res");
    kv_write_atom_text(list, "erlang");
    kv_write_atom_text(list, "processes");
    kv_write_term(list, nil);
    kv_write_nil(list);
    viewer_spawn(f, "erpc", "execute_call", 4, kv_buffer_bytes(list), "monitor");
    size_t there = processes();
    int turns = 0;
    for (; count_of(f, KV_SIGNAL_DOWN) == 0; turns++) {
        cr_assert_lt(turns, 1000);
        kv_runtime_run_timers(f->runtime);
    }
    cr_assert_gt(turns, 2);
    struct kv_bytes outcome = payload_of(sent_of(f, KV_SIGNAL_DOWN, 0));
    assert_shape(outcome, "{res,return,[p+]}");
    struct kv_reader reader = kv_reader(outcome);
    struct kv_bytes value = NONE;
    (void)kv_read_tuple_of(&reader, 3);
    (void)kv_read_any(&reader, NULL);
    (void)kv_read_any(&reader, NULL);
    (void)kv_read_any(&reader, &value);
    cr_assert_eq(length_of(value), there);
}

Test(viewers, a_question_at_work_ends_with_the_process_that_asks_for_it)
{
    make_buckets(1000);
    size_t before = processes();
    struct kv_buffer *list = term_buffer();
    kv_write_list(list, 4);
    kv_write_atom_text(list, "res");
    kv_write_atom_text(list, "observer_backend");
    kv_write_atom_text(list, "sys_info");
    kv_write_nil(list);
    kv_write_nil(list);
    viewer_spawn(f, "erpc", "execute_call", 4, kv_buffer_bytes(list), "link");
    cr_assert_eq(processes(), before + 1);
    kv_runtime_peer_down(f->runtime, f->a);
    cr_assert_eq(processes(), before);
    run_turns(f);
    f->a = NULL;
}

Test(viewers, rex_answers_such_a_question_and_serves_others_meanwhile)
{
    struct kv_pid rex;
    make_buckets(1000);
    cr_assert(kv_whereis(f->runtime, kv_bytes_text("rex"), &rex));
    size_t before = processes();
    struct kv_buffer *request = term_buffer();
    kv_write_tuple(request, 5);
    kv_write_atom_text(request, "block_call");
    kv_write_atom_text(request, "erlang");
    kv_write_atom_text(request, "processes");
    kv_write_nil(request);
    kv_write_atom_text(request, "user");
    cr_assert_eq(call(f, &rex, kv_buffer_bytes(request)).length, 0);
    cr_assert_eq(processes(), before + 1);
    assert_shape(call(f, &rex, term_atom("hello")), "{error,{bad_request,hello}}");
    run_turns(f);
    cr_assert_eq(processes(), before);
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE_ALIAS), 2);
    assert_shape(payload_of(sent_of(f, KV_SIGNAL_MESSAGE_ALIAS, 1)), "{_,[p+]}");
}

/* ---- processes ------------------------------------------------------------------------------- */

/* Counts the rows that a collector has sent. None of its chunks is large. */
static uint32_t rows_sent(void)
{
    enum { CHUNK_MAX = 1280 };
    uint32_t rows = 0;
    size_t chunks = count_of(f, KV_SIGNAL_MESSAGE);
    cr_assert_gt(chunks, 1);
    for (size_t i = 0; i < chunks; i++) {
        struct kv_bytes list = NONE;
        struct kv_reader reader = kv_reader(payload_of(sent_of(f, KV_SIGNAL_MESSAGE, i)));
        cr_assert_eq(kv_read_tuple_of(&reader, 3), KV_OK);
        (void)kv_read_any(&reader, NULL);
        (void)kv_read_any(&reader, NULL);
        (void)kv_read_any(&reader, &list);
        cr_assert_lt(length_of(list), CHUNK_MAX);
        rows += length_of(list);
    }
    return rows;
}

Test(viewers, procs_info_sends_every_process_once_in_chunks_and_ends)
{
    enum { BUCKETS = 3000 };
    struct kv_pid viewer = pid_a(1);
    make_buckets(BUCKETS);
    size_t before = processes();
    viewer_spawn(f, "observer_backend", "procs_info", 1, one(term_pid(&viewer)), "link");
    cr_assert_eq(processes(), before + 1);
    run_turns(f);
    cr_assert_eq(rows_sent(), before + 1);
    cr_assert_eq(processes(), before);
}

Test(viewers, kv_node_processes_sends_every_other_process_once_in_chunks_and_ends)
{
    enum { BUCKETS = 3000 };
    struct kv_pid viewer = pid_a(1);
    make_buckets(BUCKETS);
    size_t before = processes();
    viewer_spawn(f, "kv_node", "processes", 1, one(term_pid(&viewer)), "link");
    cr_assert_eq(processes(), before + 1);
    run_turns(f);
    cr_assert_eq(rows_sent(), before);
    cr_assert_eq(processes(), before);
    assert_term(payload_of(sent_of(f, KV_SIGNAL_EXIT_LINK, 0)), term_atom("normal"));
}

Test(viewers, kv_node_processes_tells_the_module_and_the_label_of_a_process)
{
    struct kv_pid viewer = pid_a(1);
    kv_add_behaviour(f->runtime, &probe_behaviour, NULL);
    struct kv_pid probe;
    struct kv_buffer reason = KV_BUFFER_INIT;
    cr_assert_eq(kv_spawn(f->runtime, &probe_behaviour, term_atom("ok"), &probe, &reason), KV_OK);
    viewer_spawn(f, "kv_node", "processes", 1, one(term_pid(&viewer)), "link");
    run_turns(f);
    assert_shape(payload_of(sent_of(f, KV_SIGNAL_MESSAGE, 0)),
                 "{kv_processes,p,[{p,net_kernel,undefined,i,i,i},{p,rex,undefined,i,i,i},"
                 "{p,kv_bucket,b,i,i,i},{p,probe,undefined,i,i,i}]}");
}

Test(viewers, procs_info_ends_when_its_viewer_is_lost_midway)
{
    struct kv_pid viewer = pid_a(1);
    make_buckets(1000);
    size_t before = processes();
    viewer_spawn(f, "observer_backend", "procs_info", 1, one(term_pid(&viewer)), "link");
    kv_runtime_run_timers(f->runtime);
    cr_assert_eq(processes(), before + 1);
    kv_runtime_peer_down(f->runtime, f->a);
    cr_assert_eq(processes(), before);
    run_turns(f);
    f->a = NULL;
}

/* ---- one process ----------------------------------------------------------------------------- */

static struct kv_bytes item(const struct kv_pid *pid, const char *name)
{
    struct kv_bytes value = NONE;
    struct kv_reader reader = kv_reader(
        viewer_call(f, "erlang", "process_info", term_list(term_pid(pid), term_atom(name), NONE)));
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    (void)kv_read_any(&reader, NULL);
    cr_assert_eq(kv_read_any(&reader, &value), KV_OK);
    return value;
}

Test(viewers, a_thousand_of_a_process_s_relations_are_told_and_of_the_others_their_number)
{
    enum { WATCHERS = 1234 };
    for (uint32_t i = 0; i < WATCHERS; i++) {
        struct kv_pid watcher = pid_a(i + 1);
        struct kv_ref ref = ref_a(i + 1);
        feed_monitor(f, f->a, &watcher, &bucket, &ref);
    }
    cr_assert_eq(length_of(item(&bucket, "monitored_by")), 1000);
    struct kv_bytes rest = value_at(item(&bucket, "dictionary"), "$kv_not_shown");
    assert_shape(rest, "[{monitored_by,n}+]");
    assert_term(value_at(rest, "monitored_by"), term_integer(WATCHERS - 1000));
}

Test(viewers, the_count_of_relations_goes_down_with_them)
{
    struct kv_pid watcher = pid_b(1);
    struct kv_ref ref = ref_b(1);
    const struct kv_process *process = kv_process_at(f->runtime, &bucket);
    feed_monitor(f, f->b, &watcher, &bucket, &ref);
    feed_link(f, f->b, &watcher, &bucket);
    cr_assert_eq(kv_process_related(process, KV_RELATION_MONITORED_BY), 1);
    cr_assert_eq(kv_process_related(process, KV_RELATION_LINK), 1);
    feed_unlink(f, f->b, &watcher, &bucket, 1);
    cr_assert_eq(kv_process_related(process, KV_RELATION_LINK), 0);
    kv_runtime_peer_down(f->runtime, f->b);
    cr_assert_eq(kv_process_related(process, KV_RELATION_MONITORED_BY), 0);
    f->b = NULL;
}

static struct kv_bytes status(void)
{
    return viewer_call(f, "sys", "get_status",
                       term_list(term_pid(&bucket), term_integer(200), NONE));
}

/* True if a binary within the term begins with the text. */
static bool mentions(struct kv_bytes term, const char *text)
{
    for (size_t at = 0; at + strlen(text) <= term.length; at++) {
        if (memcmp(term.data + at, text, strlen(text)) == 0) {
            return true;
        }
    }
    return false;
}

Test(viewers, requests_are_remembered_once_the_window_of_their_process_was_opened)
{
    struct kv_bytes put = term_tuple(term_atom("put"), term_atom("k"), term_atom("secret"), NONE);
    (void)call(f, &bucket, put);
    cr_assert_not(mentions(status(), "call put"));
    (void)call(f, &bucket, term_tuple(term_atom("put"), term_atom("k"), term_atom("v"), NONE));
    cast(f, &bucket, term_tuple(term_atom("delete"), term_atom("k"), NONE, NONE));
    feed_message(f, f->a, &bucket, term_integer(1));
    struct kv_buffer *unwatched = term_buffer();
    struct kv_ref alias = ref_a(5);
    kv_write_tuple(unwatched, 3);
    kv_write_atom_text(unwatched, "$kv_call");
    kv_write_ref(unwatched, &alias);
    kv_write_atom_text(unwatched, "size");
    feed_message(f, f->a, &bucket, kv_buffer_bytes(unwatched));
    f->clock += 61000;
    cr_assert(mentions(status(), "call put/2, 61 s ago"));
    cr_assert(mentions(status(), "cast delete/1, 61 s ago"));
    cr_assert(mentions(status(), "call size/0, 61 s ago"));
    cr_assert(mentions(status(), "message of no name, 61 s ago"));
}

Test(viewers, the_last_ten_requests_are_remembered_without_their_values)
{
    (void)status();
    (void)call(f, &bucket, term_tuple(term_atom("put"), term_atom("k"), term_atom("secret"), NONE));
    for (int i = 0; i < 9; i++) {
        (void)call(f, &bucket, term_atom("size"));
    }
    cr_assert(mentions(status(), "call put/2"));
    (void)call(f, &bucket, term_tuple(term_atom("delete"), term_atom("k"), NONE, NONE));
    cr_assert_not(mentions(status(), "call put/2"));
    cr_assert_not(mentions(status(), "secret"));
}

Test(viewers, requests_are_forgotten_when_nobody_looks_any_more)
{
    enum { LONG = 11 * 60 * 1000 };
    (void)status();
    (void)call(f, &bucket, term_atom("size"));
    f->clock += LONG;
    (void)call(f, &bucket, term_atom("keys"));
    cr_assert_not(mentions(status(), "call size"));
    cr_assert_not(mentions(status(), "call keys"));
}

/* ---- load charts ----------------------------------------------------------------------------- */

static struct kv_pid start_charts(void)
{
    struct kv_pid viewer = pid_a(1);
    viewer_spawn(f, "observer_backend", "fetch_stats", 2,
                 term_list(term_pid(&viewer), term_integer(500), NONE), "link");
    return sent_of(f, KV_SIGNAL_SPAWN_REPLY, 0)->signal.from;
}

Test(viewers, fetch_stats_sends_figures_every_period)
{
    make_buckets(1000);
    (void)start_charts();
    for (size_t i = 0; i < 3; i++) {
        run_turns(f);
        cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE), i);
        f->clock += 500;
    }
}

Test(viewers, fetch_stats_ends_when_its_viewer_exits_normally_or_says_anything_or_is_lost)
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
    charts = start_charts();
    feed_exit(f, f->a, KV_SIGNAL_EXIT_LINK, &viewer, &charts, term_atom("shutdown"));
    cr_assert_eq(processes(), before);
    (void)start_charts();
    make_buckets(1000);
    f->clock += 500;
    kv_runtime_run_timers(f->runtime); /* figures are being gathered */
    kv_runtime_peer_down(f->runtime, f->a);
    run_turns(f);
    cr_assert_eq(processes(), before + 1000);
    f->a = NULL;
}
