/* Sends the signals of a process. All of them leave here, and can wait here.
 *
 * kv_process_hold_until() gives a process an outbox. From then on its signals wait in the outbox,
 * in order, each until its batch is durable. The outbox belongs to the number of the process, so it
 * outlives the process. While the runtime has no outbox, every signal leaves at once. */
#ifndef KV_PROCESS_EMIT_H
#define KV_PROCESS_EMIT_H

#include <kv/process.h>

struct kv_peer;

/* Sends a signal of the process `signal->from`. Number 0 stands for no process; its signals never
 * wait. Sends nothing to a lost peer. Takes over or copies what is pinned. */
void kv_emit(struct kv_peer *peer, const struct kv_signal *signal);

/* Sends the signals whose batch is at most `batch`. Only queues those for processes of this node:
 * kv_signals_deliver() handles them. */
void kv_emit_release(struct kv_runtime *runtime, uint64_t batch);

/* Drops the signals that wait for a peer. Linear in the signals that wait. */
void kv_emit_peer_lost(struct kv_peer *peer);

/* Drops every signal that waits. */
void kv_emit_free(struct kv_runtime *runtime);

#endif
