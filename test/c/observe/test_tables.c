/* Buckets as tables of the Table Viewer: the list, rows, edit and delete. */
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

TestSuite(tables, .init = set_up, .fini = tear_down, .timeout = 60);

static struct kv_bytes table(void)
{
    struct kv_buffer *label = term_buffer();
    kv_write_string(label, "shop");
    return term_list(term_pid(&bucket), kv_buffer_bytes(label), NONE);
}

static struct kv_bytes row(int64_t key, int64_t value)
{
    return term_tuple(term_integer(key), term_integer(value), NONE, NONE);
}

static size_t processes(void)
{
    return kv_runtime_process_count(f->runtime);
}

static struct kv_bytes with_row(const char *function, int64_t key, int64_t value)
{
    return viewer_call(f, "ets", function, term_list(table(), row(key, value), NONE));
}

static struct kv_bytes info(const char *what)
{
    return viewer_call(f, "ets", "info", term_list(table(), term_atom(what), NONE));
}

/* ---- the list -------------------------------------------------------------------------------- */

Test(tables, a_list_that_is_too_long_ends_with_a_private_row_that_says_how_many_more_there_are)
{
    enum { LISTED = 5000, MORE = 3 };
    uint32_t count = 0;
    struct kv_bytes last = NONE;
    for (int i = 0; i < LISTED + MORE - 1; i++) {
        (void)viewer_bucket(f, term_list(NONE, NONE, NONE));
    }
    struct kv_reader reader =
        kv_reader(viewer_call(f, "observer_backend", "get_table_list",
                              term_list(term_atom("ets"), term_list(NONE, NONE, NONE), NONE)));
    cr_assert_eq(kv_read_list(&reader, &count), KV_OK);
    cr_assert_eq(count, LISTED + 1);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_eq(kv_read_any(&reader, &last), KV_OK);
    }
    assert_shape(value_at(last, "name"), "not_listed");
    assert_shape(value_at(last, "id"), "s");
    assert_shape(value_at(last, "protection"), "private");
    assert_shape(value_at(last, "owner"), "p");
    assert_term(value_at(last, "size"), term_integer(MORE));
    /* calls about it have an answer all the same */
    struct kv_buffer *id = term_buffer();
    kv_write_string(id, "3 more");
    assert_shape(
        viewer_call(f, "ets", "info", term_list(kv_buffer_bytes(id), term_atom("keypos"), NONE)),
        "undefined");
}

Test(tables, everything_about_a_missing_table_is_undefined)
{
    assert_shape(info("keypos"), "1");
    assert_shape(info("size"), "0");
    assert_shape(info("memory"), "n");
    assert_shape(info("owner"), "p");
    bucket.id = 0xffffff;
    assert_shape(info("keypos"), "undefined");
}

/* ---- edit and delete ------------------------------------------------------------------------- */

Test(tables, a_row_can_be_edited_and_deleted)
{
    assert_shape(with_row("insert", 1, 2), "true");
    assert_shape(info("size"), "1");
    assert_shape(with_row("delete_object", 1, 3), "true");
    assert_shape(info("size"), "1"); /* that was another row */
    assert_shape(with_row("delete_object", 1, 2), "true");
    assert_shape(info("size"), "0");
}

Test(tables, a_suspended_table_cannot_be_edited)
{
    (void)system_call(f, &bucket, term_atom("suspend"));
    assert_shape(with_row("insert", 1, 2), "false");
    assert_shape(with_row("delete_object", 1, 2), "false");
    assert_shape(info("size"), "0");
}

Test(tables, a_row_that_is_none_is_refused)
{
    assert_shape(viewer_call(f, "ets", "insert", term_list(table(), term_integer(1), NONE)),
                 "false");
    assert_shape(
        viewer_call(f, "ets", "insert", term_list(table(), term_list(row(1, 2), NONE, NONE), NONE)),
        "false");
}

/* ---- rows ------------------------------------------------------------------------------------ */

enum { ROWS = 20000, CHUNK_MAX = 128 << 10 };

