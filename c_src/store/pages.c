/* A buddy allocator: a free block is a power of two of pages, and two buddies that are both free
 * merge. A run takes only the pages it needs: the rest of its block is free at once.
 *
 * Free blocks are clean (never used, or given back to the system) or dirty; dirty blocks are used
 * first. Buddies merge only if both are clean or both dirty, so a page is rarely given back twice.
 * Exception: freeing a run marks its whole block dirty. Otherwise the next run of that size would
 * find no dirty block, and each run would be given back as soon as it is freed.
 *
 * At the first touch of a clean page the system finds memory for it. That takes about 10
 * microseconds, and now and then, on a virtual machine, 2 to 60 milliseconds. So a thread of the
 * owner prepares some pages ahead. Prepared pages are free and dirty. */
#include "store/pages.h"

#include "base/assert.h"

enum {
    RELEASE_ORDER = 6,     /* log2 of the pages given back at once, at most: 256 KiB */
    PREPARE_ORDER = 6,     /* log2 of the pages prepared at once, */
    PREPARE_MOST = 10,     /* and for kv_arena_prepare_ahead() */
    DIRTY_KEPT_MIN = 64,   /* dirty pages to keep: they will probably be used soon */
    DIRTY_KEPT_SHARE = 64, /* or this part of the pages in use; also to prepare ahead, */
    AHEAD_MOST = 1024,     /* but no more than this */
    LEFT_OVER_SHARE = 4,   /* part of the pages in use that may be leftovers of blocks */
    CUSHION_SHARE = 2,     /* and so many may be kept while large values are replaced, */
    CUSHION_MOST = 8192,   /* but no more than this */
    CUSHION_MS = 1000      /* after the last one */
};

/* ---- lists ------------------------------------------------------------------------------------
 */

void kv_page_list_add(struct kv_arena *arena, uint32_t *list, uint32_t page)
{
    arena->pages[page].next = *list;
    arena->pages[page].previous = 0;
    if (*list != 0) {
        arena->pages[*list].previous = page;
    }
    *list = page;
}

void kv_page_list_remove(struct kv_arena *arena, uint32_t *list, uint32_t page)
{
    const struct kv_page *gone = &arena->pages[page];
    if (gone->previous != 0) {
        arena->pages[gone->previous].next = gone->next;
    } else {
        *list = gone->next;
    }
    if (gone->next != 0) {
        arena->pages[gone->next].previous = gone->previous;
    }
}

/* ---- free blocks ------------------------------------------------------------------------------
 */

static void add_free(struct kv_arena *arena, uint32_t first, unsigned order, bool dirty)
{
    struct kv_page *page = &arena->pages[first];
    page->kind = KV_PAGE_FREE;
    page->order = (uint8_t)order;
    page->dirty = dirty;
    kv_page_list_add(arena, &arena->free_lists[dirty][order], first);
    arena->free_orders[dirty] |= UINT32_C(1) << order;
    arena->dirty_pages += dirty ? UINT64_C(1) << order : 0;
}

static void remove_free(struct kv_arena *arena, uint32_t first)
{
    struct kv_page *page = &arena->pages[first];
    uint32_t *list = &arena->free_lists[page->dirty][page->order];
    kv_page_list_remove(arena, list, first);
    if (*list == 0) {
        arena->free_orders[page->dirty] &= ~(UINT32_C(1) << page->order);
    }
    arena->dirty_pages -= page->dirty ? UINT64_C(1) << page->order : 0;
    page->kind = KV_PAGE_INNER;
}

/* Merges with a buddy of the other kind only below the order `own`: the result is dirty. */
static void free_block(struct kv_arena *arena, uint32_t first, unsigned order, bool dirty,
                       unsigned own)
{
    while (order + 1 < KV_PAGE_ORDERS) {
        uint32_t buddy = first ^ (UINT32_C(1) << order);
        if (buddy >= arena->page_count) {
            break;
        }
        const struct kv_page *page = &arena->pages[buddy];
        if (page->kind != KV_PAGE_FREE || page->order != order ||
            (page->dirty != dirty && order >= own)) {
            break;
        }
        dirty = dirty || page->dirty;
        remove_free(arena, buddy);
        first = first < buddy ? first : buddy;
        order++;
    }
    add_free(arena, first, order, dirty);
}

