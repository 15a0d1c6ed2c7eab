/* The processes as erlang:process_info/2 shows them, and Observer's list of them.
 *
 * OTP: erts/emulator/beam/erl_bif_info.c, process_info_aux(); lib/runtime_tools/src/
 * observer_backend.erl, procs_info/1. */
#include "observe/functions.h"
#include "observe/list.h"
#include "process/inspect.h"
#include "process/runtime.h"

enum {
    WORD = 8,          /* bytes */
    PEEK_ENTRIES = 50, /* of a table, that the dictionary shows */
    PEEK_VALUE = 1024, /* bytes of a key or a value that is still shown */
    PEEK_LOOKS = 1000, /* for entries that are short enough */
    CHUNK_ROWS = 1000, /* processes in one message to a collector */
    MFA_ARITY = 3,
    STATE_MAX = 64 << 10, /* bytes of a process whose state is still shown whole */
};

/* ---- parts of an answer ---------------------------------------------------------------------- */

static void write_mfa(struct kv_buffer *to, const char *module, const char *function,
                      uint32_t arity)
{
    kv_write_tuple(to, MFA_ARITY);
    kv_write_atom_text(to, module);
    kv_write_atom_text(to, function);
    kv_write_u64(to, arity);
}

static void write_call(struct kv_buffer *to, const struct kv_process_info *info)
{
    write_mfa(to, info->module, info->function, info->arity);
}

static void write_current(struct kv_buffer *to, const struct kv_process_info *info)
{
    write_mfa(to, info->module, info->suspended ? "suspended" : "waiting", 0);
}

static void add_pid(void *context, const struct kv_pid *pid)
{
    struct kv_term_list *list = context;
    list->count++;
    kv_write_pid(&list->elements, pid);
}

/* {process, Pid} */
static void add_monitor(void *context, const struct kv_pid *pid)
{
    struct kv_term_list *list = context;
    kv_write_pid(kv_term_list_item(list, "process"), pid);
}

static void write_related(struct kv_buffer *to, const struct kv_process *process,
                          enum kv_relation relation)
{
    struct kv_term_list list = {0};
    kv_process_each(process, relation, relation == KV_RELATION_MONITOR ? add_monitor : add_pid,
                    &list);
    kv_term_list_close(&list, to);
}

static void add_entry(void *context, struct kv_bytes key, struct kv_bytes value)
{
    struct kv_term_list *list = context;
    if (list->count >= PEEK_ENTRIES || key.length > PEEK_VALUE) {
        return;
    }
    list->count++;
    kv_write_tuple(&list->elements, 2);
    kv_write_term(&list->elements, key);
    if (value.length > PEEK_VALUE) {
        kv_write_atom_text(&list->elements, "too_large_to_show");
    } else {
        kv_write_term(&list->elements, value);
    }
}

/* Adds a few rows of a table to a list, until that has PEEK_ENTRIES. */
static void add_entries(struct kv_term_list *list, const struct kv_process *process,
                        const struct kv_view *view)
{
    uint64_t cursor = 0;
    uint32_t looks = 0;
    do {
        view->scan(process, &cursor, add_entry, list);
    } while (cursor != 0 && list->count < PEEK_ENTRIES && ++looks < PEEK_LOOKS);
}

/* A process has no dictionary: shown are its label and, of a table, a few entries. */
static void write_dictionary(struct kv_buffer *to, const struct kv_process *process,
                             const struct kv_process_info *info)
{
    struct kv_term_list list = {0};
    write_call(kv_term_list_item(&list, "$initial_call"), info);
    if (info->label.length > 0) {
        kv_write_binary(kv_term_list_item(&list, "$kv_label"), info->label);
    }
    if (info->view != NULL) {
        kv_term_list_number(&list, "$kv_size", info->view->count(process));
        add_entries(&list, process, info->view);
    }
    kv_term_list_close(&list, to);
}

