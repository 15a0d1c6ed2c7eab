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

enum { SHOWN_ARGUMENTS_MAX = 64 << 10 }; /* bytes of arguments that an error repeats */

/* A stack may have the arguments, or their number if they are large. */
static void write_arguments(struct kv_buffer *to, struct kv_bytes arguments)
{
    uint32_t count = 0;
    struct kv_reader reader = kv_reader(arguments);
    if (arguments.length <= SHOWN_ARGUMENTS_MAX) {
        kv_write_term(to, arguments);
    } else {
        (void)kv_read_list(&reader, &count);
        kv_write_u64(to, count);
    }
}

/* [{Module, Function, Args, []}]: the stack of a call that did not run. */
static void write_stack(struct kv_buffer *to, const struct kv_invocation *call)
{
    kv_write_list(to, 1);
    kv_write_tuple(to, 4);
    kv_write_atom(to, call->module);
    kv_write_atom(to, call->function);
    write_arguments(to, call->arguments);
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
static int read_call(struct kv_reader *reader, struct kv_invocation *call)
{
    int error = kv_read_atom(reader, &call->module);
    if (error == KV_OK) {
        error = kv_read_atom(reader, &call->function);
    }
    return error == KV_OK ? kv_read_any(reader, &call->arguments) : error;
}

/* A call at work, in the process that was started for it. */
struct work {
    struct kv_inquiry inquiry;
    struct kv_buffer to; /* a term with the address of the answer */
    bool block;          /* rex: `to` is a From */
};

static void work_terminate(struct kv_process *self, struct kv_bytes reason)
{
    struct work *work = kv_process_state(self);
    (void)reason;
    kv_inquiry_end(&work->inquiry);
    kv_buffer_free(&work->to);
}

/* Works at a survey for one turn, and answers once the survey is done. */
static void work_on(struct kv_process *self,
                    void (*answer)(struct kv_process *self, struct kv_bytes value))
{
    struct work *work = kv_process_state(self);
    struct kv_buffer value = KV_BUFFER_INIT;
    if (kv_inquiry_step(self, &work->inquiry, &value)) {
        answer(self, kv_buffer_bytes(&value));
    } else {
        kv_process_set_timer(self, 0);
    }
    kv_buffer_free(&value);
}

/* Ends with {Res, return, Value}. */
static void return_value(struct kv_process *self, struct kv_bytes value)
{
    const struct work *work = kv_process_state(self);
    struct kv_buffer outcome = KV_BUFFER_INIT;
    kv_write_tuple(&outcome, 3);
    kv_write_term(&outcome, kv_buffer_bytes(&work->to));
    kv_write_atom_text(&outcome, "return");
    kv_write_term(&outcome, value);
    kv_process_exit(self, kv_buffer_bytes(&outcome));
    kv_buffer_free(&outcome);
}

/* Ends with {Res, error, Reason, Stack}. */
static void return_error(struct kv_process *self, const struct kv_invocation *call, int error)
{
    const struct work *work = kv_process_state(self);
    struct kv_buffer outcome = KV_BUFFER_INIT;
    kv_write_tuple(&outcome, 4);
    kv_write_term(&outcome, kv_buffer_bytes(&work->to));
    kv_write_atom_text(&outcome, "error");
    kv_write_atom_text(&outcome, reason_of(error));
    write_stack(&outcome, call);
    kv_process_exit(self, kv_buffer_bytes(&outcome));
    kv_buffer_free(&outcome);
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
    struct kv_invocation call;
    struct kv_bytes res = kv_bytes(NULL, 0);
    struct kv_reader reader = kv_reader(arguments);
    if (kv_read_list(&reader, &count) != KV_OK || count != 4 ||
        kv_read_any(&reader, &res) != KV_OK || read_call(&reader, &call) != KV_OK) {
        return bad_arguments(reason);
    }
    struct work *work = kv_process_state(self);
    struct kv_buffer value = KV_BUFFER_INIT;
    kv_write_term(&work->to, res);
    int error = kv_function_apply(self, &call, &work->inquiry, &value);
    if (error != KV_OK) {
        return_error(self, &call, error);
    } else if (work->inquiry.survey != NULL) {
        work_on(self, return_value);
    } else {
        return_value(self, kv_buffer_bytes(&value));
    }
    kv_buffer_free(&value);
    return KV_OK;
}

static void execute_on(struct kv_process *self, uint64_t tag)
{
    (void)tag;
    work_on(self, return_value);
}

/* [Module, Function, Args] */
static int execute_cast(struct kv_process *self, struct kv_bytes arguments,
                        struct kv_buffer *reason)
{
    uint32_t count = 0;
    struct kv_invocation call;
    struct kv_buffer value = KV_BUFFER_INIT;
    struct kv_reader reader = kv_reader(arguments);
    if (kv_read_list(&reader, &count) != KV_OK || count != 3 ||
        read_call(&reader, &call) != KV_OK) {
        return bad_arguments(reason);
    }
    struct kv_inquiry inquiry = {.survey = NULL}; /* nobody waits for the result of a survey */
    (void)kv_function_apply(self, &call, &inquiry, &value);
    kv_inquiry_end(&inquiry);
    kv_buffer_free(&value);
    kv_process_exit_atom(self, "normal");
    return KV_OK;
}

static const struct kv_behaviour erpc_call = {.module = "erpc",
                                              .function = "execute_call",
                                              .arity = 4,
                                              .state_size = sizeof(struct work),
                                              .init = execute_call,
                                              .handle_call = kv_reply_bad_request,
                                              .handle_timer = execute_on,
                                              .terminate = work_terminate};

static const struct kv_behaviour erpc_cast = {.module = "erpc",
                                              .function = "execute_cast",
                                              .arity = 3,
                                              .state_size = 1,
                                              .init = execute_cast,
                                              .handle_call = kv_reply_bad_request};

/* ---- rex ------------------------------------------------------------------------------------- */

/* Sends Value to the From of a block_call, or {rex, Value} to the pid of a call. Then the process
 * ends. */
static void rex_answer(struct kv_process *self, struct kv_bytes value)
{
    const struct work *work = kv_process_state(self);
    struct kv_bytes to = kv_buffer_bytes(&work->to);
    struct kv_from from;
    if (work->block && kv_from_read(to, &from) == KV_OK) {
        kv_reply(self, &from, value);
    } else {
        struct kv_buffer answer = KV_BUFFER_INIT;
        kv_write_tuple(&answer, 2);
        kv_write_atom_text(&answer, "rex");
        kv_write_term(&answer, value);
        kv_send_to(self, to, kv_buffer_bytes(&answer));
        kv_buffer_free(&answer);
    }
    kv_process_exit_atom(self, "normal");
}

/* {badrpc, {'EXIT', {Reason, Stack}}} */
static void write_badrpc(const struct kv_invocation *call, int error, struct kv_buffer *to)
{
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "badrpc");
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "EXIT");
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, reason_of(error));
    write_stack(to, call);
}

