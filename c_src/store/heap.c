/* Small entries are appended to the open page of their table. The pages with the most dead bytes
 * are emptied into the open page, a few entries at a time. A large entry has a run of pages of its
 * own and never moves.
 *
 * A small table has a single page, a block of less than KV_ARENA_PAGE. When that page is full, all
 * live entries move to a larger one. */
#include "store/heap.h"

#include "store/entry.h"
#include "store/index.h"
#include "store/pages.h"
#include "store/undo.h"

#include <string.h>

enum {
    DEAD_SHARE = 4,        /* this part of a table's pages may be dead, */
    DEAD_FREE = 4096,      /* and so many bytes may always be */
    PAGE_SHARE = 16,       /* a heap page is this part of the table, within limits */
    SMALL_SPARE_SHARE = 4, /* a new small page has this part free */
    LOOKED_AT = 64         /* pages with few dead bytes, when there is no room */
};

/* ---- pages ------------------------------------------------------------------------------------
 */

static bool is_small(const struct kv_table *table)
{
    return table->open_size <= KV_BLOCK_MAX;
}

static uint32_t heap_page_of(const struct kv_arena *arena, uint64_t offset)
{
    uint32_t page = kv_page_of(offset);
    return arena->pages[page].kind == KV_PAGE_INNER ? page - arena->pages[page].back : page;
}

static uint32_t *full_list(struct kv_table *table, uint32_t page)
{
    const struct kv_page *record = &table->arena->pages[page];
    uint32_t eighths = record->heap.dead * KV_HEAP_LISTS / record->heap.used;
    return &table->full[eighths < KV_HEAP_LISTS ? eighths : KV_HEAP_LISTS - 1];
}

static void count_pages(struct kv_table *table, int64_t bytes)
{
    table->heap_bytes += (uint64_t)bytes;
    table->arena->entry_bytes += (uint64_t)bytes;
}

void kv_heap_free_page(struct kv_arena *arena, uint32_t page)
{
    uint64_t pages = arena->pages[page].order;
    arena->entry_bytes -= pages * KV_ARENA_PAGE;
    kv_pages_give(arena, page, pages);
}

/* Frees a page of the table that is in no list. */
static void free_heap_page(struct kv_table *table, uint32_t page)
{
    table->dead -= table->arena->pages[page].heap.dead;
    table->heap_bytes -= (uint64_t)table->arena->pages[page].order * KV_ARENA_PAGE;
    kv_heap_free_page(table->arena, page);
}

static void make_heap_page(struct kv_arena *arena, uint64_t offset, uint64_t size)
{
    uint32_t first = kv_page_of(offset);
    uint32_t count = (uint32_t)(size / KV_ARENA_PAGE);
    arena->pages[first].kind = KV_PAGE_HEAP;
    arena->pages[first].order = (uint8_t)count;
    arena->pages[first].heap.used = 0;
    arena->pages[first].heap.dead = 0;
    for (uint32_t i = 1; i < count; i++) {
        arena->pages[first + i].back = (uint8_t)i;
    }
}

/* Moves the full open page to the lists of full pages. */
static void close_page(struct kv_table *table)
{
    uint32_t page = kv_page_of(table->open);
    struct kv_page *record = &table->arena->pages[page];
    record->heap.used = table->open_used;
    if (record->heap.dead == record->heap.used) {
        free_heap_page(table, page);
    } else {
        kv_page_list_add(table->arena, full_list(table, page), page);
    }
}

/* Entries move to pages that may be above the limit, and leave other pages only later. If too many
 * are, puts wait: or they would take ever more memory. */
static bool is_far_above(const struct kv_table *table)
{
    const struct kv_arena *arena = table->arena;
    return !table->internal &&
           arena->used_pages > arena->limit_pages + arena->lent_pages + KV_MOVING_PAGES;
}

static bool is_open_to_puts(const struct kv_table *table)
{
    return table->arena->loan_live == 0 && !is_far_above(table);
}

/* Opens a page of `size` bytes. The caller has closed or remembered the one before. */
static bool open_page(struct kv_table *table, uint64_t size, enum kv_need need)
{
    uint64_t offset =
        kv_memory_take(table->arena, size, need == KV_WITHIN_LIMIT ? kv_table_need(table) : need);
    if (offset == 0) {
        return false;
    }
    if (size > KV_BLOCK_MAX) {
        make_heap_page(table->arena, offset, size);
    }
    count_pages(table, (int64_t)size);
    table->open = offset;
    table->open_size = (uint32_t)size;
    table->open_to_puts = is_open_to_puts(table) ? (uint32_t)size : 0;
    table->open_used = 0;
    return true;
}

