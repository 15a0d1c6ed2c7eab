/* What the files of the writer share: pages.c (pages and blocks), arena.c, heap.c (entries),
 * index.c (segments and nodes), due.c, evict.c and table.c. */
#ifndef KV_STORE_STATE_H
#define KV_STORE_STATE_H

#include "base/list.h"
#include "base/word.h"
#include "store/arena.h"
#include "store/table.h"

#include <kv/error.h>

enum {
    KV_PAGE_ORDERS = 32,
    KV_BLOCK_CLASSES = 6, /* of 64 << class bytes */
    KV_BLOCK_MIN = 64,
    KV_BLOCK_MAX = KV_BLOCK_MIN << (KV_BLOCK_CLASSES - 1),
    KV_HEAP_PAGE_MAX = 65536,
    KV_HEAP_LISTS = 8, /* full heap pages by the eighths of them that are dead */
    KV_ENTRY_ALIGNMENT = 8,
    KV_SEGMENT_GROUPS = 1 << KV_SEGMENT_GROUPS_LOG2,
    KV_SEGMENT_ENTRIES = KV_SEGMENT_GROUPS * KV_GROUP_ENTRIES,
    KV_REFERENCE_AHEAD = 8 - KV_REFERENCE_SIZE, /* bytes that fill a reference up to a word */
};

enum kv_page_kind {
    KV_PAGE_INNER,  /* not the first of its run or free block */
    KV_PAGE_FREE,   /* the first of a free block */
    KV_PAGE_RUN,    /* the first of a run */
    KV_PAGE_HEAP,   /* the first of a heap page */
    KV_PAGE_BLOCKS, /* cut into blocks */
    KV_PAGE_DOOMED, /* the first of a run that is pinned and else would be free */
};

/* What is known of a page. 0 stands for no page in lists: there lies the header. */
struct kv_page {
    uint8_t kind;
    uint8_t order; /* FREE: log2 of its pages; BLOCKS: class; LOG: pages */
    bool dirty;    /* FREE: not given back */
    uint8_t back;  /* INNER of a heap page: pages to the first */
    uint32_t next, previous;
    union {
        uint64_t taken; /* BLOCKS: one bit each */
        struct {
            uint32_t pages;
            uint32_t pins;
        } run; /* pages also of runs that are no entries */
        struct {
            uint32_t used; /* bytes */
            uint32_t dead; /* bytes of these */
        } heap;
    };
};

/* What a table was, and is still to be freed. */
struct kv_grave {
    struct kv_list link;
    uint64_t root;
    uint32_t full[KV_HEAP_LISTS]; /* lists of heap pages */
    uint32_t runs;                /* a list */
};

struct kv_arena {
    uint8_t *base;
    struct kv_arena_memory memory;
    struct kv_hash_key hash_key;
    struct kv_page *pages;
    uint32_t page_count;
    uint64_t limit_pages;
    uint64_t used_pages;
    uint64_t dirty_pages;
    uint32_t preparing;                     /* the first page of the block, 0 = none */
    uint32_t free_lists[2][KV_PAGE_ORDERS]; /* [dirty] */
    uint32_t free_orders[2];                /* bit: the list is not empty */
    uint32_t block_lists[KV_BLOCK_CLASSES]; /* pages with a free block */
    uint64_t entry_bytes;
    uint64_t live_bytes;
    uint64_t index_bytes;
    uint64_t items; /* of tables that are not internal */
    uint64_t item_bytes;
    struct kv_list graves;
    struct kv_list tables; /* all */
    struct kv_list dusty;  /* those with more dead bytes than they should have */
    struct kv_table **due; /* from 1: a heap of those in which something expires */
    uint32_t due_count;
    uint32_t due_capacity;
    struct kv_table *directory;
    uint32_t slot_count; /* used so far */
    uint32_t *free_slots;
    uint32_t free_slot_count;
    uint32_t free_slot_capacity;
    uint32_t table_count;
    uint64_t now;
    uint64_t random;
    unsigned turn; /* the kind of work that is next */
    uint64_t fail_in;
    uint64_t effort;
};

