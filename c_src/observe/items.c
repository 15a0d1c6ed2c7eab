/* erlang:system_info/1 and erlang:statistics/1.
 *
 * The items that tools and health checks ask for, each with a value of the type that a BEAM gives.
 * Any other item is badarg, as on a BEAM that does not know it. OTP: erts/emulator/beam/
 * erl_bif_info.c. */
#include "observe/items.h"

#include "observe/figures.h"
#include "process/runtime.h"

enum { WORD = 8, US_PER_MS = 1000, LIMIT = 1 << 28, ATOM_LIMIT = 1 };

/* The things that values are made of. */
struct asked {
    const struct kv_process *self;
    struct kv_since *since;
    const struct kv_stats *stats;
};

struct item {
    const char *name;
    void (*write)(struct kv_buffer *to, const struct asked *asked); /* or NULL, and */
    const char *atom;                                               /* this, or if NULL, too, */
    uint64_t number;                                                /* this */
};

static void add_names(struct kv_term_list *list, const struct item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        list->count++;
        kv_write_atom_text(&list->elements, items[i].name);
    }
}

/* Appends the value of the item whose name comes next. KV_ETYPE: there is no such item. */
static int write_item(struct kv_process *self, struct kv_reader *reader, const struct item *items,
                      size_t count, struct kv_buffer *value)
{
    static const struct kv_totals none = {0};
    struct kv_figures figures;
    struct kv_world *world = kv_process_context(self);
    for (size_t i = 0; i < count; i++) {
        if (kv_read_this_atom(reader, items[i].name) != KV_OK) {
            continue;
        }
        if (items[i].write != NULL) {
            kv_figures_take(self, &none, &figures);
            struct asked asked = {self, &world->since, &figures.stats};
            items[i].write(value, &asked);
        } else if (items[i].atom != NULL) {
            kv_write_atom_text(value, items[i].atom);
        } else {
            kv_write_u64(value, items[i].number);
        }
        return KV_OK;
    }
    return KV_ETYPE;
}

/* ---- system_info ----------------------------------------------------------------------------- */

static void process_count(struct kv_buffer *to, const struct asked *asked)
{
    kv_write_u64(to, kv_runtime_process_count(kv_process_runtime(asked->self)));
}

static void creation(struct kv_buffer *to, const struct asked *asked)
{
    kv_write_u64(to, kv_process_pid(asked->self).creation);
}

static void connections(struct kv_buffer *to, const struct asked *asked)
{
    kv_write_u64(to, asked->stats->connections);
}

static void connection_limit(struct kv_buffer *to, const struct asked *asked)
{
    kv_write_u64(to, asked->stats->connection_limit);
}

static void tables(struct kv_buffer *to, const struct asked *asked)
{
    kv_write_u64(to, asked->stats->tables);
}

static void processors(struct kv_buffer *to, const struct asked *asked)
{
    kv_write_u64(to, asked->stats->processors);
}

static void output_limit(struct kv_buffer *to, const struct asked *asked)
{
    kv_write_u64(to, asked->stats->output_limit);
}

static void versions(struct kv_buffer *to, const struct asked *asked)
{
    kv_write_string(to, asked->stats->versions);
}

static void machine(struct kv_buffer *to, const struct asked *asked)
{
    kv_write_string(to, asked->stats->machine);
}

static void release(struct kv_buffer *to, const struct asked *asked)
{
    (void)asked;
    kv_write_string(to, KV_OTP_RELEASE);
}

static void emulator(struct kv_buffer *to, const struct asked *asked)
{
    (void)asked;
    kv_write_string(to, "kv");
}

static void protocol_version(struct kv_buffer *to, const struct asked *asked)
{
    (void)asked;
    kv_write_string(to, "none");
}

static void nothing(struct kv_buffer *to, const struct asked *asked)
{
    (void)asked;
    kv_write_nil(to);
}

/* The monotonic time at which the program started. */
static void start_time(struct kv_buffer *to, const struct asked *asked)
{
    const uint64_t ns_per_ms = 1000000;
    kv_write_u64(to, asked->stats->monotonic_ns - asked->stats->uptime_ms * ns_per_ms);
}

static void end_time(struct kv_buffer *to, const struct asked *asked)
{
    (void)asked;
    kv_write_u64(to, INT64_MAX);
}

static void unbound(struct kv_buffer *to, const struct asked *asked)
{
    (void)asked;
    kv_write_tuple(to, 1);
    kv_write_atom_text(to, "unbound");
}

static void write_none(struct kv_buffer *to, const char *name)
{
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, name);
    kv_write_u64(to, 0);
}

static void fullsweep_after(struct kv_buffer *to, const struct asked *asked)
{
    (void)asked;
    write_none(to, "fullsweep_after");
}

