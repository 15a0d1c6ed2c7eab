/* The one place by which signals leave a process, where they can wait.
 *
 * A process that calls kv_process_hold_until() has an outbox from then on: its signals wait there,
 * in order, until the batch that each of them names is durable. The outbox is found by the number
 * of the process, so it outlives the process. Without an outbox in the runtime a signal leaves at
 * once. */
#ifndef KV_PROCESS_EMIT_H
#define KV_PROCESS_EMIT_H

#include <kv/process.h>

struct kv_peer;

/* Sends a signal of the process `signal->from`; number 0 is no process, whose signals never wait.
 * A peer that is lost gets nothing. What is pinned is taken over or copied. */
void kv_emit(struct kv_peer *peer, const struct kv_signal *signal);

/* Lets the signals go whose batch is at most `batch`. Does not handle those for processes of this
 * node: kv_signals_deliver(). */
void kv_emit_release(struct kv_runtime *runtime, uint64_t batch);

/* Drops what waits for a peer. */
void kv_emit_peer_lost(struct kv_peer *peer);

/* Drops all that waits. */
void kv_emit_free(struct kv_runtime *runtime);

#endif