static void write_garbage_collection(struct kv_buffer *to)
{
    struct kv_term_list list = {0};
    kv_term_list_number(&list, "min_bin_vheap_size", 0);
    kv_term_list_number(&list, "min_heap_size", 0);
    kv_term_list_number(&list, "fullsweep_after", 0);
    kv_term_list_number(&list, "minor_gcs", 0);
    kv_term_list_close(&list, to);
}

/* [{Module, waiting, 0, []}] */
static void write_stacktrace(struct kv_buffer *to, const struct kv_process_info *info)
{
    kv_write_list(to, 1);
    kv_write_tuple(to, MFA_ARITY + 1);
    kv_write_atom_text(to, info->module);
    kv_write_atom_text(to, info->suspended ? "suspended" : "waiting");
    kv_write_u64(to, 0);
    kv_write_nil(to);
    kv_write_nil(to);
}

/* ---- items ----------------------------------------------------------------------------------- */

typedef void (*write_item)(struct kv_buffer *to, const struct kv_process *process,
                           const struct kv_process_info *info);

static void item_registered_name(struct kv_buffer *to, const struct kv_process *process,
                                 const struct kv_process_info *info)
{
    (void)process;
    if (info->name.length > 0) {
        kv_write_atom(to, info->name);
    } else {
        kv_write_nil(to);
    }
}

static void item_label(struct kv_buffer *to, const struct kv_process *process,
                       const struct kv_process_info *info)
{
    (void)process;
    if (info->label.length > 0) {
        kv_write_binary(to, info->label);
    } else {
        kv_write_atom_text(to, "undefined");
    }
}

static void item_current_function(struct kv_buffer *to, const struct kv_process *process,
                                  const struct kv_process_info *info)
{
    (void)process;
    write_current(to, info);
}

static void item_initial_call(struct kv_buffer *to, const struct kv_process *process,
                              const struct kv_process_info *info)
{
    (void)process;
    write_call(to, info);
}

static void item_stacktrace(struct kv_buffer *to, const struct kv_process *process,
                            const struct kv_process_info *info)
{
    (void)process;
    write_stacktrace(to, info);
}

static void item_status(struct kv_buffer *to, const struct kv_process *process,
                        const struct kv_process_info *info)
{
    (void)process;
    kv_write_atom_text(to, info->suspended ? "suspended" : "waiting");
}

static void item_queue(struct kv_buffer *to, const struct kv_process *process,
                       const struct kv_process_info *info)
{
    (void)process;
    kv_write_u64(to, info->queue);
}

static void item_links(struct kv_buffer *to, const struct kv_process *process,
                       const struct kv_process_info *info)
{
    (void)info;
    write_related(to, process, KV_RELATION_LINK);
}

static void item_monitors(struct kv_buffer *to, const struct kv_process *process,
                          const struct kv_process_info *info)
{
    (void)info;
    write_related(to, process, KV_RELATION_MONITOR);
}

static void item_monitored_by(struct kv_buffer *to, const struct kv_process *process,
                              const struct kv_process_info *info)
{
    (void)info;
    write_related(to, process, KV_RELATION_MONITORED_BY);
}

static void item_dictionary(struct kv_buffer *to, const struct kv_process *process,
                            const struct kv_process_info *info)
{
    write_dictionary(to, process, info);
}

static void item_trap_exit(struct kv_buffer *to, const struct kv_process *process,
                           const struct kv_process_info *info)
{
    (void)process;
    kv_write_bool(to, info->traps_exits);
}

static void item_group_leader(struct kv_buffer *to, const struct kv_process *process,
                              const struct kv_process_info *info)
{
    (void)process;
    if (info->group_leader.length > 0) {
        kv_write_term(to, info->group_leader);
    } else {
        kv_write_pid(to, &info->pid);
    }
}

static void item_parent(struct kv_buffer *to, const struct kv_process *process,
                        const struct kv_process_info *info)
{
    (void)process;
    kv_write_term(to, info->parent);
}

static void item_memory(struct kv_buffer *to, const struct kv_process *process,
                        const struct kv_process_info *info)
{
    (void)process;
    kv_write_u64(to, info->memory);
}

