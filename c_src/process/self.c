/* The functions by which a process asks about itself. */
#include "process/generic.h"
#include "process/shared.h"
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

struct kv_shared *kv_message_keep(struct kv_process *self, struct kv_bytes part)
{
    struct kv_shared *lent = self->runtime->lent;
    return lent != NULL && kv_shared_has(lent, part) ? kv_shared_keep(lent) : NULL;
}

void kv_message_drop(struct kv_shared *kept)
{
    kv_shared_drop(kept);
}

void kv_process_want_turns(struct kv_process *process, bool wanted)
{
    kv_list_remove(&process->of_turns);
    if (wanted) {
        kv_list_append(&process->runtime->turns, &process->of_turns);
        process->runtime->turns_wanted = true;
    }
}
