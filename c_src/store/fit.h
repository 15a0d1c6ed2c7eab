/* Brings an arena that was lent memory back to its limit, after a recovery.
 *
 * Entries that are placed in another order take another room: pages have other gaps, and segments
 * are split elsewhere. So data that has filled the arena of one node may need somewhat more in the
 * next one. Here it is moved together as closely as it can be. */
#ifndef KV_STORE_FIT_H
#define KV_STORE_FIT_H

#include "store/table_state.h"

struct kv_fit {
    struct kv_arena *arena;
    unsigned pass;      /* a way to free memory, each dearer than the one before */
    struct kv_list *at; /* the table in its turn */
    bool begun;         /* with it */
    uint64_t hash;      /* where in the table it goes on */
    uint64_t left;      /* entries to evict from it in this round */
    bool evicted;       /* any, in this round */
};

enum kv_fit_state {
    KV_FIT_GOES_ON,
    KV_FIT_DONE,    /* no more is in use than the limit allows, or hardly more. In that case entries
                     * may only take the place of others, until it is the limit again */
    KV_FIT_TOO_MUCH /* the data is larger */
};

/* Takes back what kv_arena_lend() has lent. No table may be made or freed until the end, and no
 * entry put. */
void kv_fit_begin(struct kv_fit *fit, struct kv_arena *arena);

/* Does one step of up to some 50 microseconds. It frees, as far as it must: what tables left
 * behind, what has expired, the gaps between entries, the room that indexes have to spare, and at
 * last entries of tables that evict. */
enum kv_fit_state kv_fit_step(struct kv_fit *fit);

#endif
