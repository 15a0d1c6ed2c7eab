#include "process/emit.h"

#include "base/alloc.h"
#include "process/queue.h"
#include "process/shared.h"
#include "process/state.h"

struct outbox {
    struct kv_map_node by_number;
    struct kv_list of_runtime;
    uint64_t number;  /* of the process, which may be dead */
    uint64_t batch;   /* for what the process sends now: no signal here waits for a later one */
    uint64_t barrier; /* the greatest of a signal here that is no answer through an alias */
    bool synced;      /* the batches must be durable; else written is enough */
    struct kv_list signals;
};

/* A process to which signals of one outbox wait. */
struct receiver {
    struct kv_map_node by_ends;
    uint64_t number; /* of the sender */
    const struct kv_peer *peer;
    uint32_t id, serial;
    size_t count;
    uint64_t batch; /* the greatest of its signals */
};

/* A signal that waits. */
struct waiting {
    struct kv_list of_outbox;
    struct kv_peer *peer;
    struct receiver *receiver; /* NULL: not known */
    uint64_t batch;
    size_t bytes;
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

/* The last batch for which the outbox need not wait. */
static uint64_t level(const struct kv_runtime *runtime, const struct outbox *outbox)
{
    return outbox->synced ? runtime->durable : runtime->written;
}

static void hold(struct kv_runtime *runtime, uint64_t number, uint64_t batch, bool synced)
{
    if (batch <= (synced ? runtime->durable : runtime->written)) {
        return;
    }
    struct outbox *outbox = find(runtime, number);
    if (outbox == NULL) {
        outbox = open(runtime, number);
    }
    outbox->batch = batch > outbox->batch ? batch : outbox->batch;
    outbox->synced = outbox->synced || synced;
}

void kv_process_hold_until(struct kv_process *self, uint64_t batch)
{
    hold(self->runtime, self->number, batch, true);
}

void kv_process_hold_until_written(struct kv_process *self, uint64_t batch)
{
    hold(self->runtime, self->number, batch, false);
}

void kv_process_hold_for(struct kv_process *self, uint64_t batch)
{
    self->runtime->teller = self->number;
    self->runtime->told = batch;
}

void kv_process_hold_all(struct kv_process *self)
{
    self->runtime->teller = 0;
}

void kv_process_hold_nothing(struct kv_process *self, bool at_once)
{
    self->runtime->at_once = at_once;
}

/* ---- receivers -------------------------------------------------------------------------------
 */

static bool has_ends(const struct kv_map_node *node, const void *key)
{
    const struct receiver *one = KV_MAP_OF(node, const struct receiver, by_ends);
    const struct receiver *wanted = key;
    return one->number == wanted->number && one->peer == wanted->peer && one->id == wanted->id &&
           one->serial == wanted->serial;
}

static uint64_t hash_of(const struct kv_runtime *runtime, const struct receiver *wanted)
{
    const uint64_t ends[] = {wanted->number, (uint64_t)(uintptr_t)wanted->peer,
                             (uint64_t)wanted->id << 32 | wanted->serial};
    return kv_siphash(&runtime->hash_key, kv_bytes(ends, sizeof ends));
}

/* The process to which a signal goes: false if the signal does not tell. */
static bool names_receiver(struct kv_peer *peer, const struct kv_signal *signal, uint64_t number,
                           struct receiver *wanted)
{
    *wanted = (struct receiver){
        .number = number, .peer = peer, .id = signal->to.id, .serial = signal->to.serial};
    return signal->kind != KV_SIGNAL_MESSAGE_NAME &&
           (signal->kind != KV_SIGNAL_MESSAGE_ALIAS || signal->to.id != 0);
}

static struct receiver *find_receiver(const struct kv_runtime *runtime,
                                      const struct receiver *wanted)
{
    struct kv_map_node *found =
        kv_map_find(&runtime->receivers, hash_of(runtime, wanted), has_ends, wanted);
    return found == NULL ? NULL : KV_MAP_OF(found, struct receiver, by_ends);
}

static struct receiver *join(struct kv_runtime *runtime, const struct receiver *wanted,
                             uint64_t batch)
{
    struct receiver *receiver = find_receiver(runtime, wanted);
    if (receiver == NULL) {
        receiver = kv_zalloc(sizeof *receiver);
        *receiver = *wanted;
        kv_map_insert(&runtime->receivers, &receiver->by_ends, hash_of(runtime, wanted));
    }
    receiver->count++;
    receiver->batch = batch > receiver->batch ? batch : receiver->batch;
    return receiver;
}

static void part(struct kv_runtime *runtime, struct receiver *receiver)
{
    if (receiver != NULL && --receiver->count == 0) {
        kv_map_remove(&runtime->receivers, &receiver->by_ends);
        kv_free(receiver);
    }
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

static void wait(struct kv_peer *peer, const struct kv_signal *signal, struct outbox *outbox,
                 uint64_t batch)
{
    struct kv_runtime *runtime = peer->runtime;
    struct receiver wanted;
    struct kv_bytes none = kv_bytes(NULL, 0);
    struct kv_bytes to = names_to(signal) ? signal->to.node : none;
    struct kv_bytes ref = names_ref(signal) ? signal->ref.node : none;
    size_t at = 0;
    struct waiting *waiting = kv_alloc(sizeof *waiting + to.length + ref.length);
    waiting->peer = peer;
    waiting->batch = batch;
    waiting->bytes = kv_signal_payload_length(signal);
    waiting->receiver = names_receiver(peer, signal, outbox->number, &wanted)
                            ? join(runtime, &wanted, batch)
                            : NULL;
    if (signal->kind != KV_SIGNAL_MESSAGE_ALIAS && batch > outbox->barrier) {
        outbox->barrier = batch;
    }
    keep_payload(runtime, signal, waiting);
    waiting->kept->signal.from.node = kv_buffer_bytes(&runtime->node);
    waiting->kept->signal.to.node = copy_node(waiting, &at, to);
    waiting->kept->signal.ref.node = copy_node(waiting, &at, ref);
    kv_list_init(&waiting->of_outbox);
    kv_list_append(&outbox->signals, &waiting->of_outbox);
    runtime->waiting++;
    runtime->waiting_bytes += waiting->bytes;
}

static void drop(struct kv_runtime *runtime, struct waiting *waiting)
{
    kv_list_remove(&waiting->of_outbox);
    part(runtime, waiting->receiver);
    runtime->waiting_bytes -= waiting->bytes;
    kv_pinned_release(&waiting->pinned);
    kv_kept_free(waiting->kept);
    kv_free(waiting);
    runtime->waiting--;
}

/* ---- leaving --------------------------------------------------------------------------------- */

/* The batch for which a signal waits. What a process says to tell of less may overtake the rest,
 * but nothing that goes to the same process. If the receiver is not known, it overtakes only
 * answers through aliases; and only such an answer overtakes anything. */
static uint64_t batch_of(struct kv_peer *peer, const struct kv_signal *signal,
                         const struct outbox *outbox)
{
    const struct kv_runtime *runtime = peer->runtime;
    struct receiver wanted;
    if (runtime->teller != outbox->number || signal->kind == KV_SIGNAL_MESSAGE_NAME) {
        return outbox->batch;
    }
    uint64_t before = outbox->barrier;
    if (names_receiver(peer, signal, outbox->number, &wanted)) {
        const struct receiver *receiver = find_receiver(runtime, &wanted);
        before = receiver == NULL ? 0 : receiver->batch;
    }
    return before > runtime->told ? before : runtime->told;
}

/* Out of line, so that the path of an answer to another node stays short. */
__attribute__((noinline)) static void detour(struct kv_peer *peer, const struct kv_signal *signal)
{
    struct kv_runtime *runtime = peer->runtime;
    struct outbox *outbox = NULL;
    if (runtime->outboxes.count > 0 && !runtime->at_once &&
        signal->from.creation == runtime->creation) {
        outbox = find(runtime, kv_pid_number(&signal->from));
    }
    const uint64_t batch = outbox == NULL ? 0 : batch_of(peer, signal, outbox);
    if (outbox == NULL || batch <= level(runtime, outbox)) {
        kv_signal_carry(peer, signal);
    } else if (!peer->lost) {
        wait(peer, signal, outbox, batch);
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

/* The signals to one process are in the order of their batches: batch_of(). */
static void release(struct kv_runtime *runtime, struct outbox *outbox)
{
    const uint64_t done = level(runtime, outbox);
    KV_LIST_FOREACH (link, &outbox->signals) {
        struct waiting *waiting = KV_LIST_OF(link, struct waiting, of_outbox);
        if (waiting->batch <= done) {
            leave(runtime, waiting);
        }
    }
    if (outbox->batch <= done) {
        close(runtime, outbox);
    }
}

void kv_emit_release(struct kv_runtime *runtime, uint64_t written, uint64_t durable)
{
    if (written <= runtime->written && durable <= runtime->durable) {
        return;
    }
    runtime->written = written > runtime->written ? written : runtime->written;
    runtime->durable = durable > runtime->durable ? durable : runtime->durable;
    KV_LIST_FOREACH (link, &runtime->outbox_list) {
        release(runtime, KV_LIST_OF(link, struct outbox, of_runtime));
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
    kv_map_free(&runtime->receivers);
}
