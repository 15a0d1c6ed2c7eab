/* The answer of each function that Observer calls. Observer crashes if a key is missing or a value
 * is of another kind, so the tests check every key and shape that it reads. The places are in
 * lib/observer/src of OTP. */
#include "support/viewer.h"

#include "observe/characters.h"

#include <criterion/criterion.h>
#include <stdio.h>

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

TestSuite(shapes, .init = set_up, .fini = tear_down, .timeout = 60);

static struct kv_bytes nil(void)
{
    return term_list(NONE, NONE, NONE);
}

static struct kv_bytes one(struct kv_bytes argument)
{
    return term_list(argument, NONE, NONE);
}

static struct kv_bytes backend(const char *function)
{
    return viewer_call(f, "observer_backend", function, nil());
}

struct key {
    const char *name;
    const char *shape;
};

static void assert_keys(struct kv_bytes list, const struct key *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct kv_bytes value = value_at(list, keys[i].name);
        cr_assert_gt(value.length, 0, "no %s", keys[i].name);
        cr_assert(has_shape(value, keys[i].shape), "%s is not %s", keys[i].name, keys[i].shape);
    }
}

#define ASSERT_KEYS(list, keys) assert_keys((list), (keys), sizeof(keys) / sizeof((keys)[0]))

/* ---- System, Memory Allocators --------------------------------------------------------------- */

Test(shapes, sys_info_has_every_key_that_is_read_and_no_limit_of_0)
{
    static const struct key keys[] = {
        {"otp_release", "s"},
        {"version", "s"},
        {"system_architecture", "s"},
        {"kernel_poll", "o"},
        {"smp_support", "o"},
        {"threads", "o"},
        {"thread_pool_size", "i"},
        {"wordsize_internal", "n"},
        {"wordsize_external", "n"},
        {"logical_processors", "n"},
        {"logical_processors_online", "n"},
        {"logical_processors_available", "n"},
        {"schedulers", "n"},
        {"schedulers_online", "n"},
        {"schedulers_available", "n"},
        {"uptime", "i"},
        {"run_queue", "i"},
        {"io_input", "i"},
        {"io_output", "i"},
        {"total", "i"},
        {"processes", "i"},
        {"atom", "i"},
        {"binary", "i"},
        {"code", "i"},
        {"ets", "i"},
        {"atom_count", "i"},
        {"process_count", "n"},
        {"port_count", "i"},
        {"ets_count", "n"},
        {"atom_limit", "n"},
        {"process_limit", "n"},
        {"port_limit", "n"},
        {"ets_limit", "n"},
        {"dist_buf_busy_limit", "i"},
    };
    ASSERT_KEYS(backend("sys_info"), keys);
}

/* observer_alloc_wx.erl, sum_alloc_one_instance/5, takes exactly these two elements. */
static const char allocators_shape[] =
    "[{a,[{instance,i,[{mbcs,[{blocks,[{a,[{size,i,i,i}+]}+]},{carriers_size,i,i,i}]}+]}+]}+]";

static uint64_t sum_of_carriers(struct kv_bytes allocators)
{
    uint64_t sum = 0;
    uint32_t count = 0;
    struct kv_reader reader = kv_reader(allocators);
    cr_assert_eq(kv_read_list(&reader, &count), KV_OK);
    for (uint32_t i = 0; i < count; i++) {
        struct kv_bytes allocator = NONE;
        (void)kv_read_any(&reader, &allocator);
        /* the third number from the end, before the nils that close the lists around it */
        static const char carriers[] = "carriers_size";
        for (size_t at = 0; at + sizeof carriers < allocator.length; at++) {
            uint64_t size = 0;
            if (memcmp(allocator.data + at, carriers, sizeof carriers - 1) == 0) {
                size_t from = at + sizeof carriers - 1;
                struct kv_reader number =
                    kv_reader(kv_bytes(allocator.data + from, allocator.length - from));
                cr_assert_eq(kv_read_u64(&number, &size), KV_OK);
                sum += size;
            }
        }
    }
    return sum;
}

