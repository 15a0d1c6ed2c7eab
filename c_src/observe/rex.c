/* The process rex, which older releases and nodes that are no BEAM call by name.
 *
 * OTP: lib/kernel/src/rpc.erl, handle_call/3, handle_cast/2 and handle_info/2. */
#include "observe/calls.h"
#include "observe/work.h"

#include "process/inspect.h"
#include "process/runtime.h"

/* Sends Value to a From, or {rex, Value} to a pid. Then the process ends. */
static void rex_answer(struct kv_process *self, struct kv_bytes value)
{
    const struct kv_work *work = kv_process_state(self);
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
    kv_write_atom_text(to, kv_work_reason(error));
    kv_work_write_stack(to, call);
}

/* Answers {badrpc, {'EXIT', Reason}}. */
static void rex_exit(struct kv_process *self, struct kv_bytes reason)
{
    struct kv_buffer value = KV_BUFFER_INIT;
    kv_write_tuple(&value, 2);
    kv_write_atom_text(&value, "badrpc");
    kv_write_tuple(&value, 2);
    kv_write_atom_text(&value, "EXIT");
    kv_write_term(&value, reason);
    rex_answer(self, kv_buffer_bytes(&value));
    kv_buffer_free(&value);
}

static const struct kv_work_ends ends = {.value = rex_answer, .exits = rex_exit};

/* {Block, To, {Kind, Module, Function, Args, GroupLeader}}, made by rex_work(). */
static int rex_work_init(struct kv_process *self, struct kv_bytes argument,
                         struct kv_buffer *reason)
{
    struct kv_work *work = kv_process_state(self);
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
    int error = kv_work_read(&reader, &call);
    if (error == KV_OK) {
        error = kv_function_apply(self, &call, &work->inquiry, &value);
    }
    if (error != KV_OK) {
        write_badrpc(&call, error, &value);
    }
    if (work->inquiry.survey != NULL) {
        kv_work_on(self, &ends);
    } else {
        rex_answer(self, kv_buffer_bytes(&value));
    }
    kv_buffer_free(&value);
    return KV_OK;
}

static void rex_work_info(struct kv_process *self, struct kv_bytes message)
{
    kv_work_info(self, message, &ends);
}

static void rex_work_down(struct kv_process *self, uint64_t monitor, struct kv_bytes reason)
{
    (void)monitor;
    kv_work_down(self, reason, &ends);
}

static void rex_work_timer(struct kv_process *self, uint64_t tag)
{
    kv_work_timer(self, tag, &ends);
}

const struct kv_behaviour kv_rex_worker_behaviour = {
    .module = "rex",
    .function = "call",
    .state_size = sizeof(struct kv_work),
    .init = rex_work_init,
    .handle_call = kv_reply_bad_request,
    .handle_info = rex_work_info,
    .handle_down = rex_work_down,
    .handle_timer = rex_work_timer,
    .terminate = kv_work_terminate,
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
    (void)kv_spawn(kv_process_runtime(self), &kv_rex_worker_behaviour, kv_buffer_bytes(&argument),
                   &pid, &reason);
    kv_buffer_free(&argument);
    kv_buffer_free(&reason);
}

/* {Kind, Module, Function, Args, GroupLeader}, of any terms. */
static bool is_call(struct kv_bytes request, const char *kind)
{
    struct kv_reader reader = kv_reader(request);
    return kv_read_tuple_of(&reader, 5) == KV_OK && kv_read_this_atom(&reader, kind) == KV_OK;
}

/* rpc:call/4 of OTP 22 and earlier, and nodes that are no BEAM, send {call, ...}. A block_call of
 * OTP makes other calls wait; here it does not. */
static void rex_call(struct kv_process *self, const struct kv_from *from, struct kv_bytes request)
{
    if (is_call(request, "call") || is_call(request, "block_call")) {
        rex_work(self, true, from->bytes, request);
    } else {
        kv_reply_bad_request(self, from, request);
    }
}

/* rpc:cast/4 and rpc:eval_everywhere/3 of OTP 22 and earlier. */
static void rex_cast(struct kv_process *self, struct kv_bytes request)
{
    if (is_call(request, "cast")) {
        struct kv_buffer nobody = KV_BUFFER_INIT;
        kv_write_nil(&nobody);
        rex_work(self, false, kv_buffer_bytes(&nobody), request);
        kv_buffer_free(&nobody);
    }
}

/* Answers {rex, Node, Node}, or {rex, Node, {nonexisting_name, Name}}. */
static void tell_delivery(struct kv_process *self, const struct kv_pid *caller,
                          struct kv_bytes name, bool delivered)
{
    struct kv_bytes node = kv_runtime_node(kv_process_runtime(self));
    struct kv_buffer *answer = kv_process_scratch(self);
    kv_write_tuple(answer, 3);
    kv_write_atom_text(answer, "rex");
    kv_write_atom(answer, node);
    if (delivered) {
        kv_write_atom(answer, node);
    } else {
        kv_write_tuple(answer, 2);
        kv_write_atom_text(answer, "nonexisting_name");
        kv_write_atom(answer, name);
    }
    kv_send(self, caller, kv_buffer_bytes(answer));
}

/* {From, Message} */
static void send_with_sender(struct kv_process *self, const struct kv_pid *caller,
                             const struct kv_pid *to, struct kv_bytes message)
{
    struct kv_buffer *pair = kv_process_scratch(self);
    kv_write_tuple(pair, 2);
    kv_write_pid(pair, caller);
    kv_write_term(pair, message);
    kv_send(self, to, kv_buffer_bytes(pair));
}

/* {sbcast, Name, Message} is always answered. {send, Name, Message} is left to the process of that
 * name, which gets {From, Message}, and is answered only if there is none. */
static void forward(struct kv_process *self, const struct kv_pid *caller, struct kv_bytes request)
{
    struct kv_bytes kind = kv_bytes(NULL, 0);
    struct kv_bytes name = kv_bytes(NULL, 0);
    struct kv_bytes message = kv_bytes(NULL, 0);
    struct kv_pid target;
    struct kv_reader reader = kv_reader(request);
    if (kv_read_tuple_of(&reader, 3) != KV_OK || kv_read_atom(&reader, &kind) != KV_OK ||
        kv_read_atom(&reader, &name) != KV_OK || kv_read_any(&reader, &message) != KV_OK) {
        return;
    }
    bool found = kv_whereis(kv_process_runtime(self), name, &target);
    if (kv_bytes_is(kind, "send") && found) {
        send_with_sender(self, caller, &target, message);
    } else if (kv_bytes_is(kind, "send")) {
        tell_delivery(self, caller, name, false);
    } else if (kv_bytes_is(kind, "sbcast")) {
        if (found) {
            kv_send(self, &target, message);
        }
        tell_delivery(self, caller, name, found);
    }
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
        forward(self, &caller, request);
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

const struct kv_behaviour kv_rex_behaviour = {
    .module = "rex",
    .state_size = 1,
    .init = kv_service_init,
    .handle_call = rex_call,
    .handle_cast = rex_cast,
    .handle_info = rex_info,
    .handle_refused = rex_refused,
};
