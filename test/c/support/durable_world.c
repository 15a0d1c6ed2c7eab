#include "support/durable_world.h"

#include <kv/error.h>
#include <stdlib.h>

static void demand(bool condition)
{
    if (!condition) {
        abort();
    }
}

static bool cells_equal(const struct world_cell *a, const struct world_cell *b)
{
    return a->there == b->there &&
           (!a->there || (a->form == b->form && a->seed == b->seed && a->length == b->length &&
                          a->expiry == b->expiry));
}

bool world_tables_equal(const struct world_table *a, const struct world_table *b)
{
    bool equal = a->number == b->number && (a->number == 0 || a->policy == b->policy);
    for (unsigned i = 0; equal && a->number != 0 && i < WORLD_KEYS; i++) {
        equal = cells_equal(&a->cells[i], &b->cells[i]);
    }
    return equal;
}

bool world_equal(const struct world *a, const struct world *b)
{
    bool equal = true;
    for (unsigned i = 0; i < WORLD_TABLES; i++) {
        equal = equal && world_tables_equal(&a->tables[i], &b->tables[i]);
    }
    return equal;
}

/* ---- keys, values and names, which numbers stand for -------------------------------------------
 */

struct kv_item world_key(unsigned i)
{
    static const uint8_t bytes[] = "abcdefghijklmnopqrstuvwxyz";
    return (struct kv_item){.bytes = kv_bytes(bytes, (size_t)4 * i), .form = (uint8_t)(i % 4)};
}

unsigned world_find_key(struct kv_item key)
{
    for (unsigned i = 0; i < WORLD_KEYS; i++) {
        if (kv_bytes_equal(key.bytes, world_key(i).bytes) && key.form == world_key(i).form) {
            return i;
        }
    }
    abort();
}

static void fill(uint8_t *to, uint32_t length, uint8_t seed)
{
    for (uint32_t j = 0; j < length; j++) {
        to[j] = (uint8_t)(seed + 7 * j + (j >> 9));
    }
}

struct kv_bytes world_value(uint32_t length, uint8_t seed)
{
    static uint8_t value[WORLD_VALUE_MAX];
    demand(length <= sizeof value);
    fill(value, length, seed);
    return kv_bytes(value, length);
}

static struct kv_bytes name_of(unsigned slot)
{
    static const uint8_t names[] = "onetwothree";
    return kv_bytes(names + (size_t)3 * slot, slot == 2 ? 5 : 3);
}

static unsigned find_name(struct kv_bytes name)
{
    for (unsigned i = 0; i < WORLD_TABLES; i++) {
        if (kv_bytes_equal(name, name_of(i))) {
            return i;
        }
    }
    abort();
}

/* ---- changing ----------------------------------------------------------------------------------
 */

static void make(struct world *world, unsigned slot, struct kv_wal *wal, struct draw *draw)
{
    struct world_table *table = &world->tables[slot];
    if (table->number == 0) {
        *table = (struct world_table){.number = ++world->greatest};
    }
    table->policy = (uint8_t)draw_below(draw, 3);
    kv_wal_table(wal, table->number,
                 &(struct kv_record_table){.policy = table->policy,
                                           .kind = (uint8_t)slot,
                                           .name = name_of(slot),
                                           .options = world_value(slot, table->policy)});
}

static void put(struct world_table *table, struct kv_wal *wal, struct draw *draw, unsigned longest)
{
    const unsigned i = draw_below(draw, WORLD_KEYS);
    const uint32_t length = draw_below(draw, draw_once_in(draw, 12) ? longest : 60);
    const struct world_cell cell = {
        .there = true,
        .form = (uint8_t)draw_below(draw, 4),
        .seed = length == 0 ? 0 : (uint8_t)draw_below(draw, 256),
        .length = length,
        .expiry = draw_once_in(draw, 3) ? 1 + (draw_number(draw) >> 17) : KV_NEVER,
    };
    table->cells[i] = cell;
    kv_wal_put(wal, table->number,
               &(struct kv_table_entry){
                   .key = world_key(i),
                   .value = {.bytes = world_value(length, cell.seed), .form = cell.form},
                   .expiry = cell.expiry,
               });
}

static void change_key(struct world_table *table, struct kv_wal *wal, struct draw *draw)
{
    const unsigned i = draw_below(draw, WORLD_KEYS);
    if (table->cells[i].there && draw_once_in(draw, 2)) {
        table->cells[i].expiry = draw_once_in(draw, 2) ? 1 + draw_below(draw, 1000) : KV_NEVER;
        kv_wal_expiry(wal, table->number, world_key(i), table->cells[i].expiry);
    } else {
        table->cells[i].there = false;
        kv_wal_delete(wal, table->number, world_key(i));
    }
}

void world_change(struct world *world, struct kv_wal *wal, struct draw *draw, unsigned longest)
{
    const unsigned slot = draw_below(draw, WORLD_TABLES);
    struct world_table *table = &world->tables[slot];
    const unsigned choice = draw_below(draw, 20);
    if (table->number == 0 || choice == 0) {
        make(world, slot, wal, draw);
    } else if (choice == 1) {
        kv_wal_clear(wal, table->number);
        memset(table->cells, 0, sizeof table->cells);
    } else if (choice == 2) {
        kv_wal_drop(wal, table->number);
        table->number = 0;
    } else if (choice < 8) {
        change_key(table, wal, draw);
    } else {
        put(table, wal, draw, longest);
    }
}

