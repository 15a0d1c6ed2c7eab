#include "observe/functions.h"

#include "base/endian.h"
#include "process/runtime.h"

/* ---- erlang ---------------------------------------------------------------------------------- */

static int run_node(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    (void)arguments;
    kv_write_atom(value, kv_runtime_node(kv_process_runtime(self)));
    return KV_OK;
}

static void add_pid(void *context, const struct kv_process *process)
{
    struct kv_findings *findings = context;
    struct kv_pid pid = kv_process_pid(process);
    kv_write_pid(&findings->list.elements, &pid);
    findings->list.count++;
}

static void add_name(void *context, const struct kv_process *process)
{
    struct kv_findings *findings = context;
    struct kv_bytes name = kv_process_name(process);
    if (name.length > 0) {
        kv_write_atom(&findings->list.elements, name);
        findings->list.count++;
    }
}

static void finish_list(struct kv_process *self, struct kv_findings *findings,
                        struct kv_buffer *value)
{
    (void)self;
    kv_term_list_close(&findings->list, value);
}

static const struct kv_survey processes = {.visit = add_pid, .finish = finish_list};
static const struct kv_survey registered = {.visit = add_name, .finish = finish_list};

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
        return KV_ETYPE; /* OTP, too, answers badarg for a process of another node */
    }
    if (error == KV_OK) {
        kv_write_bool(value, kv_is_alive(runtime, &pid));
    }
    return error;
}

/* ---- the list -------------------------------------------------------------------------------- */

const struct kv_function kv_node_functions[] = {
    {"erlang", "is_process_alive", run_is_process_alive, 1, NULL},
    {"erlang", "node", run_node, 0, NULL},
    {"erlang", "nodes", run_nodes, 0, NULL},
    {"erlang", "processes", NULL, 0, &processes},
    {"erlang", "registered", NULL, 0, &registered},
    {"erlang", "whereis", run_whereis, 1, NULL},
    {NULL, NULL, NULL, 0, NULL},
};

const struct kv_function *const kv_function_tables[] = {
    kv_node_functions,   kv_process_functions, kv_window_functions,
    kv_system_functions, kv_table_functions,   kv_socket_functions,
    kv_app_functions,    kv_own_functions,     NULL};

static const struct kv_function *find(struct kv_bytes module, struct kv_bytes function,
                                      uint32_t arity)
{
    for (size_t i = 0; kv_function_tables[i] != NULL; i++) {
        for (const struct kv_function *one = kv_function_tables[i]; one->module != NULL; one++) {
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
           is_behaviour(&kv_fetch_stats_behaviour, module, function, arity) ||
           is_behaviour(&kv_processes_behaviour, module, function, arity);
}

/* Opens a proper list at its first element. Sets *count to the number of elements, or to UINT32_MAX
 * if the term is no proper list. A list of bytes comes as a string; no function here takes one. */
static struct kv_reader open_arguments(struct kv_bytes arguments, uint32_t *count)
{
    struct kv_reader reader = kv_reader(arguments);
    if (kv_read_peek(&reader) == KV_TAG_STRING) {
        *count = kv_get16(arguments.data + 1);
        return reader;
    }
    if (kv_read_list(&reader, count) != KV_OK) {
        *count = UINT32_MAX;
    }
    struct kv_reader tail = reader;
    for (uint32_t i = 0; *count != UINT32_MAX && i < *count; i++) {
        (void)kv_read_any(&tail, NULL);
    }
    if (*count > 0 && kv_read_nil(&tail) != KV_OK) {
        *count = UINT32_MAX;
    }
    return reader;
}

static bool is_surveys(const struct kv_function *function, struct kv_reader arguments)
{
    const struct kv_survey *survey = function->survey;
    return survey != NULL &&
           (survey->subject == NULL || kv_read_this_atom(&arguments, survey->subject) == KV_OK);
}

static int find_error(const struct kv_invocation *call, uint32_t count)
{
    if (count == UINT32_MAX) {
        return KV_ETYPE;
    }
    bool closure = kv_bytes_is(call->module, "erlang") && kv_bytes_is(call->function, "apply");
    return closure ? KV_ECLOSURE : KV_ENOENT;
}

int kv_function_apply(struct kv_process *self, const struct kv_invocation *call,
                      struct kv_inquiry *inquiry, struct kv_buffer *value)
{
    uint32_t count = 0;
    struct kv_reader arguments = open_arguments(call->arguments, &count);
    const struct kv_function *function = find(call->module, call->function, count);
    if (function == NULL) {
        return find_error(call, count);
    }
    if (count > 0 && arguments.offset == 0) {
        return KV_ETYPE; /* a string */
    }
    if (is_surveys(function, arguments)) {
        inquiry->survey = function->survey;
        kv_walk_begin(&inquiry->walk, kv_process_runtime(self));
        return KV_OK;
    }
    size_t start = value->length;
    if (function->run(self, arguments, value) != KV_OK) {
        value->length = start;
        return KV_ETYPE;
    }
    return KV_OK;
}
