/* The peers of a runtime. */
#ifndef KV_PROCESS_PEERS_H
#define KV_PROCESS_PEERS_H

#include "process/runtime.h"

/* The struct must be zeroed. Copies `name`. */
void kv_peer_init(struct kv_peer *peer, struct kv_runtime *runtime, struct kv_bytes name,
                  uint32_t creation, void *carrier);

/* Frees the memory and the relations of a peer without telling anybody, but not the struct. */
void kv_peer_forget(struct kv_peer *peer);

/* Returns true if the node of that name has so much to read that its calls must wait. */
bool kv_peer_is_full(struct kv_runtime *runtime, struct kv_bytes node);

#endif