static void min_heap_size(struct kv_buffer *to, const struct asked *asked)
{
    (void)asked;
    write_none(to, "min_heap_size");
}

static void garbage_collection(struct kv_buffer *to, const struct asked *asked)
{
    (void)asked;
    kv_write_list(to, 2);
    write_none(to, "fullsweep_after");
    write_none(to, "min_heap_size");
    kv_write_nil(to);
}

/* {Allocator, Version, Features, Settings} */
static void allocator(struct kv_buffer *to, const struct asked *asked)
{
    (void)asked;
    kv_write_tuple(to, 4);
    kv_write_atom_text(to, "undefined");
    kv_write_nil(to);
    kv_write_nil(to);
    kv_write_nil(to);
}

static void os_type(struct kv_buffer *to, const struct asked *asked)
{
    (void)asked;
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "unix");
    kv_write_atom_text(to, KV_OS_NAME);
}

static const struct item system_items[] = {
    {"alloc_util_allocators", .write = nothing},
    {"allocator", .write = allocator},
    {"async_dist", .atom = "false"},
    {"atom_count", .number = 0},
    {"atom_limit", .number = ATOM_LIMIT},
    {"build_type", .atom = "opt"},
    {"cpu_topology", .atom = "undefined"},
    {"creation", .write = creation},
    {"debug_compiled", .atom = "false"},
    {"dirty_cpu_schedulers", .number = 0},
    {"dirty_cpu_schedulers_online", .number = 0},
    {"dirty_io_schedulers", .number = 0},
    {"dist_buf_busy_limit", .write = output_limit},
    {"driver_version", .write = protocol_version},
    {"dynamic_trace", .atom = "none"},
    {"dynamic_trace_probes", .atom = "false"},
    {"emu_flavor", .atom = "emu"},
    {"emu_type", .atom = "opt"},
    {"end_time", .write = end_time},
    {"ets_count", .write = tables},
    {"ets_limit", .number = LIMIT},
    {"fullsweep_after", .write = fullsweep_after},
    {"garbage_collection", .write = garbage_collection},
    {"heap_type", .atom = "private"},
    {"kernel_poll", .atom = "true"},
    {"logical_processors", .write = processors},
    {"logical_processors_available", .write = processors},
    {"logical_processors_online", .write = processors},
    {"machine", .write = emulator},
    {"message_queue_data", .atom = "off_heap"},
    {"min_heap_size", .write = min_heap_size},
    {"modified_timing_level", .atom = "undefined"},
    {"multi_scheduling", .atom = "disabled"},
    {"multi_scheduling_blockers", .write = nothing},
    {"nif_version", .write = protocol_version},
    {"os_type", .write = os_type},
    {"otp_release", .write = release},
    {"port_count", .write = connections},
    {"port_limit", .write = connection_limit},
    {"port_parallelism", .atom = "false"},
    {"process_count", .write = process_count},
    {"process_limit", .number = LIMIT},
    {"scheduler_bind_type", .atom = "unbound"},
    {"scheduler_bindings", .write = unbound},
    {"scheduler_id", .number = 1},
    {"schedulers", .number = 1},
    {"schedulers_online", .number = 1},
    {"smp_support", .atom = "false"},
    {"start_time", .write = start_time},
    {"system_architecture", .write = machine},
    {"system_logger", .atom = "undefined"},
    {"system_version", .write = versions},
    {"thread_pool_size", .number = 0},
    {"threads", .atom = "false"},
    {"time_correction", .atom = "true"},
    {"time_offset", .atom = "volatile"},
    {"time_warp_mode", .atom = "multi_time_warp"},
    {"tolerant_timeofday", .atom = "disabled"},
    {"trace_control_word", .number = 0},
    {"version", .write = versions},
    {"wordsize", .number = WORD},
};
enum { SYSTEM_ITEMS = sizeof system_items / sizeof system_items[0] };

void kv_system_items(struct kv_term_list *list)
{
    add_names(list, system_items, SYSTEM_ITEMS);
}

/* {wordsize, internal}, {wordsize, external}, or {allocator, _} and {allocator_sizes, _}, which are
 * false where no such allocator is. */
static int write_pair(struct kv_reader *reader, struct kv_buffer *value)
{
    if (kv_read_tuple_of(reader, 2) != KV_OK) {
        return KV_ETYPE;
    }
    if (kv_read_this_atom(reader, "wordsize") == KV_OK) {
        bool known = kv_read_this_atom(reader, "internal") == KV_OK ||
                     kv_read_this_atom(reader, "external") == KV_OK;
        kv_write_u64(value, WORD);
        return known ? KV_OK : KV_ETYPE;
    }
    if (kv_read_this_atom(reader, "allocator") == KV_OK ||
        kv_read_this_atom(reader, "allocator_sizes") == KV_OK) {
        kv_write_bool(value, false);
        return KV_OK;
    }
    return KV_ETYPE;
}