static void item_heap(struct kv_buffer *to, const struct kv_process *process,
                      const struct kv_process_info *info)
{
    (void)process;
    kv_write_u64(to, info->memory / WORD);
}

static void item_reductions(struct kv_buffer *to, const struct kv_process *process,
                            const struct kv_process_info *info)
{
    (void)process;
    kv_write_u64(to, info->reductions);
}

static void item_garbage_collection(struct kv_buffer *to, const struct kv_process *process,
                                    const struct kv_process_info *info)
{
    (void)process;
    (void)info;
    write_garbage_collection(to);
}

static void item_nil(struct kv_buffer *to, const struct kv_process *process,
                     const struct kv_process_info *info)
{
    (void)process;
    (void)info;
    kv_write_nil(to);
}

static void item_zero(struct kv_buffer *to, const struct kv_process *process,
                      const struct kv_process_info *info)
{
    (void)process;
    (void)info;
    kv_write_u64(to, 0);
}

static void item_false(struct kv_buffer *to, const struct kv_process *process,
                       const struct kv_process_info *info)
{
    (void)process;
    (void)info;
    kv_write_bool(to, false);
}

static void item_normal(struct kv_buffer *to, const struct kv_process *process,
                        const struct kv_process_info *info)
{
    (void)process;
    (void)info;
    kv_write_atom_text(to, "normal");
}

static void item_error_handler(struct kv_buffer *to, const struct kv_process *process,
                               const struct kv_process_info *info)
{
    (void)process;
    (void)info;
    kv_write_atom_text(to, "error_handler");
}

/* Those of process_info/1 come first. */
enum { USUAL_ITEMS = 18 };
static const struct {
    const char *name;
    write_item write;
} items[] = {
    {"registered_name", item_registered_name},
    {"current_function", item_current_function},
    {"initial_call", item_initial_call},
    {"status", item_status},
    {"message_queue_len", item_queue},
    {"links", item_links},
    {"dictionary", item_dictionary},
    {"trap_exit", item_trap_exit},
    {"error_handler", item_error_handler},
    {"priority", item_normal},
    {"group_leader", item_group_leader},
    {"total_heap_size", item_heap},
    {"heap_size", item_heap},
    {"stack_size", item_zero},
    {"reductions", item_reductions},
    {"garbage_collection", item_garbage_collection},
    {"suspending", item_nil},
    {"memory", item_memory},
    {"messages", item_nil},
    {"monitors", item_monitors},
    {"monitored_by", item_monitored_by},
    {"binary", item_nil},
    {"catchlevel", item_zero},
    {"last_calls", item_false},
    {"sequential_trace_token", item_nil},
    {"trace", item_zero},
    {"current_stacktrace", item_stacktrace},
    {"current_location", item_current_function},
    {"label", item_label},
    {"parent", item_parent},
};

/* {Item, Value}; false when there is no such item. */
static bool write_named_item(struct kv_buffer *to, struct kv_bytes name,
                             const struct kv_process *process, const struct kv_process_info *info)
{
    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
        if (kv_bytes_is(name, items[i].name)) {
            kv_write_tuple(to, 2);
            kv_write_atom(to, name);
            items[i].write(to, process, info);
            return true;
        }
    }
    return false;
}

/* ---- process_info ---------------------------------------------------------------------------- */

/* Takes a pid of this node: KV_ETYPE for others; *process is NULL when it is dead. */
static int read_process(struct kv_process *self, struct kv_reader *arguments,
                        struct kv_process **process)
{
    struct kv_pid pid;
    const struct kv_runtime *runtime = kv_process_runtime(self);
    int error = kv_read_pid(arguments, &pid);
    if (error == KV_OK && !kv_bytes_equal(pid.node, kv_runtime_node(runtime))) {
        return KV_ETYPE;
    }
    if (error == KV_OK) {
        *process = kv_process_at(runtime, &pid);
    }
    return error;
}

