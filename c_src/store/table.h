/* The table behind a bucket: bytes in, bytes out; it knows no Erlang.
 *
 * A key is bytes and a form, a number from 0 to 3 that is part of it; so is a value. Keys are
 * compared byte by byte: whoever wants another equality makes the bytes canonical first.
 *
 * Every operation does a bounded amount of work, however large the table. Readers in other programs
 * see each change whole. */
#ifndef KV_TABLE_H
#define KV_TABLE_H

#include "store/arena.h"

#include <kv/bytes.h>

struct kv_table;

struct kv_item {
    struct kv_bytes bytes;
    uint8_t form;
};

/* What goes when there is no room. */
enum kv_evict {
    KV_EVICT_NONE, /* nothing: the put fails */
    KV_EVICT_LRU,  /* what has not been used for long, of some that are looked at */
    KV_EVICT_TTL,  /* what expires soonest, of some that are looked at */
};

struct kv_table_options {
    enum kv_evict evict;
    uint64_t max_memory; /* bytes of entries and index, 0: no limit */
    bool internal;       /* no user's: kv_arena_stats() does not count its items */
};

/* NULL when there is no memory. Freed with kv_table_free(). `options` may be NULL. */
struct kv_table *kv_table_new(struct kv_arena *arena, const struct kv_table_options *options);

/* Readers know at once that the table is gone. `table` may be NULL. */
void kv_table_free(struct kv_table *table);

/* The value of a key, valid until the table is next changed; false when there is none. Counts as a
 * use, and removes what has expired. */
bool kv_table_get(struct kv_table *table, struct kv_item key, struct kv_item *value);

/* When an entry expires: kv_arena_time() at which it is gone, or KV_NEVER. */
#define KV_NEVER 0

/* Puts a copy of key and value in, in place of an older value. Neither may lie in the arena.
 * KV_OK, or KV_ENOMEM: nothing has changed then, but what was evicted is gone. */
int kv_table_put(struct kv_table *table, struct kv_item key, struct kv_item value, uint64_t expiry);

/* False when there was none. */
bool kv_table_delete(struct kv_table *table, struct kv_item key);

/* For many keys at a time: kv_table_look_ahead() asks for what each needs of memory before the
 * first is served. The keys are set before; then each is given to what is named _wanted, which does
 * what the function without it does. They stay right whatever happens to the table meanwhile. */
struct kv_lookup {
    struct kv_item key;
    uint64_t hash;  /* the rest is the table's own: */
    uint64_t link;  /* where the way of the hash ends, */
    uint64_t shape; /* as long as this is the shape of the table; */
    uint64_t entry; /* the first entry that may be the one, or 0, */
    uint64_t moves; /* as long as no entry has moved or gone since */
};
void kv_table_look_ahead(const struct kv_table *table, struct kv_lookup *lookups, unsigned count);
bool kv_table_get_at(struct kv_table *table, const struct kv_lookup *lookup, struct kv_item *value);
int kv_table_put_at(struct kv_table *table, const struct kv_lookup *lookup, struct kv_item value,
                    uint64_t expiry);
bool kv_table_delete_at(struct kv_table *table, const struct kv_lookup *lookup);

/* Removes everything; the memory is freed by kv_arena_work(). */
void kv_table_clear(struct kv_table *table);

/* Entries; those count that have expired and were not removed yet. */
uint64_t kv_table_count(const struct kv_table *table);

/* The same, but where there are KV_COUNT_EXACT_MAX or less, removes those that have expired first.
 */
uint64_t kv_table_count_live(struct kv_table *table);

/* Bytes of the arena that the table takes. */
uint64_t kv_table_memory(const struct kv_table *table);

/* Bytes of all keys and values. */
uint64_t kv_table_bytes(const struct kv_table *table);

/* Readers in other programs are to ask the owner, or need not any more. */
void kv_table_ask_owner(struct kv_table *table, bool ask);

/* Between these two readers in other programs are to ask the owner, so that they see all changes
 * or none; each change costs less than by itself. A table that was held before is held afterwards.
 */
void kv_table_begin_changes(struct kv_table *table);
void kv_table_end_changes(struct kv_table *table);

/* What a reader knows the table by. */
uint32_t kv_table_slot_number(const struct kv_table *table);
uint32_t kv_table_generation(const struct kv_table *table);

/* Goes over all entries in an arbitrary order: begins all zero; false at the end. The table must
 * not change during the walk. */
struct kv_table_walk {
    uint64_t hash; /* of the segment */
    unsigned entry;
    bool begun;
};
bool kv_table_next(const struct kv_table *table, struct kv_table_walk *walk, struct kv_item *key,
                   struct kv_item *value);

/* As kv_table_next(), for a table that may change between two calls: visits up to 640 entries and
 * moves *cursor on, which starts as 0 and is 0 again at the end. An entry that is there all the
 * time is visited at least once. `visit` must not change the table. */
void kv_table_scan(const struct kv_table *table, uint64_t *cursor,
                   void (*visit)(void *context, struct kv_item key, struct kv_item value),
                   void *context);

#endif
