/* A large term that many signals end with: one copy for all of them. */
#ifndef KV_PROCESS_SHARED_H
#define KV_PROCESS_SHARED_H

#include <kv/buffer.h>
#include <kv/signal.h>

struct kv_shared;

/* Takes the bytes of `term` over and holds them once; they stay where they are. NULL, and nothing
 * is taken: the term is so small that a copy for each signal is cheaper. */
struct kv_shared *kv_share(struct kv_buffer *term);

/* Holds the term once more; kv_shared_drop() ends that. */
struct kv_shared *kv_shared_keep(struct kv_shared *shared);

/* Frees the term with its last holder. `shared` may be NULL. */
void kv_shared_drop(struct kv_shared *shared);

struct kv_bytes kv_shared_bytes(const struct kv_shared *shared);

/* True if the last part of the payload of a signal is this very term. */
bool kv_shared_ends(const struct kv_shared *shared, const struct kv_signal *signal);

/* Holds the term once more, until `pinned` is released. */
void kv_shared_pin(struct kv_shared *shared, struct kv_pinned *pinned);

#endif
