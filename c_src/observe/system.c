/* The node as a whole: what Observer's tabs System, Memory Allocators and Load Charts ask for.
 *
 * OTP: lib/runtime_tools/src/observer_backend.erl, sys_info/0 and fetch_stats/2; lib/observer/src/
 * observer_alloc_wx.erl, sum_alloc_one_instance/5; observer_perf_wx.erl, calc_delta/2. */
#include "observe/functions.h"
#include "observe/list.h"
#include "process/inspect.h"
#include "process/runtime.h"

enum { WORD = 8, PROCESS_LIMIT = 1 << 28, ATOM_LIMIT = 1, TABLE_LIMIT = 1 << 28 };

/* ---- memory ---------------------------------------------------------------------------------- */

struct memory {
    struct kv_stats stats;
    uint64_t processes; /* bytes of processes that are no table */
    uint64_t tables;    /* bytes of those that are */
    uint64_t table_count;
    uint64_t process_count;
};

static void add_process(void *context, const struct kv_process *process)
{
    struct memory *memory = context;
    struct kv_process_info info;
    kv_process_inspect(process, &info);
    memory->process_count++;
    if (info.view != NULL) {
        memory->table_count++;
        memory->tables += info.memory;
    } else {
        memory->processes += info.memory;
    }
}

static void measure(const struct kv_process *self, struct memory *memory)
{
    const struct kv_runtime *runtime = kv_process_runtime(self);
    const struct kv_world *world = kv_runtime_world(runtime);
    *memory = (struct memory){0};
    world->stats(world->context, &memory->stats);
    kv_runtime_each_process(runtime, add_process, memory);
}

/* The keys of erlang:memory/0 that the Load Charts read, in the order that gives them their
 * colours. */
static void add_memory(struct kv_term_list *list, const struct memory *memory)
{
    kv_term_list_number(list, "total", memory->stats.resident);
    kv_term_list_number(list, "processes", memory->processes);
    kv_term_list_number(list, "atom", 0);
    kv_term_list_number(list, "binary", memory->stats.buffers);
    kv_term_list_number(list, "code", 0);
    kv_term_list_number(list, "ets", memory->tables);
}

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

static void write_allocators(struct kv_buffer *to, const struct memory *memory)
{
    struct kv_term_list list = {0};
    const struct kv_stats *stats = &memory->stats;
    /* Observer divides by the sum of what is reserved: it must not be 0. */
    uint64_t reserved = stats->heap_reserved > 0 ? stats->heap_reserved : 1;
    add_allocator(&list, "heap", stats->heap_used, reserved);
    add_allocator(&list, "buckets", memory->tables, memory->tables);
    add_allocator(&list, "processes", memory->processes, memory->processes);
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
    kv_term_list_string(list, "system_architecture", "C");
    kv_term_list_atom(list, "kernel_poll", "true");
    kv_term_list_atom(list, "smp_support", "false");
    kv_term_list_atom(list, "threads", "false");
    kv_term_list_number(list, "thread_pool_size", 0);
    kv_term_list_number(list, "wordsize_internal", WORD);
    kv_term_list_number(list, "wordsize_external", WORD);
}

static void add_counts(struct kv_term_list *list, const struct memory *memory)
{
    kv_term_list_number(list, "process_count", memory->process_count);
    kv_term_list_number(list, "process_limit", PROCESS_LIMIT);
    kv_term_list_number(list, "atom_count", 0);
    kv_term_list_number(list, "atom_limit", ATOM_LIMIT);
    kv_term_list_number(list, "port_count", memory->stats.connections);
    kv_term_list_number(list, "port_limit", memory->stats.connection_limit);
    kv_term_list_number(list, "ets_count", memory->table_count);
    kv_term_list_number(list, "ets_limit", TABLE_LIMIT);
    kv_term_list_number(list, "dist_buf_busy_limit", 0);
}

static int run_sys_info(struct kv_process *self, struct kv_reader arguments,
                        struct kv_buffer *value)
{
    struct memory memory;
    struct kv_term_list list = {0};
    (void)arguments;
    measure(self, &memory);
    kv_term_list_number(&list, "uptime", memory.stats.uptime_ms);
    kv_term_list_number(&list, "run_queue", 0);
    kv_term_list_number(&list, "io_input", memory.stats.bytes_in);
    kv_term_list_number(&list, "io_output", memory.stats.bytes_out);
    add_processors(&list, memory.stats.processors);
    add_versions(&list, &memory.stats);
    write_allocators(kv_term_list_item(&list, "alloc_info"), &memory);
    add_counts(&list, &memory);
    add_memory(&list, &memory);
    kv_term_list_close(&list, value);
    return KV_OK;
}

static int run_memory(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    struct memory memory;
    struct kv_term_list list = {0};
    (void)arguments;
    measure(self, &memory);
    add_memory(&list, &memory);
    kv_term_list_close(&list, value);
    return KV_OK;
}

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

