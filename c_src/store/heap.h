/* Where the bytes of a table's entries lie: small ones in heap pages, each large one in a run. */
#ifndef KV_STORE_HEAP_H
#define KV_STORE_HEAP_H

#include "store/table_state.h"

enum { KV_HEAP_PAGE_MAX = 65536 };

/* Returns room for an entry, or 0 if there is none. May move other small entries. */
uint64_t kv_heap_take(struct kv_table *table, uint64_t size);

/* Returns true if that takes no more than the rest of the open page: then nothing moves. */
static inline bool kv_heap_fits(const struct kv_table *table, uint64_t size)
{
    return size <= KV_ENTRY_SMALL_MAX && table->open != 0 &&
           table->open_used + size <= table->open_to_puts;
}

/* Ends an entry that the index no longer refers to. */
void kv_heap_drop(struct kv_table *table, uint64_t offset, uint64_t size);

/* Returns true if somebody still sends the value of the entry: it must stay as it is. */
bool kv_heap_is_pinned(const struct kv_table *table, uint64_t offset, uint64_t size);

/* Returns true if more bytes are dead than should be. */
bool kv_heap_is_dusty(const struct kv_table *table);

/* Looks at up to `entries` entries of the page with the most dead bytes, and moves the live ones.
 * Returns false if no page is worth it. */
bool kv_heap_clean(struct kv_table *table, unsigned entries);

/* Like kv_heap_clean(), for when there is no room: also cleans a page of which little is dead, and
 * goes on to the end of that page. Returns false if it looked at nothing. */
bool kv_heap_squeeze(struct kv_table *table, unsigned entries);

/* Gives back what is not used of the open page. */
void kv_heap_trim(struct kv_table *table);

/* The pages and runs of a table that is gone. */
struct kv_heap_remains {
    uint32_t full[KV_HEAP_LISTS]; /* lists of heap pages */
    uint32_t runs;                /* a list */
    uint64_t block;               /* offset of the page of a small table; 0: none */
    uint32_t block_size;
};

/* Frees the block, if there is one. */
void kv_heap_free_block(struct kv_arena *arena, struct kv_heap_remains *remains);

/* Moves all pages and runs to `remains`: the table has an empty heap afterwards. */
void kv_heap_detach(struct kv_table *table, struct kv_heap_remains *remains);

/* Free a heap page, or a run, that is in no list any more. A pinned run is freed when it is
 * unpinned. */
void kv_heap_free_page(struct kv_arena *arena, uint32_t page);
void kv_heap_free_run(struct kv_arena *arena, uint32_t page);

#endif
