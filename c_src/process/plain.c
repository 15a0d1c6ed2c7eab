/* The generic part of a plain process: its messages are its own. */
#include "process/generic.h"
#include "process/life.h"
#include "process/state.h"

static void nothing(struct kv_process *process)
{
    (void)process;
}

static void message(struct kv_process *process, const struct kv_signal *signal,
                    enum kv_call_shape shape)
{
    (void)shape;
    process->reductions++;
    if (process->behaviour->handle_info != NULL) {
        process->behaviour->handle_info(process, signal->payload[0]);
    }
    kv_process_settle(process);
}

static void undelivered(struct kv_runtime *runtime, const struct kv_signal *signal)
{
    (void)runtime;
    (void)signal;
}

static int refused(struct kv_runtime *runtime, struct kv_process *process,
                   const struct kv_signal *signal, struct kv_bytes why, bool *told)
{
    (void)runtime;
    *told = process == NULL;
    if (process != NULL && process->behaviour->handle_refused != NULL) {
        *told = process->behaviour->handle_refused(process, signal->payload[0], why);
        kv_process_settle(process);
    }
    return KV_OK;
}

static void died(struct kv_process *process, struct kv_bytes reason)
{
    (void)process;
    (void)reason;
}

static void inspect(const struct kv_process *process, struct kv_process_info *info)
{
    (void)process;
    info->queue = 0;
    info->suspended = false;
}

const struct kv_generic kv_plain = {
    .created = nothing,
    .message = message,
    .undelivered = undelivered,
    .refused = refused,
    .died = died,
    .freed = nothing,
    .inspect = inspect,
};