struct kv_table {
    struct kv_arena *arena;
    struct kv_table_slot *slot;
    uint32_t number; /* of the slot */
    uint32_t id, serial;
    bool published;
    bool internal;
    uint8_t evict;
    struct kv_list of_arena, of_dusty;
    bool is_changing; /* all stripes are locked until kv_table_end_changes() */
    bool asked_owner; /* when it began */
    uint64_t shape;   /* another whenever a segment comes, goes or moves, */
    uint64_t moves;   /* and whenever an entry goes or moves */
    uint64_t max_memory;
    uint64_t index_bytes;
    /* The heap: entries up to KV_ENTRY_SMALL_MAX. */
    uint64_t heap_bytes; /* of all pages */
    uint64_t live;       /* bytes of entries in it, rounded */
    uint64_t dead;       /* bytes of entries in it that are gone */
    uint64_t open;       /* offset of the page that is being filled, 0 = none */
    uint32_t open_size;
    uint32_t open_used;
    uint32_t full[KV_HEAP_LISTS];
    uint32_t victim; /* the page that is being emptied, 0 = none */
    uint32_t victim_at;
    uint32_t runs; /* list */
    uint64_t run_bytes;
    uint64_t run_live;
    /* Expiry. */
    uint64_t expiring;    /* entries that do */
    uint64_t next_expiry; /* nothing expires before */
    uint64_t sweep;       /* the hash up to which it has been swept */
    uint64_t sweep_least; /* the least expiry of what this sweep has left */
    uint64_t sweep_pause; /* when the next may begin */
    uint32_t sweep_steps; /* of this sweep */
    uint32_t due_place;   /* in the heap; 0: not there */
    uint64_t due;         /* when it is to be swept, where it is there */
};

static inline void *kv_at(const struct kv_arena *arena, uint64_t offset)
{
    return arena->base + offset;
}

static inline uint64_t kv_offset(const struct kv_arena *arena, const void *at)
{
    return (uint64_t)((const uint8_t *)at - arena->base);
}

static inline uint32_t kv_page_of(uint64_t offset)
{
    return (uint32_t)(offset / KV_ARENA_PAGE);
}

/* What others read while we write goes through these. */
#define KV_STORE_RELAXED(place, value) __atomic_store_n(&(place), (value), __ATOMIC_RELAXED)
#define KV_STORE_RELEASE(place, value) __atomic_store_n(&(place), (value), __ATOMIC_RELEASE)

/* ---- pages.c ----------------------------------------------------------------------------------
 */

enum kv_need { KV_WITHIN_LIMIT, KV_BEYOND_LIMIT }; /* what frees more than it takes may go beyond */

void kv_pages_init(struct kv_arena *arena);

/* The first of `count` pages, or 0. Their contents are anything; their kind is KV_PAGE_RUN. */
uint32_t kv_pages_take(struct kv_arena *arena, uint64_t count, enum kv_need need);
void kv_pages_give(struct kv_arena *arena, uint32_t first, uint64_t count);

/* Offset of `size` bytes: a block (size a power of two from KV_BLOCK_MIN to KV_BLOCK_MAX) or whole
 * pages; 0 when there are none. */
uint64_t kv_memory_take(struct kv_arena *arena, uint64_t size, enum kv_need need);
void kv_memory_give(struct kv_arena *arena, uint64_t offset, uint64_t size);

void kv_page_list_add(struct kv_arena *arena, uint32_t *list, uint32_t page);
void kv_page_list_remove(struct kv_arena *arena, uint32_t *list, uint32_t page);

/* Gives some free pages back. False when few enough are left. */
bool kv_pages_release(struct kv_arena *arena);

/* ---- arena.c ----------------------------------------------------------------------------------
 */

/* A slot with an even generation; false when there is no memory. */
bool kv_slot_take(struct kv_arena *arena, uint32_t *number);
void kv_slot_give(struct kv_arena *arena, uint32_t number);
struct kv_table_slot *kv_slot(const struct kv_arena *arena, uint32_t number);

/* Leaves all entries of a table, and the index on `root` that no reader follows any more, to
 * kv_arena_work(). */
void kv_bury(struct kv_table *table, uint64_t root);

/* Frees some of what was left; false when there is nothing. */
bool kv_graves_step(struct kv_arena *arena);

/* ---- stripes ----------------------------------------------------------------------------------
 */

