/* The writer's record of an arena, and how to reach what lies in it. */
#ifndef KV_STORE_ARENA_STATE_H
#define KV_STORE_ARENA_STATE_H

#include "base/list.h"
#include "base/siphash.h"
#include "store/layout.h"
#include "store/memory.h"
#include "store/seqlock.h"

#include <kv/table.h>

struct kv_page;

enum {
    KV_PAGE_ORDERS = 32,
    KV_BLOCK_CLASSES = 6, /* of 64 << class bytes */
};

struct kv_arena {
    uint8_t *base;
    struct kv_arena_memory memory;
    struct kv_hash_key hash_key;
    /* pages.c */
    struct kv_page *pages;
    uint32_t page_count;
    uint64_t limit_pages;   /* with the loan */
    uint64_t loan_pages;    /* kv_arena_lend() */
    uint64_t loan_live;     /* while it lasts after kv_fit_step(): entries may have so many bytes */
    uint64_t reserve_pages; /* above the limit, for the tables and slots of the arena itself */
    uint64_t lent_pages;    /* that may be in use above the limit, because as many are soon free */
    uint64_t used_pages;
    uint64_t dirty_pages;
    uint64_t cushion_until;                 /* a time: kv_pages_cushion() */
    uint64_t ahead_pages;                   /* to prepare in any case: kv_arena_prepare_ahead() */
    uint32_t preparing;                     /* first page of the block being prepared; 0: none, */
    unsigned preparing_order;               /* and log2 of its pages */
    uint32_t free_lists[2][KV_PAGE_ORDERS]; /* [dirty] */
    uint32_t free_orders[2];                /* bit: the list is not empty */
    uint32_t block_lists[KV_BLOCK_CLASSES]; /* pages with a free block */
    /* Figures. */
    uint64_t entry_bytes;
    uint64_t live_bytes;
    uint64_t index_bytes;
    uint64_t items; /* in tables that are not internal */
    uint64_t item_bytes;
    uint32_t table_count;
    /* Work. */
    struct kv_list graves;
    struct kv_list tables; /* all */
    struct kv_list snapshots;
    uint64_t snapshot_bytes; /* that they have written out */
    struct kv_list dusty;    /* tables with more dead bytes than they should have */
    struct kv_table **due;   /* from index 1: a heap of the tables in which something expires */
    uint32_t due_count;
    uint32_t due_capacity;
    unsigned turn; /* the kind of work that is next */
    /* Slots. */
    struct kv_table *directory;
    uint32_t slot_count; /* used so far */
    uint32_t *free_slots;
    uint32_t free_slot_count;
    uint32_t free_slot_capacity;

    uint64_t now;
    uint64_t random;
    uint64_t fail_in;
    uint64_t effort;
};

static inline void *kv_at(const struct kv_arena *arena, uint64_t offset)
{
    return arena->base + offset;
}

static inline uint64_t kv_offset(const struct kv_arena *arena, const void *at)
{
    return (uint64_t)((const uint8_t *)at - arena->base);
}

/* The limit without the loan. */
static inline uint64_t kv_arena_own_limit(const struct kv_arena *arena)
{
    return arena->limit_pages - arena->loan_pages;
}

static inline struct kv_arena_header *kv_header_of(const struct kv_arena *arena)
{
    return kv_at(arena, 0);
}

/* The hash of a key, as docs/store-format.md defines it. */
static inline uint64_t kv_arena_hash(const struct kv_arena *arena, struct kv_bytes key)
{
    return kv_siphash(&arena->hash_key, key);
}

#endif