/* Frees any range of pages, as blocks. */
static void free_pages(struct kv_arena *arena, uint32_t first, uint64_t count, bool dirty,
                       unsigned own)
{
    while (count > 0) {
        unsigned aligned = first == 0 ? KV_PAGE_ORDERS - 1 : (unsigned)__builtin_ctz(first);
        unsigned fits = 63 - (unsigned)__builtin_clzll(count);
        unsigned order = aligned < fits ? aligned : fits;
        free_block(arena, first, order, dirty, own);
        first += UINT32_C(1) << order;
        count -= UINT64_C(1) << order;
    }
}

void kv_pages_init(struct kv_arena *arena)
{
    free_pages(arena, 1, arena->page_count - 1, false, 0); /* page 0 is the header */
}

static unsigned order_for(uint64_t count)
{
    return count <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(count - 1);
}

/* Returns the first page of the smallest free block that is large enough, or 0. */
static uint32_t find_block(const struct kv_arena *arena, unsigned order, bool dirty)
{
    uint32_t orders = order >= KV_PAGE_ORDERS ? 0 : arena->free_orders[dirty] >> order << order;
    return orders == 0 ? 0 : arena->free_lists[dirty][(unsigned)__builtin_ctz(orders)];
}

static bool must_fail(struct kv_arena *arena)
{
    return arena->fail_in > 0 && --arena->fail_in == 0;
}

/* The number of dirty pages to keep. */
static uint64_t kept(const struct kv_arena *arena)
{
    uint64_t share = arena->used_pages / DIRTY_KEPT_SHARE;
    uint64_t least = DIRTY_KEPT_MIN + arena->ahead_pages;
    return share > least ? share : least;
}

/* Takes a free block out and frees all of it but a block of order `most`. Returns the order of the
 * block that remains. */
static unsigned cut_block(struct kv_arena *arena, uint32_t first, unsigned most)
{
    unsigned order = arena->pages[first].order;
    bool dirty = arena->pages[first].dirty;
    remove_free(arena, first);
    while (order > most) {
        order--;
        add_free(arena, first + (UINT32_C(1) << order), order, dirty);
    }
    return order;
}

static uint64_t wanted_ahead(const struct kv_arena *arena)
{
    uint64_t wanted = kept(arena);
    wanted = wanted < AHEAD_MOST ? wanted : AHEAD_MOST;
    return wanted > arena->ahead_pages ? wanted : arena->ahead_pages;
}

static void prepare(struct kv_arena *arena)
{
    const uint64_t wanted = wanted_ahead(arena);
    if (arena->memory.prepare == NULL || arena->preparing != 0 || arena->dirty_pages >= wanted) {
        return;
    }
    unsigned order =
        wanted - arena->dirty_pages >= UINT64_C(1) << PREPARE_MOST ? PREPARE_MOST : PREPARE_ORDER;
    uint32_t first = find_block(arena, order, false);
    if (first == 0) {
        return;
    }
    (void)cut_block(arena, first, order);
    arena->preparing = first;
    arena->preparing_order = order;
    const struct kv_arena_range ranges[KV_ARENA_RANGES] = {
        {kv_at(arena, (uint64_t)first * KV_ARENA_PAGE), (size_t)KV_ARENA_PAGE << order},
        {&arena->pages[first], sizeof *arena->pages << order}};
    arena->memory.prepare(arena->memory.preparer, ranges);
}