/* {Block, To, {Kind, Module, Function, Args, GroupLeader}}, made by rex_work(). */
static int rex_work_init(struct kv_process *self, struct kv_bytes argument,
                         struct kv_buffer *reason)
{
    struct work *work = kv_process_state(self);
    struct kv_bytes to = kv_bytes(NULL, 0);
    struct kv_invocation call = {.arguments = {NULL, 0}};
    struct kv_buffer value = KV_BUFFER_INIT;
    struct kv_reader reader = kv_reader(argument);
    (void)reason;
    (void)kv_read_tuple_of(&reader, 3);
    work->block = kv_read_this_atom(&reader, "true") == KV_OK;
    if (!work->block) {
        (void)kv_read_any(&reader, NULL);
    }
    (void)kv_read_any(&reader, &to);
    kv_write_term(&work->to, to);
    (void)kv_read_tuple_of(&reader, 5);
    (void)kv_read_any(&reader, NULL);
    (void)read_call(&reader, &call);
    int error = kv_function_apply(self, &call, &work->inquiry, &value);
    if (error != KV_OK) {
        write_badrpc(&call, error, &value);
    }
    if (work->inquiry.survey != NULL) {
        work_on(self, rex_answer);
    } else {
        rex_answer(self, kv_buffer_bytes(&value));
    }
    kv_buffer_free(&value);
    return KV_OK;
}

static void rex_work_on(struct kv_process *self, uint64_t tag)
{
    (void)tag;
    work_on(self, rex_answer);
}

static const struct kv_behaviour rex_worker = {
    .module = "rex",
    .function = "call",
    .state_size = sizeof(struct work),
    .init = rex_work_init,
    .handle_call = kv_reply_bad_request,
    .handle_timer = rex_work_on,
    .terminate = work_terminate,
};

/* Starts a process for the call, so that rex goes on serving. */
static void rex_work(struct kv_process *self, bool block, struct kv_bytes to,
                     struct kv_bytes request)
{
    struct kv_pid pid;
    struct kv_buffer argument = KV_BUFFER_INIT;
    struct kv_buffer reason = KV_BUFFER_INIT;
    kv_write_tuple(&argument, 3);
    kv_write_bool(&argument, block);
    kv_write_term(&argument, to);
    kv_write_term(&argument, request);
    (void)kv_spawn(kv_process_runtime(self), &rex_worker, kv_buffer_bytes(&argument), &pid,
                   &reason);
    kv_buffer_free(&argument);
    kv_buffer_free(&reason);
}

/* {Kind, Module, Function, Args, GroupLeader} */
static bool is_call(struct kv_bytes request, const char *kind)
{
    struct kv_invocation call;
    struct kv_reader reader = kv_reader(request);
    return kv_read_tuple_of(&reader, 5) == KV_OK && kv_read_this_atom(&reader, kind) == KV_OK &&
           read_call(&reader, &call) == KV_OK;
}

