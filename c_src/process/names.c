/* Registered names of this node. */
#include "process/names.h"

#include "process/address.h"
#include "process/state.h"

static bool process_has_name(const struct kv_map_node *node, const void *key)
{
    const struct kv_process *process = KV_MAP_OF(node, const struct kv_process, by_name);
    return kv_bytes_equal(kv_buffer_bytes(&process->name), *(const struct kv_bytes *)key);
}

struct kv_process *kv_process_named(const struct kv_runtime *runtime, struct kv_bytes name)
{
    uint64_t hash = kv_siphash(&runtime->hash_key, name);
    struct kv_map_node *found = kv_map_find(&runtime->names, hash, process_has_name, &name);
    return found == NULL ? NULL : KV_MAP_OF(found, struct kv_process, by_name);
}

int kv_process_register(struct kv_process *self, struct kv_bytes name)
{
    struct kv_runtime *runtime = self->runtime;
    if (self->name.length > 0 || kv_process_named(runtime, name) != NULL) {
        return KV_EEXIST;
    }
    kv_buffer_append(&self->name, name);
    kv_map_insert(&runtime->names, &self->by_name, kv_siphash(&runtime->hash_key, name));
    return KV_OK;
}

bool kv_whereis(const struct kv_runtime *runtime, struct kv_bytes name, struct kv_pid *pid)
{
    const struct kv_process *process = kv_process_named(runtime, name);
    if (process != NULL) {
        *pid = kv_pid_of(runtime, process->number);
    }
    return process != NULL;
}

void kv_name_leave(struct kv_process *process)
{
    if (process->name.length > 0) {
        kv_map_remove(&process->runtime->names, &process->by_name);
    }
}
