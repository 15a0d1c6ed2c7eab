/* The functions by which a process asks about itself. */
#include "process/generic.h"
#include "process/state.h"

void *kv_process_state(struct kv_process *self)
{
    return self->state;
}

const void *kv_process_const_state(const struct kv_process *self)
{
    return self->state;
}

struct kv_runtime *kv_process_runtime(const struct kv_process *self)
{
    return self->runtime;
}

void *kv_process_context(const struct kv_process *self)
{
    return self->context;
}

struct kv_buffer *kv_process_scratch(struct kv_process *self)
{
    struct kv_buffer *scratch = &self->runtime->frame->scratch;
    kv_buffer_clear(scratch);
    return scratch;
}

void kv_process_want_turns(struct kv_process *process, bool wanted)
{
    kv_list_remove(&process->of_turns);
    if (wanted) {
        kv_list_append(&process->runtime->turns, &process->of_turns);
    }
}
