/* Signals that have come. */
#ifndef KV_PROCESS_SIGNALS_H
#define KV_PROCESS_SIGNALS_H

#include "term/call_shape.h"

#include <kv/process.h>

struct kv_peer;

/* Handles a signal of a peer, but not the signals within this node that follow from it. KV_OK, or
 * KV_EPROTOCOL when the connection must be closed. */
int kv_signal_handle(struct kv_peer *peer, const struct kv_signal *signal,
                     enum kv_call_shape shape);

/* Handles the signals that are queued for processes of this node, and those that follow. */
void kv_signals_deliver(struct kv_runtime *runtime);

#endif