/* Between these two, what hashes from `first` to `last` find may change. */
static inline void kv_stripes_lock(struct kv_table *table, uint64_t first, uint64_t last)
{
    if (table->is_changing) {
        return;
    }
    for (unsigned i = kv_hash_stripe(first); i <= kv_hash_stripe(last); i++) {
        KV_STORE_RELAXED(table->slot->stripes[i], table->slot->stripes[i] + 1);
    }
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

static inline void kv_stripes_unlock(struct kv_table *table, uint64_t first, uint64_t last)
{
    if (table->is_changing) {
        return;
    }
    for (unsigned i = kv_hash_stripe(first); i <= kv_hash_stripe(last); i++) {
        KV_STORE_RELEASE(table->slot->stripes[i], table->slot->stripes[i] + 1);
    }
}

/* ---- heap.c ------------------------------------------------------------------------------------
 */

struct kv_entry {
    uint8_t flags;
    uint64_t size; /* rounded: what it takes of the arena */
    uint64_t expiry;
    uint8_t *use; /* its time of use, or NULL */
    struct kv_bytes key, value;
};

static inline uint8_t kv_entry_key_form(const struct kv_entry *entry)
{
    return entry->flags & KV_ENTRY_KEY_FORM;
}

static inline uint8_t kv_entry_value_form(const struct kv_entry *entry)
{
    return (entry->flags >> KV_ENTRY_VALUE_FORM_SHIFT) & KV_ENTRY_KEY_FORM;
}

static inline bool kv_entry_has_expired(const struct kv_arena *arena, const struct kv_entry *entry)
{
    return (entry->flags & KV_ENTRY_EXPIRES) != 0 && entry->expiry <= arena->now;
}

/* The three bytes that an entry begins with, the first one lowest: flags and lengths, where
 * (head & KV_HEAD_LONG) == 0. There are 8 bytes at least. */
#define KV_HEAD_LONG UINT32_C(0x808030)
enum { KV_HEAD_SIZE = 3, KV_HEAD_KEY_SHIFT = 8, KV_HEAD_VALUE_SHIFT = 16, KV_HEAD_LENGTH = 0x7F };

static inline uint32_t kv_entry_head(const uint8_t *start)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return kv_load32(start) & UINT32_C(0xFFFFFF);
#endif
    return start[0] | ((uint32_t)start[1] << KV_HEAD_KEY_SHIFT) |
           ((uint32_t)start[2] << KV_HEAD_VALUE_SHIFT);
}

static inline uint64_t kv_round_up(uint64_t size, uint64_t unit)
{
    return (size + unit - 1) / unit * unit;
}

/* For lengths of more than a byte, and what expires or has a time of use. */
void kv_entry_read_long(uint8_t *start, struct kv_entry *entry);

/* Takes apart what we wrote ourselves. */
static inline void kv_entry_read(uint8_t *start, struct kv_entry *entry)
{
    uint32_t head = kv_entry_head(start);
    if ((head & KV_HEAD_LONG) != 0) {
        kv_entry_read_long(start, entry);
        return;
    }
    size_t key = head >> KV_HEAD_KEY_SHIFT & KV_HEAD_LENGTH;
    size_t value = head >> KV_HEAD_VALUE_SHIFT;
    entry->flags = (uint8_t)head;
    entry->expiry = 0;
    entry->use = NULL;
    entry->key = kv_bytes(start + KV_HEAD_SIZE, key);
    entry->value = kv_bytes(start + KV_HEAD_SIZE + key, value);
    entry->size = kv_round_up(KV_HEAD_SIZE + key + value, KV_ENTRY_ALIGNMENT);
}

/* Bytes of an entry with these flags, key and value: sets its size. */
void kv_entry_measure(struct kv_entry *entry);
void kv_entry_write(uint8_t *at, const struct kv_entry *entry, uint32_t use);

/* Writes expiry, use and value of an entry over those of `old`, which was read there and has the
 * same flags, key and length of value. */
void kv_entry_write_value(uint8_t *start, const struct kv_entry *old, const struct kv_entry *entry,
                          uint32_t use);

/* Room for an entry, or 0. May move other entries. */
uint64_t kv_heap_take(struct kv_table *table, uint64_t size);

/* The entry there is no longer referred to. */
void kv_heap_drop(struct kv_table *table, uint64_t offset, uint64_t size);

/* Whether more is dead than should be. */
bool kv_heap_is_dusty(const struct kv_table *table);

/* Looks at up to `entries` entries of the page with most dead bytes, and moves what lives. False
 * when there is no page worth it. */
bool kv_heap_clean(struct kv_table *table, unsigned entries);

/* The same when there is no room, where it is worth it for a page of which little is dead, too.
 * False when nothing was looked at. */
bool kv_heap_squeeze(struct kv_table *table, unsigned entries);

bool kv_heap_is_pinned(const struct kv_arena *arena, uint64_t offset);

/* Hands all pages over to the grave: the table's heap is as new. */
void kv_heap_detach(struct kv_table *table, struct kv_grave *grave);

/* Frees a page or run of a table that is gone. */
void kv_heap_free_page(struct kv_arena *arena, uint32_t page);
void kv_heap_free_run(struct kv_arena *arena, uint32_t page);

/* ---- index.c ----------------------------------------------------------------------------------
 */

/* Where in the index an entry is referred to. */
struct kv_place {
    struct kv_group *group; /* NULL: nowhere */
    unsigned entry;
};