static uint64_t bump(struct kv_table *table, uint64_t size)
{
    uint64_t offset = table->open + table->open_used;
    table->open_used += (uint32_t)size;
    return offset;
}

/* ---- moving -----------------------------------------------------------------------------------
 */

static uint64_t take_in_page(struct kv_table *table, uint64_t size, enum kv_need need);

enum moved { NOT_LIVE, MOVED, NO_ROOM };

/* Moves the entry at `offset` if it is live, or if it may come back. Sets its size. */
static enum moved move_entry(struct kv_table *table, uint64_t offset, uint64_t *size)
{
    struct kv_arena *arena = table->arena;
    struct kv_entry entry;
    kv_entry_read(kv_at(arena, offset), &entry);
    uint64_t hash = kv_arena_hash(arena, entry.key);
    struct kv_place place = kv_index_find_offset(table, hash, offset);
    *size = entry.size;
    arena->effort++;
    if (place.group == NULL &&
        (table->pending == NULL || kv_undo_find(table->pending, offset) == NULL)) {
        return NOT_LIVE;
    }
    uint64_t to = take_in_page(table, entry.size, KV_BEYOND_LIMIT);
    if (to == 0) {
        return NO_ROOM;
    }
    kv_races_begin();
    memcpy(kv_at(arena, to), kv_at(arena, offset), entry.size);
    kv_races_end();
    if (place.group != NULL) {
        kv_index_replace(table, hash, place, to);
    }
    if (table->pending != NULL) {
        kv_undo_moved(table->pending, offset, to);
    }
    return MOVED;
}

/* Moves all entries of a small table to a page of `size` bytes. */
static bool move_all(struct kv_table *table, uint64_t size, enum kv_need need)
{
    uint64_t from = table->open;
    uint64_t old_size = table->open_size;
    uint64_t used = table->open_used;
    if (!open_page(table, size, need)) {
        return false;
    }
    for (uint64_t at = 0, length; at < used; at += length) {
        (void)move_entry(table, from + at, &length);
    }
    table->dead = 0;
    if (from != 0) {
        kv_memory_give(table->arena, from, old_size);
        count_pages(table, -(int64_t)old_size);
    }
    return true;
}

static uint64_t small_page_size(const struct kv_table *table, uint64_t size)
{
    uint64_t wanted = table->live + size;
    uint64_t block = KV_BLOCK_MIN;
    wanted += table->live == 0 ? 0 : wanted / SMALL_SPARE_SHARE;
    while (block < wanted) {
        block *= 2;
    }
    return block;
}

static uint64_t page_size(const struct kv_table *table, uint64_t size)
{
    uint64_t wanted = table->live / PAGE_SHARE / KV_ARENA_PAGE * KV_ARENA_PAGE;
    uint64_t least = kv_round_up(size, KV_ARENA_PAGE);
    wanted = wanted < KV_HEAP_PAGE_MAX ? wanted : KV_HEAP_PAGE_MAX;
    return wanted > least ? wanted : least;
}

static bool next_page(struct kv_table *table, uint64_t size, enum kv_need need)
{
    if (is_small(table)) {
        uint64_t block = small_page_size(table, size);
        return move_all(table, block <= KV_BLOCK_MAX ? block : page_size(table, table->live + size),
                        need);
    }
    uint64_t old = table->open;
    uint32_t old_size = table->open_size;
    uint32_t old_used = table->open_used;
    if (!open_page(table, page_size(table, size), need) &&
        !open_page(table, kv_round_up(size, KV_ARENA_PAGE), need)) {
        return false;
    }
    uint64_t new = table->open;
    uint32_t new_size = table->open_size;
    table->open = old;
    table->open_size = old_size;
    table->open_used = old_used;
    close_page(table);
    table->open = new;
    table->open_size = new_size;
    table->open_used = 0;
    return true;
}

static uint64_t take_in_page(struct kv_table *table, uint64_t size, enum kv_need need)
{
    bool fits = table->open != 0 && table->open_used + size <= table->open_size;
    return fits || next_page(table, size, need) ? bump(table, size) : 0;
}

/* ---- runs -------------------------------------------------------------------------------------
 */

static uint64_t take_run(struct kv_table *table, uint64_t size)
{
    struct kv_arena *arena = table->arena;
    uint64_t offset = kv_memory_take(arena, size, kv_table_need(table));
    if (offset != 0) {
        uint64_t bytes = kv_round_up(size, KV_ARENA_PAGE);
        kv_page_list_add(arena, &table->runs, kv_page_of(offset));
        table->run_bytes += bytes;
        table->run_live += size;
        arena->entry_bytes += bytes;
        arena->live_bytes += size;
    }
    return offset;
}

