#include "process/inspect.h"

#include "process/state.h"

void kv_runtime_each_process(const struct kv_runtime *runtime,
                             void (*visit)(void *context, const struct kv_process *process),
                             void *context)
{
    KV_LIST_FOREACH (link, &runtime->process_list) {
        visit(context, KV_LIST_OF(link, const struct kv_process, of_runtime));
    }
}

void kv_runtime_each_peer(const struct kv_runtime *runtime,
                          void (*visit)(void *context, struct kv_bytes name), void *context)
{
    KV_LIST_FOREACH (link, &runtime->peer_list) {
        const struct kv_peer *peer = KV_LIST_OF(link, const struct kv_peer, of_runtime);
        visit(context, kv_buffer_bytes(&peer->name));
    }
}

struct kv_bytes kv_process_name(const struct kv_process *process)
{
    return kv_buffer_bytes(&process->name);
}

struct kv_bytes kv_runtime_node(const struct kv_runtime *runtime)
{
    return kv_buffer_bytes(&runtime->node);
}
