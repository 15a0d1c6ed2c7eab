/* The writer's record of a table. */
#ifndef KV_STORE_TABLE_STATE_H
#define KV_STORE_TABLE_STATE_H

#include "store/pages.h"

enum { KV_HEAP_LISTS = 8 }; /* full heap pages, by the eighths of them that are dead */

struct kv_table {
    struct kv_arena *arena;
    struct kv_table_slot *slot;
    uint32_t number; /* of the slot */
    uint32_t id, serial;
    uint32_t runs;         /* a list of larger entries */
    uint32_t open_to_puts; /* bytes of the open page: all, or 0: kv_heap_take() */
    bool published : 1;
    bool internal : 1;
    bool asks_owner : 1;  /* readers ask the owner, */
    bool heeds_marks : 1; /* or do so for keys that are marked */
    bool is_changing : 1; /* all stripes are locked until kv_table_end_changes() */
    bool frozen : 1;      /* nothing expires, and the time stands still, until kv_table_thaw() */
    unsigned evict : 2;   /* enum kv_evict */
    bool is_plain;        /* no limit, no eviction, no snapshot, nothing pending: a value may be
                           * written over */
    bool attends;         /* evicts, or has a snapshot: a put has more to do */
    uint8_t doublings; /* of a group, for the entries that are expected: first the segment becomes
                        * larger, then there are more segments. kv_table_expect() */
    struct kv_list of_arena, of_dusty;
    uint64_t shape; /* changes when a segment is added, removed or moved; never 0 */
    uint64_t moves; /* changes when an entry is removed or moved */
    uint64_t max_memory;
    uint64_t max_entries;
    uint64_t touch;                /* as in the slot, which others may write */
    struct kv_undo *pending;       /* changes that may still be taken back; or NULL */
    struct kv_snapshot *snapshots; /* that have to know what changes; or NULL */
    uint64_t index_bytes;
    void (*gone)(void *context, enum kv_gone why, struct kv_item key);
    void *gone_context;
    /* The heap: entries up to KV_ENTRY_SMALL_MAX. */
    uint64_t heap_bytes; /* of all pages */
    uint64_t live;       /* bytes of entries in it, rounded */
    uint64_t dead;       /* bytes of entries in it that are gone */
    uint64_t open;       /* offset of the page that is being filled; 0: none */
    uint32_t open_size;
    uint32_t open_used;
    uint32_t full[KV_HEAP_LISTS];
    uint32_t victim; /* the page that is being emptied; 0: none */
    uint32_t victim_at;
    /* Larger entries: runs. */
    uint64_t run_bytes;
    uint64_t run_live;
    /* Expiry. */
    uint64_t expiring;    /* entries that expire at some time */
    uint64_t next_expiry; /* nothing expires before */
    uint64_t sweep;       /* the present sweep has done all hashes below */
    uint64_t sweep_least; /* the first expiry among the entries that this sweep has kept */
    uint64_t sweep_pause; /* the next sweep begins no earlier */
    uint32_t sweep_steps; /* of this sweep */
    uint32_t due_place;   /* in the heap of due.c; 0: not there */
    uint64_t due;         /* when the table is to be swept, if it is in that heap. While the table
                           * is frozen, it is not, and this is the time */
};

/* How far requests for the entries of this table may go. */
static inline enum kv_need kv_table_need(const struct kv_table *table)
{
    return table->internal ? KV_WITHIN_RESERVE : KV_WITHIN_LIMIT;
}

/* The time by which entries of this table expire. */
static inline uint64_t kv_table_time(const struct kv_table *table)
{
    return table->frozen ? table->due : table->arena->now;
}

#endif
