/* Elixir: lib/elixir/lib/agent/server.ex, handle_call/3 and run/2, which puts the state in front of
 * the arguments. */
#include "kv/agent.h"
#include "kv/bucket.h"
#include "kv/kv.h"

#include <kv/log.h>

#include "base/endian.h"

const struct kv_agent_function kv_agent_functions[] = {
    {"Elixir.Map", "get", KV_AGENT_GET, 1, "get"},
    {"Elixir.Map", "get", KV_AGENT_GET, 2, "get"},
    {"Elixir.Map", "fetch", KV_AGENT_GET, 1, "fetch"},
    {"Elixir.Map", "has_key?", KV_AGENT_GET, 1, "has_key"},
    {"Elixir.Map", "keys", KV_AGENT_GET, 0, "keys"},
    {"Elixir.Map", "values", KV_AGENT_GET, 0, "values"},
    {"Elixir.Map", "to_list", KV_AGENT_GET, 0, "to_list"},
    {"Elixir.Function", "identity", KV_AGENT_GET, 0, "to_map"},
    {"Elixir.Kernel", "map_size", KV_AGENT_GET, 0, "size"},
    {"erlang", "map_size", KV_AGENT_GET, 0, "size"},
    {"maps", "size", KV_AGENT_GET, 0, "size"},
    {"maps", "keys", KV_AGENT_GET, 0, "keys"},
    {"maps", "values", KV_AGENT_GET, 0, "values"},
    {"maps", "to_list", KV_AGENT_GET, 0, "to_list"},
    {"Elixir.Map", "put", KV_AGENT_UPDATE, 2, "put"},
    {"Elixir.Map", "put_new", KV_AGENT_UPDATE, 2, "put_new"},
    {"Elixir.Map", "delete", KV_AGENT_UPDATE, 1, "delete"},
    {"Elixir.Map", "pop", KV_AGENT_GET_AND_UPDATE, 1, "delete"},
    {"Elixir.Map", "pop", KV_AGENT_GET_AND_UPDATE, 2, "delete"},
    {NULL, NULL, KV_AGENT_GET, 0, NULL},
};

/* ---- reading {Module, Function, Arguments} ----------------------------------------------------
 */

struct call {
    struct kv_bytes module;
    struct kv_bytes function;
    struct kv_bytes arguments[KV_ARGUMENTS_MAX];
    uint32_t count;
    struct kv_buffer bytes; /* the arguments as terms, if the list came as a string */
};

static bool read_string(struct kv_bytes string, struct call *call)
{
    enum { HEADER = 3 };
    call->count = kv_get16(string.data + 1);
    if (call->count > KV_ARGUMENTS_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < call->count; i++) {
        kv_write_u64(&call->bytes, string.data[HEADER + i]);
    }
    struct kv_reader reader = kv_reader(kv_buffer_bytes(&call->bytes));
    for (uint32_t i = 0; i < call->count; i++) {
        (void)kv_read_any(&reader, &call->arguments[i]);
    }
    return true;
}

static bool read_list(struct kv_bytes list, struct call *call)
{
    struct kv_reader reader = kv_reader(list);
    if (kv_read_list(&reader, &call->count) != KV_OK || call->count > KV_ARGUMENTS_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < call->count; i++) {
        (void)kv_read_any(&reader, &call->arguments[i]);
    }
    return call->count == 0 || kv_read_nil(&reader) == KV_OK;
}

static bool read_call(struct kv_bytes term, struct call *call)
{
    struct kv_bytes list;
    struct kv_reader reader = kv_reader(term);
    if (kv_read_tuple_of(&reader, 3) != KV_OK || kv_read_atom(&reader, &call->module) != KV_OK ||
        kv_read_atom(&reader, &call->function) != KV_OK || kv_read_any(&reader, &list) != KV_OK) {
        return false;
    }
    return list.data[0] == KV_TAG_STRING ? read_string(list, call) : read_list(list, call);
}

/* Returns true if Agent would run the term: a fun or {Module, Function, List}. */
static bool is_function(struct kv_bytes term)
{
    struct kv_bytes text;
    uint32_t count = 0;
    struct kv_reader reader = kv_reader(term);
    uint8_t tag = kv_read_peek(&reader);
    if (tag == KV_TAG_NEW_FUN || tag == KV_TAG_EXPORT) {
        return true;
    }
    return kv_read_tuple_of(&reader, 3) == KV_OK && kv_read_atom(&reader, &text) == KV_OK &&
           kv_read_atom(&reader, &text) == KV_OK &&
           (kv_read_peek(&reader) == KV_TAG_STRING || kv_read_list(&reader, &count) == KV_OK);
}

