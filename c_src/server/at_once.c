#include "server/at_once.h"

#include "process/address.h"
#include "server/state.h"

static bool is_undisturbed(const struct kv_process *process)
{
    const struct kv_server_state *server = kv_const_server_of(process);
    return !process->exiting && !server->holding && server->debug.log_limit == 0 &&
           server->debug.recent == NULL;
}

bool kv_server_at_once(struct kv_runtime *runtime, uint32_t id, uint32_t serial,
                       struct kv_bytes request, size_t room, struct kv_bytes answer[2])
{
    const struct kv_pid pid = {.node = kv_buffer_bytes(&runtime->node),
                               .id = id,
                               .serial = serial,
                               .creation = runtime->creation};
    struct kv_process *process = kv_process_find(runtime, &pid);
    if (process == NULL || process->behaviour->handle_at_once == NULL || !is_undisturbed(process)) {
        return false;
    }
    runtime->latest = process;
    if (!process->behaviour->handle_at_once(process, request, room, answer)) {
        return false;
    }
    process->reductions++;
    kv_server_of(process)->debug.messages_in++;
    kv_server_of(process)->debug.messages_out++;
    return true;
}
