/* Pids, and the peer behind which a process is. */
#include "process/address.h"

#include "base/word.h"
#include "process/state.h"

/* A pid's 60-bit number lies in 28 bits of id and 32 of serial: more id bits are only understood by
 * nodes with V4_NC. Numbers are never used twice. */
enum { ID_BITS = 28 };

struct kv_pid kv_pid_of(const struct kv_runtime *runtime, uint64_t number)
{
    return (struct kv_pid){
        .node = kv_runtime_node(runtime),
        .id = (uint32_t)(number & ((UINT64_C(1) << ID_BITS) - 1)),
        .serial = (uint32_t)(number >> ID_BITS),
        .creation = runtime->creation,
    };
}

uint64_t kv_pid_number(const struct kv_pid *pid)
{
    return ((uint64_t)pid->serial << ID_BITS) | pid->id;
}

struct kv_pid kv_remote_pid(const struct kv_peer *peer, const struct kv_remote *remote)
{
    return (struct kv_pid){
        .node = kv_buffer_bytes(&peer->name),
        .id = remote->id,
        .serial = remote->serial,
        .creation = remote->creation,
    };
}

struct kv_remote kv_remote_of(const struct kv_pid *pid)
{
    return (struct kv_remote){.id = pid->id, .serial = pid->serial, .creation = pid->creation};
}

bool kv_remote_equal(const struct kv_remote *a, const struct kv_remote *b)
{
    return a->id == b->id && a->serial == b->serial && a->creation == b->creation;
}

static bool peer_has_name(const struct kv_map_node *node, const void *key)
{
    const struct kv_peer *peer = KV_MAP_OF(node, const struct kv_peer, by_name);
    return kv_bytes_equal(kv_buffer_bytes(&peer->name), *(const struct kv_bytes *)key);
}

static inline bool is_node(const struct kv_buffer *name, struct kv_bytes node)
{
    return name->length == node.length && kv_same(name->data, node.data, node.length);
}

struct kv_peer *kv_route(struct kv_runtime *runtime, struct kv_bytes node)
{
    if (is_node(&runtime->node, node)) {
        return &runtime->local;
    }
    struct kv_peer *speaking = runtime->speaking;
    if (speaking != NULL && is_node(&speaking->name, node)) {
        return speaking; /* the peer whose signal is handled gets the answer */
    }
    uint64_t hash = kv_siphash(&runtime->hash_key, node);
    struct kv_map_node *found = kv_map_find(&runtime->peers, hash, peer_has_name, &node);
    return found == NULL ? NULL : KV_MAP_OF(found, struct kv_peer, by_name);
}

struct kv_peer *kv_absent(const struct kv_runtime *runtime, struct kv_bytes node)
{
    KV_LIST_FOREACH (entry, &runtime->absent_list) {
        struct kv_peer *absent = KV_LIST_OF(entry, struct kv_peer, of_runtime);
        if (is_node(&absent->name, node)) {
            return absent;
        }
    }
    return NULL;
}

static bool process_has_number(const struct kv_map_node *node, const void *key)
{
    return KV_MAP_OF(node, const struct kv_process, by_number)->number == *(const uint64_t *)key;
}

struct kv_process *kv_process_find(const struct kv_runtime *runtime, const struct kv_pid *pid)
{
    uint64_t number = kv_pid_number(pid);
    if (pid->creation != runtime->creation || pid->id >> ID_BITS != 0 ||
        !is_node(&runtime->node, pid->node)) {
        return NULL;
    }
    if (runtime->latest != NULL && runtime->latest->number == number) {
        return runtime->latest;
    }
    struct kv_map_node *found =
        kv_map_find(&runtime->processes, number, process_has_number, &number);
    return found == NULL ? NULL : KV_MAP_OF(found, struct kv_process, by_number);
}

bool kv_is_alive(const struct kv_runtime *runtime, const struct kv_pid *pid)
{
    return kv_process_find(runtime, pid) != NULL;
}

struct kv_bytes kv_runtime_node(const struct kv_runtime *runtime)
{
    return kv_buffer_bytes(&runtime->node);
}

struct kv_pid kv_process_pid(const struct kv_process *self)
{
    return kv_pid_of(self->runtime, self->number);
}