void kv_arena_prepared(struct kv_arena *arena, bool ready)
{
    kv_assert(arena->preparing != 0);
    free_block(arena, arena->preparing, arena->preparing_order, ready, 0);
    arena->preparing = 0;
    if (!ready) {
        arena->memory.prepare = NULL;
    }
    prepare(arena);
}

void kv_arena_prepare_ahead(struct kv_arena *arena, uint64_t bytes)
{
    arena->ahead_pages = bytes / KV_ARENA_PAGE;
    prepare(arena);
}

/* While much is put, the other thread may be behind. */
static void populate(const struct kv_arena *arena, uint32_t first, uint64_t count)
{
    if (arena->ahead_pages > 0 && count > 1 && arena->memory.populate != NULL) {
        arena->memory.populate(kv_at(arena, (uint64_t)first * KV_ARENA_PAGE),
                               (size_t)count * KV_ARENA_PAGE);
    }
}

static bool may_take(const struct kv_arena *arena, uint64_t count, enum kv_need need)
{
    const uint64_t more = need == KV_WITHIN_RESERVE ? arena->reserve_pages : arena->lent_pages;
    return need == KV_BEYOND_LIMIT || arena->used_pages + count <= arena->limit_pages + more;
}

uint32_t kv_pages_take(struct kv_arena *arena, uint64_t count, enum kv_need need)
{
    unsigned order = order_for(count);
    if (!may_take(arena, count, need)) {
        return 0;
    }
    uint32_t first = find_block(arena, order, true);
    first = first != 0 ? first : find_block(arena, order, false);
    if (first == 0) {
        return 0;
    }
    bool dirty = arena->pages[first].dirty;
    uint64_t block = UINT64_C(1) << arena->pages[first].order;
    remove_free(arena, first);
    free_pages(arena, first + (uint32_t)count, block - count, dirty, 0);
    arena->pages[first].kind = KV_PAGE_RUN;
    arena->pages[first].run.pages = (uint32_t)count;
    arena->pages[first].run.pins = 0;
    arena->used_pages += count;
    prepare(arena);
    if (!dirty) {
        populate(arena, first, count);
    }
    return first;
}

void kv_pages_give(struct kv_arena *arena, uint32_t first, uint64_t count)
{
    arena->pages[first].kind = KV_PAGE_INNER;
    arena->used_pages -= count;
    arena->effort++;
    free_pages(arena, first, count, true, order_for(count));
}

static unsigned highest(uint32_t orders)
{
    return 31 - (unsigned)__builtin_clz(orders);
}

/* If there are only a few pages too many, leftovers of blocks go before the largest blocks: the
 * next runs of that size will use the blocks again. */
static unsigned order_to_release(const struct kv_arena *arena, uint64_t most)
{
    uint32_t orders = arena->free_orders[true];
    uint32_t left_over = orders ^ UINT32_C(1) << highest(orders);
    bool little = arena->dirty_pages <= most + arena->used_pages / LEFT_OVER_SHARE;
    return highest(little && left_over != 0 ? left_over : orders);
}

static uint64_t kept_when_idle(const struct kv_arena *arena)
{
    return kept(arena) + (UINT64_C(1) << PREPARE_ORDER);
}

/* Values of varying length leave a part of each block over. It counts as dirty, though the next
 * value in that block may need it. Without the cushion each of them would be given back and found
 * again. */
static uint64_t cushion(const struct kv_arena *arena)
{
    const uint64_t share = arena->used_pages / CUSHION_SHARE;
    return arena->now >= arena->cushion_until ? 0 : share < CUSHION_MOST ? share : CUSHION_MOST;
}

void kv_pages_cushion(struct kv_arena *arena)
{
    arena->cushion_until = arena->now + CUSHION_MS;
}

uint64_t kv_pages_due(const struct kv_arena *arena)
{
    const bool holds = arena->now < arena->cushion_until && arena->memory.release != NULL &&
                       arena->dirty_pages > kept_when_idle(arena);
    return holds ? arena->cushion_until : UINT64_MAX;
}