/* ---- the door ----------------------------------------------------------------------------------
 */

static const struct kv_operation *find(const struct kv_process *self, enum kv_agent_kind kind,
                                       const struct call *call)
{
    for (const struct kv_agent_function *row = kv_agent_functions; row->module != NULL; row++) {
        if (row->kind == kind && row->arity == call->count &&
            kv_bytes_is(call->module, row->module) && kv_bytes_is(call->function, row->function)) {
            return kv_dispatch_find(&kv_store_of(self)->bucket, kv_bytes_text(row->operation),
                                    row->arity, KV_BY_AGENT);
        }
    }
    return NULL;
}

/* Runs the function in the first argument. Returns KV_ECLOSURE, and does nothing, if no operation
 * stands for the function. */
static int run(struct kv_process *self, enum kv_agent_kind kind, const struct kv_asked *asked,
               struct kv_answer *answer)
{
    struct call call = {.bytes = KV_BUFFER_INIT};
    const bool unheard = answer->unheard;
    int error = KV_ECLOSURE;
    const struct kv_operation *operation =
        read_call(asked->arguments[0], &call) ? find(self, kind, &call) : NULL;
    if (operation != NULL) {
        struct kv_asked inner = *asked;
        inner.arguments = call.arguments;
        answer->unheard = unheard || kind == KV_AGENT_UPDATE;
        error = operation->run(self, &inner, answer);
        answer->unheard = unheard;
        if ((operation->traits & KV_BY_KEY) == 0) {
            const struct kv_bucket *bucket = kv_process_const_state(self);
            kv_contents_tell_all(&bucket->contents);
        }
    }
    if (error == KV_OK && kind == KV_AGENT_UPDATE) {
        kv_answer_drop(answer);
        (void)kv_answer_atom(answer, "ok");
    }
    kv_answer_settle(answer); /* the value may be borrowed from `bytes` */
    kv_buffer_free(&call.bytes);
    return error;
}

static int answer_closure(struct kv_answer *answer)
{
    kv_write_tuple(answer->term, 2);
    kv_write_atom_text(answer->term, "error");
    kv_write_tuple(answer->term, 2);
    kv_write_atom_text(answer->term, "cannot_run_closures");
    kv_write_binary_text(answer->term,
                         "a native process has no code to run this with: ask with data, such as "
                         "KV.Bucket.get/2, or with a function that docs/differences.md lists");
    return KV_ECLOSURE;
}

static int run_or_tell(struct kv_process *self, enum kv_agent_kind kind,
                       const struct kv_asked *asked, struct kv_answer *answer)
{
    int error = run(self, kind, asked, answer);
    return error == KV_ECLOSURE ? answer_closure(answer) : error;
}

/* {get, Fun} from Agent, or {get, Key}. A key that looks like a function needs {get, Key, Default}.
 */
static int get(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    return is_function(asked->arguments[0]) ? run_or_tell(self, KV_AGENT_GET, asked, answer)
                                            : kv_bucket_get(self, asked, answer);
}

static int update(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    return run_or_tell(self, KV_AGENT_UPDATE, asked, answer);
}

static int get_and_update(struct kv_process *self, const struct kv_asked *asked,
                          struct kv_answer *answer)
{
    return run_or_tell(self, KV_AGENT_GET_AND_UPDATE, asked, answer);
}

static int cast(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    int error = run(self, KV_AGENT_UPDATE, asked, answer);
    if (error == KV_ECLOSURE) {
        kv_log_line(kv_process_runtime(self), KV_LOG_WARNING,
                    "a bucket dropped a cast with a fun: native processes cannot run closures");
        return KV_OK;
    }
    return error;
}

const struct kv_operation kv_agent_operations[] = {
    KV_OPERATION("get", 1, KV_BY_CALL, KV_BY_KEY, get, "0.1.0"),
    KV_OPERATION("update", 1, KV_BY_CALL, KV_CHANGES | KV_BOUNDED | KV_BY_KEY, update, "0.1.0"),
    KV_OPERATION("get_and_update", 1, KV_BY_CALL, KV_CHANGES | KV_BOUNDED | KV_BY_KEY,
                 get_and_update, "0.1.0"),
    KV_OPERATION("cast", 1, KV_BY_CAST, KV_CHANGES | KV_BOUNDED | KV_BY_KEY, cast, "0.1.0"),
    KV_NO_OPERATION,
};