void kv_heap_free_run(struct kv_arena *arena, uint32_t page)
{
    struct kv_page *run = &arena->pages[page];
    arena->entry_bytes -= (uint64_t)run->run.pages * KV_ARENA_PAGE;
    if (run->run.pins > 0) {
        run->kind = KV_PAGE_DOOMED;
    } else {
        kv_pages_give(arena, page, run->run.pages);
    }
    kv_pages_cushion(arena);
}

/* ---- taking and dropping ----------------------------------------------------------------------
 */

/* After a start that needs more than the limit, entries may take the place of others, and no more:
 * or each start would need more than the one before. That ends at the limit. */
static bool may_grow(const struct kv_table *table, uint64_t size)
{
    struct kv_arena *arena = table->arena;
    if (arena->loan_live != 0 && arena->used_pages <= kv_arena_own_limit(arena)) {
        kv_pages_lend(arena, 0);
    }
    return arena->loan_live == 0 || table->internal ||
           arena->live_bytes + size <= arena->loan_live + arena->lent_pages * KV_ARENA_PAGE;
}

__attribute__((noinline)) static uint64_t take_elsewhere(struct kv_table *table, uint64_t size)
{
    if (!may_grow(table, size)) {
        return 0;
    }
    if (table->open_to_puts < table->open_size) {
        if (is_far_above(table)) {
            return 0;
        }
        table->open_to_puts = is_open_to_puts(table) ? table->open_size : 0;
    }
    return take_in_page(table, size, KV_WITHIN_LIMIT);
}

uint64_t kv_heap_take(struct kv_table *table, uint64_t size)
{
    if (size > KV_ENTRY_SMALL_MAX) {
        return may_grow(table, size) ? take_run(table, size) : 0;
    }
    uint64_t offset = kv_heap_fits(table, size) ? bump(table, size) : take_elsewhere(table, size);
    if (offset != 0) {
        table->live += size;
        table->arena->live_bytes += size;
    }
    return offset;
}

bool kv_heap_is_pinned(const struct kv_table *table, uint64_t offset, uint64_t size)
{
    return size > KV_ENTRY_SMALL_MAX && table->arena->pages[kv_page_of(offset)].run.pins > 0;
}

static void drop_run(struct kv_table *table, uint64_t offset, uint64_t size)
{
    struct kv_arena *arena = table->arena;
    uint32_t page = kv_page_of(offset);
    kv_page_list_remove(arena, &table->runs, page);
    table->run_bytes -= kv_round_up(size, KV_ARENA_PAGE);
    table->run_live -= size;
    kv_heap_free_run(arena, page);
}

/* Empties an open page that has only dead bytes. */
static void rewind_open(struct kv_table *table)
{
    table->dead -= table->open_used;
    table->open_used = 0;
}

static void drop_in_page(struct kv_table *table, uint32_t page, uint64_t size)
{
    struct kv_arena *arena = table->arena;
    struct kv_page *record = &arena->pages[page];
    if (page == kv_page_of(table->open)) {
        record->heap.dead += (uint32_t)size;
        if (record->heap.dead == table->open_used) {
            record->heap.dead = 0;
            rewind_open(table);
        }
    } else if (page == table->victim) {
        record->heap.dead += (uint32_t)size;
    } else {
        uint32_t *from = full_list(table, page);
        record->heap.dead += (uint32_t)size;
        if (record->heap.dead == record->heap.used) {
            kv_page_list_remove(arena, from, page);
            free_heap_page(table, page);
        } else if (full_list(table, page) != from) {
            kv_page_list_remove(arena, from, page);
            kv_page_list_add(arena, full_list(table, page), page);
        }
    }
}

void kv_heap_drop(struct kv_table *table, uint64_t offset, uint64_t size)
{
    table->arena->live_bytes -= size;
    if (size > KV_ENTRY_SMALL_MAX) {
        drop_run(table, offset, size);
        return;
    }
    table->live -= size;
    table->dead += size;
    if (!is_small(table)) {
        drop_in_page(table, heap_page_of(table->arena, offset), size);
    } else if (table->live == 0) {
        rewind_open(table);
    }
}

/* ---- cleaning ---------------------------------------------------------------------------------
 */

bool kv_heap_is_dusty(const struct kv_table *table)
{
    return table->dead > DEAD_FREE && table->dead > table->heap_bytes / DEAD_SHARE;
}

