/* Calls by name: erpc, rpc and the process `rex`.
 *
 * Since OTP 23 a call is a spawn request for erpc:execute_call/4 with a monitor; the value travels
 * as the reason of the exit. OTP: lib/kernel/src/erpc.erl, execute_call/4 and result/4; rpc.erl,
 * handle_call/3 and handle_info/2. */
#include "observe/functions.h"
#include "observe/observe.h"

#include "process/inspect.h"
#include "process/runtime.h"

/* ---- the outcome of a call ------------------------------------------------------------------- */

/* [{Module, Function, Args, []}]: the stack of a call that got nowhere. */
static void write_stack(struct kv_buffer *to, const struct kv_call *call)
{
    kv_write_list(to, 1);
    kv_write_tuple(to, 4);
    kv_write_atom(to, call->module);
    kv_write_atom(to, call->function);
    kv_write_term(to, call->arguments);
    kv_write_nil(to);
    kv_write_nil(to);
}

static const char *reason_of(int error)
{
    switch (error) {
    case KV_ENOENT:
        return "undef";
    case KV_ECLOSURE:
        return "cannot_run_closures";
    default:
        return "badarg";
    }
}

/* ---- erpc ------------------------------------------------------------------------------------ */

/* Reads Module, Function, Args. */
static int read_call(struct kv_reader *reader, struct kv_call *call)
{
    int error = kv_read_atom(reader, &call->module);
    if (error == KV_OK) {
        error = kv_read_atom(reader, &call->function);
    }
    return error == KV_OK ? kv_read_any(reader, &call->arguments) : error;
}

/* {Res, return, Value}, or {Res, error, Reason, Stack}. */
static void write_outcome(struct kv_process *self, struct kv_bytes res, const struct kv_call *call,
                          struct kv_buffer *to)
{
    struct kv_buffer value = KV_BUFFER_INIT;
    int error = kv_function_apply(self, call, &value);
    kv_write_tuple(to, error == KV_OK ? 3 : 4);
    kv_write_term(to, res);
    if (error == KV_OK) {
        kv_write_atom_text(to, "return");
        kv_write_term(to, kv_buffer_bytes(&value));
    } else {
        kv_write_atom_text(to, "error");
        kv_write_atom_text(to, reason_of(error));
        write_stack(to, call);
    }
    kv_buffer_free(&value);
}

static int bad_arguments(struct kv_buffer *reason)
{
    kv_write_atom_text(reason, "badarg");
    return KV_ETYPE;
}

/* [Res, Module, Function, Args] */
static int execute_call(struct kv_process *self, struct kv_bytes arguments,
                        struct kv_buffer *reason)
{
    uint32_t count = 0;
    struct kv_call call;
    struct kv_bytes res = kv_bytes(NULL, 0);
    struct kv_reader reader = kv_reader(arguments);
    if (kv_read_list(&reader, &count) != KV_OK || kv_read_any(&reader, &res) != KV_OK ||
        read_call(&reader, &call) != KV_OK) {
        return bad_arguments(reason);
    }
    struct kv_buffer outcome = KV_BUFFER_INIT;
    write_outcome(self, res, &call, &outcome);
    kv_process_exit(self, kv_buffer_bytes(&outcome));
    kv_buffer_free(&outcome);
    return KV_OK;
}

/* [Module, Function, Args] */
static int execute_cast(struct kv_process *self, struct kv_bytes arguments,
                        struct kv_buffer *reason)
{
    uint32_t count = 0;
    struct kv_call call;
    struct kv_buffer value = KV_BUFFER_INIT;
    struct kv_reader reader = kv_reader(arguments);
    if (kv_read_list(&reader, &count) != KV_OK || read_call(&reader, &call) != KV_OK) {
        return bad_arguments(reason);
    }
    (void)kv_function_apply(self, &call, &value); /* nobody waits for the value */
    kv_buffer_free(&value);
    kv_process_exit_atom(self, "normal");
    return KV_OK;
}

static const struct kv_behaviour erpc_call = {.module = "erpc",
                                              .function = "execute_call",
                                              .arity = 4,
                                              .state_size = 1,
                                              .init = execute_call,
                                              .handle_call = kv_reply_bad_request};

static const struct kv_behaviour erpc_cast = {.module = "erpc",
                                              .function = "execute_cast",
                                              .arity = 3,
                                              .state_size = 1,
                                              .init = execute_cast,
                                              .handle_call = kv_reply_bad_request};

/* ---- rex ------------------------------------------------------------------------------------- */

/* The value, or {badrpc, {'EXIT', {Reason, Stack}}}. */
static void write_rpc(struct kv_process *self, const struct kv_call *call, struct kv_buffer *to)
{
    int error = kv_function_apply(self, call, to);
    if (error != KV_OK) {
        kv_write_tuple(to, 2);
        kv_write_atom_text(to, "badrpc");
        kv_write_tuple(to, 2);
        kv_write_atom_text(to, "EXIT");
        kv_write_tuple(to, 2);
        kv_write_atom_text(to, reason_of(error));
        write_stack(to, call);
    }
}

