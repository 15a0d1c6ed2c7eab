#include "store/graves.h"

#include "base/alloc.h"
#include "store/heap.h"
#include "store/pages.h"
#include "store/segments.h"

enum { GRAVE_PAGES = 32 }; /* heap pages, runs, or segments that one step frees */

struct kv_grave {
    struct kv_list link;
    uint64_t root;
    struct kv_heap_remains heap;
    unsigned holders;
};

static void lay_down(struct kv_arena *arena, struct kv_grave *grave)
{
    kv_heap_free_block(arena, &grave->heap);
    kv_list_append(&arena->graves, &grave->link);
}

struct kv_grave *kv_bury(struct kv_table *table, uint64_t root, unsigned holders)
{
    struct kv_arena *arena = table->arena;
    struct kv_grave *grave = kv_zalloc(sizeof *grave);
    grave->root = root;
    kv_heap_detach(table, &grave->heap);
    table->index_bytes = 0;
    grave->holders = holders;
    if (holders == 0) {
        lay_down(arena, grave);
    }
    return grave;
}

void kv_grave_release(struct kv_arena *arena, struct kv_grave *grave)
{
    grave->holders--;
    if (grave->holders == 0) {
        lay_down(arena, grave);
    }
}

static unsigned free_list(struct kv_arena *arena, uint32_t *list, unsigned most,
                          void (*free_one)(struct kv_arena *arena, uint32_t page))
{
    for (; most > 0 && *list != 0; most--) {
        uint32_t page = *list;
        kv_page_list_remove(arena, list, page);
        free_one(arena, page);
    }
    return most;
}

bool kv_graves_step(struct kv_arena *arena)
{
    if (kv_list_is_empty(&arena->graves)) {
        return false;
    }
    struct kv_grave *grave = KV_LIST_OF(arena->graves.next, struct kv_grave, link);
    unsigned left = GRAVE_PAGES;
    for (unsigned i = 0; i < KV_HEAP_LISTS; i++) {
        left = free_list(arena, &grave->heap.full[i], left, kv_heap_free_page);
    }
    left = free_list(arena, &grave->heap.runs, left, kv_heap_free_run);
    while (left > 0 && kv_segments_free_step(arena, &grave->root)) {
        left--;
    }
    if (left > 0) {
        kv_list_remove(&grave->link);
        kv_free(grave);
    }
    return true;
}
