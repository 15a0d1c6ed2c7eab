/* Where the entries of a table lie: find, find_offset, insert, replace, remove and walk.
 *
 * The rest of the store uses no more of the hash index than this header, so another index, an
 * ordered one say, can stand beside it. */
#ifndef KV_STORE_INDEX_H
#define KV_STORE_INDEX_H

#include "store/entry.h"
#include "store/place.h"
#include "store/table_state.h"

/* Finds the entry with the key of the lookup, and reads it. */
struct kv_place kv_index_find(const struct kv_table *table, const struct kv_lookup *lookup,
                              struct kv_entry *entry);

/* Finds the place that refers to the entry at this offset, whose key has this hash. */
struct kv_place kv_index_find_offset(const struct kv_table *table, uint64_t hash, uint64_t offset);

/* Visits all entries whose keys have this hash: one, or none, or rarely more. */
void kv_index_each(const struct kv_table *table, uint64_t hash,
                   void (*visit)(void *context, const struct kv_entry *entry), void *context);

/* Adds an entry whose key is not in the table. KV_OK, or KV_ENOMEM: nothing has changed. */
int kv_index_insert(struct kv_table *table, uint64_t hash, uint64_t offset);

/* A free place for a key that is not in the table. Valid until the table next changes. */
struct kv_vacancy {
    struct kv_group *groups; /* of the segment */
    struct kv_place place;
};

/* Finds one without a look at any entry. Returns false if that does not tell whether the key is
 * there, or if the segment has no room. */
bool kv_index_find_vacancy(const struct kv_table *table, const struct kv_lookup *lookup,
                           struct kv_vacancy *vacancy);

/* Adds the entry for whose key the vacancy was found. */
void kv_index_occupy(struct kv_table *table, uint64_t hash, const struct kv_vacancy *vacancy,
                     uint64_t offset);

/* Makes a place refer to another entry with the same key. */
void kv_index_replace(struct kv_table *table, uint64_t hash, struct kv_place place,
                      uint64_t offset);

/* Removes a place. Places that were found before are no longer valid. */
void kv_index_remove(struct kv_table *table, uint64_t hash, struct kv_place place);

/* A walk over one segment, up to KV_SEGMENT_ENTRIES entries whose hashes share their first bits. */
struct kv_index_walk {
    struct kv_group *groups;
    unsigned size;  /* places, used or not */
    unsigned at;    /* the next place */
    unsigned left;  /* places to look at */
    uint64_t first; /* the first hash of this segment */
    uint64_t next;  /* the first hash of the next segment; 0: this is the last */
    unsigned used;  /* entries */
};

/* Begins to walk the segment of this hash, at its first place. Returns false if the table has no
 * segment. A walk is valid until an entry is inserted or removed. */
bool kv_index_walk(const struct kv_table *table, uint64_t hash, struct kv_index_walk *walk);

/* The offset of the next entry; goes on from the last place to the first. Returns 0 at the end. */
uint64_t kv_index_next(struct kv_index_walk *walk);

/* ---- batches and readers ---------------------------------------------------------------------
 */

/* Sets link and entry of each lookup, and prefetches their memory. Hash, shape and moves are set.
 */
void kv_index_look_ahead(const struct kv_table *table, struct kv_lookup *lookups, unsigned count);

/* The hashes to lock while an entry with this hash is overwritten: those of its segment. */
void kv_index_range(const struct kv_table *table, uint64_t hash, uint64_t *first, uint64_t *last);

#endif
