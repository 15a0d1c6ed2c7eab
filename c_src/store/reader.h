/* Reads an arena that another process writes. docs/store-format.md has the format.
 *
 * The reader never writes, locks, waits or allocates, and trusts nothing in the arena. It
 * reads only inside the mapping and does a bounded amount of work, for any bytes, even while they
 * change. Any number of threads may share one struct kv_mapped. */
#ifndef KV_READER_H
#define KV_READER_H

#include "base/siphash.h"
#include "store/layout.h"
#include "store/seqlock.h"

#include <kv/bytes.h>

enum {
    KV_READ_TRIES = 64,     /* times a search is tried before it is DISTURBED */
    KV_READ_CANDIDATES = 64 /* entries with the right tag that one search looks at */
};

/* A mapped arena. The caller owns the mapping, which must outlive this. */
struct kv_mapped {
    const uint8_t *base;
    uint64_t size;
    struct kv_hash_key hash_key;
};

enum kv_read {
    KV_READ_FOUND,
    KV_READ_ABSENT,
    KV_READ_GONE,      /* the table does not exist, or no longer */
    KV_READ_ASK_OWNER, /* the owner is suspended, changes many keys, or has marked the key */
    KV_READ_DISTURBED, /* the writer was too busy there: try later, or ask the owner */
    KV_READ_BROKEN,    /* the bytes are not what the format says: ask the owner */
};

/* The table that was in this slot at this generation. May be used as long as the mapping exists:
 * once the table has ended, the answer is GONE. */
struct kv_mapped_table {
    const struct kv_table_slot *slot;
    uint32_t generation;
};

/* Where a value lies, and how to tell that it still does. */
struct kv_mapped_value {
    struct kv_bytes bytes; /* in the mapping: kv_unsettled_copy(), then kv_mapped_holds() */
    unsigned form;
    uint64_t expires;  /* CLOCK_BOOTTIME in milliseconds from which it is absent; 0: never */
    uint32_t last_use; /* if has_use */
    bool has_use;
    struct kv_mapped_table table;
    unsigned stripe;
    uint32_t counter;
};

/* The counters of all stripes of a table at one time. */
struct kv_mapped_counters {
    uint32_t generation;
    uint32_t stripes[KV_STRIPES];
};

/* Opens the arena in the `size` bytes at `base`, a multiple of 8. `id` is the expected identity of
 * KV_ARENA_ID_SIZE bytes; NULL accepts any. Returns KV_OK; KV_ETRUNCATED if the mapping is smaller
 * than the arena; KV_EMALFORMED if it is no arena; KV_EVERSION if its version is another; KV_ENOENT
 * if the identity is another or the arena has ended. */
int kv_mapped_open(struct kv_mapped *mapped, const void *base, uint64_t size, const uint8_t *id);

/* Finds the table in a slot, if it has that generation: FOUND, GONE or BROKEN. */
enum kv_read kv_mapped_table_at(const struct kv_mapped *mapped, uint32_t slot, uint32_t generation,
                                struct kv_mapped_table *table);

/* Finds the table of a process in the directory: FOUND, GONE, DISTURBED or BROKEN. */
enum kv_read kv_mapped_table_of(const struct kv_mapped *mapped, uint32_t id, uint32_t serial,
                                struct kv_mapped_table *table);

/* The hash of a key, which kv_mapped_find() lookups. O(length). */
static inline uint64_t kv_mapped_hash(const struct kv_mapped *mapped, struct kv_bytes key)
{
    return kv_siphash(&mapped->hash_key, key);
}

/* Finds a key of that form. FOUND sets *value: copy the bytes, then use the copy only if
 * kv_mapped_holds() returns true. An expired entry is FOUND too: compare `expires` once the value
 * holds. ABSENT needs no further check. */
enum kv_read kv_mapped_find(const struct kv_mapped *mapped, const struct kv_mapped_table *table,
                            struct kv_bytes key, unsigned form, uint64_t hash,
                            struct kv_mapped_value *value);

/* The milliseconds with which each read of a value starts the life of its entry again, if the entry
 * expires; 0: no read does. Any number, if the arena lies. */
uint64_t kv_mapped_touch(const struct kv_mapped_table *table);

/* Returns true if the value has not changed since it was found, so that all reads of it count. */
bool kv_mapped_holds(const struct kv_mapped_value *value);

/* The number of entries, including expired ones that are not removed yet. From *next_expiry on, in
 * milliseconds of CLOCK_BOOTTIME, there may be some of these; 0: none. FOUND, GONE, ASK_OWNER, or
 * DISTURBED if both changed meanwhile. */
enum kv_read kv_mapped_count(const struct kv_mapped *mapped, const struct kv_mapped_table *table,
                             uint64_t *count, uint64_t *next_expiry);

/* For reading several keys as of one moment: if two calls give the same counters, nothing in the
 * table has changed in between. FOUND, GONE, ASK_OWNER or DISTURBED. */
enum kv_read kv_mapped_counters(const struct kv_mapped *mapped, const struct kv_mapped_table *table,
                                struct kv_mapped_counters *counters);

#endif
