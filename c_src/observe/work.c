#include "observe/work.h"

#include "observe/ask.h"
#include "process/runtime.h"

/* ---- errors ---------------------------------------------------------------------------------- */

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

void kv_work_write_stack(struct kv_buffer *to, const struct kv_invocation *call)
{
    if (call->arguments.length > 0) {
        kv_write_list(to, 1);
        kv_write_tuple(to, 4);
        kv_write_atom(to, call->module);
        kv_write_atom(to, call->function);
        write_arguments(to, call->arguments);
        kv_write_nil(to);
    }
    kv_write_nil(to);
}

const char *kv_work_reason(int error)
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

int kv_work_read(struct kv_reader *reader, struct kv_invocation *call)
{
    struct kv_invocation read = {.arguments = {NULL, 0}};
    *call = read;
    if (kv_read_atom(reader, &read.module) != KV_OK ||
        kv_read_atom(reader, &read.function) != KV_OK ||
        kv_read_any(reader, &read.arguments) != KV_OK) {
        return KV_ETYPE;
    }
    *call = read;
    return KV_OK;
}

/* ---- the work -------------------------------------------------------------------------------- */

void kv_work_terminate(struct kv_process *self, struct kv_bytes reason)
{
    struct kv_work *work = kv_process_state(self);
    (void)reason;
    kv_inquiry_end(&work->inquiry);
    kv_buffer_free(&work->to);
}

void kv_work_on(struct kv_process *self, const struct kv_work_ends *ends)
{
    struct kv_work *work = kv_process_state(self);
    struct kv_buffer value = KV_BUFFER_INIT;
    if (work->inquiry.question.asked) {
        return; /* a message comes */
    }
    if (kv_inquiry_step(self, &work->inquiry, &value)) {
        ends->value(self, kv_buffer_bytes(&value));
    } else {
        kv_process_set_timer(self, 0);
    }
    kv_buffer_free(&value);
}

void kv_work_info(struct kv_process *self, struct kv_bytes message, const struct kv_work_ends *ends)
{
    const struct kv_work *work = kv_process_state(self);
    struct kv_bytes answer = kv_bytes(NULL, 0);
    if (work->inquiry.question.asked && kv_ask_is_answer(message, &answer)) {
        ends->value(self, answer);
    }
}

/* Ends with {Reason, {Module, Function, Args}}, as gen_server:call/3 does. */
static void fail(struct kv_process *self, struct kv_bytes reason, const struct kv_work_ends *ends)
{
    const struct kv_work *work = kv_process_state(self);
    struct kv_buffer exit = KV_BUFFER_INIT;
    if (work->inquiry.question.asked) {
        kv_ask_write_exit(&work->inquiry.question, reason, &exit);
        ends->exits(self, kv_buffer_bytes(&exit));
    }
    kv_buffer_free(&exit);
}

void kv_work_down(struct kv_process *self, struct kv_bytes reason, const struct kv_work_ends *ends)
{
    fail(self, reason, ends);
}

void kv_work_timer(struct kv_process *self, uint64_t tag, const struct kv_work_ends *ends)
{
    if (tag == KV_ASK_TIMER) {
        struct kv_buffer reason = KV_BUFFER_INIT;
        kv_write_atom_text(&reason, "timeout");
        fail(self, kv_buffer_bytes(&reason), ends);
        kv_buffer_free(&reason);
    } else {
        kv_work_on(self, ends);
    }
}