bool kv_pages_release(struct kv_arena *arena)
{
    const uint64_t most = kept_when_idle(arena) + cushion(arena);
    if (arena->memory.release == NULL || arena->dirty_pages <= most) {
        return false;
    }
    unsigned order = order_to_release(arena, most);
    uint32_t first = arena->free_lists[true][order];
    order = cut_block(arena, first, RELEASE_ORDER);
    arena->memory.release(arena->memory.context, (uint64_t)first * KV_ARENA_PAGE,
                          (uint64_t)KV_ARENA_PAGE << order);
    arena->effort++;
    free_block(arena, first, order, false, 0);
    return true;
}

/* ---- blocks -----------------------------------------------------------------------------------
 */

static unsigned class_of(uint64_t size)
{
    return order_for(size / KV_BLOCK_MIN);
}

static uint64_t all_taken(unsigned class)
{
    unsigned blocks = (unsigned)(KV_ARENA_PAGE / KV_BLOCK_MIN) >> class;
    return blocks == 64 ? UINT64_MAX : (UINT64_C(1) << blocks) - 1;
}

static uint64_t take_block(struct kv_arena *arena, unsigned class, enum kv_need need)
{
    uint32_t first = arena->block_lists[class];
    if (first == 0) {
        first = kv_pages_take(arena, 1, need);
        if (first == 0) {
            return 0;
        }
        arena->pages[first].kind = KV_PAGE_BLOCKS;
        arena->pages[first].order = (uint8_t) class;
        arena->pages[first].taken = 0;
        kv_page_list_add(arena, &arena->block_lists[class], first);
    }
    struct kv_page *page = &arena->pages[first];
    unsigned block = (unsigned)__builtin_ctzll(~page->taken);
    page->taken |= UINT64_C(1) << block;
    if (page->taken == all_taken(class)) {
        kv_page_list_remove(arena, &arena->block_lists[class], first);
    }
    return (uint64_t)first * KV_ARENA_PAGE + (uint64_t)block * ((uint64_t)KV_BLOCK_MIN << class);
}

static void give_block(struct kv_arena *arena, uint64_t offset, unsigned class)
{
    uint32_t first = kv_page_of(offset);
    struct kv_page *page = &arena->pages[first];
    if (page->taken == all_taken(class)) {
        kv_page_list_add(arena, &arena->block_lists[class], first);
    }
    page->taken &= ~(UINT64_C(1) << (offset % KV_ARENA_PAGE / ((uint64_t)KV_BLOCK_MIN << class)));
    if (page->taken == 0) {
        kv_page_list_remove(arena, &arena->block_lists[class], first);
        kv_pages_give(arena, first, 1);
    }
}

uint64_t kv_memory_take(struct kv_arena *arena, uint64_t size, enum kv_need need)
{
    if (must_fail(arena)) {
        return 0;
    }
    if (size <= KV_BLOCK_MAX) {
        return take_block(arena, class_of(size), need);
    }
    uint64_t pages = (size + KV_ARENA_PAGE - 1) / KV_ARENA_PAGE;
    return (uint64_t)kv_pages_take(arena, pages, need) * KV_ARENA_PAGE;
}

void kv_memory_give(struct kv_arena *arena, uint64_t offset, uint64_t size)
{
    if (size <= KV_BLOCK_MAX) {
        give_block(arena, offset, class_of(size));
    } else {
        kv_pages_give(arena, kv_page_of(offset), (size + KV_ARENA_PAGE - 1) / KV_ARENA_PAGE);
    }
}

void kv_pages_lend(struct kv_arena *arena, uint64_t bytes)
{
    const uint64_t own = kv_arena_own_limit(arena);
    const uint64_t most = arena->page_count - own;
    const uint64_t pages = bytes / KV_ARENA_PAGE;
    arena->loan_pages = pages < most ? pages : most;
    arena->limit_pages = own + arena->loan_pages;
    arena->loan_live = 0;
}
