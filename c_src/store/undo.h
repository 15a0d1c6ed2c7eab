/* The changes of a table that may still be taken back: for each key that was put, where its new
 * entry lies, and where the old one, whose bytes are kept until the changes are final.
 *
 * Cleaning moves entries. So each offset is found in a hash table, and kv_undo_moved() corrects
 * it. */
#ifndef KV_STORE_UNDO_H
#define KV_STORE_UNDO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kv_undo_put {
    uint64_t old; /* the offset of the entry before; 0: there was none, or it is dealt with */
    uint64_t new; /* the offset of the entry that was put; 0: it is dealt with */
};

struct kv_undo {
    struct kv_undo_put *puts; /* one for each key */
    size_t count;
    size_t most;           /* keys */
    uint64_t old_bytes;    /* of all old entries */
    uint64_t lent_bytes;   /* of entries that the caller deletes before the end, */
    uint64_t lent_entries; /* and their number */
    uint64_t *held;        /* a set of hashes; 0: free. NULL until the first one */
    size_t held_mask;
    size_t held_count;
    uint64_t looked_to; /* no entry with a lower hash may be evicted, */
    bool looked_at_all; /* or no entry at all */
    uint32_t *slots;    /* 0: free; else 1 + 2 * index of the put + 1 for its new entry */
    size_t slot_mask;
    size_t slots_used;
};

/* For up to `most` keys. The caller frees it with kv_undo_free(). */
struct kv_undo *kv_undo_new(size_t most);
/* `pending` may be NULL. */
void kv_undo_free(struct kv_undo *pending);

/* Adds the hash of a key whose entry must not be evicted. Up to `most` different ones. */
void kv_undo_hold(struct kv_undo *pending, uint64_t hash);
/* May return true for other hashes, too, but rarely. */
bool kv_undo_holds(const struct kv_undo *pending, uint64_t hash);

/* Notes that the entry at `new` has replaced the one at `old`; 0: there was none. */
void kv_undo_add(struct kv_undo *pending, uint64_t old, uint64_t new);

/* Returns where the offset is noted, as old or as new; NULL if it is not. Valid until the next
 * kv_undo_add(). */
uint64_t *kv_undo_find(const struct kv_undo *pending, uint64_t offset);

/* The entry at `from` lies at `to` now. Does nothing if `from` is not noted. */
void kv_undo_moved(struct kv_undo *pending, uint64_t from, uint64_t to);

#endif