static void fill(void)
{
    for (int64_t i = 0; i < ROWS; i++) {
        (void)call(f, &bucket,
                   term_tuple(term_atom("put"), term_integer(i), term_integer(i), NONE));
        forget(f);
    }
}

static void open_table(void)
{
    struct kv_pid viewer = pid_a(1);
    assert_shape(viewer_call(f, "observer_backend", "get_table",
                             term_list(term_pid(&viewer), table(), term_atom("ets"))),
                 "p");
    forget(f);
}

Test(tables, the_rows_of_a_table_come_in_chunks_and_then_its_end)
{
    fill();
    size_t before = processes();
    open_table();
    run_turns(f);
    cr_assert_eq(processes(), before);
    uint64_t rows = 0;
    size_t last = count_of(f, KV_SIGNAL_MESSAGE) - 1;
    cr_assert_gt(last, 2);
    for (size_t i = 0; i < last; i++) {
        uint32_t count = 0;
        struct kv_bytes chunk = payload_of(sent_of(f, KV_SIGNAL_MESSAGE, i));
        struct kv_reader reader = kv_reader(chunk);
        cr_assert_lt(chunk.length, CHUNK_MAX);
        assert_shape(chunk, "{p,[[{i,i}+]+]}");
        (void)kv_read_tuple_of(&reader, 2);
        (void)kv_read_any(&reader, NULL);
        (void)kv_read_list(&reader, &count);
        rows += count;
    }
    cr_assert_eq(rows, ROWS);
    assert_shape(payload_of(sent_of(f, KV_SIGNAL_MESSAGE, last)), "{p,$end_of_table}");
}

Test(tables, an_empty_table_has_its_end_at_once)
{
    open_table();
    run_turns(f);
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE), 1);
    assert_shape(payload_of(sent_of(f, KV_SIGNAL_MESSAGE, 0)), "{p,$end_of_table}");
}

Test(tables, a_table_that_dies_while_it_is_read_has_its_end)
{
    struct kv_pid killer = pid_a(9);
    fill();
    size_t before = processes();
    open_table();
    kv_runtime_run_timers(f->runtime);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &killer, &bucket, term_atom("kill"));
    run_turns(f);
    size_t sent = count_of(f, KV_SIGNAL_MESSAGE);
    cr_assert_eq(sent, 2);
    assert_shape(payload_of(sent_of(f, KV_SIGNAL_MESSAGE, 1)), "{p,$end_of_table}");
    cr_assert_eq(processes(), before - 1);
}

Test(tables, a_viewer_that_goes_midway_is_sent_nothing_more)
{
    fill();
    size_t before = processes();
    struct kv_pid viewer = pid_a(1);
    struct kv_pid reader_pid;
    struct kv_reader reader =
        kv_reader(viewer_call(f, "observer_backend", "get_table",
                              term_list(term_pid(&viewer), table(), term_atom("ets"))));
    cr_assert_eq(kv_read_pid(&reader, &reader_pid), KV_OK);
    kv_runtime_run_timers(f->runtime);
    reader_pid.node = kv_bytes_text(FIXTURE_NODE);
    feed_exit(f, f->a, KV_SIGNAL_EXIT_LINK, &viewer, &reader_pid, term_atom("shutdown"));
    size_t sent = f->sent_count;
    run_turns(f);
    cr_assert_eq(f->sent_count, sent);
    cr_assert_eq(processes(), before);
}

Test(tables, a_viewer_whose_node_is_lost_or_never_was_there_leaves_no_reader)
{
    struct kv_pid nobody = {.node = kv_bytes_text("no@where"), .id = 1, .creation = 1};
    fill();
    size_t before = processes();
    (void)viewer_call(f, "observer_backend", "get_table",
                      term_list(term_pid(&nobody), table(), term_atom("ets")));
    run_turns(f);
    cr_assert_eq(processes(), before);
    open_table();
    kv_runtime_run_timers(f->runtime);
    kv_runtime_peer_down(f->runtime, f->a);
    run_turns(f);
    cr_assert_eq(processes(), before);
    f->a = NULL;
}