static int run_system_info(struct kv_process *self, struct kv_reader arguments,
                           struct kv_buffer *value)
{
    struct kv_reader pair = arguments;
    if (write_item(self, &arguments, system_items, SYSTEM_ITEMS, value) == KV_OK) {
        return KV_OK;
    }
    return write_pair(&pair, value);
}

static int run_release(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    (void)self;
    (void)arguments;
    kv_write_binary_text(value, KV_OTP_RELEASE);
    return KV_OK;
}

static int run_one(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    (void)self;
    (void)arguments;
    kv_write_u64(value, 1);
    return KV_OK;
}

/* ---- statistics ------------------------------------------------------------------------------ */

static void write_pair_of(struct kv_buffer *to, uint64_t first, uint64_t second)
{
    kv_write_tuple(to, 2);
    kv_write_u64(to, first);
    kv_write_u64(to, second);
}

/* {Total, SinceLastAsked} */
static void write_growth(struct kv_buffer *to, uint64_t total, uint64_t *last)
{
    write_pair_of(to, total, total > *last ? total - *last : 0);
    *last = total;
}

static void reductions(struct kv_buffer *to, const struct asked *asked)
{
    write_growth(to, asked->stats->messages, &asked->since->reductions);
}

static void exact_reductions(struct kv_buffer *to, const struct asked *asked)
{
    write_growth(to, asked->stats->messages, &asked->since->exact_reductions);
}

static void runtime(struct kv_buffer *to, const struct asked *asked)
{
    write_growth(to, asked->stats->cpu_us / US_PER_MS, &asked->since->runtime);
}

static void wall_clock(struct kv_buffer *to, const struct asked *asked)
{
    write_growth(to, asked->stats->uptime_ms, &asked->since->wall_clock);
}

static void context_switches(struct kv_buffer *to, const struct asked *asked)
{
    write_pair_of(to, asked->stats->context_switches, 0);
}

static void no_collections(struct kv_buffer *to, const struct asked *asked)
{
    (void)asked;
    kv_write_tuple(to, 3);
    for (int i = 0; i < 3; i++) {
        kv_write_u64(to, 0);
    }
}

static void io(struct kv_buffer *to, const struct asked *asked)
{
    kv_write_tuple(to, 2);
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "input");
    kv_write_u64(to, asked->stats->bytes_in);
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "output");
    kv_write_u64(to, asked->stats->bytes_out);
}

/* [0]: one scheduler, and nothing that waits for it when a call runs. */
static void idle(struct kv_buffer *to, const struct asked *asked)
{
    (void)asked;
    kv_write_list(to, 1);
    kv_write_u64(to, 0);
    kv_write_nil(to);
}

static const struct item statistics_items[] = {
    {"active_tasks", .write = idle},
    {"active_tasks_all", .write = idle},
    {"context_switches", .write = context_switches},
    {"exact_reductions", .write = exact_reductions},
    {"garbage_collection", .write = no_collections},
    {"io", .write = io},
    {"microstate_accounting", .atom = "undefined"},
    {"reductions", .write = reductions},
    {"run_queue", .number = 0},
    {"run_queue_lengths", .write = idle},
    {"run_queue_lengths_all", .write = idle},
    {"runtime", .write = runtime},
    {"scheduler_wall_time", .atom = "undefined"},
    {"scheduler_wall_time_all", .atom = "undefined"},
    {"total_active_tasks", .number = 0},
    {"total_active_tasks_all", .number = 0},
    {"total_run_queue_lengths", .number = 0},
    {"total_run_queue_lengths_all", .number = 0},
    {"wall_clock", .write = wall_clock},
};
enum { STATISTICS_ITEMS = sizeof statistics_items / sizeof statistics_items[0] };

void kv_statistics_items(struct kv_term_list *list)
{
    add_names(list, statistics_items, STATISTICS_ITEMS);
}

static int run_statistics(struct kv_process *self, struct kv_reader arguments,
                          struct kv_buffer *value)
{
    return write_item(self, &arguments, statistics_items, STATISTICS_ITEMS, value);
}

const struct kv_function kv_item_functions[] = {
    {"erlang", "statistics", run_statistics, 1, NULL, "a figure of the node, see below"},
    {"erlang", "system_info", run_system_info, 1, NULL, "a fact about the node, see below"},
    {"Elixir.System", "otp_release", run_release, 0, NULL,
     "`\"" KV_OTP_RELEASE "\"`: the node answers as this release, or a later one, expects"},
    {"Elixir.System", "schedulers", run_one, 0, NULL, "`1`"},
    {"Elixir.System", "schedulers_online", run_one, 0, NULL, "`1`"},
    {.module = NULL},
};
