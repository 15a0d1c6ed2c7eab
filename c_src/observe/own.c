/* The functions that this project's own OTP side calls: kv_local:place/0, kv_lane:place/1 and
 * kv_node:processes/1;
 * and the list of all functions.
 */
#include "observe/collector.h"
#include "observe/figures.h"
#include "observe/functions.h"
#include "observe/items.h"
#include "observe/process_terms.h"

static const char *word_of(enum kv_zeros zeros)
{
    return zeros == KV_ZEROS_SAME ? "same" : "differ";
}

/* ---- kv_local -------------------------------------------------------------------------------- */

/* {{OsPid, Fd, Id, Size}, Creation, Zeros}, or undefined: kv_local:open/1. */
static int run_place(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    const struct kv_world *world = kv_process_context(self);
    struct kv_shared_memory memory;
    (void)arguments;
    if (world->shared_memory == NULL || !world->shared_memory(world->context, &memory)) {
        kv_write_atom_text(value, "undefined");
        return KV_OK;
    }
    kv_write_tuple(value, 3);
    kv_write_tuple(value, 4);
    kv_write_u64(value, memory.os_pid);
    kv_write_u64(value, (uint64_t)memory.fd);
    kv_write_binary(value, memory.id);
    kv_write_u64(value, memory.size);
    kv_write_u64(value, kv_process_pid(self).creation);
    kv_write_atom_text(value, word_of(world->zeros));
    return KV_OK;
}

/* ---- kv_lane -------------------------------------------------------------------------------- */

/* The node of the process that has called. */
static bool caller_of(struct kv_process *self, struct kv_pid *caller)
{
    struct kv_process_info info;
    kv_process_inspect(self, &info);
    struct kv_reader reader = kv_reader(info.parent);
    return kv_read_pid(&reader, caller) == KV_OK;
}

static void write_offer(struct kv_buffer *to, const struct kv_lane_offer *offer)
{
    kv_write_tuple(to, 2);
    kv_write_tuple(to, 4);
    kv_write_u64(to, offer->os_pid);
    kv_write_u64(to, (uint64_t)offer->fd);
    kv_write_binary(to, kv_bytes(offer->id, sizeof offer->id));
    kv_write_u64(to, offer->size);
    kv_write_u64(to, offer->groups);
}

/* {{OsPid, Fd, Id, Size}, Groups}, or the word that says why there is no lane: kv_lane:open/2. */
static int run_lane(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    const struct kv_world *world = kv_process_context(self);
    struct kv_lane_offer offer;
    struct kv_pid caller;
    uint64_t schedulers = 0;
    if (kv_read_u64(&arguments, &schedulers) != KV_OK) {
        return KV_ETYPE;
    }
    const char *why = "not_connected";
    if (world->lane != NULL && caller_of(self, &caller)) {
        why = world->lane(world->context, caller.node,
                          schedulers < UINT32_MAX ? (uint32_t)schedulers : UINT32_MAX, &offer);
    }
    if (why != NULL) {
        kv_write_atom_text(value, why);
    } else {
        write_offer(value, &offer);
    }
    return KV_OK;
}

/* ---- kv_node --------------------------------------------------------------------------------- */

static bool is_counted(const struct kv_process_info *info)
{
    return info->view != NULL && info->view->counted != NULL;
}

/* {Counted, Limit}: the bytes of all tables that count against max_memory, and max_memory. */
static int run_memory(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    static const struct kv_totals none = {0};
    struct kv_figures figures;
    (void)arguments;
    kv_figures_take(self, &none, &figures);
    kv_write_tuple(value, 2);
    kv_write_u64(value, figures.stats.counted);
    kv_write_u64(value, figures.stats.memory_limit);
    return KV_OK;
}

static void write_pair(struct kv_buffer *to, const char *key, uint64_t value)
{
    kv_write_atom_text(to, key);
    kv_write_u64(to, value);
}

static void write_synced(struct kv_buffer *to, const struct kv_disk_stats *disk)
{
    kv_write_atom_text(to, "last_sync_ms");
    if (disk->has_synced) {
        kv_write_u64(to, disk->synced_ms);
    } else {
        kv_write_atom_text(to, "undefined");
    }
}