/* Code is not loaded here; what Observer asks for is there all the time. */
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
    (void)self;
    if (kv_read_atom(&arguments, &module) != KV_OK ||
        kv_read_atom(&arguments, &function) != KV_OK || kv_read_u32(&arguments, &arity) != KV_OK) {
        return KV_ETYPE;
    }
    kv_write_bool(value, kv_function_exists(module, function, arity));
    return KV_OK;
}

/* Without sasl in it, Observer says that there is no log to show. */
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
    {"application", "which_applications", run_which_applications, 0},
    {"code", "ensure_loaded", run_ensure_loaded, 1},
    {"erlang", "function_exported", run_function_exported, 3},
    {"erlang", "memory", run_memory, 0},
    {"erlang", "system_info", run_system_info, 1},
    {"observer_backend", "sys_info", run_sys_info, 0},
    {NULL, NULL, NULL, 0},
};

/* ---- fetch_stats ----------------------------------------------------------------------------- */

enum { SHORTEST_PERIOD = 100 }; /* milliseconds */

/* Sends figures to a chart until it hears anything, or the chart is gone. */
struct charted {
    struct kv_buffer chart; /* a pid as a term */
    uint64_t period;        /* milliseconds */
    uint64_t last_total;
};

static int stats_init(struct kv_process *self, struct kv_bytes arguments, struct kv_buffer *reason)
{
    struct charted *charted = kv_process_state(self);
    struct kv_pid pid;
    struct kv_bytes chart;
    uint32_t count = 0;
    struct kv_reader reader = kv_reader(arguments);
    (void)kv_read_list(&reader, &count);
    if (kv_read_any(&reader, &chart) != KV_OK || kv_read_u64(&reader, &charted->period) != KV_OK) {
        kv_write_atom_text(reason, "badarg");
        return KV_ETYPE;
    }
    struct kv_reader pid_reader = kv_reader(chart);
    if (kv_read_pid(&pid_reader, &pid) != KV_OK) {
        kv_write_atom_text(reason, "badarg");
        return KV_ETYPE;
    }
    kv_write_term(&charted->chart, chart);
    charted->period = charted->period < SHORTEST_PERIOD ? SHORTEST_PERIOD : charted->period;
    kv_process_set_timer(self, charted->period);
    return KV_OK;
}

static void write_io(struct kv_buffer *to, const char *key, uint64_t bytes)
{
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, key);
    kv_write_u64(to, bytes);
}

/* {stats, 1, [{1, Active, Total}], {{input, In}, {output, Out}}, Memory}. Total must have grown
 * since the last time, or Observer divides by 0. */
static void write_stats(struct charted *charted, const struct memory *memory, struct kv_buffer *to)
{
    enum { US_PER_MS = 1000 };
    struct kv_term_list list = {0};
    uint64_t total = memory->stats.uptime_ms * US_PER_MS;
    total = total > charted->last_total ? total : charted->last_total + 1;
    charted->last_total = total;
    kv_write_tuple(to, 5);
    kv_write_atom_text(to, "stats");
    kv_write_u64(to, 1);
    kv_write_list(to, 1);
    kv_write_tuple(to, 3);
    kv_write_u64(to, 1);
    kv_write_u64(to, memory->stats.cpu_us);
    kv_write_u64(to, total);
    kv_write_nil(to);
    kv_write_tuple(to, 2);
    write_io(to, "input", memory->stats.bytes_in);
    write_io(to, "output", memory->stats.bytes_out);
    add_memory(&list, memory);
    kv_term_list_close(&list, to);
}

static void stats_timer(struct kv_process *self)
{
    struct charted *charted = kv_process_state(self);
    struct memory memory;
    struct kv_buffer message = KV_BUFFER_INIT;
    measure(self, &memory);
    write_stats(charted, &memory, &message);
    kv_send_to(self, kv_buffer_bytes(&charted->chart), kv_buffer_bytes(&message));
    kv_buffer_free(&message);
    kv_process_set_timer(self, charted->period);
}

static void stats_info(struct kv_process *self, struct kv_bytes message)
{
    (void)message;
    kv_process_exit_atom(self, "normal");
}

static void stats_exit(struct kv_process *self, const struct kv_pid *from, struct kv_bytes reason)
{
    (void)from;
    (void)reason;
    kv_process_exit_atom(self, "normal");
}

static void stats_terminate(struct kv_process *self, struct kv_bytes reason)
{
    struct charted *charted = kv_process_state(self);
    (void)reason;
    kv_buffer_free(&charted->chart);
}

const struct kv_behaviour kv_fetch_stats_behaviour = {
    .module = "observer_backend",
    .function = "fetch_stats",
    .arity = 2,
    .state_size = sizeof(struct charted),
    .init = stats_init,
    .handle_call = kv_reply_bad_request,
    .handle_info = stats_info,
    .handle_timer = stats_timer,
    .handle_exit = stats_exit,
    .terminate = stats_terminate,
};
