/* Sends the signals of a process. All of them leave here, and can wait here.
 *
 * kv_process_hold_until() gives a process an outbox. From then on its signals wait in the outbox,
 * each until its batch is durable, or written. The outbox belongs to the number of the process, so
 * it outlives the process. While the runtime has no outbox, every signal leaves at once.
 *
 * The signals from one process to another leave in the order in which they were sent. Signals to
 * different processes need not: an answer that tells of no change, or of an early one, overtakes
 * those of others (kv_process_hold_for()). Without that, one write would delay every read of the
 * same bucket. So an outbox knows for which batch the last signal to each process waits, and no
 * later signal to that process waits for less. The end of a process is told behind all else. */
#ifndef KV_PROCESS_EMIT_H
#define KV_PROCESS_EMIT_H

#include <kv/process.h>

struct kv_peer;

/* Sends a signal of the process `signal->from`. Number 0 stands for no process; its signals never
 * wait. Sends nothing to a lost peer. Takes over or copies what is pinned. */
void kv_emit(struct kv_peer *peer, const struct kv_signal *signal);

/* Sends the signals that need not wait any more. Only queues those for processes of this node:
 * kv_signals_deliver() handles them. Linear in the signals that wait. */
void kv_emit_release(struct kv_runtime *runtime, uint64_t written, uint64_t durable);

/* Drops the signals that wait for a peer. Linear in the signals that wait. */
void kv_emit_peer_lost(struct kv_peer *peer);

/* Drops every signal that waits. */
void kv_emit_free(struct kv_runtime *runtime);

#endif
