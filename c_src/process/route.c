#include "base/alloc.h"
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
        return speaking; /* it is answered */
    }
    uint64_t hash = kv_siphash(&runtime->hash_key, node);
    struct kv_map_node *found = kv_map_find(&runtime->peers, hash, peer_has_name, &node);
    return found == NULL ? NULL : KV_MAP_OF(found, struct kv_peer, by_name);
}

static bool process_has_number(const struct kv_map_node *node, const void *key)
{
    return KV_MAP_OF(node, const struct kv_process, by_number)->number == *(const uint64_t *)key;
}

struct kv_process *kv_process_find(const struct kv_runtime *runtime, const struct kv_pid *pid)
{
    uint64_t number = ((uint64_t)pid->serial << ID_BITS) | pid->id;
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

bool kv_is_alive(const struct kv_runtime *runtime, const struct kv_pid *pid)
{
    return kv_process_find(runtime, pid) != NULL;
}

static struct kv_kept *keep(const struct kv_signal *signal, size_t length)
{
    struct kv_kept *kept = kv_alloc(sizeof *kept + length + signal->name.length);
    kept->signal = *signal;
    kept->shared = NULL;
    kept->number = 0;
    kept->signal.pinned = NULL;
    if (signal->name.length > 0) {
        memcpy(kept->bytes + length, signal->name.data, signal->name.length);
        kept->signal.name = kv_bytes(kept->bytes + length, signal->name.length);
    }
    kv_list_init(&kept->link);
    return kept;
}

struct kv_kept *kv_signal_keep(const struct kv_signal *signal)
{
    size_t length = kv_signal_payload_length(signal);
    struct kv_kept *kept = keep(signal, length);
    size_t at = 0;
    for (unsigned i = 0; i < signal->payload_parts; i++) {
        if (signal->payload[i].length > 0) {
            memcpy(kept->bytes + at, signal->payload[i].data, signal->payload[i].length);
            at += signal->payload[i].length;
        }
    }
    kept->signal.payload[0] = kv_bytes(kept->bytes, length);
    kept->signal.payload_parts = 1;
    return kept;
}

/* As kv_signal_keep(), but of a payload that is the reason of the process that ends now no copy is
 * made. */
static struct kv_kept *keep_local(const struct kv_runtime *runtime, const struct kv_signal *signal)
{
    if (runtime->reason == NULL || signal->payload_parts != 1 ||
        !kv_shared_ends(runtime->reason, signal)) {
        return kv_signal_keep(signal);
    }
    struct kv_kept *kept = keep(signal, 0);
    kept->shared = kv_shared_keep(runtime->reason);
    return kept;
}

void kv_kept_free(struct kv_kept *kept)
{
    kv_shared_drop(kept->shared);
    kv_free(kept);
}

/* What follows is out of line, so that the path of an answer to another node stays short. */
__attribute__((noinline)) static void send_reason(const struct kv_peer *peer,
                                                  const struct kv_signal *signal)
{
    const struct kv_runtime *runtime = peer->runtime;
    struct kv_signal with = *signal;
    struct kv_pinned pinned = {.release = NULL};
    if (kv_shared_ends(runtime->reason, signal)) {
        kv_shared_pin(runtime->reason, &pinned);
        with.pinned = &pinned;
    }
    runtime->sink.send(runtime->sink.context, peer->carrier, &with);
    kv_pinned_release(&pinned);
}

__attribute__((noinline)) static void queue(struct kv_runtime *runtime,
                                            const struct kv_signal *signal)
{
    struct kv_kept *kept = keep_local(runtime, signal);
    kept->signal.from.node = kv_runtime_node(runtime);
    kept->signal.to.node = kv_runtime_node(runtime);
    kept->signal.ref.node = kv_runtime_node(runtime);
    kv_list_append(&runtime->signals, &kept->link);
}

void kv_emit(struct kv_peer *peer, const struct kv_signal *signal)
{
    struct kv_runtime *runtime = peer->runtime;
    if (peer == &runtime->local) {
        queue(runtime, signal);
    } else if (peer->lost) {
        return;
    } else if (runtime->reason != NULL) {
        send_reason(peer, signal);
    } else {
        runtime->sink.send(runtime->sink.context, peer->carrier, signal);
    }
}
