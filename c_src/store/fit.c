#include "store/fit.h"

#include "store/account.h"
#include "store/arena.h"
#include "store/evict.h"
#include "store/graves.h"
#include "store/heap.h"
#include "store/place.h"
#include "store/segments.h"
#include "store/sweep.h"

enum {
    MOVED = 128,         /* entries that a step looks at to move them, */
    EVICTED = 32,        /* or evicts; */
    ROUND_SHARE = 64,    /* a round evicts this part of the entries of each table */
    CLOSE_SHARE = 16,    /* of a segment remains free when two become one, at first */
    TOLERATED_SHARE = 16 /* so much of the limit may be in use above it in the end, and a page for
                          * each table: its last one may be filled less than before */
};

/* Each does a step for the table in its turn, and returns false if there is no more to do. */
typedef bool pass(struct kv_fit *fit, struct kv_table *table);

static bool bury(struct kv_fit *fit, struct kv_table *table)
{
    (void)table;
    return kv_graves_step(fit->arena);
}

static bool expire(struct kv_fit *fit, struct kv_table *table)
{
    return kv_sweep_whole(table, fit->begun);
}

static bool squeeze(struct kv_fit *fit, struct kv_table *table)
{
    (void)fit;
    return kv_heap_squeeze(table, MOVED);
}

static bool trim(struct kv_fit *fit, struct kv_table *table)
{
    (void)fit;
    kv_heap_trim(table);
    return false;
}

static bool merge(struct kv_fit *fit, struct kv_table *table)
{
    return kv_segments_tighten(table, &fit->hash,
                               KV_SEGMENT_ENTRIES - KV_SEGMENT_ENTRIES / CLOSE_SHARE);
}

static bool merge_all(struct kv_fit *fit, struct kv_table *table)
{
    return kv_segments_tighten(table, &fit->hash, KV_SEGMENT_ENTRIES);
}

/* All tables that evict give the same part of their entries, round by round. */
static bool evict(struct kv_fit *fit, struct kv_table *table)
{
    if (!fit->begun) {
        fit->left = table->slot->count / ROUND_SHARE + 1;
    }
    for (unsigned i = 0; i < EVICTED && fit->left > 0; i++) {
        const bool gone = kv_evict_one(table);
        fit->left = gone ? fit->left - 1 : 0;
        fit->evicted |= gone;
    }
    return squeeze(fit, table) || fit->left > 0;
}

static pass *const passes[] = {bury, expire, squeeze, trim, merge, merge_all, evict};
enum { PASSES = sizeof passes / sizeof *passes };

static void begin_pass(struct kv_fit *fit)
{
    fit->at = fit->arena->tables.next;
    fit->begun = false;
    fit->hash = 0;
    fit->evicted = false;
}

void kv_fit_begin(struct kv_fit *fit, struct kv_arena *arena)
{
    kv_pages_lend(arena, 0);
    *fit = (struct kv_fit){.arena = arena};
    begin_pass(fit);
}

/* The last pass goes on for as long as it evicts. */
static void end_table(struct kv_fit *fit)
{
    fit->at = fit->at->next;
    fit->begun = false;
    fit->hash = 0;
    if (fit->at == &fit->arena->tables) {
        fit->pass += fit->evicted ? 0 : 1;
        begin_pass(fit);
    }
}

static uint64_t tolerated(const struct kv_arena *arena)
{
    uint64_t pages = kv_arena_own_limit(arena) / TOLERATED_SHARE + KV_MOVING_PAGES;
    const struct kv_list *tables = &arena->tables;
    KV_LIST_FOREACH (link, tables) {
        const struct kv_table *table = KV_LIST_OF(link, const struct kv_table, of_arena);
        pages += table->heap_bytes > KV_BLOCK_MAX;
    }
    return pages;
}

/* All was done. What is still in use above the limit remains lent for as long as it must. */
static enum kv_fit_state end(struct kv_arena *arena)
{
    const uint64_t more = arena->used_pages - kv_arena_own_limit(arena);
    const struct kv_list *tables = &arena->tables;
    if (more > tolerated(arena)) {
        return KV_FIT_TOO_MUCH;
    }
    kv_pages_lend(arena, more * KV_ARENA_PAGE);
    arena->loan_live = arena->live_bytes;
    KV_LIST_FOREACH (link, tables) {
        KV_LIST_OF(link, struct kv_table, of_arena)->open_to_puts = 0;
    }
    return KV_FIT_DONE;
}

enum kv_fit_state kv_fit_step(struct kv_fit *fit)
{
    struct kv_arena *arena = fit->arena;
    if (arena->used_pages <= kv_arena_own_limit(arena)) {
        return KV_FIT_DONE;
    }
    if (fit->pass == PASSES) {
        return end(arena);
    }
    struct kv_table *table = KV_LIST_OF(fit->at, struct kv_table, of_arena);
    if (passes[fit->pass](fit, table)) {
        fit->begun = true;
        kv_table_publish_memory(table);
    } else {
        end_table(fit);
    }
    return KV_FIT_GOES_ON;
}
