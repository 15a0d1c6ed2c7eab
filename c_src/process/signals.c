/* Handles incoming signals, and the signals within this node that follow from them. */
#include "process/signals.h"

#include "process/address.h"
#include "process/generic.h"
#include "process/life.h"
#include "process/links.h"
#include "process/monitors.h"
#include "process/names.h"
#include "process/queue.h"
#include "process/shared.h"
#include "process/spawn.h"
#include "process/state.h"

static void deliver(struct kv_runtime *runtime, struct kv_process *process,
                    const struct kv_signal *signal, enum kv_call_shape shape)
{
    runtime->latest = process; /* set first: the message may end the process */
    if (process != NULL) {
        process->generic->message(process, signal, shape);
    } else {
        runtime->generic->undelivered(runtime, signal);
    }
}

static void lead(struct kv_process *process, const struct kv_signal *signal)
{
    if (process != NULL) {
        kv_buffer_clear(&process->group_leader);
        kv_write_pid(&process->group_leader, &signal->from);
    }
}

int kv_signal_handle(struct kv_peer *peer, const struct kv_signal *signal, enum kv_call_shape shape)
{
    struct kv_runtime *runtime = peer->runtime;
    switch (signal->kind) {
    case KV_SIGNAL_MESSAGE:
        deliver(runtime, kv_process_find(runtime, &signal->to), signal, shape);
        break;
    case KV_SIGNAL_MESSAGE_NAME:
        deliver(runtime, kv_process_named(runtime, signal->name), signal, shape);
        break;
    case KV_SIGNAL_LINK:
        kv_link_received(peer, signal);
        break;
    case KV_SIGNAL_UNLINK:
        kv_unlink_received(peer, signal);
        break;
    case KV_SIGNAL_UNLINK_ACK:
        kv_unlink_ack_received(peer, signal);
        break;
    case KV_SIGNAL_EXIT_LINK:
        kv_exit_link_received(peer, signal);
        break;
    case KV_SIGNAL_EXIT:
        kv_exit_received(peer, signal);
        break;
    case KV_SIGNAL_MONITOR:
        return kv_monitor_received(peer, signal);
    case KV_SIGNAL_DEMONITOR:
        kv_demonitor_received(peer, signal);
        break;
    case KV_SIGNAL_DOWN:
        kv_down_received(peer, signal);
        break;
    case KV_SIGNAL_GROUP_LEADER:
        lead(kv_process_find(runtime, &signal->to), signal);
        break;
    case KV_SIGNAL_SPAWN_REQUEST:
        kv_spawn_received(peer, signal);
        break;
    case KV_SIGNAL_MESSAGE_ALIAS: /* no process of this node makes aliases */
    case KV_SIGNAL_EXIT_ALIAS:
    case KV_SIGNAL_SPAWN_REPLY: /* or spawns on other nodes */
        break;
    }
    return KV_OK;
}

static bool is_message(const struct kv_signal *signal)
{
    return signal->kind == KV_SIGNAL_MESSAGE || signal->kind == KV_SIGNAL_MESSAGE_NAME;
}

/* The receiver of a message handles it in a turn, behind all that waits there. */
static void make_wait(struct kv_runtime *runtime, const struct kv_signal *message)
{
    struct kv_process *process = message->kind == KV_SIGNAL_MESSAGE_NAME
                                     ? kv_process_named(runtime, message->name)
                                     : kv_process_find(runtime, &message->to);
    if (process != NULL && process->generic->wait != NULL) {
        process->generic->wait(process);
    }
}

/* Only messages can follow from one another without end. Links, monitors and exits are used up. */
void kv_signals_deliver(struct kv_runtime *runtime)
{
    size_t messages = 0;
    size_t bytes = 0;
    while (!kv_list_is_empty(&runtime->signals)) {
        struct kv_kept *kept = KV_LIST_OF(runtime->signals.next, struct kv_kept, link);
        kv_list_remove(&kept->link);
        if (is_message(&kept->signal)) {
            if (messages >= KV_LOCAL_MESSAGES || bytes >= KV_LOCAL_BYTES) {
                make_wait(runtime, &kept->signal);
            }
            messages++;
            bytes += kept->signal.payload[0].length;
        }
        (void)kv_signal_handle(&runtime->local, &kept->signal, KV_CALL_UNKNOWN);
        kv_kept_free(kept);
    }
}

int kv_runtime_receive(struct kv_runtime *runtime, struct kv_peer *peer,
                       const struct kv_incoming *incoming)
{
    runtime->speaking = peer;
    int error = kv_signal_handle(peer, &incoming->signal, incoming->call);
    if (!kv_list_is_empty(&runtime->signals)) {
        kv_signals_deliver(runtime);
    }
    runtime->speaking = NULL;
    return error;
}

int kv_runtime_receive_long(struct kv_runtime *runtime, struct kv_peer *peer,
                            const struct kv_incoming *incoming, struct kv_buffer *memory)
{
    runtime->lent = kv_share(memory); /* the bytes stay where they are */
    const int error = kv_runtime_receive(runtime, peer, incoming);
    kv_shared_drop(runtime->lent);
    runtime->lent = NULL;
    return error;
}
