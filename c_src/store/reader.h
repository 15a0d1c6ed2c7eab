/* Reads an arena that another process writes: docs/store-format.md.
 *
 * Nothing here writes, locks, waits or allocates, and nothing in the arena is trusted: whatever its
 * bytes are, and however they change meanwhile, only bytes inside the mapping are read and the work
 * is bounded. Any number of threads may read through one struct kv_mapped. */
#ifndef KV_READER_H
#define KV_READER_H

#include "base/siphash.h"
#include "store/layout.h"

#include <kv/bytes.h>

enum {
    KV_READ_TRIES = 64,     /* times a search is begun anew before it is DISTURBED */
    KV_READ_CANDIDATES = 64 /* entries of the right tag that one search looks at */
};

/* A mapped arena. The mapping is the caller's and outlives this. */
struct kv_mapped {
    const uint8_t *base;
    uint64_t size;
    struct kv_hash_key hash_key;
};

enum kv_read {
    KV_READ_FOUND,
    KV_READ_ABSENT,
    KV_READ_GONE,      /* no such table, or not any more */
    KV_READ_ASK_OWNER, /* the owner is suspended, or changes many keys: it must be asked */
    KV_READ_DISTURBED, /* written all the time: try later, or ask the owner */
    KV_READ_BROKEN,    /* not what the format says: ask the owner */
};

/* A table: the one in this slot as long as its generation is this. Stays valid as a question for as
 * long as the mapping; the answer is GONE from the table's end on. */
struct kv_mapped_table {
    const struct kv_table_slot *slot;
    uint32_t generation;
};

/* Where a value lies, and what tells whether it still does. */
struct kv_mapped_value {
    struct kv_bytes bytes; /* in the mapping: copy first, then ask kv_mapped_holds() */
    unsigned form;
    uint64_t expires;  /* milliseconds of CLOCK_MONOTONIC from which on it is absent, 0 = never */
    uint32_t last_use; /* where has_use */
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

/* Takes `size` bytes at `base` (a multiple of 8) as an arena. `id`: KV_ARENA_ID_SIZE bytes, the
 * identity that is wanted; NULL takes any. KV_OK; KV_ETRUNCATED when the mapping is smaller than
 * the arena; KV_EMALFORMED, KV_EVERSION; KV_ENOENT when it is another arena, or has ended. */
int kv_mapped_open(struct kv_mapped *mapped, const void *base, uint64_t size, const uint8_t *id);

/* The table in a slot with that generation: FOUND, GONE or BROKEN. */
enum kv_read kv_mapped_table_at(const struct kv_mapped *mapped, uint32_t slot, uint32_t generation,
                                struct kv_mapped_table *table);

/* The table of a process, by the directory: FOUND, GONE, DISTURBED or BROKEN. */
enum kv_read kv_mapped_table_of(const struct kv_mapped *mapped, uint32_t id, uint32_t serial,
                                struct kv_mapped_table *table);

/* The hash of a key, which kv_mapped_find() lookups. O(length). */
static inline uint64_t kv_mapped_hash(const struct kv_mapped *mapped, struct kv_bytes key)
{
    return kv_siphash(&mapped->hash_key, key);
}

/* Looks for a key of that form. When FOUND, *value says where it lies; what is copied from there
 * counts only if kv_mapped_holds() says so afterwards. An expired entry is FOUND: compare `expires`
 * once the value holds. ABSENT needs no further check. */
enum kv_read kv_mapped_find(const struct kv_mapped *mapped, const struct kv_mapped_table *table,
                            struct kv_bytes key, unsigned form, uint64_t hash,
                            struct kv_mapped_value *value);

/* Whether nothing that was read of the value since it was found can have changed meanwhile. */
bool kv_mapped_holds(const struct kv_mapped_value *value);

/* The number of entries, those that have expired and still lie there included; from `next_expiry`
 * on, in milliseconds of CLOCK_MONOTONIC, there may be some of these, 0: none. FOUND, GONE, HELD,
 * or DISTURBED when the two changed meanwhile. */
enum kv_read kv_mapped_count(const struct kv_mapped *mapped, const struct kv_mapped_table *table,
                             uint64_t *count, uint64_t *next_expiry);

/* For reading several keys as they were at one time: nothing in the table has changed between two
 * calls that give the same bytes. FOUND, GONE, HELD or DISTURBED. */
enum kv_read kv_mapped_counters(const struct kv_mapped *mapped, const struct kv_mapped_table *table,
                                struct kv_mapped_counters *counters);

#endif
