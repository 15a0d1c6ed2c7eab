/* Calls by erpc and rpc.
 *
 * Since OTP 23 a call is a spawn request for erpc:execute_call/4 with a monitor; the value travels
 * as the reason of the exit. OTP: lib/kernel/src/erpc.erl, execute_call/4 and result/4. */
#include "observe/calls.h"
#include "observe/work.h"

/* Ends with {Res, return, Value}. */
static void return_value(struct kv_process *self, struct kv_bytes value)
{
    const struct kv_work *work = kv_process_state(self);
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
    const struct kv_work *work = kv_process_state(self);
    struct kv_buffer outcome = KV_BUFFER_INIT;
    kv_write_tuple(&outcome, 4);
    kv_write_term(&outcome, kv_buffer_bytes(&work->to));
    kv_write_atom_text(&outcome, "error");
    kv_write_atom_text(&outcome, kv_work_reason(error));
    kv_work_write_stack(&outcome, call);
    kv_process_exit(self, kv_buffer_bytes(&outcome));
    kv_buffer_free(&outcome);
}

/* Ends with {Res, exit, Reason}. */
static void return_exit(struct kv_process *self, struct kv_bytes reason)
{
    const struct kv_work *work = kv_process_state(self);
    struct kv_buffer outcome = KV_BUFFER_INIT;
    kv_write_tuple(&outcome, 3);
    kv_write_term(&outcome, kv_buffer_bytes(&work->to));
    kv_write_atom_text(&outcome, "exit");
    kv_write_term(&outcome, reason);
    kv_process_exit(self, kv_buffer_bytes(&outcome));
    kv_buffer_free(&outcome);
}

static const struct kv_work_ends ends = {.value = return_value, .exits = return_exit};

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
        kv_read_any(&reader, &res) != KV_OK || kv_work_read(&reader, &call) != KV_OK) {
        return bad_arguments(reason);
    }
    struct kv_work *work = kv_process_state(self);
    struct kv_buffer value = KV_BUFFER_INIT;
    kv_write_term(&work->to, res);
    int error = kv_function_apply(self, &call, &work->inquiry, &value);
    if (error != KV_OK) {
        return_error(self, &call, error);
    } else if (work->inquiry.survey != NULL) {
        kv_work_on(self, &ends);
    } else {
        return_value(self, kv_buffer_bytes(&value));
    }
    kv_buffer_free(&value);
    return KV_OK;
}

static void execute_info(struct kv_process *self, struct kv_bytes message)
{
    kv_work_info(self, message, &ends);
}

static void execute_down(struct kv_process *self, uint64_t monitor, struct kv_bytes reason)
{
    (void)monitor;
    kv_work_down(self, reason, &ends);
}

static void execute_timer(struct kv_process *self, uint64_t tag)
{
    kv_work_timer(self, tag, &ends);
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
        kv_work_read(&reader, &call) != KV_OK) {
        return bad_arguments(reason);
    }
    struct kv_inquiry inquiry = {.survey = NULL}; /* nobody waits for the result of a survey */
    (void)kv_function_apply(self, &call, &inquiry, &value);
    kv_inquiry_end(&inquiry);
    kv_buffer_free(&value);
    kv_process_exit_atom(self, "normal");
    return KV_OK;
}

const struct kv_behaviour kv_erpc_call_behaviour = {.module = "erpc",
                                                    .function = "execute_call",
                                                    .arity = 4,
                                                    .state_size = sizeof(struct kv_work),
                                                    .init = execute_call,
                                                    .handle_call = kv_reply_bad_request,
                                                    .handle_info = execute_info,
                                                    .handle_down = execute_down,
                                                    .handle_timer = execute_timer,
                                                    .terminate = kv_work_terminate};

const struct kv_behaviour kv_erpc_cast_behaviour = {.module = "erpc",
                                                    .function = "execute_cast",
                                                    .arity = 3,
                                                    .state_size = 1,
                                                    .init = execute_cast,
                                                    .handle_call = kv_reply_bad_request};
