/* Reading long lists of keys, and entries: a list of pairs, or a map. Element by element to check
 * them, and in batches whose keys are looked up together.
 *
 * All terms are well-formed, as the node checks each message. Nothing is copied: what is read
 * borrows from the term, which must outlive the reading. Skipping is O(bytes) in the worst case; a
 * list whose elements look alike is read in strides. */
#ifndef KV_ITEMS_H
#define KV_ITEMS_H

#include <kv/stride.h>
#include <kv/table.h>

/* A place in a list or map. A plain value: a copy reads on from the same place. */
struct kv_items {
    const uint8_t *next;
    const uint8_t *end; /* of the whole term */
    uint32_t left;      /* so many elements are still to come */
    bool string;        /* a list of small integers, which comes as a string */
    bool map;
    uint8_t element[2]; /* of a string, as a term */
    struct kv_stride stride;
};

/* Opens a list, at its first element. Returns false if the term is none. */
bool kv_items_open_list(struct kv_bytes term, struct kv_items *items);

/* Opens a list or a map of entries, one of which the term must be. */
void kv_items_open_entries(struct kv_bytes entries, struct kv_items *items);

/* Skips up to `most` elements of a list and some `bytes`. Returns true if there are more. */
bool kv_items_skip(struct kv_items *items, unsigned most, size_t bytes);

/* Skips up to `most` pairs of a list and some `bytes`. Returns false in front of an element that is
 * no pair. The list must not be a string, unless that is empty. */
bool kv_items_skip_pairs(struct kv_items *items, unsigned most, size_t bytes);

/* Behind the last element: returns true if the list ends with nil, or is a string. */
bool kv_items_end_properly(const struct kv_items *items);

/* Returns true if the term is a proper list. O(bytes). */
bool kv_items_are_list(struct kv_bytes term);

/* Returns true if the term is a map, or a proper list of pairs. O(bytes). */
bool kv_items_are_entries(struct kv_bytes term);

/* ---- batches -----------------------------------------------------------------------------------
 * kv_table_look_ahead() prefetches the memory for all keys of a batch, so that the cache misses
 * overlap. */

enum { KV_BATCH = 64 };

struct kv_batch {
    struct kv_bytes keys[KV_BATCH];
    struct kv_bytes values[KV_BATCH]; /* of entries */
    uint8_t elements[KV_BATCH][2];    /* the keys, if the list is a string */
    unsigned count;
    unsigned wanted;
    const struct kv_lookup *found[KV_BATCH]; /* NULL: the key is not canonical yet */
    struct kv_lookup wants[KV_BATCH];
};

/* Takes the next keys of an open list. Returns false if there are no more. The batch must not be
 * moved, and the places that it found last until the table changes. */
bool kv_items_next_keys(struct kv_table *table, struct kv_items *items, struct kv_batch *batch);

/* The same for entries. Those of a list must have been checked, by kv_items_are_entries() or by
 * kv_items_skip_pairs(). A batch of large entries has fewer: it ends with the entry that makes it
 * longer than KV_PIECE_BYTES. */
bool kv_items_next_entries(struct kv_table *table, struct kv_items *items, struct kv_batch *batch);

#endif
