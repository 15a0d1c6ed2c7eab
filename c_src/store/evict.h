/* Eviction: entries that make room for others. */
#ifndef KV_STORE_EVICT_H
#define KV_STORE_EVICT_H

#include "store/table_state.h"

/* Removes an entry that has expired, or that the table's rule lets go. Returns false if a sample
 * has none. */
bool kv_evict_one(struct kv_table *table);

#endif