static void rex_call(struct kv_process *self, const struct kv_from *from, struct kv_bytes request)
{
    if (is_call(request, "block_call")) {
        rex_work(self, true, from->bytes, request);
    } else {
        kv_reply_bad_request(self, from, request);
    }
}

/* {sbcast, Name, Message} is answered {rex, Node, Node} or {rex, Node, {nonexisting_name, Name}}.
 */
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

/* features_request is answered {features_reply, Node, [erpc]}. */
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

/* {Pid, {call, Module, Function, Args, GroupLeader}}, as C nodes on libei send it. The answer is
 * {rex, Value}. */
static void rex_info(struct kv_process *self, struct kv_bytes message)
{
    struct kv_pid caller;
    struct kv_bytes pid = kv_bytes(NULL, 0);
    struct kv_bytes request = kv_bytes(NULL, 0);
    struct kv_reader reader = kv_reader(message);
    if (kv_read_tuple_of(&reader, 2) != KV_OK || kv_read_any(&reader, &pid) != KV_OK ||
        kv_read_any(&reader, &request) != KV_OK) {
        return;
    }
    struct kv_reader pid_reader = kv_reader(pid);
    if (kv_read_pid(&pid_reader, &caller) != KV_OK) {
        return;
    }
    if (kv_term_is_atom(request, "features_request")) {
        tell_features(self, &caller);
    } else if (is_call(request, "call")) {
        rex_work(self, false, pid, request);
    } else {
        (void)sbcast(self, &caller, request);
    }
}

/* {badrpc, Why} */
static void write_refused(struct kv_buffer *to, struct kv_bytes why)
{
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "badrpc");
    kv_write_term(to, why);
}

/* {Pid, {call, ...}} is answered {rex, {badrpc, Why}}. {Pid, {sbcast, Name, ...}} is answered that
 * nobody got the message. */
static bool refuse_info(struct kv_process *self, struct kv_bytes to, struct kv_bytes request,
                        struct kv_bytes why)
{
    struct kv_bytes parts[2];
    size_t count = 0;
    struct kv_bytes node = kv_runtime_node(kv_process_runtime(self));
    struct kv_buffer *answer = kv_process_scratch(self);
    if (kv_read_beginning(request, 5, parts, 1, &count) == KV_OK && count == 1 &&
        kv_term_is_atom(parts[0], "call")) {
        kv_write_tuple(answer, 2);
        kv_write_atom_text(answer, "rex");
        write_refused(answer, why);
    } else if (kv_read_beginning(request, 3, parts, 2, &count) == KV_OK && count == 2 &&
               kv_term_is_atom(parts[0], "sbcast")) {
        kv_write_tuple(answer, 3);
        kv_write_atom_text(answer, "rex");
        kv_write_atom(answer, node);
        kv_write_tuple(answer, 2);
        kv_write_atom_text(answer, "nonexisting_name");
        kv_write_term(answer, parts[1]);
    } else {
        return false;
    }
    kv_send_to(self, to, kv_buffer_bytes(answer));
    return true;
}

/* A call is answered {badrpc, Why}. */
static bool rex_refused(struct kv_process *self, struct kv_bytes beginning, struct kv_bytes why)
{
    struct kv_bytes parts[2];
    struct kv_from from = {0};
    size_t count = 0;
    if (kv_read_beginning(beginning, 3, parts, 2, &count) == KV_OK && count == 2 &&
        kv_term_is_atom(parts[0], "$gen_call") && kv_from_read(parts[1], &from) == KV_OK) {
        struct kv_buffer *answer = kv_process_scratch(self);
        write_refused(answer, why);
        kv_reply(self, &from, kv_buffer_bytes(answer));
        return true;
    }
    if (kv_read_beginning(beginning, 2, parts, 1, &count) != KV_OK || count == 0) {
        return false;
    }
    const uint8_t *behind = parts[0].data + parts[0].length;
    size_t left = beginning.length - (size_t)(behind - beginning.data);
    return refuse_info(self, parts[0], kv_bytes(behind, left), why);
}

static const struct kv_behaviour rex = {
    .module = "rex",
    .state_size = 1,
    .init = kv_service_init,
    .handle_call = rex_call,
    .handle_info = rex_info,
    .handle_refused = rex_refused,
};

/* ---- start ----------------------------------------------------------------------------------- */

int kv_observe_start(struct kv_runtime *runtime, struct kv_world *world)
{
    world->has_function = kv_function_exists;
    kv_offer(runtime, &erpc_call, world);
    kv_offer(runtime, &erpc_cast, world);
    kv_offer(runtime, &kv_fetch_stats_behaviour, world);
    kv_offer(runtime, &kv_procs_info_behaviour, world);
    kv_offer(runtime, &kv_processes_behaviour, world);
    kv_add_behaviour(runtime, &rex_worker, world);
    kv_add_behaviour(runtime, &kv_appmon_behaviour, world);
    return kv_start_service(runtime, &rex, world);
}
