#include "store/arena.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "store/account.h"
#include "store/due.h"
#include "store/graves.h"
#include "store/heap.h"
#include "store/pages.h"
#include "store/sweep.h"

#include <string.h>

enum {
    CLEAN_ENTRIES = 128,
    RESERVE_SHARE = 16, /* this part of the limit is the reserve above it, */
    RESERVE_LEAST = 64, /* and so many pages */
};

/* ---- beginning and end ------------------------------------------------------------------------
 */

void kv_arena_set_hash_key(struct kv_arena *arena, const struct kv_hash_key *key)
{
    struct kv_arena_header *header = kv_header_of(arena);
    kv_assert(arena->live_bytes == 0);
    arena->hash_key = *key;
    header->hash_key[0] = key->k0;
    header->hash_key[1] = key->k1;
}

static void write_header(struct kv_arena *arena, const struct kv_arena_options *options)
{
    struct kv_arena_header *to = kv_header_of(arena);
    to->version = KV_ARENA_VERSION;
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
    kv_arena_set_hash_key(arena, &options->hash_key);
    arena->random = (options->hash_key.k0 ^ options->hash_key.k1) | 1;
    arena->page_count = kv_page_of(memory->reserve);
    arena->pages = kv_zalloc(arena->page_count * sizeof *arena->pages);
    arena->used_pages = 1; /* the header */
    kv_pages_init(arena);
    kv_list_init(&arena->graves);
    kv_list_init(&arena->tables);
    kv_list_init(&arena->snapshots);
    kv_list_init(&arena->dusty);
    arena->limit_pages = arena->page_count;
    arena->directory = kv_table_new(arena, &(struct kv_table_options){.internal = true});
    if (options->max_memory != 0 && options->max_memory / KV_ARENA_PAGE < arena->limit_pages) {
        arena->limit_pages = options->max_memory / KV_ARENA_PAGE;
    }
    arena->reserve_pages = arena->limit_pages / RESERVE_SHARE + RESERVE_LEAST;
    write_header(arena, options);
    return arena;
}

void kv_arena_free(struct kv_arena *arena)
{
    kv_table_free(arena->directory);
    while (kv_graves_step(arena)) {
    }
    KV_STORE_RELEASE(kv_header_of(arena)->state, KV_ARENA_ENDED);
    kv_free(arena->free_slots);
    kv_free(arena->due);
    kv_free(arena->pages);
    kv_free(arena);
}

void kv_arena_lend(struct kv_arena *arena, uint64_t bytes)
{
    kv_pages_lend(arena, bytes);
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
    kv_table_publish_memory(table);
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
    const uint64_t pages = kv_pages_due(arena);
    return table == NULL || pages < table->due ? pages : table->due;
}

bool kv_arena_expires_by(const struct kv_arena *arena, uint64_t time)
{
    const struct kv_list *tables = &arena->tables;
    KV_LIST_FOREACH (link, tables) {
        const struct kv_table *table = KV_LIST_OF(link, const struct kv_table, of_arena);
        if (table->expiring > 0 && table->next_expiry <= time) {
            return true;
        }
    }
    return false;
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
        .limit = kv_arena_own_limit(arena) * KV_ARENA_PAGE,
        .reserved = used + arena->dirty_pages * KV_ARENA_PAGE,
        .entries = arena->entry_bytes,
        .live = arena->live_bytes,
        .index = arena->index_bytes,
        .other = used - arena->entry_bytes - arena->index_bytes,
        .free = arena->dirty_pages * KV_ARENA_PAGE,
        .tables = arena->table_count - 1, /* without the directory */
        .items = arena->items,
        .item_bytes = arena->item_bytes,
        .records = arena->page_count * sizeof *arena->pages,
        .records_used =
            (used + arena->dirty_pages * KV_ARENA_PAGE) / KV_ARENA_PAGE * sizeof *arena->pages,
    };
}
