#include "process/emit.h"

#include "base/alloc.h"
#include "process/queue.h"
#include "process/shared.h"
#include "process/state.h"

struct outbox {
    struct kv_map_node by_number;
    struct kv_list of_runtime;
    uint64_t number; /* of the process, which may be dead */
    uint64_t batch;  /* for what the process sends now */
    struct kv_list signals;
};

/* A signal that waits. */
struct waiting {
    struct kv_list of_outbox;
    struct kv_peer *peer;
    uint64_t batch;
    struct kv_kept *kept;
    struct kv_pinned pinned; /* taken over from the sender; release is NULL if there is none */
    uint8_t nodes[];         /* the names of nodes that the signal borrows */
};

/* ---- outboxes -------------------------------------------------------------------------------- */

static bool has_number(const struct kv_map_node *node, const void *key)
{
    return KV_MAP_OF(node, const struct outbox, by_number)->number == *(const uint64_t *)key;
}

static struct outbox *find(const struct kv_runtime *runtime, uint64_t number)
{
    struct kv_map_node *found = kv_map_find(&runtime->outboxes, number, has_number, &number);
    return found == NULL ? NULL : KV_MAP_OF(found, struct outbox, by_number);
}

static struct outbox *open(struct kv_runtime *runtime, uint64_t number)
{
    struct outbox *outbox = kv_zalloc(sizeof *outbox);
    outbox->number = number;
    kv_list_init(&outbox->signals);
    kv_map_insert(&runtime->outboxes, &outbox->by_number, number);
    kv_list_append(&runtime->outbox_list, &outbox->of_runtime);
    runtime->detours++;
    return outbox;
}

static void close(struct kv_runtime *runtime, struct outbox *outbox)
{
    kv_map_remove(&runtime->outboxes, &outbox->by_number);
    kv_list_remove(&outbox->of_runtime);
    kv_free(outbox);
    runtime->detours--;
}

void kv_process_hold_until(struct kv_process *self, uint64_t batch)
{
    struct kv_runtime *runtime = self->runtime;
    if (batch <= runtime->durable) {
        return;
    }
    struct outbox *outbox = find(runtime, self->number);
    if (outbox == NULL) {
        outbox = open(runtime, self->number);
    }
    outbox->batch = batch > outbox->batch ? batch : outbox->batch;
}

void kv_process_hold_nothing(struct kv_process *self, bool at_once)
{
    self->runtime->at_once = at_once;
}

/* ---- signals that wait ----------------------------------------------------------------------- */

static struct kv_bytes copy_node(struct waiting *waiting, size_t *at, struct kv_bytes node)
{
    uint8_t *to = waiting->nodes + *at;
    if (node.length > 0) {
        memcpy(to, node.data, node.length);
    }
    *at += node.length;
    return kv_bytes(to, node.length);
}

/* The payload is copied, but for what is pinned or shared. */
static void keep_payload(const struct kv_runtime *runtime, const struct kv_signal *signal,
                         struct waiting *waiting)
{
    struct kv_signal copied = *signal;
    struct kv_pinned *pinned = signal->pinned;
    waiting->pinned = (struct kv_pinned){.release = NULL};
    if (pinned == NULL || pinned->release == NULL) {
        waiting->kept = kv_signal_keep_shared(runtime, signal);
        return;
    }
    copied.payload_parts--;
    waiting->kept = kv_signal_keep(&copied);
    waiting->kept->signal.payload[waiting->kept->signal.payload_parts++] = pinned->bytes;
    waiting->kept->signal.pinned = &waiting->pinned;
    waiting->pinned = *pinned;
    pinned->release = NULL;
}

/* Senders borrow the name of a node from a frame, or from a watch that ends before the signal
 * leaves. */
static bool names_ref(const struct kv_signal *signal)
{
    return signal->kind == KV_SIGNAL_MESSAGE_ALIAS || signal->kind == KV_SIGNAL_MONITOR ||
           signal->kind == KV_SIGNAL_DEMONITOR || signal->kind == KV_SIGNAL_DOWN ||
           signal->kind == KV_SIGNAL_SPAWN_REPLY;
}

static bool names_to(const struct kv_signal *signal)
{
    return signal->kind != KV_SIGNAL_MESSAGE_ALIAS && signal->kind != KV_SIGNAL_MESSAGE_NAME;
}

