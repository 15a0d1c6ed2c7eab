#include "support/world_mirror.h"

#include "base/alloc.h"
#include "support/store_model.h"

#include <kv/error.h>
#include <stdlib.h>
#include <string.h>

enum { RESERVE = 1 << 25, LENGTH = 30 };

static void demand(bool condition)
{
    if (!condition) {
        abort();
    }
}

struct world_mirror *world_mirror_new(uint64_t seed)
{
    const struct kv_arena_options options = {.hash_key = {.k0 = seed, .k1 = 1}};
    struct world_mirror *mirror = kv_zalloc(sizeof *mirror);
    mirror->memory = kv_zalloc(sizeof *mirror->memory);
    *mirror->memory = model_memory(RESERVE);
    mirror->arena = kv_arena_new(mirror->memory, &options);
    mirror->table = kv_table_new(mirror->arena, NULL);
    mirror->draw.state = seed;
    return mirror;
}

void world_mirror_free(struct world_mirror *mirror)
{
    world_mirror_crash(mirror);
    kv_table_free(mirror->table);
    while (kv_arena_work(mirror->arena, 100)) {
    }
    kv_arena_free(mirror->arena);
    model_memory_free(mirror->memory);
    kv_free(mirror->memory);
    kv_free(mirror);
}

/* ---- changes -----------------------------------------------------------------------------------
 */

static void put(const struct world_mirror *mirror, unsigned key, const struct world_cell *cell)
{
    const struct kv_item value = {.bytes = world_value(cell->length, cell->seed),
                                  .form = cell->form};
    demand(kv_table_put(mirror->table, world_key(key), value, cell->expiry) == KV_OK);
}

static bool has_same_value(const struct world_cell *a, const struct world_cell *b)
{
    return a->there && b->there && a->length == b->length && a->seed == b->seed &&
           a->form == b->form;
}

static void follow_key(struct world_mirror *mirror, unsigned key, const struct world_cell *to)
{
    struct world_cell *shown = &mirror->shown.cells[key];
    if (!to->there && shown->there) {
        demand(kv_table_delete(mirror->table, world_key(key)));
    } else if (has_same_value(shown, to) && shown->expiry != to->expiry) {
        demand(kv_table_set_expiry(mirror->table, world_key(key), to->expiry) == KV_OK);
    } else if (to->there && !(has_same_value(shown, to) && shown->expiry == to->expiry)) {
        put(mirror, key, to);
    }
    *shown = *to;
}

static void change_and_take_back(struct world_mirror *mirror)
{
    kv_table_begin_all(mirror->table, WORLD_KEYS);
    for (unsigned i = 0; i < WORLD_KEYS; i++) {
        const struct world_cell cell = {.there = true, .length = LENGTH, .seed = 1};
        if (draw_once_in(&mirror->draw, 2)) {
            put(mirror, i, &cell);
        }
    }
    while (kv_table_end_all(mirror->table, false, 1)) {
    }
}

void world_mirror_follow(struct world_mirror *mirror, const struct world_table *table)
{
    const struct world_table none = {.number = 0};
    const struct world_table *to = table->number == 0 ? &none : table;
    if (mirror->shown.number != to->number ||
        memcmp(to->cells, none.cells, sizeof none.cells) == 0) {
        kv_table_clear(mirror->table);
        mirror->shown = none;
    }
    for (unsigned i = 0; i < WORLD_KEYS; i++) {
        follow_key(mirror, i, &to->cells[i]);
    }
    mirror->shown.number = to->number;
    mirror->shown.policy = to->policy;
    if (draw_once_in(&mirror->draw, 4)) {
        change_and_take_back(mirror);
    }
    if (draw_once_in(&mirror->draw, 4)) {
        (void)kv_arena_work(mirror->arena, 10);
    }
}

/* ---- snapshots ---------------------------------------------------------------------------------
 */

static bool visit(void *context, const struct kv_table_entry *entry, bool may_end)
{
    struct world_mirror *mirror = context;
    const unsigned key = world_find_key(entry->key);
    const struct kv_bytes value = entry->value.bytes;
    const uint8_t seed = value.length == 0 ? 0 : value.data[0];
    if (may_end) {
        return false;
    }
    demand(!mirror->visited.cells[key].there);
    demand(kv_bytes_equal(value, world_value((uint32_t)value.length, seed)));
    mirror->visited.cells[key] = (struct world_cell){.there = true,
                                                     .form = entry->value.form,
                                                     .seed = seed,
                                                     .length = (uint32_t)value.length,
                                                     .expiry = entry->expiry};
    return true;
}

static void begin(struct world_mirror *mirror)
{
    mirror->begun = mirror->shown;
    mirror->begun.number = 1;
    mirror->visited = (struct world_table){.number = 1, .policy = mirror->begun.policy};
    mirror->snapshot = kv_snapshot_new(mirror->table, KV_SNAPSHOT_BYTES);
    demand(mirror->snapshot != NULL);
}

void world_mirror_look(struct world_mirror *mirror)
{
    bool more = false;
    if (mirror->snapshot == NULL) {
        begin(mirror);
        return;
    }
    demand(kv_snapshot_piece(mirror->snapshot, visit, mirror, &more) == KV_OK);
    if (!more) {
        demand(world_tables_equal(&mirror->begun, &mirror->visited));
        mirror->snapshots++;
        kv_snapshot_free(mirror->snapshot);
        mirror->snapshot = NULL;
    }
}

void world_mirror_crash(struct world_mirror *mirror)
{
    mirror->lost += mirror->snapshot != NULL;
    kv_snapshot_free(mirror->snapshot);
    mirror->snapshot = NULL;
}