static int info_of_list(struct kv_reader names, const struct kv_process *process,
                        struct kv_buffer *value)
{
    uint32_t count = 0;
    struct kv_process_info info;
    int error = kv_read_list(&names, &count);
    kv_process_inspect(process, &info);
    if (error == KV_OK && count > 0) {
        kv_write_list(value, count);
    }
    for (uint32_t i = 0; i < count && error == KV_OK; i++) {
        struct kv_bytes name;
        error = kv_read_atom(&names, &name);
        if (error == KV_OK && !write_named_item(value, name, process, &info)) {
            error = KV_ETYPE;
        }
    }
    kv_write_nil(value);
    return error;
}

static int info_of_item(struct kv_bytes name, const struct kv_process *process,
                        struct kv_buffer *value)
{
    struct kv_process_info info;
    kv_process_inspect(process, &info);
    if (kv_bytes_is(name, "registered_name") && info.name.length == 0) {
        kv_write_nil(value);
        return KV_OK;
    }
    return write_named_item(value, name, process, &info) ? KV_OK : KV_ETYPE;
}

/* As read_process(); a dead process has its answer then: undefined. */
static int read_for_info(struct kv_process *self, struct kv_reader *arguments,
                         struct kv_process **process, struct kv_buffer *value)
{
    int error = read_process(self, arguments, process);
    if (error == KV_OK && *process == NULL) {
        kv_write_atom_text(value, "undefined");
    }
    return error;
}

static int run_process_info(struct kv_process *self, struct kv_reader arguments,
                            struct kv_buffer *value)
{
    struct kv_process *process = NULL;
    struct kv_bytes name;
    int error = read_for_info(self, &arguments, &process, value);
    if (error != KV_OK || process == NULL) {
        return error;
    }
    if (kv_read_atom(&arguments, &name) == KV_OK) {
        return info_of_item(name, process, value);
    }
    return info_of_list(arguments, process, value);
}

static int run_process_info_1(struct kv_process *self, struct kv_reader arguments,
                              struct kv_buffer *value)
{
    struct kv_process *process = NULL;
    struct kv_process_info info;
    int error = read_for_info(self, &arguments, &process, value);
    if (error != KV_OK || process == NULL) {
        return error;
    }
    kv_process_inspect(process, &info);
    kv_write_list(value, USUAL_ITEMS);
    for (size_t i = 0; i < USUAL_ITEMS; i++) {
        (void)write_named_item(value, kv_bytes_text(items[i].name), process, &info);
    }
    kv_write_nil(value);
    return KV_OK;
}

/* #{label, size, memory, operations, queue, entries}: a viewer holds, and draws, all that it is
 * told. */
static void write_table_state(struct kv_buffer *to, const struct kv_process *process,
                              const struct kv_process_info *info)
{
    enum { KEYS = 6 };
    struct kv_term_list entries = {0};
    kv_write_map(to, KEYS);
    kv_write_atom_text(to, "label");
    item_label(to, process, info);
    kv_write_atom_text(to, "size");
    kv_write_u64(to, info->view->count(process));
    kv_write_atom_text(to, "memory");
    kv_write_u64(to, info->memory);
    kv_write_atom_text(to, "operations");
    kv_write_u64(to, info->reductions);
    kv_write_atom_text(to, "queue");
    kv_write_u64(to, info->queue);
    kv_write_atom_text(to, "entries");
    add_entries(&entries, process, info->view);
    kv_term_list_close(&entries, to);
}

/* The state as a viewer gets it; nothing when it may have it whole. */
static void write_shown_state(struct kv_buffer *to, const struct kv_process *process)
{
    struct kv_process_info info;
    kv_process_inspect(process, &info);
    if (info.view != NULL) {
        write_table_state(to, process, &info);
    } else if (info.memory > STATE_MAX) {
        kv_write_tuple(to, 2);
        kv_write_atom_text(to, "too_large_to_show");
        kv_write_u64(to, info.memory);
    }
}

/* Of a process that has just ended. Where sys:get_status/2 exits, the window that asked would go
 * down, and all of Observer with it. */
