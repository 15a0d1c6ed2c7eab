/* Snapshots, for the rest of the store: each change of an entry says so before. kv/snapshot.h has
 * the rest. */
#ifndef KV_STORE_SNAPSHOT_H
#define KV_STORE_SNAPSHOT_H

#include "store/graves.h"

#include <kv/snapshot.h>

/* Each snapshot of the table that has not visited this hash writes out the entries with it. */
void kv_snapshots_save(struct kv_table *table, uint64_t hash);

/* Must be called before an entry with this hash is added, changed or removed, unless the change
 * takes back an earlier one, or the entry has expired. */
static inline void kv_snapshots_before(struct kv_table *table, uint64_t hash)
{
    if (__builtin_expect(table->snapshots != NULL, 0)) {
        kv_snapshots_save(table, hash);
    }
}

/* The number of snapshots that still look at the table. */
unsigned kv_snapshots_count(const struct kv_table *table);

/* The table has been emptied: its snapshots go on with what it had on `root`. Each holds the grave
 * and releases it; NULL: the table had no entries. */
void kv_snapshots_keep(struct kv_table *table, uint64_t root, struct kv_grave *grave);

/* The table ends: its snapshots fail. */
void kv_snapshots_end(struct kv_table *table);

/* The arena has no room: a snapshot that holds some fails. Returns false if none does. */
bool kv_snapshots_give_way(struct kv_arena *arena);

#endif
