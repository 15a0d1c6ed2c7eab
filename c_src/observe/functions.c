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

#define UNKNOWN_COUNT UINT32_MAX /* the arguments are no proper list */

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

/* apply(Fun, Args), where only `fun Module:Function/Arity` can be called. Stops before Args, of
 * whose length only the beginning is read. */
static int read_fun(struct kv_reader *arguments, struct kv_invocation *call)
{
    uint32_t arity = 0;
    uint32_t count = 0;
    int error = read_export(arguments, call, &arity);
    if (error != KV_OK) {
        return error;
    }
    struct kv_reader ahead = *arguments;
    if (kv_read_peek(&ahead) == KV_TAG_STRING) {
        count = kv_get16(ahead.data + ahead.offset + 1);
    } else if (kv_read_list(&ahead, &count) != KV_OK) {
        return KV_ETYPE;
    }
    return count == arity ? KV_OK : KV_ETYPE;
}

/* apply(Module, Function, Args). Stops before Args. */
static int read_mfa(struct kv_reader *arguments, struct kv_invocation *call)
{
    return kv_read_atom(arguments, &call->module) == KV_OK &&
                   kv_read_atom(arguments, &call->function) == KV_OK
               ? KV_OK
               : KV_ETYPE;
}

static bool is_apply(const struct kv_invocation *call)
{
    return kv_bytes_is(call->function, "apply") &&
           (kv_bytes_is(call->module, "erlang") || kv_bytes_is(call->module, "Elixir.Kernel"));
}

/* Goes from the arguments of a call of apply/2,3 to those of the call that it names: from
 * [Module, Function, Args] to Args. KV_ENOENT: the call is of no such apply. */
static int enter(struct kv_reader *reader, struct kv_invocation *call)
{
    uint32_t count = 0;
    struct kv_invocation named = {.arguments = {NULL, 0}};
    struct kv_reader ahead = *reader;
    if (!is_apply(call)) {
        return KV_ENOENT;
    }
    if (kv_read_list(&ahead, &count) != KV_OK) {
        return KV_ETYPE;
    }
    if (count != 2 && count != 3) {
        return KV_ENOENT;
    }
    int error = count == 2 ? read_fun(&ahead, &named) : read_mfa(&ahead, &named);
    if (error == KV_OK) {
        *call = named;
        *reader = ahead;
    }
    return error;
}

/* Replaces a call of apply/2,3 by the call that is meant, at any depth. A peer may nest deeply, so
 * every byte is read once: the lists are entered one after the other, and left in the same way to
 * see that each is proper. On an error *call is the call that is wrong. */
static int unwrap(struct kv_invocation *call)
{
    struct kv_reader reader = kv_reader(call->arguments);
    struct kv_invocation inner = *call;
    size_t levels = 0;
    int error;
    while ((error = enter(&reader, &inner)) == KV_OK) {
        levels++;
    }
    if (kv_read_any(&reader, &inner.arguments) != KV_OK) {
        return KV_ETYPE;
    }
    for (; levels > 0; levels--) {
        if (kv_read_nil(&reader) != KV_OK) {
            return KV_ETYPE; /* [Module, Function, Args | Tail], somewhere in *call */
        }
    }
    *call = inner;
    return error == KV_ENOENT ? KV_OK : error;
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
