#include "store/state.h"

#include "base/alloc.h"

#include <string.h>

enum {
    GRAVE_PAGES = 32, /* heap pages, runs, or segments that one step frees */
    CLEAN_ENTRIES = 128,
};

/* ---- slots ------------------------------------------------------------------------------------
 */

static struct kv_arena_header *header(const struct kv_arena *arena)
{
    return kv_at(arena, 0);
}

static unsigned block_of(uint32_t number)
{
    return 31 - (unsigned)__builtin_clz(number / KV_SLOT_BLOCK_FIRST + 1);
}

static uint64_t first_of_block(unsigned block)
{
    return KV_SLOT_BLOCK_FIRST * ((UINT64_C(1) << block) - 1);
}

struct kv_table_slot *kv_slot(const struct kv_arena *arena, uint32_t number)
{
    unsigned block = block_of(number);
    struct kv_table_slot *slots = kv_at(arena, header(arena)->slot_blocks[block]);
    return &slots[number - first_of_block(block)];
}

/* A block of slots is never given back: a reader may look at one at any time. */
static bool make_block(struct kv_arena *arena, unsigned block)
{
    uint64_t size = (KV_SLOT_BLOCK_FIRST * sizeof(struct kv_table_slot)) << block;
    uint64_t offset = kv_memory_take(arena, size, KV_WITHIN_LIMIT);
    if (offset == 0) {
        return false;
    }
    memset(kv_at(arena, offset), 0, size);
    KV_STORE_RELEASE(header(arena)->slot_blocks[block], offset);
    return true;
}

bool kv_slot_take(struct kv_arena *arena, uint32_t *number)
{
    if (arena->free_slot_count > 0) {
        *number = arena->free_slots[--arena->free_slot_count];
        return true;
    }
    unsigned block = block_of(arena->slot_count);
    if (arena->slot_count == first_of_block(block) && !make_block(arena, block)) {
        return false;
    }
    *number = arena->slot_count++;
    return true;
}

void kv_slot_give(struct kv_arena *arena, uint32_t number)
{
    if (arena->free_slot_count == arena->free_slot_capacity) {
        arena->free_slot_capacity = arena->free_slot_capacity * 2 + 16;
        arena->free_slots =
            kv_realloc(arena->free_slots, arena->free_slot_capacity * sizeof *arena->free_slots);
    }
    arena->free_slots[arena->free_slot_count++] = number;
}

/* ---- beginning and end ------------------------------------------------------------------------
 */

static void write_header(struct kv_arena *arena, const struct kv_arena_options *options)
{
    struct kv_arena_header *to = header(arena);
    to->version = KV_ARENA_VERSION;
    to->hash_key[0] = options->hash_key.k0;
    to->hash_key[1] = options->hash_key.k1;
    to->size = arena->memory.reserve;
    memcpy(to->id, options->id, sizeof to->id);
    KV_STORE_RELAXED(to->state, KV_ARENA_LIVES);
    KV_STORE_RELEASE(to->magic, KV_ARENA_MAGIC);
}

struct kv_arena *kv_arena_new(const struct kv_arena_memory *memory,
                              const struct kv_arena_options *options)
{
    struct kv_arena *arena = kv_zalloc(sizeof *arena);
    arena->memory = *memory;
    arena->base = memory->base;
    arena->hash_key = options->hash_key;
    arena->random = (options->hash_key.k0 ^ options->hash_key.k1) | 1;
    arena->page_count = kv_page_of(memory->reserve);
    arena->pages = kv_zalloc(arena->page_count * sizeof *arena->pages);
    arena->used_pages = 1; /* the header */
    kv_pages_init(arena);
    kv_list_init(&arena->graves);
    kv_list_init(&arena->tables);
    kv_list_init(&arena->dusty);
    arena->limit_pages = arena->page_count;
    arena->directory = kv_table_new(arena, &(struct kv_table_options){.internal = true});
    if (options->max_memory != 0 && options->max_memory / KV_ARENA_PAGE < arena->limit_pages) {
        arena->limit_pages = options->max_memory / KV_ARENA_PAGE;
    }
    write_header(arena, options);
    return arena;
}

void kv_arena_free(struct kv_arena *arena)
{
    kv_table_free(arena->directory);
    while (kv_graves_step(arena)) {
    }
    KV_STORE_RELEASE(header(arena)->state, KV_ARENA_ENDED);
    kv_free(arena->free_slots);
    kv_free(arena->due);
    kv_free(arena->pages);
    kv_free(arena);
}

void kv_arena_set_time(struct kv_arena *arena, uint64_t now)
{
    arena->now = now;
}

