#include "store/room.h"

#include "base/least.h"
#include "store/evict.h"
#include "store/graves.h"
#include "store/heap.h"
#include "store/pages.h"
#include "store/snapshot.h"
#include "store/undo.h"

#include <kv/error.h>

enum {
    ROOM_EVICTED = 16,     /* entries that each try evicts, */
    ROOM_CLEANED = 64,     /* and entries that it looks at to move them */
    PRESSURE_SHARE = 64,   /* tables that evict keep this part of the arena's limit free, */
    PRESSURE_MOST = 256,   /* but at most so many pages; */
    PRESSURE_EVICTED = 2,  /* beyond, each put evicts so many entries, */
    PRESSURE_CLEANED = 32, /* and looks at so many to move them */
    /* A put takes at most, besides the bytes of key and value: */
    ENTRY_OVERHEAD = 32, /* bytes of an entry: flags, lengths, expiry, use, rounding; */
    PAGES_SPARE = 512,   /* pages: of kept free ones, open pages, cleaning, and pages prepared; */
    SEGMENT_SHARE = 64,  /* new entries that fill a page of the index, at least; */
    SPLIT_PAGES = 4,     /* pages for each segment that may be split; */
    BLOCK_SHARE = 4,     /* a free block of so many times the pages is never used up by them */
};

void kv_room_relieve(struct kv_table *table)
{
    const struct kv_arena *arena = table->arena;
    uint64_t kept = arena->limit_pages / PRESSURE_SHARE;
    kept = kept < PRESSURE_MOST ? kept : PRESSURE_MOST;
    if (arena->used_pages + kept > arena->limit_pages) {
        for (unsigned i = 0; i < PRESSURE_EVICTED; i++) {
            (void)kv_evict_one(table);
        }
        (void)kv_heap_clean(table, PRESSURE_CLEANED);
    }
}

bool kv_room_make(struct kv_table *table)
{
    bool freed = kv_graves_step(table->arena) || kv_snapshots_give_way(table->arena);
    for (unsigned i = 0; !freed && i < ROOM_EVICTED && kv_evict_one(table); i++) {
        freed = i + 1 == ROOM_EVICTED;
    }
    return kv_heap_squeeze(table, ROOM_CLEANED) || freed;
}

/* ---- the limits of the table -------------------------------------------------------------------
 */

uint64_t kv_table_limit(const struct kv_table *table)
{
    return table->max_memory;
}

uint64_t kv_table_max_entries(const struct kv_table *table)
{
    return table->max_entries;
}

uint64_t kv_table_counted(const struct kv_table *table)
{
    const struct kv_undo *pending = table->pending;
    const uint64_t going = pending == NULL ? 0 : pending->old_bytes + pending->lent_bytes;
    return table->live + table->run_live + table->index_bytes - going;
}

int kv_room_allows(const struct kv_table *table, struct kv_need_of_put need)
{
    const uint64_t lent = table->pending == NULL ? 0 : table->pending->lent_entries;
    if (table->max_entries != 0 && need.entry && table->slot->count >= table->max_entries + lent) {
        return KV_EFULL;
    }
    return table->max_memory == 0 || kv_table_counted(table) + need.bytes <= table->max_memory
               ? KV_OK
               : KV_ENOMEM;
}

int kv_table_fits(const struct kv_table *table, uint64_t entries, uint64_t bytes)
{
    if (table->max_entries != 0 && entries > table->max_entries) {
        return KV_EFULL;
    }
    return table->max_memory != 0 && bytes > table->max_memory ? KV_ENOMEM : KV_OK;
}

bool kv_room_is_hopeless(const struct kv_table *table, struct kv_need_of_put need)
{
    return table->max_memory != 0 && need.bytes > table->max_memory;
}

/* ---- room for many ----------------------------------------------------------------------------
 */

static unsigned largest_block(const struct kv_arena *arena)
{
    uint32_t orders = arena->free_orders[false] | arena->free_orders[true];
    return orders == 0 ? 0 : 31 - (unsigned)__builtin_clz(orders);
}

/* The arena splits the smallest block that suffices. So free blocks that come from one block differ
 * in size, and a request of any size fails only if less than its size is left. Pages are taken in
 * powers of two. */
bool kv_table_has_room(const struct kv_table *table, uint64_t entries, uint64_t bytes)
{
    const struct kv_arena *arena = table->arena;
    uint64_t segments = table->index_bytes / KV_ARENA_PAGE + 1;
    uint64_t index = SPLIT_PAGES * kv_least(entries, segments) + entries / SEGMENT_SHARE;
    uint64_t entry_bytes = bytes + ENTRY_OVERHEAD * entries;
    uint64_t pages = PAGES_SPARE + index + 2 * entry_bytes / KV_ARENA_PAGE;
    if (arena->fail_in != 0 || arena->loan_live != 0 ||
        (table->max_entries != 0 && table->slot->count + entries > table->max_entries)) {
        return false;
    }
    if (table->max_memory != 0 &&
        kv_table_counted(table) + entry_bytes + index * KV_ARENA_PAGE > table->max_memory) {
        return false;
    }
    return arena->used_pages + pages <= arena->limit_pages &&
           UINT64_C(1) << largest_block(arena) >= BLOCK_SHARE * pages;
}
