/* A large term that many signals end with: one copy for all of them. */
#ifndef KV_PROCESS_SHARED_H
#define KV_PROCESS_SHARED_H

#include <kv/buffer.h>
#include <kv/signal.h>

struct kv_shared;

/* Takes over the bytes of `term`, which stay where they are, and holds them once. Returns NULL and
 * takes nothing if the term is small: a copy for each signal is cheaper then. */
struct kv_shared *kv_share(struct kv_buffer *term);

/* Adds a holder, until kv_shared_drop(). */
struct kv_shared *kv_shared_keep(struct kv_shared *shared);

/* Removes a holder, and frees the term with the last one. `shared` may be NULL. */
void kv_shared_drop(struct kv_shared *shared);

struct kv_bytes kv_shared_bytes(const struct kv_shared *shared);

/* Returns true if the last part of the signal's payload is this very term. */
bool kv_shared_ends(const struct kv_shared *shared, const struct kv_signal *signal);

/* Returns true if `part` lies within the term. */
bool kv_shared_has(const struct kv_shared *shared, struct kv_bytes part);

/* Adds a holder, until `pinned` is released. */
void kv_shared_pin(struct kv_shared *shared, struct kv_pinned *pinned);

#endif