uint64_t kv_arena_time(const struct kv_arena *arena)
{
    return arena->now;
}

void kv_arena_fail(struct kv_arena *arena, uint64_t n)
{
    arena->fail_in = n;
}

uint64_t kv_arena_effort(const struct kv_arena *arena)
{
    return arena->effort;
}

/* ---- pins -------------------------------------------------------------------------------------
 */

/* The first page of the run that has this place, or NULL. */
static struct kv_page *run_at(const struct kv_arena *arena, const void *data)
{
    struct kv_page *page = &arena->pages[kv_page_of(kv_offset(arena, data))];
    while (page->kind == KV_PAGE_INNER) {
        page--;
    }
    return page->kind == KV_PAGE_RUN || page->kind == KV_PAGE_DOOMED ? page : NULL;
}

bool kv_arena_pin(struct kv_arena *arena, const void *data)
{
    struct kv_page *page = run_at(arena, data);
    if (page != NULL) {
        page->run.pins++;
    }
    return page != NULL;
}

void kv_arena_unpin(struct kv_arena *arena, const void *data)
{
    struct kv_page *page = run_at(arena, data);
    page->run.pins--;
    if (page->run.pins == 0 && page->kind == KV_PAGE_DOOMED) {
        kv_pages_give(arena, (uint32_t)(page - arena->pages), page->run.pages);
    }
}

/* ---- what tables leave behind -----------------------------------------------------------------
 */

void kv_bury(struct kv_table *table, uint64_t root)
{
    struct kv_arena *arena = table->arena;
    struct kv_grave *grave = kv_zalloc(sizeof *grave);
    grave->root = root;
    kv_heap_detach(table, grave);
    table->index_bytes = 0;
    kv_list_append(&arena->graves, &grave->link);
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
        left = free_list(arena, &grave->full[i], left, kv_heap_free_page);
    }
    left = free_list(arena, &grave->runs, left, kv_heap_free_run);
    while (left > 0 && kv_index_free_step(arena, &grave->root)) {
        left--;
    }
    if (left > 0) {
        kv_list_remove(&grave->link);
        kv_free(grave);
    }
    return true;
}

/* ---- work -------------------------------------------------------------------------------------
 */

static bool clean_step(struct kv_arena *arena)
{
    if (kv_list_is_empty(&arena->dusty)) {
        return false;
    }
    struct kv_list *link = arena->dusty.next;
    struct kv_table *table = KV_LIST_OF(link, struct kv_table, of_dusty);
    kv_list_remove(link);
    if (kv_heap_clean(table, CLEAN_ENTRIES) && kv_heap_is_dusty(table)) {
        kv_list_append(&arena->dusty, link);
    }
    kv_table_publish_stats(table);
    return true;
}

static bool sweep_step(struct kv_arena *arena)
{
    struct kv_table *table = kv_due_first(arena);
    if (table == NULL || table->due > arena->now) {
        return false;
    }
    kv_sweep_step(table);
    return true;
}

uint64_t kv_arena_due(const struct kv_arena *arena)
{
    const struct kv_table *table = kv_due_first(arena);
    return table == NULL ? UINT64_MAX : table->due;
}

bool kv_arena_work(struct kv_arena *arena, unsigned steps)
{
    static bool (*const kinds[])(struct kv_arena *) = {kv_graves_step, clean_step, sweep_step,
                                                       kv_pages_release};
    enum { KINDS = sizeof kinds / sizeof kinds[0] };
    unsigned idle = 0;
    while (steps > 0 && idle < KINDS) {
        bool worked = kinds[arena->turn](arena);
        arena->turn = (arena->turn + 1) % KINDS;
        idle = worked ? 0 : idle + 1;
        steps -= worked;
    }
    return idle < KINDS;
}

/* ---- figures ----------------------------------------------------------------------------------
 */

void kv_arena_stats(const struct kv_arena *arena, struct kv_arena_stats *stats)
{
    uint64_t used = arena->used_pages * KV_ARENA_PAGE;
    *stats = (struct kv_arena_stats){
        .limit = arena->limit_pages * KV_ARENA_PAGE,
        .reserved = used + arena->dirty_pages * KV_ARENA_PAGE,
        .entries = arena->entry_bytes,
        .live = arena->live_bytes,
        .index = arena->index_bytes,
        .other = used - arena->entry_bytes - arena->index_bytes,
        .free = arena->dirty_pages * KV_ARENA_PAGE,
        .tables = arena->table_count - 1, /* without the directory */
        .items = arena->items,
        .item_bytes = arena->item_bytes,
    };
}
