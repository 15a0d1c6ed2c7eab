/* Walks over all entries of a table. */
#include "store/index.h"

/* Reads the entry at `offset`. Returns false if it has expired. */
static bool read_at(const struct kv_table *table, uint64_t offset, struct kv_item *key,
                    struct kv_item *value)
{
    struct kv_entry entry;
    kv_entry_read(kv_at(table->arena, offset), &entry);
    *key = (struct kv_item){.bytes = entry.key, .form = kv_entry_key_form(&entry)};
    *value = (struct kv_item){.bytes = entry.value, .form = kv_entry_value_form(&entry)};
    return !kv_entry_has_expired(&entry, kv_table_time(table));
}

bool kv_table_next(const struct kv_table *table, struct kv_table_walk *walk, struct kv_item *key,
                   struct kv_item *value)
{
    struct kv_index_walk in;
    while ((!walk->begun || walk->hash != 0 || walk->entry != 0) &&
           kv_index_walk(table, walk->hash, &in)) {
        walk->begun = true;
        in.at = walk->entry;
        in.left -= walk->entry;
        for (uint64_t offset = kv_index_next(&in); offset != 0; offset = kv_index_next(&in)) {
            if (read_at(table, offset, key, value)) {
                walk->entry = in.size - in.left;
                return true;
            }
        }
        walk->hash = in.next;
        walk->entry = 0;
    }
    return false;
}

void kv_table_scan(const struct kv_table *table, uint64_t *cursor,
                   void (*visit)(void *context, struct kv_item key, struct kv_item value),
                   void *context)
{
    struct kv_index_walk in = {0};
    struct kv_item key;
    struct kv_item value;
    if (kv_index_walk(table, *cursor, &in)) {
        for (uint64_t offset = kv_index_next(&in); offset != 0; offset = kv_index_next(&in)) {
            if (read_at(table, offset, &key, &value)) {
                visit(context, key, value);
            }
        }
    }
    *cursor = in.next;
}