Test(shapes, alloc_info_is_never_empty_and_something_is_always_reserved)
{
    struct kv_bytes allocators = value_at(backend("sys_info"), "alloc_info");
    assert_shape(allocators, allocators_shape);
    cr_assert_gt(sum_of_carriers(allocators), 0);
    static const char *const kinds[] = {"heap", "entries", "processes", "network"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        cr_assert_gt(value_at(allocators, kinds[i]).length, 0, "%s", kinds[i]);
    }
}

Test(shapes, memory_has_the_parts_that_a_beam_has)
{
    assert_shape(viewer_call(f, "erlang", "memory", nil()), "[{a,i}+]");
    static const char *const order[] = {"total",  "processes", "processes_used",
                                        "system", "atom",      "atom_used",
                                        "binary", "code",      "ets"};
    uint32_t count = 0;
    struct kv_reader reader = kv_reader(viewer_call(f, "erlang", "memory", nil()));
    cr_assert_eq(kv_read_list(&reader, &count), KV_OK);
    cr_assert_eq(count, 9);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
        cr_assert_eq(kv_read_this_atom(&reader, order[i]), KV_OK, "%s", order[i]);
        (void)kv_read_any(&reader, NULL);
    }
}

Test(shapes, small_questions_have_small_answers)
{
    assert_shape(viewer_call(f, "erlang", "system_info", one(term_atom("wordsize"))), "n");
    assert_shape(viewer_call(f, "erlang", "system_info", one(term_atom("dirty_cpu_schedulers"))),
                 "i");
    assert_shape(viewer_call(f, "code", "ensure_loaded", one(term_atom("observer_backend"))),
                 "{module,observer_backend}");
    assert_shape(viewer_call(f, "code", "ensure_loaded", one(term_atom("lists"))),
                 "{error,nofile}");
    assert_shape(viewer_call(f, "application", "which_applications", nil()), "[{kv,s,s}+]");
}

Test(shapes, the_functions_that_the_tabs_look_for_are_exported)
{
    static const struct {
        const char *function;
        int64_t arity;
    } wanted[] = {{"procs_info", 1}, {"get_port_list", 0}, {"get_socket_list", 0}};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        assert_shape(
            viewer_call(f, "erlang", "function_exported",
                        term_list(term_atom("observer_backend"), term_atom(wanted[i].function),
                                  term_integer(wanted[i].arity))),
            "true");
    }
    assert_shape(viewer_call(f, "erlang", "function_exported",
                             term_list(term_atom("observer_backend"), term_atom("ttb_init_node"),
                                       term_integer(3))),
                 "false");
    assert_shape(
        viewer_call(f, "erlang", "function_exported",
                    term_list(term_atom("kv_node"), term_atom("processes"), term_integer(1))),
        "true");
}

/* ttb takes {ok, _} for a node that it can trace, and etop for one that it can measure. */
Test(shapes, the_version_of_the_backend_is_not_told)
{
    cr_assert(is_error(viewer_outcome(f, "observer_backend", "vsn", nil()), "undef"));
}

/* ---- Load Charts ----------------------------------------------------------------------------- */

Test(shapes, the_totals_of_the_charts_grow_though_no_time_seems_to_pass)
{
    struct kv_pid viewer = pid_a(1);
    uint64_t last = 0;
    viewer_spawn(f, "observer_backend", "fetch_stats", 2,
                 term_list(term_pid(&viewer), term_integer(500), NONE), "link");
    for (size_t i = 0; i < 3; i++) {
        uint64_t total = 0;
        f->clock += 500;
        run_turns(f);
        struct kv_bytes stats = payload_of(sent_of(f, KV_SIGNAL_MESSAGE, i));
        assert_shape(stats, "{stats,n,[{n,i,n}+],{{input,i},{output,i}},[{a,i}+]}");
        struct kv_reader reader = kv_reader(stats);
        uint32_t count = 0;
        (void)kv_read_tuple_of(&reader, 5);
        (void)kv_read_any(&reader, NULL);
        (void)kv_read_any(&reader, NULL);
        (void)kv_read_list(&reader, &count);
        cr_assert_eq(count, 1);
        (void)kv_read_tuple_of(&reader, 3);
        (void)kv_read_any(&reader, NULL);
        (void)kv_read_any(&reader, NULL);
        cr_assert_eq(kv_read_u64(&reader, &total), KV_OK);
        cr_assert_gt(total, last);
        last = total;
    }
}

