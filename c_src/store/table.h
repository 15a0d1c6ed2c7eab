/* The table behind a bucket: bytes in, bytes out; it knows no Erlang.
 *
 * Keys are compared byte by byte: whoever wants another equality makes the bytes canonical first.
 */
#ifndef KV_TABLE_H
#define KV_TABLE_H

#include "base/siphash.h"

#include <kv/bytes.h>

struct kv_table;

/* `key` is copied. Never NULL; freed with kv_table_free(). */
struct kv_table *kv_table_new(const struct kv_hash_key *key);
void kv_table_free(struct kv_table *table);

/* The value of a key, valid until the table is next changed; false when there is none. O(1). */
bool kv_table_get(const struct kv_table *table, struct kv_bytes key, struct kv_bytes *value);

/* Puts a copy of key and value in, in place of an older value. O(1) amortised. */
void kv_table_put(struct kv_table *table, struct kv_bytes key, struct kv_bytes value);

/* False when there was none. O(1) amortised. */
bool kv_table_delete(struct kv_table *table, struct kv_bytes key);

/* Removes everything. O(count). */
void kv_table_clear(struct kv_table *table);

size_t kv_table_count(const struct kv_table *table);

/* Bytes of all keys and values, and of what the table needs to keep them. */
size_t kv_table_memory(const struct kv_table *table);

/* Goes over all entries in an arbitrary order. *cursor starts as NULL and is the walk's own; false
 * at the end. The table must not change during the walk. */
bool kv_table_next(const struct kv_table *table, const void **cursor, struct kv_bytes *key,
                   struct kv_bytes *value);

/* As kv_table_next(), for a table that may change between two calls: visits some entries and moves
 * *cursor on, which starts as 0 and is 0 again at the end. An entry that is there all the time is
 * visited at least once. */
void kv_table_scan(const struct kv_table *table, uint64_t *cursor,
                   void (*visit)(void *context, struct kv_bytes key, struct kv_bytes value),
                   void *context);

#endif
