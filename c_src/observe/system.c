/* The node as a whole, for Observer's tabs System and Memory Allocators.
 *
 * OTP: lib/runtime_tools/src/observer_backend.erl, sys_info/0; lib/observer/src/
 * observer_alloc_wx.erl, sum_alloc_one_instance/5. */
#include "observe/figures.h"

#include "process/runtime.h"

enum { WORD = 8, PROCESS_LIMIT = 1 << 28, ATOM_LIMIT = 1, TABLE_LIMIT = 1 << 28 };

/* ---- allocators ------------------------------------------------------------------------------ */

/* {Key, Current, Maximum, Maximum} */
static void write_size(struct kv_buffer *to, const char *key, uint64_t size)
{
    kv_write_tuple(to, 4);
    kv_write_atom_text(to, key);
    for (int i = 0; i < 3; i++) {
        kv_write_u64(to, size);
    }
}

/* {Type, [{instance, 0, [{mbcs, [{blocks, [{Type, [{size, ...}]}]}, {carriers_size, ...}]}]}]} */
static void add_allocator(struct kv_term_list *list, const char *type, uint64_t used,
                          uint64_t reserved)
{
    struct kv_buffer *to = kv_term_list_item(list, type);
    kv_write_list(to, 1);
    kv_write_tuple(to, 3);
    kv_write_atom_text(to, "instance");
    kv_write_u64(to, 0);
    kv_write_list(to, 1);
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "mbcs");
    kv_write_list(to, 2);
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "blocks");
    kv_write_list(to, 1);
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, type);
    kv_write_list(to, 1);
    write_size(to, "size", used);
    for (int i = 0; i < 2; i++) {
        kv_write_nil(to);
    }
    write_size(to, "carriers_size", reserved);
    for (int i = 0; i < 3; i++) {
        kv_write_nil(to);
    }
}

/* One line for each kind of memory. The program (node/report.c) adds those of the stores. Observer
 * divides by the sum of the reserved bytes, so the sum must not be 0. Kinds without slack of their
 * own are part of the heap. */
static void write_allocators(struct kv_buffer *to, const struct kv_figures *figures)
{
    struct kv_term_list list = {0};
    const struct kv_stats *stats = &figures->stats;
    const struct kv_totals *totals = &figures->totals;
    uint64_t reserved = stats->heap_reserved > 0 ? stats->heap_reserved : 1;
    add_allocator(&list, "heap", stats->heap_used, reserved);
    for (size_t i = 0; i < KV_MEMORY_KINDS && stats->kinds[i].name != NULL; i++) {
        const struct kv_memory_kind *kind = &stats->kinds[i];
        add_allocator(&list, kind->name, kind->used, kind->reserved);
    }
    add_allocator(&list, "buckets", totals->table_bytes, totals->table_bytes);
    add_allocator(&list, "process_table", totals->process_records, totals->process_records);
    add_allocator(&list, "processes", totals->process_bytes, totals->process_bytes);
    add_allocator(&list, "network", stats->buffers, stats->buffers);
    kv_term_list_close(&list, to);
}

/* ---- sys_info -------------------------------------------------------------------------------- */

static void add_processors(struct kv_term_list *list, uint32_t processors)
{
    kv_term_list_number(list, "logical_processors", processors);
    kv_term_list_number(list, "logical_processors_online", processors);
    kv_term_list_number(list, "logical_processors_available", processors);
    kv_term_list_number(list, "schedulers", 1);
    kv_term_list_number(list, "schedulers_online", 1);
    kv_term_list_number(list, "schedulers_available", 1);
}

static void add_versions(struct kv_term_list *list, const struct kv_stats *stats)
{
    kv_term_list_string(list, "otp_release", "none: a native node");
    kv_term_list_string(list, "version", stats->versions);
    kv_term_list_string(list, "system_architecture", stats->machine);
    kv_term_list_atom(list, "kernel_poll", "true");
    kv_term_list_atom(list, "smp_support", "false");
    kv_term_list_atom(list, "threads", "false");
    kv_term_list_number(list, "thread_pool_size", 0);
    kv_term_list_number(list, "wordsize_internal", WORD);
    kv_term_list_number(list, "wordsize_external", WORD);
}

static void add_counts(struct kv_term_list *list, const struct kv_figures *figures)
{
    const struct kv_totals *totals = &figures->totals;
    kv_term_list_number(list, "process_count", totals->processes + totals->tables);
    kv_term_list_number(list, "process_limit", PROCESS_LIMIT);
    kv_term_list_number(list, "atom_count", 0);
    kv_term_list_number(list, "atom_limit", ATOM_LIMIT);
    kv_term_list_number(list, "port_count", figures->stats.connections);
    kv_term_list_number(list, "port_limit", figures->stats.connection_limit);
    kv_term_list_number(list, "ets_count", totals->tables);
    kv_term_list_number(list, "ets_limit", TABLE_LIMIT);
    kv_term_list_number(list, "dist_buf_busy_limit", figures->stats.output_limit);
}

