/* Copies signals, and carries them to a peer or into the queue of this node. */
#include "process/queue.h"

#include "base/alloc.h"
#include "process/address.h"
#include "process/shared.h"
#include "process/state.h"

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

struct kv_kept *kv_signal_keep_shared(const struct kv_runtime *runtime,
                                      const struct kv_signal *signal)
{
    if (runtime->reason == NULL || signal->payload_parts != 1 ||
        !kv_shared_ends(runtime->reason, signal)) {
        return kv_signal_keep(signal);
    }
    struct kv_kept *kept = keep(signal, 0);
    kept->shared = kv_shared_keep(runtime->reason);
    return kept;
}

struct kv_kept *kv_signal_keep_lent(const struct kv_runtime *runtime,
                                    const struct kv_signal *signal)
{
    if (runtime->lent == NULL || !kv_shared_has(runtime->lent, signal->payload[0])) {
        return kv_signal_keep(signal);
    }
    struct kv_kept *kept = keep(signal, 0);
    kept->shared = kv_shared_keep(runtime->lent);
    return kept;
}

void kv_kept_free(struct kv_kept *kept)
{
    kv_shared_drop(kept->shared);
    kv_free(kept);
}

static void send_reason(const struct kv_peer *peer, const struct kv_signal *signal)
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

static void queue(struct kv_runtime *runtime, const struct kv_signal *signal)
{
    struct kv_kept *kept = kv_signal_keep_shared(runtime, signal);
    kept->signal.from.node = kv_runtime_node(runtime);
    kept->signal.to.node = kv_runtime_node(runtime);
    kept->signal.ref.node = kv_runtime_node(runtime);
    kv_list_append(&runtime->signals, &kept->link);
}

void kv_signal_carry(struct kv_peer *peer, const struct kv_signal *signal)
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

void kv_signals_free(struct kv_runtime *runtime)
{
    KV_LIST_FOREACH (entry, &runtime->signals) {
        kv_kept_free(KV_LIST_OF(entry, struct kv_kept, link));
    }
}
