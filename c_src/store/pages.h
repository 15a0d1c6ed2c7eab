/* Pages of the arena, and blocks within pages. */
#ifndef KV_STORE_PAGES_H
#define KV_STORE_PAGES_H

#include "store/arena_state.h"

enum {
    KV_BLOCK_MIN = 64,
    KV_BLOCK_MAX = KV_BLOCK_MIN << (KV_BLOCK_CLASSES - 1),
};

enum kv_page_kind {
    KV_PAGE_INNER,  /* not the first page of its run, heap page or free block */
    KV_PAGE_FREE,   /* the first page of a free block */
    KV_PAGE_RUN,    /* the first page of a run */
    KV_PAGE_HEAP,   /* the first page of a heap page */
    KV_PAGE_BLOCKS, /* a page cut into blocks */
    KV_PAGE_DOOMED, /* the first page of a run that becomes free when it is unpinned */
};

/* The record of a page. In lists 0 means no page: page 0 is the header. */
struct kv_page {
    uint8_t kind;
    uint8_t order; /* FREE: log2 of its pages; BLOCKS: class; HEAP: number of pages */
    bool dirty;    /* FREE: written since the system last gave it */
    uint8_t back;  /* INNER of a heap page: pages back to the first */
    uint32_t next, previous;
    union {
        uint64_t taken; /* BLOCKS: one bit for each */
        struct {
            uint32_t pages;
            uint32_t pins;
        } run; /* of an entry or of anything else */
        struct {
            uint32_t used; /* bytes */
            uint32_t dead; /* bytes of these */
        } heap;
    };
};

static inline uint32_t kv_page_of(uint64_t offset)
{
    return (uint32_t)(offset / KV_ARENA_PAGE);
}

/* How far a request may go: to the limit of the arena; to the end of its reserve, for what any
 * process needs to begin; or beyond, only if it soon frees more than it takes. */
enum kv_need { KV_WITHIN_LIMIT, KV_WITHIN_RESERVE, KV_BEYOND_LIMIT };

enum { KV_MOVING_PAGES = 64 }; /* above the limit, for entries that move: puts wait if more are */

/* Makes all pages free but the first, which is the header. */
void kv_pages_init(struct kv_arena *arena);

/* Takes a run of `count` pages. Returns its first page, or 0 if there is no room. The pages may
 * contain anything. */
uint32_t kv_pages_take(struct kv_arena *arena, uint64_t count, enum kv_need need);
void kv_pages_give(struct kv_arena *arena, uint32_t first, uint64_t count);

/* Takes `size` bytes: up to KV_BLOCK_MAX a block, of a power of two from KV_BLOCK_MIN on; beyond
 * that whole pages. Returns the offset, or 0 if there is no room. Give back with the same size. */
uint64_t kv_memory_take(struct kv_arena *arena, uint64_t size, enum kv_need need);
void kv_memory_give(struct kv_arena *arena, uint64_t offset, uint64_t size);

void kv_page_list_add(struct kv_arena *arena, uint32_t *list, uint32_t page);
void kv_page_list_remove(struct kv_arena *arena, uint32_t *list, uint32_t page);

/* A large value has been replaced or deleted: the next one will probably want its pages. So more
 * free pages are kept for a while: kv_pages_release() gives them back later, unless this is called
 * again. */
void kv_pages_cushion(struct kv_arena *arena);
/* Returns the time from which kv_pages_release() has such pages to give back, or UINT64_MAX. */
uint64_t kv_pages_due(const struct kv_arena *arena);

/* Gives some free pages back to the system. Returns false if there are no more than should be kept.
 */
bool kv_pages_release(struct kv_arena *arena);

/* kv_arena_lend(), for the store itself. */
void kv_pages_lend(struct kv_arena *arena, uint64_t bytes);

#endif
