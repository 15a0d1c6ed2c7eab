/* A walk in hash order that leaves out what a snapshot has written out. */
#ifndef KV_STORE_WALK_H
#define KV_STORE_WALK_H

#include "store/saved.h"
#include "store/table_state.h"

/* As kv_table_piece(), without the hashes in `saved`. `begun`: the piece has entries already, so
 * even the first of these may end it. */
bool kv_walk_unsaved(const struct kv_table *table, uint64_t *cursor, const struct kv_saved *saved,
                     bool begun, kv_table_visit *visit, void *context);

#endif