static bool take_victim(struct kv_table *table, unsigned list, uint32_t page)
{
    table->victim = page;
    table->victim_at = 0;
    kv_page_list_remove(table->arena, &table->full[list], page);
    return true;
}

/* Chooses among pages with few dead bytes. A page whose entry has died recently is among the first.
 */
static bool choose_poor_victim(struct kv_table *table)
{
    const struct kv_page *pages = table->arena->pages;
    uint32_t best = table->full[0];
    uint32_t page = table->full[0];
    for (unsigned i = 0; i < LOOKED_AT && page != 0; i++, page = pages[page].next) {
        best = pages[page].heap.dead > pages[best].heap.dead ? page : best;
    }
    return best != 0 && pages[best].heap.dead > 0 && take_victim(table, 0, best);
}

static bool choose_victim(struct kv_table *table)
{
    for (unsigned i = KV_HEAP_LISTS - 1; i >= 1; i--) { /* in list 0 less than an eighth is dead */
        if (table->full[i] != 0) {
            return take_victim(table, i, table->full[i]);
        }
    }
    return false;
}

/* Looks at the next entry of the victim. Returns false if there is no room to move it. */
static bool clean_entry(struct kv_table *table)
{
    uint64_t size = 0;
    struct kv_page *record = &table->arena->pages[table->victim];
    uint64_t offset = (uint64_t)table->victim * KV_ARENA_PAGE + table->victim_at;
    switch (move_entry(table, offset, &size)) {
    case NO_ROOM:
        return false;
    case MOVED:
        record->heap.dead += (uint32_t)size;
        table->dead += size;
        break;
    case NOT_LIVE:
        break;
    }
    table->victim_at += (uint32_t)size;
    if (table->victim_at == record->heap.used) {
        uint32_t page = table->victim;
        table->victim = 0;
        free_heap_page(table, page);
    }
    return true;
}

bool kv_heap_clean(struct kv_table *table, unsigned entries)
{
    for (; entries > 0; entries--) {
        if (is_small(table) || (table->victim == 0 && !choose_victim(table)) ||
            !clean_entry(table)) {
            return false;
        }
    }
    return true;
}

bool kv_heap_squeeze(struct kv_table *table, unsigned entries)
{
    unsigned looked_at = 0;
    while ((looked_at < entries || table->victim != 0) && !is_small(table) &&
           (table->victim != 0 || choose_victim(table) || choose_poor_victim(table)) &&
           clean_entry(table)) {
        looked_at++;
    }
    return looked_at > 0;
}

void kv_heap_trim(struct kv_table *table)
{
    struct kv_arena *arena = table->arena;
    const uint64_t size = kv_round_up(table->open_used, KV_ARENA_PAGE);
    const uint64_t rest = table->open_size - size;
    if (is_small(table) || size == 0 || rest == 0) {
        return;
    }
    const uint32_t first = kv_page_of(table->open);
    arena->pages[first].order = (uint8_t)(size / KV_ARENA_PAGE);
    table->open_size = (uint32_t)size;
    table->open_to_puts = table->open_to_puts == 0 ? 0 : (uint32_t)size;
    count_pages(table, -(int64_t)rest);
    kv_pages_give(arena, first + (uint32_t)(size / KV_ARENA_PAGE), rest / KV_ARENA_PAGE);
}

/* ---- the end ----------------------------------------------------------------------------------
 */

void kv_heap_free_block(struct kv_arena *arena, struct kv_heap_remains *remains)
{
    if (remains->block != 0) {
        kv_memory_give(arena, remains->block, remains->block_size);
        arena->entry_bytes -= remains->block_size;
        remains->block = 0;
    }
}

void kv_heap_detach(struct kv_table *table, struct kv_heap_remains *remains)
{
    struct kv_arena *arena = table->arena;
    memcpy(remains->full, table->full, sizeof remains->full);
    remains->runs = table->runs;
    if (table->open != 0 && is_small(table)) {
        remains->block = table->open;
        remains->block_size = table->open_size;
    } else if (table->open != 0) {
        kv_page_list_add(arena, &remains->full[0], kv_page_of(table->open));
    }
    if (table->victim != 0) {
        kv_page_list_add(arena, &remains->full[0], table->victim);
    }
    arena->live_bytes -= table->live + table->run_live;
    memset(table->full, 0, sizeof table->full);
    table->heap_bytes = table->live = table->dead = 0;
    table->open = 0;
    table->open_size = table->open_to_puts = table->open_used = 0;
    table->victim = table->runs = 0;
    table->run_bytes = table->run_live = 0;
}
