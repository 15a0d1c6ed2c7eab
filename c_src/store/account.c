#include "store/account.h"

#include "store/heap.h"

enum {
    CLEAN_LEAST = 8,  /* entries that a write to a dusty table looks at, at least, */
    CLEAN_MOST = 64,  /* and at most; */
    CLEAN_FACTOR = 8, /* in between, for so many times the bytes that it left dead, */
    CLEAN_UNIT = 64,  /* with an entry taken for so many bytes */
};

void kv_table_publish_memory(struct kv_table *table)
{
    KV_STORE_RELAXED(table->slot->memory, kv_table_memory(table));
}

void kv_table_set_next_expiry(struct kv_table *table, uint64_t time)
{
    table->next_expiry = time;
    KV_STORE_RELEASE(table->slot->next_expiry, time == UINT64_MAX ? KV_NEVER : time);
}

void kv_table_count_items(const struct kv_table *table, int64_t entries, int64_t bytes)
{
    if (!table->internal) {
        table->arena->items += (uint64_t)entries;
        table->arena->item_bytes += (uint64_t)bytes;
    }
}

void kv_table_count_entries(struct kv_table *table, int64_t entries, int64_t bytes)
{
    KV_STORE_RELEASE(table->slot->count, table->slot->count + (uint64_t)entries);
    KV_STORE_RELAXED(table->slot->bytes, table->slot->bytes + (uint64_t)bytes);
    kv_table_count_items(table, entries, bytes);
}

uint64_t kv_table_memory(const struct kv_table *table)
{
    return sizeof *table->slot + table->heap_bytes + table->run_bytes + table->index_bytes;
}

void kv_table_tidy(struct kv_table *table, uint64_t dead)
{
    if (kv_heap_is_dusty(table)) {
        uint64_t entries = dead * CLEAN_FACTOR / CLEAN_UNIT;
        entries = entries < CLEAN_LEAST ? CLEAN_LEAST : entries;
        (void)kv_heap_clean(table, (unsigned)(entries > CLEAN_MOST ? CLEAN_MOST : entries));
        if (kv_heap_is_dusty(table) && kv_list_is_empty(&table->of_dusty)) {
            kv_list_append(&table->arena->dusty, &table->of_dusty);
        }
    }
    kv_table_publish_memory(table);
}

void kv_table_drop(struct kv_table *table, uint64_t hash, struct kv_place place,
                   const struct kv_entry *entry)
{
    uint64_t offset = kv_place_offset(place);
    kv_index_remove(table, hash, place);
    kv_table_count_entries(table, -1, -kv_entry_bytes(entry));
    table->expiring -= (entry->flags & KV_ENTRY_EXPIRES) != 0;
    kv_heap_drop(table, offset, entry->size);
}

void kv_table_lose(struct kv_table *table, enum kv_gone why, uint64_t hash, struct kv_place place,
                   const struct kv_entry *entry)
{
    /* Now, while the bytes of the key are still there. */
    struct kv_item key = {.bytes = entry->key, .form = kv_entry_key_form(entry)};
    kv_table_report(table, why, key);
    kv_table_drop(table, hash, place, entry);
}

uint64_t kv_table_lose_at(struct kv_table *table, enum kv_gone why, uint64_t hash, uint64_t offset)
{
    struct kv_entry entry;
    kv_entry_read(kv_at(table->arena, offset), &entry);
    kv_table_lose(table, why, hash, kv_index_find_offset(table, hash, offset), &entry);
    return entry.size;
}
