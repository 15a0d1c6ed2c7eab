/* A process as erlang:process_info/1,2 shows it.
 *
 * OTP: erts/emulator/beam/erl_bif_info.c, process_info_aux(). */
#include "observe/functions.h"
#include "observe/items.h"
#include "observe/process_terms.h"

enum {
    WORD = 8, /* bytes */
    MFA_ARITY = 3,
    RELATED_MAX = 1000, /* links, monitors and watchers shown, each */
    ITEMS_MAX = 100,    /* items of one call: there are fewer, but a caller may repeat one */
};

/* ---- parts of an answer ---------------------------------------------------------------------- */

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
    kv_process_each(process, relation, RELATED_MAX,
                    relation == KV_RELATION_MONITOR ? add_monitor : add_pid, &list);
    kv_term_list_close(&list, to);
}

static const char *const relation_names[KV_RELATIONS] = {"links", "monitors", "monitored_by"};

/* {'$kv_not_shown', [{links, 500}]}: how many relations are left out. */
static void add_left_out(struct kv_term_list *dictionary, const struct kv_process *process)
{
    struct kv_term_list list = {0};
    for (unsigned relation = 0; relation < KV_RELATIONS; relation++) {
        size_t count = kv_process_related(process, relation);
        if (count > RELATED_MAX) {
            kv_term_list_number(&list, relation_names[relation], count - RELATED_MAX);
        }
    }
    if (list.count > 0) {
        kv_term_list_close(&list, kv_term_list_item(dictionary, "$kv_not_shown"));
    }
}

/* A native process has no dictionary. Shows its ancestors, its label and a few entries of its
 * table. */
