/* The accounts of a table: what it counts and publishes, and what changes with each entry. */
#ifndef KV_STORE_ACCOUNT_H
#define KV_STORE_ACCOUNT_H

#include "store/index.h"
#include "store/table_state.h"

/* Adds to the number of entries and to the bytes of their keys and values. */
void kv_table_count_entries(struct kv_table *table, int64_t entries, int64_t bytes);

/* As above, in the figures of the arena only, which leave out internal tables. */
void kv_table_count_items(const struct kv_table *table, int64_t entries, int64_t bytes);

/* The bytes of key and value. */
static inline int64_t kv_entry_bytes(const struct kv_entry *entry)
{
    return (int64_t)(entry->key.length + entry->value.length);
}

/* Publishes the memory that the table takes. */
void kv_table_publish_memory(struct kv_table *table);

/* Publishes the time before which no entry expires; UINT64_MAX: no entry ever expires. */
void kv_table_set_next_expiry(struct kv_table *table, uint64_t time);

/* Tells whoever created the table that entries are gone. */
static inline void kv_table_report(const struct kv_table *table, enum kv_gone why,
                                   struct kv_item key)
{
    if (table->gone != NULL) {
        table->gone(table->gone_context, why, key);
    }
}

/* Sets `is_plain` and `attends`: call it when a limit, `pending` or `snapshots` has changed. */
static inline void kv_table_note_plain(struct kv_table *table)
{
    table->attends = table->evict != KV_EVICT_NONE || table->snapshots != NULL;
    table->is_plain = !table->attends && table->max_memory == 0 && table->pending == NULL;
}

/* Removes an entry that a request deletes. kv_table_tidy() must follow. */
void kv_table_drop(struct kv_table *table, uint64_t hash, struct kv_place place,
                   const struct kv_entry *entry);

/* Removes an entry that no request deletes, and reports that it is gone. kv_table_tidy() must
 * follow. */
void kv_table_lose(struct kv_table *table, enum kv_gone why, uint64_t hash, struct kv_place place,
                   const struct kv_entry *entry);

/* Like kv_table_lose(), for an entry known by its offset. Returns the bytes of the entry. */
uint64_t kv_table_lose_at(struct kv_table *table, enum kv_gone why, uint64_t hash, uint64_t offset);

/* Cleans the heap in proportion to the `dead` bytes that a write has left. Moves entries. */
void kv_table_tidy(struct kv_table *table, uint64_t dead);

#endif