/* ---- Processes ------------------------------------------------------------------------------- */

Test(shapes, a_row_of_a_process_is_an_etop_proc_info)
{
    struct kv_pid viewer = pid_a(1);
    viewer_spawn(f, "observer_backend", "procs_info", 1, one(term_pid(&viewer)), "link");
    run_turns(f);
    struct kv_bytes rows = payload_of(sent_of(f, KV_SIGNAL_MESSAGE, 0));
    assert_shape(rows, "{procs_info,p,[{etop_proc_info,p,i,i,_,i,_,i}+]}");
    assert_term(payload_of(sent_of(f, KV_SIGNAL_EXIT_LINK, 0)), term_atom("normal"));
}

/* The elements of a row: {etop_proc_info, ...}. */
enum { ROW_NAME = 4, ROW_FUNCTION = 6, ROW_SIZE = 8 };

static uint32_t process_rows(struct kv_bytes rows[][ROW_SIZE], uint32_t most)
{
    struct kv_pid viewer = pid_a(1);
    uint32_t count = 0;
    viewer_spawn(f, "observer_backend", "procs_info", 1, one(term_pid(&viewer)), "link");
    run_turns(f);
    struct kv_reader reader = kv_reader(payload_of(sent_of(f, KV_SIGNAL_MESSAGE, 0)));
    (void)kv_read_tuple_of(&reader, 3);
    (void)kv_read_any(&reader, NULL);
    (void)kv_read_any(&reader, NULL);
    cr_assert_eq(kv_read_list(&reader, &count), KV_OK);
    cr_assert_leq(count, most);
    for (uint32_t i = 0; i < count; i++) {
        (void)kv_read_tuple_of(&reader, ROW_SIZE);
        for (int element = 0; element < ROW_SIZE; element++) {
            cr_assert_eq(kv_read_any(&reader, &rows[i][element]), KV_OK);
        }
    }
    return count;
}

/* Older Observers sort names that are atoms or {M, F, A}, and end on others. */
Test(shapes, the_name_of_a_row_is_an_atom_or_the_initial_call)
{
    struct kv_bytes rows[16][ROW_SIZE];
    for (uint32_t i = process_rows(rows, 16); i > 0; i--) {
        struct kv_bytes name = rows[i - 1][ROW_NAME];
        cr_assert(has_shape(name, "a") || has_shape(name, "{a,a,i}"));
    }
}

Test(shapes, the_function_of_a_row_is_text_that_begins_with_the_label_or_the_function)
{
    struct kv_bytes rows[16][ROW_SIZE];
    struct kv_buffer text = KV_BUFFER_INIT;
    uint32_t labelled = 0;
    kv_write_characters(&text, kv_bytes_text("shop: kv_bucket:waiting/0"));
    for (uint32_t i = process_rows(rows, 16); i > 0; i--) {
        struct kv_bytes function = rows[i - 1][ROW_FUNCTION];
        bool is_label = kv_bytes_equal(function, kv_buffer_bytes(&text));
        cr_assert(is_label || has_shape(function, "{a,a,i}"));
        labelled += is_label;
    }
    cr_assert_eq(labelled, 1);
    kv_buffer_free(&text);
}

/* ---- the window of a process ----------------------------------------------------------------- */

static const struct key items[] = {
    {"binary", "[_]"},
    {"catchlevel", "i"},
    {"current_function", "{a,a,i}"},
    {"error_handler", "a"},
    {"group_leader", "p"},
    {"heap_size", "i"},
    {"initial_call", "{a,a,i}"},
    {"last_calls", "false"},
    {"links", "[p]"},
    {"memory", "n"},
    {"message_queue_len", "i"},
    {"monitored_by", "[p]"},
    {"monitors", "[{process,p}]"},
    {"priority", "a"},
    {"reductions", "i"},
    {"sequential_trace_token", "[]"},
    {"stack_size", "i"},
    {"status", "a"},
    {"suspending", "[_]"},
    {"total_heap_size", "i"},
    {"trace", "i"},
    {"trap_exit", "o"},
    {"messages", "[_]"},
    {"dictionary", "[{_,_}+]"},
    {"current_stacktrace", "[{a,a,_,[_]}+]"},
};