static void write_dictionary(struct kv_buffer *to, const struct kv_process *process,
                             const struct kv_process_info *info)
{
    struct kv_term_list list = {0};
    kv_write_initial_call(kv_term_list_item(&list, "$initial_call"), info);
    if (info->ancestors.length > 0) {
        kv_write_term(kv_term_list_item(&list, "$ancestors"), info->ancestors);
    }
    if (info->label.length > 0) {
        kv_write_binary(kv_term_list_item(&list, "$kv_label"), info->label);
    }
    add_left_out(&list, process);
    if (info->view != NULL) {
        kv_term_list_number(&list, "$kv_size", info->view->count(process));
        kv_add_peek(&list, process, info->view);
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

/* {Module, waiting, 0, []} */
static void write_location(struct kv_buffer *to, const struct kv_process_info *info)
{
    kv_write_tuple(to, MFA_ARITY + 1);
    kv_write_atom_text(to, info->module);
    kv_write_atom_text(to, info->suspended ? "suspended" : "waiting");
    kv_write_u64(to, 0);
    kv_write_nil(to);
}

static void write_stacktrace(struct kv_buffer *to, const struct kv_process_info *info)
{
    kv_write_list(to, 1);
    write_location(to, info);
    kv_write_nil(to);
}

/* ---- items ----------------------------------------------------------------------------------- */

static void item_registered_name(struct kv_buffer *to, const struct kv_process_info *info)
{
    if (info->name.length > 0) {
        kv_write_atom(to, info->name);
    } else {
        kv_write_nil(to);
    }
}

static void item_status(struct kv_buffer *to, const struct kv_process_info *info)
{
    kv_write_atom_text(to, info->suspended ? "suspended" : "waiting");
}

static void item_queue(struct kv_buffer *to, const struct kv_process_info *info)
{
    kv_write_u64(to, info->queue);
}

static void item_trap_exit(struct kv_buffer *to, const struct kv_process_info *info)
{
    kv_write_bool(to, info->traps_exits);
}

/* A process is its own leader until another one is set. */
static void item_group_leader(struct kv_buffer *to, const struct kv_process_info *info)
{
    if (info->group_leader.length > 0) {
        kv_write_term(to, info->group_leader);
    } else {
        kv_write_pid(to, &info->pid);
    }
}

static void item_parent(struct kv_buffer *to, const struct kv_process_info *info)
{
    kv_write_term(to, info->parent);
}

static void item_memory(struct kv_buffer *to, const struct kv_process_info *info)
{
    kv_write_u64(to, info->memory);
}

static void item_heap(struct kv_buffer *to, const struct kv_process_info *info)
{
    kv_write_u64(to, info->memory / WORD);
}

static void item_reductions(struct kv_buffer *to, const struct kv_process_info *info)
{
    kv_write_u64(to, info->reductions);
}

enum item_kind {
    ITEM_ATOM,
    ITEM_NIL,
    ITEM_ZERO,
    ITEM_RELATION,
    ITEM_DICTIONARY,
    ITEM_GC,
    ITEM_INFO
};

struct item {
    const char *name;
    void (*write)(struct kv_buffer *to, const struct kv_process_info *info); /* ITEM_INFO */
    const char *atom;                                                        /* ITEM_ATOM */
    enum kv_relation relation;                                               /* ITEM_RELATION */
    enum item_kind kind;
};

/* The items of process_info/1 come first. A native process has no heap, no message queue and no
 * code of its own, so many items always have the same value. */
enum { USUAL_ITEMS = 18 };
static const struct item items[] = {
    {"registered_name", .kind = ITEM_INFO, .write = item_registered_name},
    {"current_function", .kind = ITEM_INFO, .write = kv_write_current},
    {"initial_call", .kind = ITEM_INFO, .write = kv_write_initial_call},
    {"status", .kind = ITEM_INFO, .write = item_status},
    {"message_queue_len", .kind = ITEM_INFO, .write = item_queue},
    {"links", .kind = ITEM_RELATION, .relation = KV_RELATION_LINK},
    {"dictionary", .kind = ITEM_DICTIONARY},
    {"trap_exit", .kind = ITEM_INFO, .write = item_trap_exit},
    {"error_handler", .kind = ITEM_ATOM, .atom = "error_handler"},
    {"priority", .kind = ITEM_ATOM, .atom = "normal"},
    {"group_leader", .kind = ITEM_INFO, .write = item_group_leader},
    {"total_heap_size", .kind = ITEM_INFO, .write = item_heap},
    {"heap_size", .kind = ITEM_INFO, .write = item_heap},
    {"stack_size", .kind = ITEM_ZERO},
    {"reductions", .kind = ITEM_INFO, .write = item_reductions},
    {"garbage_collection", .kind = ITEM_GC},
    {"suspending", .kind = ITEM_NIL},
    {"memory", .kind = ITEM_INFO, .write = item_memory},
    {"messages", .kind = ITEM_NIL},
    {"monitors", .kind = ITEM_RELATION, .relation = KV_RELATION_MONITOR},
    {"monitored_by", .kind = ITEM_RELATION, .relation = KV_RELATION_MONITORED_BY},
    {"binary", .kind = ITEM_NIL},
    {"catchlevel", .kind = ITEM_ZERO},
    {"last_calls", .kind = ITEM_ATOM, .atom = "false"},
    {"sequential_trace_token", .kind = ITEM_NIL},
    {"trace", .kind = ITEM_ZERO},
    {"current_stacktrace", .kind = ITEM_INFO, .write = write_stacktrace},
    {"current_location", .kind = ITEM_INFO, .write = write_location},
    {"label", .kind = ITEM_INFO, .write = kv_write_label},
    {"parent", .kind = ITEM_INFO, .write = item_parent},
};

static void write_value(struct kv_buffer *to, const struct item *item,
                        const struct kv_process *process, const struct kv_process_info *info)
{
    switch (item->kind) {
    case ITEM_ATOM:
        kv_write_atom_text(to, item->atom);
        break;
    case ITEM_NIL:
        kv_write_nil(to);
        break;
    case ITEM_ZERO:
        kv_write_u64(to, 0);
        break;
    case ITEM_RELATION:
        write_related(to, process, item->relation);
        break;
    case ITEM_DICTIONARY:
        write_dictionary(to, process, info);
        break;
    case ITEM_GC:
        write_garbage_collection(to);
        break;
    case ITEM_INFO:
        item->write(to, info);
        break;
    }
}

/* Appends {Item, Value}. Returns false if there is no such item. */
static bool write_named_item(struct kv_buffer *to, struct kv_bytes name,
                             const struct kv_process *process, const struct kv_process_info *info)
{
    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
        if (kv_bytes_is(name, items[i].name)) {
            kv_write_tuple(to, 2);
            kv_write_atom(to, name);
            write_value(to, &items[i], process, info);
            return true;
        }
    }
    return false;
}

/* ---- process_info ---------------------------------------------------------------------------- */

static int info_of_list(struct kv_reader names, const struct kv_process *process,
                        struct kv_buffer *value)
{
    uint32_t count = 0;
    struct kv_process_info info;
    int error = kv_read_list(&names, &count);
    kv_process_inspect(process, &info);
    if (error != KV_OK || count > ITEMS_MAX) {
        return KV_ETYPE;
    }
    if (count > 0) {
        kv_write_list(value, count);
    }
    for (uint32_t i = 0; i < count && error == KV_OK; i++) {
        struct kv_bytes name;
        error = kv_read_atom(&names, &name);
        if (error == KV_OK && !write_named_item(value, name, process, &info)) {
            error = KV_ETYPE;
        }
    }
    if (error == KV_OK && count > 0) {
        error = kv_read_nil(&names);
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

/* As kv_read_process(), and appends `undefined`, the answer for a dead process. */
static int read_for_info(struct kv_process *self, struct kv_reader *arguments,
                         struct kv_process **process, struct kv_buffer *value)
{
    int error = kv_read_process(self, arguments, process);
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

static int run_elixir_info_1(struct kv_process *self, struct kv_reader arguments,
                             struct kv_buffer *value)
{
    return kv_run_or_nil(self, run_process_info_1, arguments, value);
}

/* Elixir answers {registered_name, []} where Erlang answers []. */
static int run_elixir_info(struct kv_process *self, struct kv_reader arguments,
                           struct kv_buffer *value)
{
    size_t start = value->length;
    int error = kv_run_or_nil(self, run_process_info, arguments, value);
    (void)kv_read_any(&arguments, NULL);
    if (error == KV_OK && kv_read_this_atom(&arguments, "registered_name") == KV_OK &&
        value->length == start + 1) {
        value->length = start;
        kv_write_tuple(value, 2);
        kv_write_atom_text(value, "registered_name");
        kv_write_nil(value);
    }
    return error;
}

void kv_process_items(struct kv_term_list *list)
{
    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
        list->count++;
        kv_write_atom_text(&list->elements, items[i].name);
    }
}

const struct kv_function kv_process_functions[] = {
    {"erlang", "process_info", run_process_info_1, 1, NULL,
     "a list of `{Item, Value}`, or `undefined`"},
    {"erlang", "process_info", run_process_info, 2, NULL,
     "`{Item, Value}`, a list of these, or `undefined`"},
    {"Elixir.Process", "info", run_elixir_info_1, 1, NULL, "as `erlang:process_info/1`, or `nil`"},
    {"Elixir.Process", "info", run_elixir_info, 2, NULL, "as `erlang:process_info/2`, or `nil`"},
    {.module = NULL},
};
