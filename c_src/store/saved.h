/* The entries that a snapshot has written out ahead of their turn: a set of hashes whose entries
 * need no visit any more, and a queue of the entries that these hashes had.
 *
 * The set has parts, by the first bits of the hash. So it grows in small steps, and gives back the
 * parts that the snapshot has passed. */
#ifndef KV_STORE_SAVED_H
#define KV_STORE_SAVED_H

#include "base/list.h"
#include "store/entry.h"

enum { KV_SAVED_PARTS_LOG2 = 10, KV_SAVED_PARTS = 1 << KV_SAVED_PARTS_LOG2 };

struct kv_saved_part {
    uint64_t *slots; /* 0: free. NULL while there are none */
    uint32_t slot_count;
    uint32_t used;
};

struct kv_saved {
    struct kv_arena *arena;
    uint64_t bytes;         /* in use: set, queue and pinned entries, */
    uint64_t pinned;        /* and the latter */
    unsigned first_part;    /* the parts before are given back */
    bool zero;              /* the hash 0 is in the set */
    struct kv_list entries; /* chunks */
    struct kv_saved_part parts[KV_SAVED_PARTS];
};

/* Begins an empty one. */
void kv_saved_init(struct kv_saved *saved, struct kv_arena *arena);
/* Frees all that it holds. */
void kv_saved_free(struct kv_saved *saved);

/* ---- the set -----------------------------------------------------------------------------------
 */

bool kv_saved_has(const struct kv_saved *saved, uint64_t hash);
/* Adds a hash that is not there. */
void kv_saved_add(struct kv_saved *saved, uint64_t hash);
/* Gives back what it can of the hashes below `hash`: nobody asks for them any more. */
void kv_saved_forget(struct kv_saved *saved, uint64_t hash);

/* ---- the queue ---------------------------------------------------------------------------------
 */

/* The bytes that an entry takes in the queue, or holds in the arena. */
uint64_t kv_saved_cost(const struct kv_entry *entry);
/* Appends an entry, which lies in the arena. Returns false if there is no memory. */
bool kv_saved_append(struct kv_saved *saved, const struct kv_entry *entry);
/* Reads the first entry. It is valid until it is removed. Returns false if there is none. */
bool kv_saved_first(const struct kv_saved *saved, struct kv_table_entry *entry);
/* Removes the first entry. */
void kv_saved_remove(struct kv_saved *saved);

#endif
