/* The beginning and the end of a table, and of changes that readers see all or none of. */
#include "base/alloc.h"
#include "base/assert.h"
#include "store/account.h"
#include "store/due.h"
#include "store/graves.h"
#include "store/slots.h"
#include "store/snapshot.h"
#include "store/stripes.h"
#include "store/undo.h"

#include <kv/error.h>

/* Empties the slot. For readers it is another table if the generation changes. Returns the root. */
static uint64_t reset_slot(struct kv_table *table, uint32_t generations)
{
    struct kv_table_slot *slot = table->slot;
    uint64_t root = slot->root;
    kv_stripes_lock(table, 0, UINT64_MAX);
    KV_STORE_RELAXED(slot->generation, slot->generation + generations);
    KV_STORE_RELAXED(slot->root, 0);
    KV_STORE_RELAXED(slot->count, 0);
    KV_STORE_RELAXED(slot->bytes, 0);
    KV_STORE_RELAXED(slot->memory, 0);
    KV_STORE_RELAXED(slot->next_expiry, KV_NEVER);
    table->shape++;
    table->moves++;
    if (generations > 0) {
        KV_STORE_RELAXED(slot->flags, 0);
        KV_STORE_RELAXED(slot->touch, 0);
    }
    kv_stripes_unlock(table, 0, UINT64_MAX);
    return root;
}

struct kv_table *kv_table_new(struct kv_arena *arena, const struct kv_table_options *options)
{
    uint32_t number;
    if (!kv_slot_take(arena, &number)) {
        return NULL;
    }
    struct kv_table *table = kv_zalloc(sizeof *table);
    table->arena = arena;
    table->number = number;
    table->slot = kv_slot(arena, number);
    table->evict = (options == NULL ? KV_EVICT_NONE : options->evict) & 3U;
    table->max_memory = options == NULL ? 0 : options->max_memory;
    table->max_entries = options == NULL ? 0 : options->max_entries;
    kv_table_note_plain(table);
    table->internal = options != NULL && options->internal;
    table->gone = options == NULL ? NULL : options->gone;
    table->gone_context = options == NULL ? NULL : options->gone_context;
    table->next_expiry = UINT64_MAX;
    kv_list_append(&arena->tables, &table->of_arena);
    kv_list_init(&table->of_dusty);
    arena->table_count++;
    (void)reset_slot(table, 1);
    table->touch = options == NULL ? 0 : options->touch;
    KV_STORE_RELAXED(table->slot->touch, table->touch); /* nobody can know of the table yet */
    return table;
}

/* Removes all entries and leaves them to kv_graves_step(). */
static void empty(struct kv_table *table, uint32_t generations)
{
    kv_table_count_items(table, -(int64_t)table->slot->count, -(int64_t)table->slot->bytes);
    uint64_t root = reset_slot(table, generations);
    kv_list_remove(&table->of_dusty);
    table->expiring = table->sweep = 0;
    kv_table_set_next_expiry(table, UINT64_MAX);
    kv_due_update(table);
    struct kv_grave *grave = NULL;
    if (root != 0 || table->open != 0) {
        grave = kv_bury(table, root, kv_snapshots_count(table));
    }
    kv_snapshots_keep(table, root, grave);
    if (grave != NULL) {
        (void)kv_graves_step(table->arena);
    }
}

static struct kv_item pid_key(const uint32_t pid[2])
{
    return (struct kv_item){.bytes = kv_bytes(pid, 2 * sizeof *pid), .form = 1};
}

void kv_table_free(struct kv_table *table)
{
    if (table == NULL) {
        return;
    }
    struct kv_arena *arena = table->arena;
    kv_snapshots_end(table);
    if (table->published) {
        (void)kv_table_delete(arena->directory, pid_key((uint32_t[]){table->id, table->serial}));
    }
    empty(table, 1);
    if (table->is_changing) {
        table->is_changing = false;
        kv_stripes_unlock(table, 0, UINT64_MAX);
    }
    kv_undo_free(table->pending);
    kv_slot_give(arena, table->number);
    kv_list_remove(&table->of_arena);
    arena->table_count--;
    kv_free(table);
}