static void write_checkpoint(struct kv_buffer *to, const struct kv_disk_stats *disk)
{
    write_pair(to, "checkpoint_bytes", disk->checkpoint);
    kv_write_atom_text(to, "last_checkpoint_ms");
    if (disk->checkpoint > 0) {
        kv_write_u64(to, disk->checkpoint_ms);
    } else {
        kv_write_atom_text(to, "undefined");
    }
    kv_write_atom_text(to, "checkpoint_failing");
    kv_write_atom_text(to, disk->is_checkpoint_failing ? "true" : "false");
}

/* The messages between the program and the OTP side that docs/native-protocol.md lists. A program
 * that leaves one of them out, or takes it otherwise, gets the next number. */
enum { PROTOCOL = 1, FACTS = 8 };

/* A map about the program: kv_attach:facts/2. */
static int run_facts(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    const struct kv_world *world = kv_process_context(self);
    struct kv_stats stats;
    (void)arguments;
    world->stats(world->context, &stats);
    kv_write_map(value, FACTS);
    write_pair(value, "protocol", PROTOCOL);
    kv_write_atom_text(value, "version");
    kv_write_binary_text(value, world->facts.version);
    write_pair(value, "creation", kv_process_pid(self).creation);
    write_pair(value, "os_pid", stats.os_pid);
    write_pair(value, "port", world->facts.port);
    write_pair(value, "max_frame", world->facts.max_frame);
    write_pair(value, "reconnect_timeout", world->facts.reconnect_timeout);
    kv_write_atom_text(value, "zeros");
    kv_write_atom_text(value, word_of(world->zeros));
    return KV_OK;
}

enum { DISK_PAIRS = 14 };

/* A map, or undefined without a data_dir: kv_node:info/1. */
static int run_disk(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    const struct kv_world *world = kv_process_context(self);
    struct kv_disk_stats disk;
    (void)arguments;
    if (world->disk == NULL || !world->disk(world->context, &disk)) {
        kv_write_atom_text(value, "undefined");
        return KV_OK;
    }
    kv_write_map(value, DISK_PAIRS);
    kv_write_atom_text(value, "folder");
    kv_write_binary_text(value, disk.folder);
    write_pair(value, "position", disk.position);
    write_pair(value, "log_bytes", disk.log);
    write_pair(value, "files", disk.files);
    write_pair(value, "file_bytes", disk.files * disk.file_size);
    write_pair(value, "waiting_bytes", disk.waiting);
    write_pair(value, "written_bytes", disk.written);
    write_pair(value, "syncs", disk.syncs);
    write_synced(value, &disk);
    write_pair(value, "recovery_ms", disk.recovery_ms);
    write_checkpoint(value, &disk);
    kv_write_atom_text(value, "full");
    kv_write_atom_text(value, disk.is_full ? "true" : "false");
    return KV_OK;
}

/* {Name, Kind, Durable, Size, Memory, Pid}, where Pid may be `dormant`. */
static void write_durable(void *visitor, const struct kv_durable_info *info)
{
    struct kv_term_list *list = visitor;
    struct kv_buffer *to = &list->elements;
    list->count++;
    kv_write_tuple(to, 6);
    kv_write_binary(to, info->name);
    kv_write_atom_text(to, info->kind);
    kv_write_atom_text(to, info->policy);
    kv_write_u64(to, info->size);
    kv_write_u64(to, info->memory);
    if (info->is_dormant) {
        kv_write_atom_text(to, "dormant");
    } else {
        kv_write_pid(to, &info->pid);
    }
}

/* A list of these, or undefined without a data_dir: kv_node:tables/1. */
static int run_tables(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    const struct kv_world *world = kv_process_context(self);
    struct kv_term_list list = {0};
    (void)arguments;
    if (world->each_durable == NULL || !world->each_durable(world->context, write_durable, &list)) {
        kv_write_atom_text(value, "undefined");
        return KV_OK;
    }
    kv_term_list_close(&list, value);
    return KV_OK;
}

/* {Size, Counted, Limit, Kept}, or undefined for a process that is dead or no table. The limit may
 * be infinity. Kept is how it is kept on disk, or false. */