static struct kv_bytes info(struct kv_bytes what)
{
    return viewer_call(f, "erlang", "process_info", term_list(term_pid(&bucket), what, NONE));
}

Test(shapes, every_item_of_a_process_is_answered_alone_and_in_a_list)
{
    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
        char shape[64];
        (void)snprintf(shape, sizeof shape, "{%s,%s}", items[i].name, items[i].shape);
        cr_assert(has_shape(info(term_atom(items[i].name)), shape), "%s", shape);
        (void)snprintf(shape, sizeof shape, "[{%s,%s}+]", items[i].name, items[i].shape);
        cr_assert(has_shape(info(one(term_atom(items[i].name))), shape), "%s", shape);
    }
}

Test(shapes, garbage_collection_has_the_keys_that_the_window_reads)
{
    static const struct key keys[] = {{"min_heap_size", "i"}, {"fullsweep_after", "i"}};
    struct kv_bytes whole = info(one(term_atom("garbage_collection")));
    ASSERT_KEYS(value_at(whole, "garbage_collection"), keys);
}

Test(shapes, the_registered_name_of_a_process_without_one_is_nil_when_asked_for_alone)
{
    assert_shape(info(term_atom("registered_name")), "[]");
    struct kv_pid rex;
    cr_assert(kv_whereis(f->runtime, kv_bytes_text("rex"), &rex));
    assert_shape(viewer_call(f, "erlang", "process_info",
                             term_list(term_pid(&rex), term_atom("registered_name"), NONE)),
                 "{registered_name,rex}");
}

Test(shapes, a_process_that_is_dead_has_undefined_information_and_a_status_all_the_same)
{
    struct kv_pid dead = bucket;
    dead.id = 0xffffff;
    assert_shape(viewer_call(f, "erlang", "process_info", one(term_pid(&dead))), "undefined");
    assert_shape(
        viewer_call(f, "sys", "get_status", term_list(term_pid(&dead), term_integer(200), NONE)),
        "{status,_,{module,gen_server},_}");
    assert_shape(viewer_call(f, "proc_lib", "translate_initial_call", one(term_pid(&dead))),
                 "{proc_lib,init_p,5}");
    assert_shape(viewer_call(f, "proc_lib", "get_label", one(term_pid(&dead))), "undefined");
    assert_shape(viewer_call(f, "erlang", "garbage_collect", one(term_pid(&dead))), "false");
}

/* Any other shape is a case_clause in observer_procinfo.erl, fetch_state_info2/2. */
static const char status_shape[] = "{status,p,{module,gen_server},[_]}";

Test(shapes, the_status_of_a_process_has_five_parts_the_last_with_a_header_and_data)
{
    struct kv_bytes status =
        viewer_call(f, "sys", "get_status", term_list(term_pid(&bucket), term_integer(200), NONE));
    uint32_t parts = 0;
    struct kv_bytes misc = NONE;
    assert_shape(status, status_shape);
    struct kv_reader reader = kv_reader(status);
    (void)kv_read_tuple_of(&reader, 4);
    for (int i = 0; i < 3; i++) {
        (void)kv_read_any(&reader, NULL);
    }
    cr_assert_eq(kv_read_list(&reader, &parts), KV_OK);
    cr_assert_eq(parts, 5);
    for (int i = 0; i < 4; i++) {
        (void)kv_read_any(&reader, NULL);
    }
    cr_assert_eq(kv_read_any(&reader, &misc), KV_OK);
    assert_shape(misc, "[{a,_}+]");
    assert_shape(value_at(misc, "header"), "s");
    assert_shape(value_at(misc, "data"), "[{s,_}+]");
}

