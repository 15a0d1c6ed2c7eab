/* Puts that are made all or none, and tables that stand still. */
#include "base/assert.h"
#include "store/account.h"
#include "store/due.h"
#include "store/heap.h"
#include "store/undo.h"

#include <kv/error.h>

enum {
    SQUEEZES_MOST = 16,    /* at the end of a batch that the arena has lent pages, */
    SQUEEZED_ENTRIES = 64, /* each of so many entries */
};

void kv_table_freeze(struct kv_table *table)
{
    kv_assert(!table->frozen);
    table->frozen = true;
    kv_due_update(table);
    table->due = table->arena->now;
}

void kv_table_thaw(struct kv_table *table)
{
    table->frozen = false;
    kv_due_update(table);
}

void kv_table_begin_all(struct kv_table *table, size_t keys)
{
    kv_assert(table->pending == NULL);
    if (table->max_entries != 0 || table->max_memory != 0) {
        (void)kv_table_count_live(table); /* nothing that has expired goes until the end */
    }
    kv_table_freeze(table);
    table->pending = kv_undo_new(keys);
    kv_table_note_plain(table);
}

bool kv_table_evicts(const struct kv_table *table)
{
    return table->evict != KV_EVICT_NONE;
}

void kv_table_hold(struct kv_table *table, uint64_t hash)
{
    if (table->evict != KV_EVICT_NONE) {
        kv_undo_hold(table->pending, hash);
    }
}

uint64_t kv_table_held(const struct kv_table *table)
{
    return table->pending->held_count;
}

void kv_table_lend(struct kv_table *table, struct kv_item key)
{
    struct kv_undo *pending = table->pending;
    const struct kv_lookup lookup = {.key = key, .hash = kv_arena_hash(table->arena, key.bytes)};
    struct kv_entry entry;
    kv_assert(pending->count == 0);
    if (kv_index_find(table, &lookup, &entry).group != NULL) {
        kv_table_hold(table, lookup.hash);
        pending->lent_bytes += entry.size;
        pending->lent_entries++;
    }
}

static void read_entry(const struct kv_table *table, uint64_t offset, struct kv_entry *entry)
{
    kv_entry_read(kv_at(table->arena, offset), entry);
}

static void make_final(struct kv_table *table, struct kv_undo_put *put)
{
    struct kv_entry old;
    put->new = 0;
    if (put->old == 0) {
        return;
    }
    read_entry(table, put->old, &old);
    if (kv_entry_has_expired(&old, kv_table_time(table))) {
        kv_table_report(table, KV_GONE_EXPIRED,
                        (struct kv_item){.bytes = old.key, .form = kv_entry_key_form(&old)});
    }
    kv_heap_drop(table, put->old, old.size);
    table->pending->old_bytes -= old.size;
    put->old = 0;
}

static void take_back(struct kv_table *table, struct kv_undo_put *put)
{
    struct kv_entry new;
    struct kv_entry old;
    read_entry(table, put->new, &new);
    const uint64_t hash = kv_arena_hash(table->arena, new.key);
    const struct kv_place place = kv_index_find_offset(table, hash, put->new);
    if (put->old == 0) {
        kv_table_drop(table, hash, place, &new);
    } else {
        read_entry(table, put->old, &old);
        kv_index_replace(table, hash, place, put->old);
        kv_table_count_entries(table, 0, kv_entry_bytes(&old) - kv_entry_bytes(&new));
        table->expiring += (old.flags & KV_ENTRY_EXPIRES) != 0;
        table->expiring -= (new.flags &KV_ENTRY_EXPIRES) != 0;
        table->pending->old_bytes -= old.size;
        kv_heap_drop(table, put->new, new.size);
    }
    put->old = put->new = 0;
}

static void end(struct kv_table *table)
{
    const struct kv_arena *arena = table->arena;
    kv_undo_free(table->pending);
    table->pending = NULL;
    kv_table_note_plain(table);
    for (unsigned i = 0; i < SQUEEZES_MOST && arena->used_pages > arena->limit_pages; i++) {
        (void)kv_heap_squeeze(table, SQUEEZED_ENTRIES);
    }
    kv_table_thaw(table);
    kv_table_tidy(table, 0);
}

bool kv_table_end_all(struct kv_table *table, bool keep, unsigned most)
{
    struct kv_undo *pending = table->pending;
    for (; most > 0 && pending->count > 0; most--) {
        struct kv_undo_put *put = &pending->puts[pending->count - 1];
        if (keep) {
            make_final(table, put);
        } else {
            take_back(table, put);
        }
        pending->count--;
    }
    if (pending->count > 0) {
        return true;
    }
    end(table);
    return false;
}
