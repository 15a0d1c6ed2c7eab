/* The window of one process: the calls of Observer beside erlang:process_info/2.
 *
 * OTP: lib/observer/src/observer_procinfo.erl, fetch_state_info/1. */
#include "observe/ask.h"
#include "observe/functions.h"
#include "observe/process_terms.h"

enum { STATE_MAX = 64 << 10 }; /* bytes; the state of a larger process is not shown whole */

/* #{label, size, memory, operations, queue, entries}. A viewer keeps and draws all that it is sent,
 * so this is short. */
static void write_table_state(struct kv_buffer *to, const struct kv_process *process,
                              const struct kv_process_info *info)
{
    enum { KEYS = 6 };
    struct kv_term_list entries = {0};
    kv_write_map(to, KEYS);
    kv_write_atom_text(to, "label");
    kv_write_label(to, info);
    kv_write_atom_text(to, "size");
    kv_write_u64(to, info->view->count(process));
    kv_write_atom_text(to, "memory");
    kv_write_u64(to, info->memory);
    kv_write_atom_text(to, "operations");
    kv_write_u64(to, info->reductions);
    kv_write_atom_text(to, "queue");
    kv_write_u64(to, info->queue);
    kv_write_atom_text(to, "entries");
    kv_add_peek(&entries, process, info->view);
    kv_term_list_close(&entries, to);
}

/* Appends the state that a viewer gets; nothing if it may have the whole state. */
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

/* The status that sys:get_status/2 tells of a process that has just ended. Observer calls it, and
 * an exit, as on a BEAM, would crash the window and all of Observer with it. */
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

static void write_status(struct kv_buffer *to, struct kv_process *process)
{
    struct kv_buffer state = KV_BUFFER_INIT;
    struct kv_buffer requests = KV_BUFFER_INIT;
    write_shown_state(&state, process);
    kv_write_requests(&requests, process);
    struct kv_shown shown = {kv_buffer_bytes(&state), kv_buffer_bytes(&requests)};
    kv_process_write_status(process, &shown, to);
    kv_recent_want(process);
    kv_buffer_free(&state);
    kv_buffer_free(&requests);
}

/* sys:get_status/1,2, called by name; the time-out is for processes that hang. The system message
 * that they send on a BEAM gets the whole state. The status waits in the list of the findings. */
static int begin_status(struct kv_process *self, struct kv_reader arguments,
                        struct kv_inquiry *inquiry, uint32_t count)
{
    struct kv_pid pid;
    struct kv_buffer *status = &inquiry->findings.list.elements;
    const uint8_t *first = arguments.data + arguments.offset;
    struct kv_reader ahead = arguments;
    bool by_pid = kv_read_pid(&ahead, &pid) == KV_OK;
    if (kv_ask_read_server(&arguments, self, &pid) != KV_OK ||
        (count == 2 && kv_read_any(&arguments, NULL) != KV_OK)) {
        return KV_ETYPE;
    }
    size_t length = (size_t)(arguments.data + arguments.offset - first);
    struct kv_process *process = kv_process_at(kv_process_runtime(self), &pid);
    if (process != NULL) {
        write_status(status, process);
    } else if (by_pid && count == 2) {
        write_no_status(status);
    } else {
        kv_ask_dead(self, &pid, inquiry, "sys", "get_status", kv_bytes(first, length), count);
    }
    return KV_OK;
}

static int begin_status_1(struct kv_process *self, struct kv_reader arguments,
                          struct kv_inquiry *inquiry)
{
    return begin_status(self, arguments, inquiry, 1);
}

static int begin_status_2(struct kv_process *self, struct kv_reader arguments,
                          struct kv_inquiry *inquiry)
{
    return begin_status(self, arguments, inquiry, 2);
}

static void finish_status(struct kv_process *self, struct kv_findings *findings,
                          struct kv_buffer *value)
{
    (void)self;
    kv_write_term(value, kv_buffer_bytes(&findings->list.elements));
}

