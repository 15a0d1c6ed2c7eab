#include "observe/functions.h"

#include "base/endian.h"
#include "observe/list.h"
#include "process/inspect.h"

/* ---- erlang ---------------------------------------------------------------------------------- */

static int run_node(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    (void)arguments;
    kv_write_atom(value, kv_runtime_node(kv_process_runtime(self)));
    return KV_OK;
}

static void add_pid(void *context, const struct kv_process *process)
{
    struct kv_term_list *list = context;
    struct kv_pid pid = kv_process_pid(process);
    kv_write_pid(&list->elements, &pid);
    list->count++;
}

static int run_processes(struct kv_process *self, struct kv_reader arguments,
                         struct kv_buffer *value)
{
    struct kv_term_list list = {0};
    (void)arguments;
    kv_runtime_each_process(kv_process_runtime(self), add_pid, &list);
    kv_term_list_close(&list, value);
    return KV_OK;
}

static void add_name(void *context, const struct kv_process *process)
{
    struct kv_term_list *list = context;
    struct kv_bytes name = kv_process_name(process);
    if (name.length > 0) {
        kv_write_atom(&list->elements, name);
        list->count++;
    }
}

static int run_registered(struct kv_process *self, struct kv_reader arguments,
                          struct kv_buffer *value)
{
    struct kv_term_list list = {0};
    (void)arguments;
    kv_runtime_each_process(kv_process_runtime(self), add_name, &list);
    kv_term_list_close(&list, value);
    return KV_OK;
}

static void add_node(void *context, struct kv_bytes name)
{
    struct kv_term_list *list = context;
    kv_write_atom(&list->elements, name);
    list->count++;
}

static int run_nodes(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    struct kv_term_list list = {0};
    (void)arguments;
    kv_runtime_each_peer(kv_process_runtime(self), add_node, &list);
    kv_term_list_close(&list, value);
    return KV_OK;
}

static int run_whereis(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    struct kv_bytes name = kv_bytes(NULL, 0);
    struct kv_pid pid;
    int error = kv_read_atom(&arguments, &name);
    if (error == KV_OK && kv_whereis(kv_process_runtime(self), name, &pid)) {
        kv_write_pid(value, &pid);
    } else if (error == KV_OK) {
        kv_write_atom_text(value, "undefined");
    }
    return error;
}

static int run_is_process_alive(struct kv_process *self, struct kv_reader arguments,
                                struct kv_buffer *value)
{
    struct kv_pid pid;
    const struct kv_runtime *runtime = kv_process_runtime(self);
    int error = kv_read_pid(&arguments, &pid);
    if (error == KV_OK && !kv_bytes_equal(pid.node, kv_runtime_node(runtime))) {
        return KV_ETYPE; /* a process of another node is badarg in OTP, too */
    }
    if (error == KV_OK) {
        kv_write_bool(value, kv_is_alive(runtime, &pid));
    }
    return error;
}

/* ---- the list -------------------------------------------------------------------------------- */

static const struct kv_function erlang_functions[] = {
    {"erlang", "is_process_alive", run_is_process_alive, 1},
    {"erlang", "node", run_node, 0},
    {"erlang", "nodes", run_nodes, 0},
    {"erlang", "processes", run_processes, 0},
    {"erlang", "registered", run_registered, 0},
    {"erlang", "whereis", run_whereis, 1},
    {NULL, NULL, NULL, 0},
};

static const struct kv_function *const tables[] = {erlang_functions,    kv_process_functions,
                                                   kv_system_functions, kv_table_functions,
                                                   kv_socket_functions, kv_app_functions};

static const struct kv_function *find(struct kv_bytes module, struct kv_bytes function,
                                      uint32_t arity)
{
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        for (const struct kv_function *one = tables[i]; one->module != NULL; one++) {
            if (one->arity == arity && kv_bytes_is(module, one->module) &&
                kv_bytes_is(function, one->function)) {
                return one;
            }
        }
    }
    return NULL;
}

static bool is_behaviour(const struct kv_behaviour *behaviour, struct kv_bytes module,
                         struct kv_bytes function, uint32_t arity)
{
    return behaviour->arity == arity && kv_bytes_is(module, behaviour->module) &&
           kv_bytes_is(function, behaviour->function);
}

bool kv_function_exists(struct kv_bytes module, struct kv_bytes function, uint32_t arity)
{
    return find(module, function, arity) != NULL ||
           is_behaviour(&kv_procs_info_behaviour, module, function, arity) ||
           is_behaviour(&kv_fetch_stats_behaviour, module, function, arity);
}

/* The first element of a proper list, and how many there are. A list of bytes may come as a string,
 * whose elements no function here wants. */
static struct kv_reader open_arguments(struct kv_bytes arguments, uint32_t *count)
{
    struct kv_reader reader = kv_reader(arguments);
    if (kv_read_peek(&reader) == KV_TAG_STRING) {
        *count = kv_get16(arguments.data + 1);
        return kv_reader(kv_bytes(NULL, 0));
    }
    if (kv_read_list(&reader, count) != KV_OK) {
        *count = UINT32_MAX;
    }
    return reader;
}

int kv_function_apply(struct kv_process *self, const struct kv_call *call, struct kv_buffer *value)
{
    uint32_t count = 0;
    struct kv_reader arguments = open_arguments(call->arguments, &count);
    const struct kv_function *function = find(call->module, call->function, count);
    if (function == NULL) {
        bool closure = kv_bytes_is(call->module, "erlang") && kv_bytes_is(call->function, "apply");
        return closure ? KV_ECLOSURE : KV_ENOENT;
    }
    size_t start = value->length;
    int error = function->run(self, arguments, value);
    if (error != KV_OK) {
        value->length = start;
        return KV_ETYPE;
    }
    return KV_OK;
}