static void wait(struct kv_peer *peer, const struct kv_signal *signal, struct outbox *outbox)
{
    struct kv_runtime *runtime = peer->runtime;
    struct kv_bytes none = kv_bytes(NULL, 0);
    struct kv_bytes to = names_to(signal) ? signal->to.node : none;
    struct kv_bytes ref = names_ref(signal) ? signal->ref.node : none;
    size_t at = 0;
    struct waiting *waiting = kv_alloc(sizeof *waiting + to.length + ref.length);
    waiting->peer = peer;
    waiting->batch = outbox->batch;
    keep_payload(runtime, signal, waiting);
    waiting->kept->signal.from.node = kv_buffer_bytes(&runtime->node);
    waiting->kept->signal.to.node = copy_node(waiting, &at, to);
    waiting->kept->signal.ref.node = copy_node(waiting, &at, ref);
    kv_list_init(&waiting->of_outbox);
    kv_list_append(&outbox->signals, &waiting->of_outbox);
    runtime->waiting++;
}

static void drop(struct kv_runtime *runtime, struct waiting *waiting)
{
    kv_list_remove(&waiting->of_outbox);
    kv_pinned_release(&waiting->pinned);
    kv_kept_free(waiting->kept);
    kv_free(waiting);
    runtime->waiting--;
}

/* ---- leaving --------------------------------------------------------------------------------- */

/* Out of line, so that the path of an answer to another node stays short. */
__attribute__((noinline)) static void detour(struct kv_peer *peer, const struct kv_signal *signal)
{
    struct kv_runtime *runtime = peer->runtime;
    struct outbox *outbox = NULL;
    if (runtime->outboxes.count > 0 && !runtime->at_once &&
        signal->from.creation == runtime->creation) {
        outbox = find(runtime, kv_pid_number(&signal->from));
    }
    if (outbox == NULL) {
        kv_signal_carry(peer, signal);
    } else if (!peer->lost) {
        wait(peer, signal, outbox);
    }
}

void kv_emit(struct kv_peer *peer, const struct kv_signal *signal)
{
    struct kv_runtime *runtime = peer->runtime;
    if (peer == &runtime->local || runtime->detours > 0) {
        detour(peer, signal);
    } else if (!peer->lost) {
        runtime->sink.send(runtime->sink.context, peer->carrier, signal);
    }
}

/* kv_signal_carry() finds a shared reason in runtime->reason, and then makes no copy. */
static void leave(struct kv_runtime *runtime, struct waiting *waiting)
{
    runtime->reason = waiting->kept->shared;
    kv_signal_carry(waiting->peer, &waiting->kept->signal);
    runtime->reason = NULL;
    drop(runtime, waiting);
}

static void release(struct kv_runtime *runtime, struct outbox *outbox)
{
    KV_LIST_FOREACH (link, &outbox->signals) {
        struct waiting *waiting = KV_LIST_OF(link, struct waiting, of_outbox);
        if (waiting->batch > runtime->durable) {
            return;
        }
        leave(runtime, waiting);
    }
    if (outbox->batch <= runtime->durable) {
        close(runtime, outbox);
    }
}

void kv_emit_release(struct kv_runtime *runtime, uint64_t batch)
{
    if (batch > runtime->durable) {
        runtime->durable = batch;
        KV_LIST_FOREACH (link, &runtime->outbox_list) {
            release(runtime, KV_LIST_OF(link, struct outbox, of_runtime));
        }
    }
}

void kv_emit_peer_lost(struct kv_peer *peer)
{
    struct kv_runtime *runtime = peer->runtime;
    KV_LIST_FOREACH (box, &runtime->outbox_list) {
        KV_LIST_FOREACH (link, &KV_LIST_OF(box, struct outbox, of_runtime)->signals) {
            struct waiting *waiting = KV_LIST_OF(link, struct waiting, of_outbox);
            if (waiting->peer == peer) {
                drop(runtime, waiting);
            }
        }
    }
}

void kv_emit_free(struct kv_runtime *runtime)
{
    KV_LIST_FOREACH (box, &runtime->outbox_list) {
        struct outbox *outbox = KV_LIST_OF(box, struct outbox, of_runtime);
        KV_LIST_FOREACH (link, &outbox->signals) {
            drop(runtime, KV_LIST_OF(link, struct waiting, of_outbox));
        }
        close(runtime, outbox);
    }
    kv_map_free(&runtime->outboxes);
}