static const struct kv_survey get_status = {.begin = begin_status_1, .finish = finish_status};
static const struct kv_survey get_status_timed = {.begin = begin_status_2, .finish = finish_status};

static bool has_attributes(const struct kv_process *self, const char *module)
{
    const struct kv_world *world = kv_process_context(self);
    return world->has_function(kv_bytes_text(module), kv_bytes_text("module_info"), 1);
}

/* The answer of proc_lib:translate_initial_call/1. Observer then asks for the attributes of that
 * module, and crashes if they are no list. It does not ask for those of proc_lib. */
static int run_translate(struct kv_process *self, struct kv_reader arguments,
                         struct kv_buffer *value)
{
    struct kv_process *process = NULL;
    struct kv_process_info info;
    int error = kv_read_process(self, &arguments, &process);
    if (error != KV_OK) {
        return error;
    }
    if (process != NULL) {
        kv_process_inspect(process, &info);
    }
    if (process != NULL && has_attributes(self, info.module)) {
        kv_write_initial_call(value, &info);
    } else {
        kv_write_mfa(value, "proc_lib", "init_p", 5);
    }
    return KV_OK;
}

static int run_get_label(struct kv_process *self, struct kv_reader arguments,
                         struct kv_buffer *value)
{
    struct kv_process *process = NULL;
    struct kv_process_info info = {0};
    int error = kv_read_process(self, &arguments, &process);
    if (error == KV_OK && process != NULL) {
        kv_process_inspect(process, &info);
    }
    if (error == KV_OK) {
        kv_write_label(value, &info);
    }
    return error;
}

/* There is no garbage to collect. Answers true, as for a process of a BEAM, or false for a dead
 * one. */
static int run_garbage_collect(struct kv_process *self, struct kv_reader arguments,
                               struct kv_buffer *value)
{
    struct kv_process *process = NULL;
    int error = kv_read_process(self, &arguments, &process);
    if (error == KV_OK) {
        kv_write_bool(value, process != NULL);
    }
    return error;
}

/* [{behaviour, [gen_server]}]: the part of Module:module_info(attributes) that Observer reads. */
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

const struct kv_function kv_window_functions[] = {
    {"erlang", "garbage_collect", run_garbage_collect, 1, NULL,
     "`true` if the process lives; there is no garbage to collect"},
    {"proc_lib", "translate_initial_call", run_translate, 1, NULL,
     "`{Module, init, 1}` of a process, for Observer"},
    {"proc_lib", "get_label", run_get_label, 1, NULL,
     "the name of a bucket or registry, a binary, or `undefined`"},
    {"sys", "get_status", NULL, 1, &get_status,
     "the status of a process, by pid or name, without a large state"},
    {"sys", "get_status", NULL, 2, &get_status_timed,
     "the same; the time-out is ignored, and a dead pid has the status `terminated`"},
    {"appmon_info", "module_info", run_attributes, 1, NULL,
     "`[{behaviour, [gen_server]}]` for `attributes`, for Observer"},
    {"erpc", "module_info", run_attributes, 1, NULL,
     "`[{behaviour, [gen_server]}]` for `attributes`, for Observer"},
    {"kv_bucket", "module_info", run_attributes, 1, NULL,
     "`[{behaviour, [gen_server]}]` for `attributes`, for Observer"},
    {"kv_registry", "module_info", run_attributes, 1, NULL,
     "`[{behaviour, [gen_server]}]` for `attributes`, for Observer"},
    {"net_kernel", "module_info", run_attributes, 1, NULL,
     "`[{behaviour, [gen_server]}]` for `attributes`, for Observer"},
    {"observer_backend", "module_info", run_attributes, 1, NULL,
     "`[{behaviour, [gen_server]}]` for `attributes`, for Observer"},
    {"rex", "module_info", run_attributes, 1, NULL,
     "`[{behaviour, [gen_server]}]` for `attributes`, for Observer"},
    {.module = NULL},
};
