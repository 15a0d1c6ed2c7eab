/* Which table is to be swept next. */
#ifndef KV_STORE_DUE_H
#define KV_STORE_DUE_H

#include "store/table_state.h"

/* Must be called when `expiring`, `next_expiry`, `sweep` or `sweep_pause` of a table has changed
 * so that the table is due at another time. O(log tables). */
void kv_due_update(struct kv_table *table);

/* The table that is due first, or NULL if nothing expires. */
struct kv_table *kv_due_first(const struct kv_arena *arena);

#endif