static int run_table(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    struct kv_process *process = NULL;
    struct kv_process_info info = {.view = NULL};
    int error = kv_read_process(self, &arguments, &process);
    if (error == KV_OK && process != NULL) {
        kv_process_inspect(process, &info);
    }
    if (error != KV_OK || !is_counted(&info)) {
        kv_write_atom_text(value, "undefined");
        return error;
    }
    uint64_t limit = info.view->limit(process);
    const char *kept = info.view->kept != NULL ? info.view->kept(process) : NULL;
    kv_write_tuple(value, 4);
    kv_write_u64(value, info.view->count(process));
    kv_write_u64(value, info.counted);
    if (limit > 0) {
        kv_write_u64(value, limit);
    } else {
        kv_write_atom_text(value, "infinity");
    }
    kv_write_atom_text(value, kept != NULL ? kept : "false");
    return KV_OK;
}

/* {Pid, Module, Label, Memory, Reductions, Queue} */
static void write_row(const struct kv_process_info *info, struct kv_buffer *to)
{
    kv_write_tuple(to, 6);
    kv_write_pid(to, &info->pid);
    kv_write_atom_text(to, info->module);
    kv_write_label(to, info);
    kv_write_u64(to, info->counted);
    kv_write_u64(to, info->reductions);
    kv_write_u64(to, info->queue);
}

/* ---- the list of functions --------------------------------------------------------------------
 */

/* [{Module, Function, Arity, Value}]: Value says in words what the function returns. */
static int run_functions(struct kv_process *self, struct kv_reader arguments,
                         struct kv_buffer *value)
{
    struct kv_term_list list = {0};
    const struct kv_world *world = kv_process_context(self);
    (void)arguments;
    for (size_t i = 0; world->functions[i] != NULL; i++) {
        for (const struct kv_function *one = world->functions[i]; one->module != NULL; one++) {
            list.count++;
            kv_write_tuple(&list.elements, 4);
            kv_write_atom_text(&list.elements, one->module);
            kv_write_atom_text(&list.elements, one->function);
            kv_write_u64(&list.elements, one->arity);
            kv_write_binary_text(&list.elements, one->value);
        }
    }
    kv_term_list_close(&list, value);
    return KV_OK;
}

static void write_items(struct kv_term_list *list, const char *name,
                        void (*add)(struct kv_term_list *list))
{
    struct kv_term_list items = {0};
    add(&items);
    kv_term_list_close(&items, kv_term_list_item(list, name));
}

/* [{system_info, [Item]}, ...]: the items of functions that know several. */
static int run_items(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    struct kv_term_list list = {0};
    (void)self;
    (void)arguments;
    write_items(&list, "system_info", kv_system_items);
    write_items(&list, "statistics", kv_statistics_items);
    write_items(&list, "process_info", kv_process_items);
    kv_term_list_close(&list, value);
    return KV_OK;
}

/* ---- processes ------------------------------------------------------------------------------- */

static int init(struct kv_process *self, struct kv_bytes target, struct kv_buffer *reason)
{
    static const struct kv_rows rows = {.tag = "kv_processes", .write = write_row};
    return kv_collector_init(self, target, &rows, reason);
}

const struct kv_behaviour kv_processes_behaviour = {
    .module = "kv_node",
    .function = "processes",
    .arity = 1,
    .state_size = sizeof(struct kv_collector),
    .init = init,
    .handle_call = kv_reply_bad_request,
    .handle_timer = kv_collector_timer,
    .terminate = kv_collector_terminate,
};

const struct kv_function kv_own_functions[] = {
    {"kv_local", "place", run_place, 0, NULL, "the place of the shared memory, for `local`"},
    {"kv_lane", "place", run_lane, 1, NULL,
     "the place of the lane of this connection, for `local: :all`"},
    {"kv_node", "facts", run_facts, 0, NULL,
     "a map about the program, for a VM that attaches to it"},
    {"kv_node", "functions", run_functions, 0, NULL, "this list"},
    {"kv_node", "memory", run_memory, 0, NULL,
     "`{Bytes, MaxMemory}`: what counts against `max_memory`, and that limit"},
    {"kv_node", "disk", run_disk, 0, NULL, "a map about `data_dir`, or `undefined` without one"},
    {"kv_node", "tables", run_tables, 0, NULL,
     "`{Name, Kind, Durable, Size, Memory, Pid}` for each durable bucket and registry that is in "
     "no registry, where `Pid` may be `dormant`; or `undefined` without a `data_dir`"},
    {"kv_node", "table", run_table, 1, NULL,
     "`{Size, Bytes, MaxMemory, Durable}` of a bucket, or `undefined`"},
    {"kv_node", "items", run_items, 0, NULL,
     "the items of `system_info`, `statistics` and `process_info`"},
    {.module = NULL},
};