static void finish_sys_info(struct kv_process *self, struct kv_findings *findings,
                            struct kv_buffer *value)
{
    struct kv_figures figures;
    struct kv_term_list *list = &findings->list;
    kv_figures_take(self, &findings->totals, &figures);
    kv_term_list_number(list, "uptime", figures.stats.uptime_ms);
    kv_term_list_number(list, "run_queue", 0);
    kv_term_list_number(list, "io_input", figures.stats.bytes_in);
    kv_term_list_number(list, "io_output", figures.stats.bytes_out);
    add_processors(list, figures.stats.processors);
    add_versions(list, &figures.stats);
    write_allocators(kv_term_list_item(list, "alloc_info"), &figures);
    add_counts(list, &figures);
    kv_figures_write_memory(&figures, list);
    kv_term_list_close(list, value);
}

static void finish_memory(struct kv_process *self, struct kv_findings *findings,
                          struct kv_buffer *value)
{
    struct kv_figures figures;
    kv_figures_take(self, &findings->totals, &figures);
    kv_figures_write_memory(&figures, &findings->list);
    kv_term_list_close(&findings->list, value);
}

static const struct kv_survey sys_info = {.visit = kv_findings_count, .finish = finish_sys_info};
static const struct kv_survey memory = {.visit = kv_findings_count, .finish = finish_memory};

/* ---- small questions ------------------------------------------------------------------------- */

static int run_system_info(struct kv_process *self, struct kv_reader arguments,
                           struct kv_buffer *value)
{
    (void)self;
    if (kv_read_this_atom(&arguments, "wordsize") == KV_OK) {
        kv_write_u64(value, WORD);
    } else if (kv_read_this_atom(&arguments, "dirty_cpu_schedulers") == KV_OK) {
        kv_write_u64(value, 0);
    } else if (kv_read_this_atom(&arguments, "process_count") == KV_OK) {
        kv_write_u64(value, kv_runtime_process_count(kv_process_runtime(self)));
    } else {
        return KV_ETYPE;
    }
    return KV_OK;
}

/* A native node loads no code. The modules that Observer asks for are always there. */
static int run_ensure_loaded(struct kv_process *self, struct kv_reader arguments,
                             struct kv_buffer *value)
{
    struct kv_bytes module;
    (void)self;
    int error = kv_read_atom(&arguments, &module);
    if (error == KV_OK) {
        bool known = kv_bytes_is(module, "observer_backend") || kv_bytes_is(module, "appmon_info");
        kv_write_tuple(value, 2);
        kv_write_atom_text(value, known ? "module" : "error");
        kv_write_atom(value, known ? module : kv_bytes_text("nofile"));
    }
    return error;
}

static int run_function_exported(struct kv_process *self, struct kv_reader arguments,
                                 struct kv_buffer *value)
{
    struct kv_bytes module;
    struct kv_bytes function;
    uint32_t arity = 0;
    const struct kv_world *world = kv_process_context(self);
    if (kv_read_atom(&arguments, &module) != KV_OK ||
        kv_read_atom(&arguments, &function) != KV_OK || kv_read_u32(&arguments, &arity) != KV_OK) {
        return KV_ETYPE;
    }
    kv_write_bool(value, world->has_function(module, function, arity));
    return KV_OK;
}

/* sasl is not in the list: Observer then says that there is no log to show. */
static int run_which_applications(struct kv_process *self, struct kv_reader arguments,
                                  struct kv_buffer *value)
{
    (void)self;
    (void)arguments;
    kv_write_list(value, 1);
    kv_write_tuple(value, 3);
    kv_write_atom_text(value, "kv");
    kv_write_string(value, "native buckets and registries");
    kv_write_string(value, KV_VERSION);
    kv_write_nil(value);
    return KV_OK;
}

const struct kv_function kv_system_functions[] = {
    {"application", "which_applications", run_which_applications, 0, NULL},
    {"code", "ensure_loaded", run_ensure_loaded, 1, NULL},
    {"erlang", "function_exported", run_function_exported, 3, NULL},
    {"erlang", "memory", NULL, 0, &memory},
    {"erlang", "system_info", run_system_info, 1, NULL},
    {"observer_backend", "sys_info", NULL, 0, &sys_info},
    {NULL, NULL, NULL, 0, NULL},
};
