#include "observe/functions.h"

#include "base/endian.h"
#include "process/inspect.h"

typedef int (*run_function)(struct kv_process *self, struct kv_reader arguments,
                            struct kv_buffer *value);

/* ---- lists of unknown length ----------------------------------------------------------------- */

struct list {
    struct kv_buffer elements;
    uint32_t count;
};

static void close_list(struct list *list, struct kv_buffer *to)
{
    if (list->count > 0) {
        kv_write_list(to, list->count);
        kv_write_term(to, kv_buffer_bytes(&list->elements));
    }
    kv_write_nil(to);
    kv_buffer_free(&list->elements);
}

/* ---- erlang ---------------------------------------------------------------------------------- */

static int run_node(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    (void)arguments;
    kv_write_atom(value, kv_runtime_node(kv_process_runtime(self)));
    return KV_OK;
}

static void add_pid(void *context, const struct kv_process *process)
{
    struct list *list = context;
    struct kv_pid pid = kv_process_pid(process);
    kv_write_pid(&list->elements, &pid);
    list->count++;
}

static int run_processes(struct kv_process *self, struct kv_reader arguments,
                         struct kv_buffer *value)
{
    struct list list = {0};
    (void)arguments;
    kv_runtime_each_process(kv_process_runtime(self), add_pid, &list);
    close_list(&list, value);
    return KV_OK;
}

static void add_name(void *context, const struct kv_process *process)
{
    struct list *list = context;
    struct kv_bytes name = kv_process_name(process);
    if (name.length > 0) {
        kv_write_atom(&list->elements, name);
        list->count++;
    }
}

static int run_registered(struct kv_process *self, struct kv_reader arguments,
                          struct kv_buffer *value)
{
    struct list list = {0};
    (void)arguments;
    kv_runtime_each_process(kv_process_runtime(self), add_name, &list);
    close_list(&list, value);
    return KV_OK;
}

static void add_node(void *context, struct kv_bytes name)
{
    struct list *list = context;
    kv_write_atom(&list->elements, name);
    list->count++;
}

static int run_nodes(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    struct list list = {0};
    (void)arguments;
    kv_runtime_each_peer(kv_process_runtime(self), add_node, &list);
    close_list(&list, value);
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

static const struct {
    const char *module;
    const char *function;
    uint32_t arity;
    run_function run;
} functions[] = {
    {"erlang", "is_process_alive", 1, run_is_process_alive},
    {"erlang", "node", 0, run_node},
    {"erlang", "nodes", 0, run_nodes},
    {"erlang", "processes", 0, run_processes},
    {"erlang", "registered", 0, run_registered},
    {"erlang", "whereis", 1, run_whereis},
};

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
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        if (functions[i].arity == count && kv_bytes_is(call->module, functions[i].module) &&
            kv_bytes_is(call->function, functions[i].function)) {
            return functions[i].run(self, arguments, value);
        }
    }
    bool closure = kv_bytes_is(call->module, "erlang") && kv_bytes_is(call->function, "apply");
    return closure ? KV_ECLOSURE : KV_ENOENT;
}
