#include "observe/functions.h"

#include "base/endian.h"
#include "process/runtime.h"

/* ---- the list -------------------------------------------------------------------------------- */

const struct kv_function *const kv_function_tables[] = {kv_node_functions,
                                                        kv_process_functions,
                                                        kv_time_functions,
                                                        kv_item_functions,
                                                        kv_module_functions,
                                                        kv_ask_functions,
                                                        kv_window_functions,
                                                        kv_system_functions,
                                                        kv_table_functions,
                                                        kv_socket_functions,
                                                        kv_app_functions,
                                                        kv_own_functions,
                                                        NULL};

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

/* ---- calls ----------------------------------------------------------------------------------- */

enum {
    NESTED_MAX = 16,            /* calls of apply within each other */
    UNKNOWN_COUNT = UINT32_MAX, /* the arguments are no proper list */
};

/* Opens a proper list at its first element. Sets *count to the number of elements, or to
 * UNKNOWN_COUNT if the term is no proper list. A list of bytes that comes as a string is written
 * out to `bytes`, as far as a function could take it. */
static struct kv_reader open_arguments(struct kv_bytes arguments, struct kv_buffer *bytes,
                                       uint32_t *count)
{
    enum { MOST = 8 };
    struct kv_reader reader = kv_reader(arguments);
    if (kv_read_list_length(arguments, count) != KV_OK) {
        *count = UNKNOWN_COUNT;
    } else if (kv_read_peek(&reader) == KV_TAG_STRING) {
        for (uint32_t i = 0; i < *count && i < MOST; i++) {
            kv_write_u64(bytes, arguments.data[3 + i]);
        }
        reader = kv_reader(kv_buffer_bytes(bytes));
    } else {
        uint32_t same = 0;
        (void)kv_read_list(&reader, &same);
    }
    return reader;
}

static bool is_surveys(const struct kv_function *function, struct kv_reader arguments)
{
    const struct kv_survey *survey = function->survey;
    return survey != NULL &&
           (survey->subject == NULL || kv_read_this_atom(&arguments, survey->subject) == KV_OK);
}

/* fun Module:Function/Arity */
static int read_export(struct kv_reader *reader, struct kv_invocation *call, uint32_t *arity)
{
    if (kv_read_peek(reader) != KV_TAG_EXPORT) {
        return KV_ECLOSURE;
    }
    struct kv_reader inside = *reader;
    inside.offset++;
    if (kv_read_atom(&inside, &call->module) != KV_OK ||
        kv_read_atom(&inside, &call->function) != KV_OK || kv_read_u32(&inside, arity) != KV_OK) {
        return KV_ETYPE;
    }
    return kv_read_any(reader, NULL);
}

/* apply(Fun, Args), where only `fun Module:Function/Arity` can be called. */
static int unwrap_fun(struct kv_reader arguments, struct kv_invocation *call)
{
    uint32_t arity = 0;
    uint32_t count = 0;
    struct kv_invocation inner = {.arguments = {NULL, 0}};
    int error = read_export(&arguments, &inner, &arity);
    if (error == KV_OK) {
        error = kv_read_any(&arguments, &inner.arguments);
    }
    if (error == KV_OK &&
        (kv_read_list_length(inner.arguments, &count) != KV_OK || count != arity)) {
        error = KV_ETYPE;
    }
    if (error == KV_OK) {
        *call = inner;
    }
    return error;
}

/* apply(Module, Function, Args) */
static int unwrap_mfa(struct kv_reader arguments, struct kv_invocation *call)
{
    struct kv_invocation inner = {.arguments = {NULL, 0}};
    if (kv_read_atom(&arguments, &inner.module) != KV_OK ||
        kv_read_atom(&arguments, &inner.function) != KV_OK ||
        kv_read_any(&arguments, &inner.arguments) != KV_OK) {
        return KV_ETYPE;
    }
    *call = inner;
    return KV_OK;
}

static bool is_apply(const struct kv_invocation *call)
{
    return kv_bytes_is(call->function, "apply") &&
           (kv_bytes_is(call->module, "erlang") || kv_bytes_is(call->module, "Elixir.Kernel"));
}

/* Replaces a call of apply/2,3 by the call that is meant. */
static int unwrap(struct kv_invocation *call)
{
    for (unsigned i = 0; is_apply(call); i++) {
        uint32_t count = 0;
        struct kv_reader arguments = kv_reader(call->arguments);
        if (i == NESTED_MAX || kv_read_list(&arguments, &count) != KV_OK) {
            return KV_ETYPE;
        }
        if (count != 2 && count != 3) {
            return KV_OK;
        }
        int error = count == 2 ? unwrap_fun(arguments, call) : unwrap_mfa(arguments, call);
        if (error != KV_OK) {
            return error;
        }
    }
    return KV_OK;
}

static int run(struct kv_process *self, const struct kv_function *function,
               struct kv_reader arguments, struct kv_inquiry *inquiry, struct kv_buffer *value)
{
    if (is_surveys(function, arguments)) {
        return kv_inquiry_begin(self, function->survey, arguments, inquiry);
    }
    size_t start = value->length;
    if (function->run(self, arguments, value) != KV_OK) {
        value->length = start;
        return KV_ETYPE;
    }
    return KV_OK;
}

int kv_function_apply(struct kv_process *self, struct kv_invocation *call,
                      struct kv_inquiry *inquiry, struct kv_buffer *value)
{
    uint32_t count = 0;
    struct kv_buffer bytes = KV_BUFFER_INIT;
    int error = unwrap(call);
    if (error != KV_OK) {
        return error;
    }
    struct kv_reader arguments = open_arguments(call->arguments, &bytes, &count);
    const struct kv_function *function = find(call->module, call->function, count);
    if (count == UNKNOWN_COUNT) {
        error = KV_ETYPE;
    } else if (function == NULL) {
        error = KV_ENOENT;
    } else {
        error = run(self, function, arguments, inquiry, value);
    }
    kv_buffer_free(&bytes);
    return error;
}
