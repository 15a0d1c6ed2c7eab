/* Functions called by name with senseless arguments: each call gets an error or an answer, and the
 * node goes on. */
#include "support/viewer.h"

#include "observe/functions.h"

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

TestSuite(hostile, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- terms ----------------------------------------------------------------------------------- */

enum { LONG = 20000 };

static struct kv_bytes long_list(void)
{
    struct kv_buffer *list = term_buffer();
    kv_write_list(list, LONG);
    for (int i = 0; i < LONG; i++) {
        kv_write_u64(list, 1);
    }
    kv_write_nil(list);
    return kv_buffer_bytes(list);
}

/* [memory | memory] */
static struct kv_bytes improper_list(void)
{
    struct kv_buffer *list = term_buffer();
    kv_write_list(list, 1);
    kv_write_atom_text(list, "memory");
    kv_write_atom_text(list, "memory");
    return kv_buffer_bytes(list);
}

static struct kv_bytes string(const char *text)
{
    struct kv_buffer *term = term_buffer();
    kv_write_string(term, text);
    return kv_buffer_bytes(term);
}

static struct kv_bytes map(void)
{
    struct kv_buffer *term = term_buffer();
    kv_write_map(term, 1);
    kv_write_u64(term, 1);
    kv_write_u64(term, 1);
    return kv_buffer_bytes(term);
}

static struct kv_bytes pair(struct kv_bytes a, struct kv_bytes b)
{
    return term_tuple(a, b, NONE, NONE);
}

enum { KINDS = 16 };

/* Made anew each time: terms of the fixture do not last. */
static struct kv_bytes wrong(size_t kind)
{
    struct kv_pid dead = bucket;
    struct kv_pid other_run = bucket;
    struct kv_pid elsewhere = pid_a(1);
    struct kv_pid nowhere = {.node = kv_bytes_text("no@where"), .id = 1, .creation = 1};
    dead.id = 0xffffff;
    other_run.creation++;
    switch (kind) {
    case 0:
        return term_integer(-1);
    case 1:
        return term_atom("");
    case 2:
        return term_atom("ets");
    case 3:
        return term_binary("x");
    case 4:
        return term_pid(&elsewhere);
    case 5:
        return term_pid(&nowhere);
    case 6:
        return term_pid(&dead);
    case 7:
        return term_pid(&other_run);
    case 8:
        return term_pid(&bucket);
    case 9:
        return term_list(NONE, NONE, NONE);
    case 10:
        return pair(term_binary("shop"), term_pid(&bucket));
    case 11:
        return pair(term_integer(1), term_integer(2));
    case 12:
        return improper_list();
    case 13:
        return string("memory");
    case 14:
        return map();
    default:
        return term_list(term_atom("memory"), term_atom("links"), term_atom("dictionary"));
    }
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void write_arguments(struct kv_buffer *to, uint32_t count, size_t choice)
{
    if (count > 0) {
        kv_write_list(to, count);
    }
    for (uint32_t n = 0; n < count; n++, choice /= KINDS) {
        kv_write_term(to, wrong(choice % KINDS));
    }
    kv_write_nil(to);
}

static bool exists(const struct kv_function *function, uint32_t arity)
{
    return kv_function_exists(kv_bytes_text(function->module), kv_bytes_text(function->function),
                              arity);
}

static void each_function(void (*check)(const struct kv_function *function))
{
    for (size_t i = 0; kv_function_tables[i] != NULL; i++) {
        for (const struct kv_function *one = kv_function_tables[i]; one->module != NULL; one++) {
            check(one);
        }
    }
    cr_assert(kv_is_alive(f->runtime, &bucket));
}

/* Every first and second argument, and the third as the first. */
static void call_with_every_pair(const struct kv_function *function)
{
    size_t choices = function->arity == 0 ? 1 : function->arity == 1 ? KINDS : KINDS * KINDS;
    for (size_t i = 0; i < choices; i++) {
        struct kv_buffer *list = term_buffer();
        write_arguments(list, function->arity, i + i * choices);
        struct kv_bytes outcome =
            viewer_outcome(f, function->module, function->function, kv_buffer_bytes(list));
        cr_assert(has_shape(outcome, "{res,return,_}") || is_error(outcome, "badarg") ||
                      has_shape(outcome, "{res,exit,{noproc,{a,a,_}}}"),
                  "%s:%s, choice %zu", function->module, function->function, i);
    }
}

Test(hostile, every_function_answers_or_says_badarg_whatever_its_arguments_are)
{
    each_function(call_with_every_pair);
}

static void call_with_wrong_counts(const struct kv_function *function)
{
    for (uint32_t count = 0; count < 6; count++) {
        struct kv_buffer *list = term_buffer();
        write_arguments(list, count, 4);
        if (!exists(function, count)) {
            cr_assert(is_error(viewer_outcome(f, function->module, function->function,
                                              kv_buffer_bytes(list)),
                               "undef"),
                      "%s:%s/%u", function->module, function->function, count);
        }
    }
}

Test(hostile, a_function_of_another_arity_is_undef)
{
    each_function(call_with_wrong_counts);
}

static void call_with_no_list(const struct kv_function *function)
{
    cr_assert(is_error(viewer_outcome(f, function->module, function->function, improper_list()),
                       "badarg"));
    cr_assert(is_error(viewer_outcome(f, function->module, function->function, term_integer(1)),
                       "badarg"));
    cr_assert(is_error(viewer_outcome(f, function->module, function->function, map()), "badarg"));
}

Test(hostile, arguments_that_are_no_proper_list_are_badarg)
{
    each_function(call_with_no_list);
}

static void call_with_strings(const struct kv_function *function)
{
    static const char *const strings[] = {"\1", "\1\2", "\1\2\3"};
    if (function->arity > 0) {
        struct kv_bytes outcome = viewer_outcome(f, function->module, function->function,
                                                 string(strings[function->arity - 1]));
        cr_assert(is_error(outcome, "badarg") || has_shape(outcome, "{res,return,_}"), "%s:%s",
                  function->module, function->function);
    }
}

/* 1 is a unit of time, and some functions ignore their argument. */
Test(hostile, a_list_of_bytes_is_a_list_of_numbers)
{
    each_function(call_with_strings);
}

static void call_with_long_list(const struct kv_function *function)
{
    struct kv_buffer *list = term_buffer();
    if (function->arity > 0) {
        kv_write_list(list, function->arity);
        for (uint32_t n = 1; n < function->arity; n++) {
            kv_write_term(list, term_pid(&bucket));
        }
        kv_write_term(list, long_list());
    }
    kv_write_nil(list);
    struct kv_bytes outcome =
        viewer_outcome(f, function->module, function->function, kv_buffer_bytes(list));
    cr_assert(has_shape(outcome, "{res,return,_}") || is_error(outcome, "badarg"), "%s:%s",
              function->module, function->function);
    cr_assert_lt(outcome.length, 128 << 10);
}

Test(hostile, a_long_list_for_an_argument_makes_no_long_answer)
{
    each_function(call_with_long_list);
}

Test(hostile, an_error_does_not_repeat_arguments_that_are_large)
{
    static struct kv_buffer list;
    list.length = 0;
    list.capacity = 1 << 20;
    list.data = malloc(list.capacity);
    kv_write_list(&list, 2);
    for (int i = 0; i < 2; i++) {
        kv_write_term(&list, kv_bytes(long_list().data, long_list().length));
    }
    kv_write_nil(&list);
    struct kv_bytes outcome = viewer_outcome(f, "no", "thing", kv_buffer_bytes(&list));
    assert_shape(outcome, "{res,error,undef,[{no,thing,n,[]}]}");
    free(list.data);
}

Test(hostile, an_item_list_is_bounded_and_proper_and_of_known_items)
{
    struct kv_buffer *many = term_buffer();
    kv_write_list(many, 1000);
    for (int i = 0; i < 1000; i++) {
        kv_write_atom_text(many, "dictionary");
    }
    kv_write_nil(many);
    struct kv_bytes wrong_items[] = {kv_buffer_bytes(many), improper_list(), string("memory"),
                                     term_list(term_atom("nothing"), NONE, NONE),
                                     term_list(term_integer(1), NONE, NONE)};
    for (size_t i = 0; i < sizeof wrong_items / sizeof wrong_items[0]; i++) {
        cr_assert(is_error(viewer_outcome(f, "erlang", "process_info",
                                          term_list(term_pid(&bucket), wrong_items[i], NONE)),
                           "badarg"),
                  "%zu", i);
    }
}

Test(hostile, a_collector_for_nobody_is_not_begun)
{
    size_t before = kv_runtime_process_count(f->runtime);
    for (size_t kind = 0; kind < KINDS; kind++) {
        viewer_spawn(f, "observer_backend", "procs_info", 1, term_list(wrong(kind), NONE, NONE),
                     "link");
        run_turns(f);
        cr_assert_eq(kv_runtime_process_count(f->runtime), before, "%zu", kind);
        viewer_spawn(f, "kv_node", "processes", 1, term_list(wrong(kind), NONE, NONE), "link");
        run_turns(f);
        cr_assert_eq(kv_runtime_process_count(f->runtime), before, "%zu", kind);
        viewer_spawn(f, "observer_backend", "fetch_stats", 2,
                     term_list(wrong(kind), term_atom("soon"), NONE), "link");
        cr_assert_eq(kv_runtime_process_count(f->runtime), before, "%zu", kind);
    }
}

Test(hostile, charts_asked_for_with_any_period_are_drawn_in_bounded_time)
{
    struct kv_pid viewer = pid_a(1);
    int64_t periods[] = {0, 1, INT64_MAX};
    for (size_t i = 0; i < 3; i++) {
        viewer_spawn(f, "observer_backend", "fetch_stats", 2,
                     term_list(term_pid(&viewer), term_integer(periods[i]), NONE), "link");
        uint64_t next = kv_runtime_run_timers(f->runtime);
        cr_assert_geq(next, 100);
        cr_assert_leq(next, 24 * 3600 * 1000);
    }
}
