/* The sequence counters by which readers notice a change. */
#ifndef KV_STORE_STRIPES_H
#define KV_STORE_STRIPES_H

#include "store/table_state.h"

/* Between these two, anything may change that a search for a hash from `first` to `last` reads.
 * While the table is_changing, all stripes are locked anyway. */
static inline void kv_stripes_lock(struct kv_table *table, uint64_t first, uint64_t last)
{
    if (table->is_changing) {
        return;
    }
    for (unsigned i = kv_hash_stripe(first); i <= kv_hash_stripe(last); i++) {
        KV_STORE_RELAXED(table->slot->stripes[i], table->slot->stripes[i] + 1);
    }
    kv_fence_release();
}

static inline void kv_stripes_unlock(struct kv_table *table, uint64_t first, uint64_t last)
{
    if (table->is_changing) {
        return;
    }
    for (unsigned i = kv_hash_stripe(first); i <= kv_hash_stripe(last); i++) {
        KV_STORE_RELEASE(table->slot->stripes[i], table->slot->stripes[i] + 1);
    }
}

#endif