/* {Kind, Module, Function, Args, GroupLeader} */
static bool read_request(struct kv_bytes request, const char *kind, struct kv_call *call)
{
    struct kv_reader reader = kv_reader(request);
    return kv_read_tuple_of(&reader, 5) == KV_OK && kv_read_this_atom(&reader, kind) == KV_OK &&
           read_call(&reader, call) == KV_OK;
}

static void rex_call(struct kv_process *self, const struct kv_from *from, struct kv_bytes request)
{
    struct kv_call call;
    if (!read_request(request, "block_call", &call)) {
        kv_reply_bad_request(self, from, request);
        return;
    }
    struct kv_buffer value = KV_BUFFER_INIT;
    write_rpc(self, &call, &value);
    kv_reply(self, from, kv_buffer_bytes(&value));
    kv_buffer_free(&value);
}

/* {sbcast, Name, Message}: answered {rex, Node, Node}, or {rex, Node, {nonexisting_name, Name}}. */
static bool sbcast(struct kv_process *self, const struct kv_pid *caller, struct kv_bytes request)
{
    struct kv_bytes name = kv_bytes(NULL, 0);
    struct kv_bytes message = kv_bytes(NULL, 0);
    struct kv_pid target;
    struct kv_bytes node = kv_runtime_node(kv_process_runtime(self));
    struct kv_reader reader = kv_reader(request);
    if (kv_read_tuple_of(&reader, 3) != KV_OK || kv_read_this_atom(&reader, "sbcast") != KV_OK ||
        kv_read_atom(&reader, &name) != KV_OK || kv_read_any(&reader, &message) != KV_OK) {
        return false;
    }
    struct kv_buffer *answer = kv_process_scratch(self);
    kv_write_tuple(answer, 3);
    kv_write_atom_text(answer, "rex");
    kv_write_atom(answer, node);
    if (kv_whereis(kv_process_runtime(self), name, &target)) {
        kv_send(self, &target, message);
        kv_write_atom(answer, node);
    } else {
        kv_write_tuple(answer, 2);
        kv_write_atom_text(answer, "nonexisting_name");
        kv_write_atom(answer, name);
    }
    kv_send(self, caller, kv_buffer_bytes(answer));
    return true;
}

/* features_request: answered {features_reply, Node, [erpc]}. */
static void tell_features(struct kv_process *self, const struct kv_pid *caller)
{
    struct kv_buffer *answer = kv_process_scratch(self);
    kv_write_tuple(answer, 3);
    kv_write_atom_text(answer, "features_reply");
    kv_write_atom(answer, kv_runtime_node(kv_process_runtime(self)));
    kv_write_list(answer, 1);
    kv_write_atom_text(answer, "erpc");
    kv_write_nil(answer);
    kv_send(self, caller, kv_buffer_bytes(answer));
}

/* {Pid, {call, Module, Function, Args, GroupLeader}}: what C nodes on libei send; answered
 * {rex, Value}. */
static void rex_info(struct kv_process *self, struct kv_bytes message)
{
    struct kv_pid caller;
    struct kv_call call;
    struct kv_bytes request = kv_bytes(NULL, 0);
    struct kv_reader reader = kv_reader(message);
    if (kv_read_tuple_of(&reader, 2) != KV_OK || kv_read_pid(&reader, &caller) != KV_OK ||
        kv_read_any(&reader, &request) != KV_OK) {
        return;
    }
    if (kv_term_is_atom(request, "features_request")) {
        tell_features(self, &caller);
    } else if (read_request(request, "call", &call)) {
        struct kv_buffer answer = KV_BUFFER_INIT;
        kv_write_tuple(&answer, 2);
        kv_write_atom_text(&answer, "rex");
        write_rpc(self, &call, &answer);
        kv_send(self, &caller, kv_buffer_bytes(&answer));
        kv_buffer_free(&answer);
    } else {
        (void)sbcast(self, &caller, request);
    }
}

static const struct kv_behaviour rex = {
    .module = "rex",
    .state_size = 1,
    .init = kv_service_init,
    .handle_call = rex_call,
    .handle_info = rex_info,
};

/* ---- start ----------------------------------------------------------------------------------- */

int kv_observe_start(struct kv_runtime *runtime)
{
    kv_runtime_offer(runtime, &erpc_call);
    kv_runtime_offer(runtime, &erpc_cast);
    kv_runtime_offer(runtime, &kv_fetch_stats_behaviour);
    kv_runtime_offer(runtime, &kv_procs_info_behaviour);
    return kv_runtime_start_service(runtime, &rex);
}
