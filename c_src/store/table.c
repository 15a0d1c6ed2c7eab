#include "store/table.h"

#include "base/alloc.h"
#include "base/map.h"

struct entry {
    struct kv_map_node node;
    size_t key_length;
    size_t value_length;
    uint8_t bytes[]; /* the key, then the value */
};

struct kv_table {
    struct kv_hash_key key;
    struct kv_map map;
    size_t entry_bytes;
};

static struct kv_bytes key_of(const struct entry *entry)
{
    return kv_bytes(entry->bytes, entry->key_length);
}

static struct kv_bytes value_of(const struct entry *entry)
{
    return kv_bytes(entry->bytes + entry->key_length, entry->value_length);
}

static size_t size_of(const struct entry *entry)
{
    return sizeof *entry + entry->key_length + entry->value_length;
}

static bool has_key(const struct kv_map_node *node, const void *key)
{
    const struct entry *entry = KV_MAP_OF(node, const struct entry, node);
    return kv_bytes_equal(key_of(entry), *(const struct kv_bytes *)key);
}

static struct entry *find(const struct kv_table *table, uint64_t hash, struct kv_bytes key)
{
    struct kv_map_node *found = kv_map_find(&table->map, hash, has_key, &key);
    return found == NULL ? NULL : KV_MAP_OF(found, struct entry, node);
}

static void drop(struct kv_table *table, struct entry *entry)
{
    table->entry_bytes -= size_of(entry);
    kv_map_remove(&table->map, &entry->node);
    kv_free(entry);
}

struct kv_table *kv_table_new(const struct kv_hash_key *key)
{
    struct kv_table *table = kv_zalloc(sizeof *table);
    table->key = *key;
    return table;
}

void kv_table_free(struct kv_table *table)
{
    if (table != NULL) {
        kv_table_clear(table);
        kv_free(table);
    }
}

bool kv_table_get(const struct kv_table *table, struct kv_bytes key, struct kv_bytes *value)
{
    const struct entry *entry = find(table, kv_siphash(&table->key, key), key);
    if (entry != NULL) {
        *value = value_of(entry);
    }
    return entry != NULL;
}

void kv_table_put(struct kv_table *table, struct kv_bytes key, struct kv_bytes value)
{
    uint64_t hash = kv_siphash(&table->key, key);
    struct entry *old = find(table, hash, key);
    if (old != NULL && old->value_length == value.length) {
        memcpy(old->bytes + old->key_length, value.data, value.length);
        return;
    }
    struct entry *entry = kv_alloc(sizeof *entry + key.length + value.length);
    entry->key_length = key.length;
    entry->value_length = value.length;
    memcpy(entry->bytes, key.data, key.length);
    memcpy(entry->bytes + key.length, value.data, value.length);
    if (old != NULL) {
        drop(table, old);
    }
    kv_map_insert(&table->map, &entry->node, hash);
    table->entry_bytes += size_of(entry);
}

bool kv_table_delete(struct kv_table *table, struct kv_bytes key)
{
    struct entry *entry = find(table, kv_siphash(&table->key, key), key);
    if (entry != NULL) {
        drop(table, entry);
    }
    return entry != NULL;
}

void kv_table_clear(struct kv_table *table)
{
    for (size_t i = 0; i < table->map.chain_count; i++) {
        while (table->map.chains[i] != NULL) {
            struct kv_map_node *node = table->map.chains[i];
            table->map.chains[i] = node->next;
            kv_free(KV_MAP_OF(node, struct entry, node));
        }
    }
    kv_map_free(&table->map);
    table->entry_bytes = 0;
}

size_t kv_table_count(const struct kv_table *table)
{
    return table->map.count;
}

size_t kv_table_memory(const struct kv_table *table)
{
    return sizeof *table + table->entry_bytes +
           table->map.chain_count * sizeof(struct kv_map_node *);
}

bool kv_table_next(const struct kv_table *table, const void **cursor, struct kv_bytes *key,
                   struct kv_bytes *value)
{
    const struct kv_map_node *node = kv_map_next(&table->map, *cursor);
    if (node == NULL) {
        return false;
    }
    const struct entry *entry = KV_MAP_OF(node, const struct entry, node);
    *key = key_of(entry);
    *value = value_of(entry);
    *cursor = node;
    return true;
}

struct scan {
    void (*visit)(void *context, struct kv_bytes key, struct kv_bytes value);
    void *context;
};

static void visit_node(void *context, struct kv_map_node *node)
{
    const struct scan *scan = context;
    const struct entry *entry = KV_MAP_OF(node, const struct entry, node);
    scan->visit(scan->context, key_of(entry), value_of(entry));
}

void kv_table_scan(const struct kv_table *table, uint64_t *cursor,
                   void (*visit)(void *context, struct kv_bytes key, struct kv_bytes value),
                   void *context)
{
    struct scan scan = {.visit = visit, .context = context};
    kv_map_scan(&table->map, cursor, visit_node, &scan);
}
