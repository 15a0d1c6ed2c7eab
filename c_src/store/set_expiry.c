#include "base/alloc.h"
#include "store/account.h"
#include "store/expiry.h"

#include <kv/error.h>

#include <string.h>

/* Returns false if there is no such entry, or if it has expired. */
static bool find(const struct kv_table *table, struct kv_item key, uint64_t *hash,
                 struct kv_place *place, struct kv_entry *entry)
{
    const struct kv_lookup lookup = {.key = key, .hash = kv_arena_hash(table->arena, key.bytes)};
    *hash = lookup.hash;
    *place = kv_index_find(table, &lookup, entry);
    return place->group != NULL && !kv_entry_has_expired(entry, kv_table_time(table));
}

bool kv_table_expiry(const struct kv_table *table, struct kv_item key, uint64_t *expiry)
{
    struct kv_entry entry;
    struct kv_place place;
    uint64_t hash;
    if (!find(table, key, &hash, &place, &entry)) {
        return false;
    }
    *expiry = (entry.flags & KV_ENTRY_EXPIRES) != 0 ? entry.expiry : KV_NEVER;
    return true;
}

/* Puts an entry again, with or without an expiry. The put may move the value, so it puts a copy. */
static int rewrite(struct kv_table *table, struct kv_item key, const struct kv_entry *entry,
                   uint64_t expiry)
{
    const size_t length = entry->value.length;
    const uint8_t form = kv_entry_value_form(entry);
    uint8_t *copy = kv_try_realloc(NULL, length + 1); /* never of 0 bytes */
    if (copy == NULL) {
        return KV_ENOMEM;
    }
    memcpy(copy, entry->value.data, length);
    const struct kv_item value = {.bytes = kv_bytes(copy, length), .form = form};
    int error = kv_table_put(table, key, value, expiry);
    kv_free(copy);
    return error;
}

int kv_table_set_expiry(struct kv_table *table, struct kv_item key, uint64_t expiry)
{
    struct kv_entry entry;
    struct kv_place place;
    uint64_t hash;
    if (!find(table, key, &hash, &place, &entry)) {
        return KV_ENOENT;
    }
    bool expires = (entry.flags & KV_ENTRY_EXPIRES) != 0;
    if (expires != (expiry != KV_NEVER)) {
        return rewrite(table, key, &entry, expiry);
    }
    if (expires) {
        kv_table_write_expiry(table, hash, place, &entry, expiry);
    }
    return KV_OK;
}