static void write_no_status(struct kv_buffer *to)
{
    enum { PARTS = 5, MISC = 3 };
    kv_write_tuple(to, 4);
    kv_write_atom_text(to, "status");
    kv_write_atom_text(to, "undefined");
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "module");
    kv_write_atom_text(to, "gen_server");
    kv_write_list(to, PARTS);
    kv_write_nil(to);
    kv_write_atom_text(to, "terminated");
    kv_write_atom_text(to, "undefined");
    kv_write_nil(to);
    kv_write_list(to, MISC);
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "header");
    kv_write_string(to, "The process has ended");
    for (int i = 0; i < 2; i++) {
        kv_write_tuple(to, 2);
        kv_write_atom_text(to, "data");
        kv_write_nil(to);
    }
    kv_write_nil(to);
    kv_write_nil(to);
}

/* sys:get_status/2 called by name, as Observer does it: the time is for a process that hangs. Sent
 * as a system message, sys:get_status/1 has the state whole. */
static int run_get_status(struct kv_process *self, struct kv_reader arguments,
                          struct kv_buffer *value)
{
    struct kv_process *process = NULL;
    int error = read_process(self, &arguments, &process);
    if (error == KV_OK && process == NULL) {
        write_no_status(value);
    } else if (error == KV_OK) {
        struct kv_buffer state = KV_BUFFER_INIT;
        write_shown_state(&state, process);
        kv_process_write_status(process, kv_buffer_bytes(&state), value);
        kv_buffer_free(&state);
    }
    return error;
}

static bool has_attributes(const char *module)
{
    return kv_function_exists(kv_bytes_text(module), kv_bytes_text("module_info"), 1);
}

/* What proc_lib:translate_initial_call/1 answers. Observer asks for the attributes of the module,
 * and ends when they are no list; of proc_lib it asks nothing more. */
static int run_translate(struct kv_process *self, struct kv_reader arguments,
                         struct kv_buffer *value)
{
    struct kv_process *process = NULL;
    struct kv_process_info info;
    int error = read_process(self, &arguments, &process);
    if (error != KV_OK) {
        return error;
    }
    if (process != NULL) {
        kv_process_inspect(process, &info);
    }
    if (process != NULL && has_attributes(info.module)) {
        write_call(value, &info);
    } else {
        write_mfa(value, "proc_lib", "init_p", 5);
    }
    return KV_OK;
}

static int run_get_label(struct kv_process *self, struct kv_reader arguments,
                         struct kv_buffer *value)
{
    struct kv_process *process = NULL;
    struct kv_process_info info = {0};
    int error = read_process(self, &arguments, &process);
    if (error == KV_OK && process != NULL) {
        kv_process_inspect(process, &info);
    }
    if (error == KV_OK) {
        item_label(value, process, &info);
    }
    return error;
}

/* There is no garbage: true, as for a process of a BEAM, and false for a dead one. */
static int run_garbage_collect(struct kv_process *self, struct kv_reader arguments,
                               struct kv_buffer *value)
{
    struct kv_process *process = NULL;
    int error = read_process(self, &arguments, &process);
    if (error == KV_OK) {
        kv_write_bool(value, process != NULL);
    }
    return error;
}

/* [{behaviour, [gen_server]}]: what Observer reads of Module:module_info(attributes). */
static int run_attributes(struct kv_process *self, struct kv_reader arguments,
                          struct kv_buffer *value)
{
    (void)self;
    int error = kv_read_this_atom(&arguments, "attributes");
    if (error == KV_OK) {
        struct kv_term_list list = {0};
        struct kv_buffer *to = kv_term_list_item(&list, "behaviour");
        kv_write_list(to, 1);
        kv_write_atom_text(to, "gen_server");
        kv_write_nil(to);
        kv_term_list_close(&list, value);
    }
    return error;
}

