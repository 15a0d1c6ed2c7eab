/* The peers of a runtime. */
#ifndef KV_PROCESS_PEERS_H
#define KV_PROCESS_PEERS_H

#include "process/runtime.h"

/* The struct must be zeroed. `name` is copied. */
void kv_peer_init(struct kv_peer *peer, struct kv_runtime *runtime, struct kv_bytes name,
                  uint32_t creation, void *carrier);

/* Frees what a peer holds and its relations, without telling anybody; not the struct. */
void kv_peer_forget(struct kv_peer *peer);

/* True if the node of that name has so much to read that what it asks for must wait. */
bool kv_peer_is_full(struct kv_runtime *runtime, struct kv_bytes node);

#endif
