/* Expiry: entries whose time has come. */
#ifndef KV_STORE_SWEEP_H
#define KV_STORE_SWEEP_H

#include "store/table_state.h"

/* Removes what has expired in one segment. The next call goes on behind it. */
void kv_sweep_step(struct kv_table *table);

/* One step of a sweep that leaves no segment out. `begun`: it is not the first one. Returns false
 * at the end. */
bool kv_sweep_whole(struct kv_table *table, bool begun);

#endif