const struct kv_function kv_process_functions[] = {
    {"erlang", "garbage_collect", run_garbage_collect, 1},
    {"erlang", "process_info", run_process_info_1, 1},
    {"erlang", "process_info", run_process_info, 2},
    {"proc_lib", "translate_initial_call", run_translate, 1},
    {"proc_lib", "get_label", run_get_label, 1},
    {"sys", "get_status", run_get_status, 1},
    {"sys", "get_status", run_get_status, 2},
    {"appmon_info", "module_info", run_attributes, 1},
    {"erpc", "module_info", run_attributes, 1},
    {"kv_bucket", "module_info", run_attributes, 1},
    {"kv_registry", "module_info", run_attributes, 1},
    {"net_kernel", "module_info", run_attributes, 1},
    {"observer_backend", "module_info", run_attributes, 1},
    {"rex", "module_info", run_attributes, 1},
    {NULL, NULL, NULL, 0},
};

/* ---- procs_info ------------------------------------------------------------------------------ */

struct collector {
    struct kv_buffer target; /* a pid as a term */
    uint64_t cursor;
    struct kv_term_list rows;
};

/* {etop_proc_info, Pid, Memory, Reductions, Name, Runtime, CurrentFunction, QueueLength}. The name
 * is an atom or {M, F, A}: older Observers cannot sort others, and user's names must not become
 * atoms. */
static void add_row(void *context, const struct kv_process *process)
{
    struct collector *collector = context;
    struct kv_buffer *to = &collector->rows.elements;
    struct kv_process_info info;
    kv_process_inspect(process, &info);
    collector->rows.count++;
    kv_write_tuple(to, 8);
    kv_write_atom_text(to, "etop_proc_info");
    kv_write_pid(to, &info.pid);
    kv_write_u64(to, info.memory);
    kv_write_u64(to, info.reductions);
    if (info.name.length > 0) {
        kv_write_atom(to, info.name);
    } else {
        write_call(to, &info);
    }
    kv_write_u64(to, 0);
    write_current(to, &info);
    kv_write_u64(to, info.queue);
}

static int collector_init(struct kv_process *self, struct kv_bytes argument,
                          struct kv_buffer *reason)
{
    struct collector *collector = kv_process_state(self);
    struct kv_pid pid;
    struct kv_reader reader = kv_reader(argument);
    if (kv_read_pid(&reader, &pid) != KV_OK) {
        kv_write_atom_text(reason, "badarg");
        return KV_ETYPE;
    }
    kv_write_term(&collector->target, argument);
    kv_process_set_timer(self, 0);
    return KV_OK;
}

/* {procs_info, Self, Rows} */
static void send_rows(struct kv_process *self, struct collector *collector)
{
    struct kv_pid own = kv_process_pid(self);
    struct kv_buffer message = KV_BUFFER_INIT;
    kv_write_tuple(&message, 3);
    kv_write_atom_text(&message, "procs_info");
    kv_write_pid(&message, &own);
    kv_term_list_close(&collector->rows, &message);
    collector->rows = (struct kv_term_list){0};
    kv_send_to(self, kv_buffer_bytes(&collector->target), kv_buffer_bytes(&message));
    kv_buffer_free(&message);
}

/* One chunk a turn, so that a node of many processes goes on serving meanwhile. */
static void collector_timer(struct kv_process *self)
{
    struct collector *collector = kv_process_state(self);
    do {
        kv_runtime_scan_processes(kv_process_runtime(self), &collector->cursor, add_row, collector);
    } while (collector->cursor != 0 && collector->rows.count < CHUNK_ROWS);
    send_rows(self, collector);
    if (collector->cursor == 0) {
        kv_process_exit_atom(self, "normal");
    } else {
        kv_process_set_timer(self, 0);
    }
}

static void collector_terminate(struct kv_process *self, struct kv_bytes reason)
{
    struct collector *collector = kv_process_state(self);
    (void)reason;
    kv_buffer_free(&collector->target);
    kv_buffer_free(&collector->rows.elements);
}

const struct kv_behaviour kv_procs_info_behaviour = {
    .module = "observer_backend",
    .function = "procs_info",
    .arity = 1,
    .state_size = sizeof(struct collector),
    .init = collector_init,
    .handle_call = kv_reply_bad_request,
    .handle_timer = collector_timer,
    .terminate = collector_terminate,
};