/* A segment on the way of a hash. */
struct kv_segment {
    struct kv_group *groups;
    unsigned groups_log2;
    unsigned level;  /* nodes above it */
    unsigned depth;  /* bits of the last node's six */
    uint64_t *links; /* of the last node, or NULL */
    uint64_t *above; /* the link of the last node itself */
};

static inline uint64_t kv_place_offset(struct kv_place place)
{
    const uint8_t *bytes = place.group->references[place.entry];
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    /* One word that ends with the reference: there are bytes of the group in front of each. */
    return (kv_load64(bytes - KV_REFERENCE_AHEAD) >> (8 * KV_REFERENCE_AHEAD)) * KV_ARENA_UNIT;
#else
    uint64_t reference = 0;
    for (unsigned i = 0; i < KV_REFERENCE_SIZE; i++) {
        reference |= (uint64_t)bytes[i] << (8 * i);
    }
    return reference * KV_ARENA_UNIT;
#endif
}

/* False when the table is empty. */
bool kv_index_segment(const struct kv_table *table, uint64_t hash, struct kv_segment *segment);

/* The bits of the hash that a segment's keys have in common, as first and last hash. */
void kv_segment_range(const struct kv_segment *segment, uint64_t hash, uint64_t *first,
                      uint64_t *last);

static inline uint64_t kv_index_link_below(const uint8_t *base, uint64_t root, uint64_t hash)
{
    uint64_t link = root;
    for (unsigned level = 0; kv_link_kind(link) == KV_LINK_NODE; level++) {
        const uint64_t *links = (const void *)(base + kv_link_offset(link));
        link = links[kv_hash_link(hash, level)];
    }
    return link;
}

/* The link to the segment that has this hash; KV_LINK_NONE: the table is empty. Right until the
 * shape of the table is another. */
static inline uint64_t kv_index_link(const struct kv_table *table, uint64_t hash)
{
    return kv_index_link_below(table->arena->base, table->slot->root, hash);
}

/* Takes the entry apart when it is there. */
struct kv_place kv_index_find(const struct kv_table *table, const struct kv_lookup *lookup,
                              struct kv_entry *entry);
struct kv_place kv_index_find_offset(const struct kv_table *table, uint64_t hash, uint64_t offset);

/* Finds the link of each, and the first entry that may be the one, and asks for their memory. */
void kv_index_look_ahead(const struct kv_table *table, struct kv_lookup *lookups, unsigned count);

/* The hashes of the segment that has this one: what is locked while an entry of it is rewritten. */
void kv_index_range(const struct kv_table *table, uint64_t hash, uint64_t *first, uint64_t *last);

/* KV_OK or KV_ENOMEM. */
int kv_index_insert(struct kv_table *table, uint64_t hash, uint64_t offset);
void kv_index_replace(struct kv_table *table, uint64_t hash, struct kv_place place,
                      uint64_t offset);
void kv_index_remove(struct kv_table *table, uint64_t hash, struct kv_place place);

/* Frees one segment or node of what hangs on a link that no reader follows any more; false when
 * there is none left. */
bool kv_index_free_step(struct kv_arena *arena, uint64_t *root);

/* ---- evict.c ----------------------------------------------------------------------------------
 */

/* Removes an entry that the table's rule says can go; false when it found none. */
bool kv_evict_one(struct kv_table *table);

/* Looks through one segment for what has expired, and goes on behind it at the next call. */
void kv_sweep_step(struct kv_table *table);

/* ---- due.c ------------------------------------------------------------------------------------
 */

/* To be called whenever what the table has in `expiring`, `next_expiry`, `sweep` or `sweep_pause`
 * makes it due at another time. O(log tables). */
void kv_due_update(struct kv_table *table);

/* The table that is due first, or NULL. */
struct kv_table *kv_due_first(const struct kv_arena *arena);

/* ---- table.c ----------------------------------------------------------------------------------
 */

uint64_t kv_table_hash(const struct kv_table *table, struct kv_bytes key);

/* Removes an entry that is there; kv_table_tidy() is to follow. */
void kv_table_drop(struct kv_table *table, uint64_t hash, struct kv_place place,
                   const struct kv_entry *entry);

/* What every write does for the tidiness of the table, in proportion to the bytes that it has left
 * dead. Moves entries. */
void kv_table_tidy(struct kv_table *table, uint64_t dead);

void kv_table_publish_stats(struct kv_table *table);

/* Nothing expires before; UINT64_MAX: nothing does. */
void kv_table_set_next_expiry(struct kv_table *table, uint64_t time);

#endif