void kv_table_clear(struct kv_table *table)
{
    bool had_entries = table->slot->count > 0;
    empty(table, 0);
    if (had_entries) {
        kv_table_report(table, KV_GONE_CLEARED, (struct kv_item){0});
    }
}

int kv_arena_publish(struct kv_arena *arena, uint32_t id, uint32_t serial, enum kv_published what,
                     struct kv_table *table)
{
    serial |= what == KV_PUBLISHED_NAMES ? KV_DIRECTORY_NAMES : 0;
    const uint32_t place[2] = {table->number, table->slot->generation};
    struct kv_item value = {.bytes = kv_bytes(place, sizeof place), .form = 1};
    int error = kv_table_put(arena->directory, pid_key((uint32_t[]){id, serial}), value, KV_NEVER);
    if (error == KV_OK) {
        table->id = id;
        table->serial = serial;
        table->published = true;
    }
    return error;
}

void kv_table_withdraw(struct kv_table *table)
{
    if (table->published) {
        (void)kv_table_delete(table->arena->directory,
                              pid_key((uint32_t[]){table->id, table->serial}));
        table->published = false;
    }
    kv_stripes_lock(table, 0, UINT64_MAX);
    KV_STORE_RELAXED(table->slot->generation, table->slot->generation + 2); /* odd: there is one */
    kv_stripes_unlock(table, 0, UINT64_MAX);
}

void kv_table_set_limits(struct kv_table *table, uint64_t max_memory, uint64_t max_entries,
                         uint64_t touch)
{
    table->max_memory = max_memory;
    table->max_entries = max_entries;
    kv_table_note_plain(table);
    table->touch = touch;
    KV_STORE_RELAXED(table->slot->touch, touch);
}

static uint32_t flags_of(const struct kv_table *table)
{
    const uint32_t asks = table->asks_owner || table->is_changing ? KV_SLOT_ASK_OWNER : 0;
    return asks | (table->heeds_marks ? KV_SLOT_MARKED : 0);
}

static void publish_flags(const struct kv_table *table)
{
    KV_STORE_RELEASE(table->slot->flags, flags_of(table));
}

void kv_table_ask_owner(struct kv_table *table, bool ask)
{
    if (table->asks_owner != ask) {
        table->asks_owner = ask;
        publish_flags(table);
    }
}

void kv_table_heed_marks(struct kv_table *table, bool heed)
{
    if (table->heeds_marks != heed) {
        table->heeds_marks = heed;
        publish_flags(table);
    }
}

void kv_table_mark(struct kv_table *table, uint64_t hash, unsigned set)
{
    const unsigned mark = kv_hash_mark(hash);
    uint64_t *word = &kv_header_of(table->arena)->marks[set][mark / 64];
    KV_STORE_RELAXED(*word, *word | UINT64_C(1) << mark % 64);
}

void kv_arena_unmark(struct kv_arena *arena, unsigned set)
{
    for (unsigned i = 0; i < KV_MARK_WORDS; i++) {
        KV_STORE_RELAXED(kv_header_of(arena)->marks[set][i], 0);
    }
}

void kv_table_begin_changes(struct kv_table *table)
{
    kv_assert(!table->is_changing);
    KV_STORE_RELEASE(table->slot->flags, flags_of(table) | KV_SLOT_ASK_OWNER);
    kv_stripes_lock(table, 0, UINT64_MAX);
    table->is_changing = true;
}

void kv_table_end_changes(struct kv_table *table)
{
    kv_assert(table->is_changing);
    table->is_changing = false;
    kv_stripes_unlock(table, 0, UINT64_MAX);
    publish_flags(table);
}

uint32_t kv_table_slot_number(const struct kv_table *table)
{
    return table->number;
}

uint32_t kv_table_generation(const struct kv_table *table)
{
    return table->slot->generation;
}
