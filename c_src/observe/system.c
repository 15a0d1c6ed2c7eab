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

static uint64_t without(uint64_t bytes, uint64_t part)
{
    return bytes > part ? bytes - part : 0;
}

/* One line for each kind of memory. The lines do not overlap, so that their sum, which Observer
 * shows, is the memory of the program: `heap` is what is left of the heap. The program
 * (node/report.c) adds the lines of the stores. Observer divides by the sum of the carriers, so the
 * sum must not be 0. */
static void write_allocators(struct kv_buffer *to, const struct kv_figures *figures)
{
    struct kv_term_list list = {0};
    const struct kv_stats *stats = &figures->stats;
    uint64_t processes = figures->totals.process_records + figures->totals.process_bytes;
    uint64_t named = processes + stats->buffers;
    uint64_t reserved = without(stats->heap_reserved, named);
    uint64_t used = without(stats->heap_used, named);
    reserved = reserved > 0 ? reserved : 1;
    for (size_t i = 0; i < KV_MEMORY_KINDS && stats->kinds[i].name != NULL; i++) {
        const struct kv_memory_kind *kind = &stats->kinds[i];
        add_allocator(&list, kind->name, kind->used, kind->reserved);
    }
    add_allocator(&list, "processes", processes, processes);
    add_allocator(&list, "network", stats->buffers, stats->buffers);
    add_allocator(&list, "heap", used < reserved ? used : reserved, reserved);
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
    kv_term_list_string(list, "otp_release", KV_NO_OTP);
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

/* ---- erlang:memory --------------------------------------------------------------------------- */

/* The parts of erlang:memory/0. */
static const char *const parts[] = {"total",     "processes", "processes_used", "system", "atom",
                                    "atom_used", "binary",    "code",           "ets"};
enum { PARTS = sizeof parts / sizeof parts[0] };

static uint64_t part(const struct kv_figures *figures, unsigned which)
{
    const struct kv_totals *totals = &figures->totals;
    uint64_t total = figures->stats.resident;
    uint64_t of_processes = totals->process_records + totals->process_bytes;
    const uint64_t values[PARTS] = {
        [0] = total,
        [1] = of_processes,
        [2] = of_processes,
        [3] = total > of_processes ? total - of_processes : 0,
        [6] = figures->stats.buffers,
        [8] = totals->table_bytes,
    };
    return values[which];
}

static void finish_memory(struct kv_process *self, struct kv_findings *findings,
                          struct kv_buffer *value)
{
    struct kv_figures figures;
    kv_figures_take(self, &findings->totals, &figures);
    if (findings->single) {
        kv_write_u64(value, part(&figures, findings->choices[0]));
        return;
    }
    for (uint32_t i = 0; i < findings->choice_count; i++) {
        uint8_t which = findings->choices[i];
        kv_term_list_number(&findings->list, parts[which], part(&figures, which));
    }
    kv_term_list_close(&findings->list, value);
}

static int begin_memory(struct kv_process *self, struct kv_reader arguments,
                        struct kv_inquiry *inquiry)
{
    struct kv_findings *findings = &inquiry->findings;
    (void)self;
    (void)arguments;
    for (unsigned i = 0; i < PARTS; i++) {
        findings->choices[findings->choice_count++] = (uint8_t)i;
    }
    return KV_OK;
}

static int read_part(struct kv_reader *reader, struct kv_findings *findings)
{
    for (unsigned i = 0; i < PARTS; i++) {
        if (findings->choice_count < KV_CHOICES_MAX &&
            kv_read_this_atom(reader, parts[i]) == KV_OK) {
            findings->choices[findings->choice_count++] = (uint8_t)i;
            return KV_OK;
        }
    }
    return KV_ETYPE;
}

/* A part, or a list of parts. */
static int begin_memory_of(struct kv_process *self, struct kv_reader arguments,
                           struct kv_inquiry *inquiry)
{
    uint32_t count = 0;
    struct kv_findings *findings = &inquiry->findings;
    int error = KV_OK;
    (void)self;
    findings->single = kv_read_list(&arguments, &count) != KV_OK;
    if (findings->single) {
        return read_part(&arguments, findings);
    }
    for (uint32_t i = 0; i < count && error == KV_OK; i++) {
        error = read_part(&arguments, findings);
    }
    return error == KV_OK && count > 0 ? kv_read_nil(&arguments) : error;
}

static const struct kv_survey sys_info = {.visit = kv_findings_count, .finish = finish_sys_info};
static const struct kv_survey memory = {
    .begin = begin_memory, .visit = kv_findings_count, .finish = finish_memory};
static const struct kv_survey memory_of = {
    .begin = begin_memory_of, .visit = kv_findings_count, .finish = finish_memory};

const struct kv_function kv_system_functions[] = {
    {"erlang", "memory", NULL, 0, &memory, "a list of `{Part, Bytes}`"},
    {"erlang", "memory", NULL, 1, &memory_of, "the bytes of a part, or a list of `{Part, Bytes}`"},
    {"observer_backend", "sys_info", NULL, 0, &sys_info,
     "the figures of the tabs System and Memory Allocators"},
    {.module = NULL},
};
