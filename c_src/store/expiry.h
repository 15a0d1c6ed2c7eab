/* The expiry of an entry that is there already. */
#ifndef KV_STORE_EXPIRY_H
#define KV_STORE_EXPIRY_H

#include "store/entry.h"
#include "store/index.h"
#include "store/table_state.h"

/* Must be called when an entry gets an expiry, after table->expiring has counted the entry. */
void kv_table_note_expiry(struct kv_table *table, uint64_t expiry);

/* Gives another expiry to an entry that has one. Moves nothing, and needs no memory. */
void kv_table_write_expiry(struct kv_table *table, uint64_t hash, struct kv_place place,
                           const struct kv_entry *entry, uint64_t expiry);

#endif
