/* Handling of incoming signals. */
#ifndef KV_PROCESS_SIGNALS_H
#define KV_PROCESS_SIGNALS_H

#include "term/call_shape.h"

#include <kv/process.h>

struct kv_peer;

/* Handles a signal of a peer, but only queues the signals within this node that follow from it.
 * KV_OK, or KV_EPROTOCOL if the connection must be closed. */
int kv_signal_handle(struct kv_peer *peer, const struct kv_signal *signal,
                     enum kv_call_shape shape);

/* Handles the queued signals for processes of this node, and those that follow from them; but
 * leaves messages beyond KV_LOCAL_MESSAGES or KV_LOCAL_BYTES in the mailboxes of their receivers.
 */
void kv_signals_deliver(struct kv_runtime *runtime);

#endif