/* ---- checkpoints -------------------------------------------------------------------------------
 */

static void tell_table(const struct world_table *table, unsigned slot, struct kv_checkpoint *to)
{
    demand(kv_checkpoint_table(
               to, table->number,
               &(struct kv_record_table){.policy = table->policy,
                                         .kind = (uint8_t)slot,
                                         .name = name_of(slot),
                                         .options = world_value(slot, table->policy)}) == KV_OK);
}

/* In one piece, or in several. */
static void tell_cell(const struct world_table *table, unsigned key, struct kv_checkpoint *to,
                      struct draw *draw)
{
    const struct world_cell *cell = &table->cells[key];
    const struct kv_table_entry entry = {
        .key = world_key(key),
        .value = {.bytes = world_value(cell->length, cell->seed), .form = cell->form},
        .expiry = cell->expiry,
    };
    struct kv_bytes rest = entry.value.bytes;
    if (draw_once_in(draw, 2)) {
        demand(kv_checkpoint_put(to, table->number, &entry) == KV_OK);
        return;
    }
    demand(kv_checkpoint_begin_put(to, table->number, &entry) == KV_OK);
    while (rest.length > 0) {
        const size_t length = rest.length < 3000 ? rest.length : 3000;
        demand(kv_checkpoint_value(to, kv_bytes(rest.data, length)) == KV_OK);
        rest = kv_bytes(rest.data + length, rest.length - length);
    }
}

bool world_tell(const struct world *world, struct world_walk *walk, struct kv_checkpoint *to,
                struct draw *draw)
{
    if (walk->slot == WORLD_TABLES) {
        return false;
    }
    const struct world_table *table = &world->tables[walk->slot];
    const bool is_left_out = table->number == 0 || table->number > walk->greatest;
    if (is_left_out || walk->key == WORLD_KEYS ||
        (walk->key > 0 && table->number != walk->number)) {
        walk->slot++;
        walk->key = 0;
        walk->number = 0;
        return true;
    }
    if (walk->number != table->number) {
        walk->number = table->number;
        tell_table(table, walk->slot, to);
    } else {
        if (table->cells[walk->key].there) {
            tell_cell(table, walk->key, to, draw);
        }
        walk->key++;
    }
    return true;
}

/* ---- records -----------------------------------------------------------------------------------
 */

static struct world_table *find_table(struct world *world, uint64_t number)
{
    for (unsigned i = 0; i < WORLD_TABLES; i++) {
        if (world->tables[i].number == number) {
            return &world->tables[i];
        }
    }
    demand(world->fuzzy);
    return NULL;
}

static void apply_table(struct world *world, const struct kv_record *record)
{
    const struct kv_record_table *about = &record->about;
    const unsigned slot = find_name(about->name);
    struct world_table *table = &world->tables[slot];
    demand(about->kind == slot && about->registry.length == 0);
    demand(kv_bytes_equal(about->options, world_value(slot, about->policy)));
    if (world->fuzzy && table->number > record->table) {
        return; /* the checkpoint has the next table of this name: this one will be dropped */
    }
    demand(table->number == 0 || table->number == record->table);
    if (table->number == 0) {
        *table = (struct world_table){.number = record->table};
        demand(record->table > world->greatest || world->fuzzy);
        world->greatest = record->table > world->greatest ? record->table : world->greatest;
    }
    table->policy = about->policy;
}

static void apply_put(struct world_table *table, const struct kv_table_entry *entry)
{
    const struct kv_bytes value = entry->value.bytes;
    const uint8_t seed = value.length == 0 ? 0 : value.data[0];
    demand(kv_bytes_equal(value, world_value((uint32_t)value.length, seed)));
    table->cells[world_find_key(entry->key)] = (struct world_cell){
        .there = true,
        .form = entry->value.form,
        .seed = seed,
        .length = (uint32_t)value.length,
        .expiry = entry->expiry,
    };
}

int world_apply(void *context, const struct kv_record *record)
{
    struct world *world = context;
    if (record->kind == KV_RECORD_TABLE) {
        apply_table(world, record);
        return KV_OK;
    }
    struct world_table *table = find_table(world, record->table);
    if (table == NULL) {
        return KV_OK;
    }
    if (record->kind == KV_RECORD_PUT) {
        apply_put(table, &record->entry);
    } else if (record->kind == KV_RECORD_DELETE) {
        table->cells[world_find_key(record->entry.key)].there = false;
    } else if (record->kind == KV_RECORD_EXPIRY) {
        table->cells[world_find_key(record->entry.key)].expiry = record->entry.expiry;
    } else if (record->kind == KV_RECORD_CLEAR) {
        memset(table->cells, 0, sizeof table->cells);
    } else {
        table->number = 0;
    }
    return KV_OK;
}
