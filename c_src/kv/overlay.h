/* The changes of a transaction before they are made. While a table has an overlay, the operations
 * of its process find what the overlay has, and change the overlay only. */
#ifndef KV_OVERLAY_H
#define KV_OVERLAY_H

#include "kv/contents.h"

/* Returns an empty overlay of the contents, for up to `keys` operations, each of one key. Borrows
 * the keys and values that lie within `request`, and copies all others. The caller frees it with
 * kv_overlay_free(). */
struct kv_overlay *kv_overlay_new(const struct kv_contents *contents, struct kv_bytes request,
                                  unsigned keys);
void kv_overlay_free(struct kv_overlay *overlay);

/* The changes from here on belong to the operation with this number. */
void kv_overlay_step(struct kv_overlay *overlay, unsigned step);

/* Makes all changes in the table, or none. Readers of this host see all of them or none. Returns
 * KV_OK; or the error of kv_table_put(), and sets *step to the operation whose entry finds no room.
 * KV_EBUSY and KV_ENOSPC are of the journal of a durable
 * table. The result of all changes needs room, and no more. May have evicted entries, as a put may,
 * but none whose key an operation has named. The overlay is empty afterwards. */
int kv_overlay_apply(struct kv_overlay *overlay, unsigned *step);

#endif
