/* The keys that batches have changed which are not durable yet: who asks for another key need not
 * wait. At most one batch is written while the next gathers, so there are two sets of keys, one for
 * the batches of even numbers and one for the others.
 *
 * A key is its hash in the arena, mixed with the number of its table: two keys with the same mark
 * wait for each other, and no more. */
#ifndef KV_FRESH_H
#define KV_FRESH_H

#include <kv/table.h>

enum {
    KV_FRESH_SETS = KV_MARK_SETS,
    KV_FRESH_MOST = 64 * 1024, /* keys of one batch */
};

struct kv_fresh_set {
    uint64_t batch;  /* 0: the set is empty */
    bool commits;    /* a change of the batch waits until it is durable, and not only written */
    uint64_t *slots; /* a hash table; 0: free */
    uint32_t slot_count;
    uint32_t count;
};

/* Begins zeroed. */
struct kv_fresh {
    struct kv_fresh_set sets[KV_FRESH_SETS];
};

void kv_fresh_free(struct kv_fresh *fresh);

/* The mark of a key: never 0. */
static inline uint64_t kv_fresh_mark(uint64_t table, uint64_t hash)
{
    return (hash ^ table * UINT64_C(0x9E3779B97F4A7C15)) | 1;
}

/* The set of a batch. */
static inline unsigned kv_fresh_set_of(uint64_t batch)
{
    return (unsigned)(batch % KV_FRESH_SETS);
}

/* Adds a key that the batch has changed. Returns false if there is no room: the batch has
 * KV_FRESH_MOST keys, or its set still has those of another batch. O(1) on average. */
bool kv_fresh_add(struct kv_fresh *fresh, uint64_t batch, uint64_t mark, bool commits);

/* Returns the last batch that has changed the key, or 0. O(1) on average. */
uint64_t kv_fresh_find(const struct kv_fresh *fresh, uint64_t mark);

/* All batches up to `written` are written, all up to `durable` durable. Returns a bit, 1 << set,
 * for each set that is empty from now on and was not before. */
unsigned kv_fresh_release(struct kv_fresh *fresh, uint64_t written, uint64_t durable);

#endif