Test(shapes, every_process_with_an_initial_call_has_attributes)
{
    static const char *const modules[] = {"kv_bucket",        "kv_registry", "rex",
                                          "observer_backend", "appmon_info", "net_kernel"};
    for (size_t i = 0; i < sizeof modules / sizeof modules[0]; i++) {
        assert_shape(viewer_call(f, modules[i], "module_info", one(term_atom("attributes"))),
                     "[{behaviour,[gen_server+]}+]");
    }
    assert_shape(viewer_call(f, "proc_lib", "translate_initial_call", one(term_pid(&bucket))),
                 "{kv_bucket,init,1}");
}

Test(shapes, the_label_of_a_bucket_is_told_but_not_a_long_one)
{
    static char text[4096];
    memset(text, 'x', sizeof text - 1);
    assert_term(viewer_call(f, "proc_lib", "get_label", one(term_pid(&bucket))),
                term_binary("shop"));
    bucket = viewer_bucket(f, one(term_tuple(term_atom("label"), term_binary(text), NONE, NONE)));
    text[512] = 0;
    assert_term(viewer_call(f, "proc_lib", "get_label", one(term_pid(&bucket))), term_binary(text));
}

/* ---- Ports, Sockets, Table Viewer ------------------------------------------------------------ */

static struct kv_bytes map_at(struct kv_bytes map, const char *key)
{
    uint32_t pairs = 0;
    struct kv_reader reader = kv_reader(map);
    cr_assert_eq(kv_read_map(&reader, &pairs), KV_OK);
    for (uint32_t i = 0; i < pairs; i++) {
        struct kv_bytes value = NONE;
        bool found = kv_read_this_atom(&reader, key) == KV_OK;
        if (!found) {
            (void)kv_read_any(&reader, NULL);
        }
        (void)kv_read_any(&reader, &value);
        if (found) {
            return value;
        }
    }
    return NONE;
}

Test(shapes, a_socket_has_every_key_that_is_read)
{
    static const struct key keys[] = {
        {"id", "_"},
        {"id_str", "s"},
        {"kind", "a"},
        {"fd", "i"},
        {"owner", "_"},
        {"domain", "a"},
        {"type", "a"},
        {"protocol", "a"},
        {"rstates", "[a]"},
        {"wstates", "[a]"},
        {"monitored_by", "[p]"},
        {"statistics", "[{a,i}]"},
        {"options", "[{_,_}]"},
        {"laddress", "s"},
        {"raddress", "s"},
    };
    uint32_t count = 0;
    struct kv_bytes map = NONE;
    struct kv_reader reader = kv_reader(backend("get_socket_list"));
    cr_assert_eq(kv_read_list(&reader, &count), KV_OK);
    cr_assert_eq(count, 1);
    (void)kv_read_any(&reader, &map);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        cr_assert(has_shape(map_at(map, keys[i].name), keys[i].shape), "%s", keys[i].name);
    }
    assert_shape(backend("socket_info"), "[{a,i}+]");
    assert_shape(backend("get_port_list"), "[]");
}

static struct kv_bytes tables_of(const char *kind)
{
    return viewer_call(f, "observer_backend", "get_table_list",
                       term_list(term_atom(kind), nil(), NONE));
}

static const struct key table_keys[] = {
    {"name", "a"},    {"id", "[p,s]"},   {"protection", "public"}, {"owner", "p"},
    {"size", "i"},    {"reg_name", "a"}, {"type", "set"},          {"keypos", "n"},
    {"heir", "none"}, {"memory", "n"},   {"compressed", "false"},  {"fixed", "false"},
};

Test(shapes, a_table_has_every_key_that_is_read)
{
    uint32_t count = 0;
    struct kv_bytes table = NONE;
    struct kv_reader reader = kv_reader(tables_of("ets"));
    cr_assert_eq(kv_read_list(&reader, &count), KV_OK);
    cr_assert_eq(count, 1);
    (void)kv_read_any(&reader, &table);
    ASSERT_KEYS(table, table_keys);
    assert_shape(tables_of("mnesia"), "{error,s}");
}
