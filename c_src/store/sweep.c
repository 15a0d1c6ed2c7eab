#include "store/sweep.h"

#include "store/account.h"
#include "store/due.h"

enum {
    SWEEP_PAUSE_MS = 1000, /* from one sweep of a table to the next, */
    SWEEP_REST_MS = 1,     /* and more for each segment swept, which takes a tenth of this */
};

struct expired {
    unsigned count;
    uint64_t offsets[KV_SEGMENT_ENTRIES];
};

static void look_at(struct kv_table *table, uint64_t offset, struct expired *expired)
{
    struct kv_entry entry;
    kv_entry_read(kv_at(table->arena, offset), &entry);
    table->arena->effort++;
    if (kv_entry_has_expired(&entry, table->arena->now)) {
        expired->offsets[expired->count++] = offset;
    } else if ((entry.flags & KV_ENTRY_EXPIRES) != 0 && entry.expiry < table->sweep_least) {
        table->sweep_least = entry.expiry;
    }
}

static void sweep_segment(struct kv_table *table, struct kv_index_walk *walk)
{
    struct expired expired = {0};
    for (uint64_t offset = kv_index_next(walk); offset != 0; offset = kv_index_next(walk)) {
        look_at(table, offset, &expired);
    }
    uint64_t dead = 0;
    for (unsigned i = 0; i < expired.count; i++) { /* each removal may change the segment */
        struct kv_entry entry;
        kv_entry_read(kv_at(table->arena, expired.offsets[i]), &entry);
        dead += kv_table_lose_at(table, KV_GONE_EXPIRED, kv_arena_hash(table->arena, entry.key),
                                 expired.offsets[i]);
    }
    kv_table_tidy(table, dead); /* last, because it moves entries */
}

static void begin_sweep(struct kv_table *table)
{
    table->sweep_least = UINT64_MAX;
    table->sweep_steps = 0;
}

static void end_sweep(struct kv_table *table)
{
    kv_table_set_next_expiry(table, table->sweep_least);
    table->sweep_pause =
        table->arena->now + SWEEP_PAUSE_MS + (uint64_t)SWEEP_REST_MS * table->sweep_steps;
}

/* Called when no entry is left that expires. */
static void forget_sweep(struct kv_table *table)
{
    table->sweep = 0;
    kv_table_set_next_expiry(table, UINT64_MAX);
    kv_due_update(table);
}

void kv_sweep_step(struct kv_table *table)
{
    struct kv_index_walk walk = {0};
    if (table->expiring == 0) {
        forget_sweep(table);
        return;
    }
    if (table->sweep == 0) {
        begin_sweep(table);
    }
    if (kv_index_walk(table, table->sweep, &walk)) {
        sweep_segment(table, &walk);
    }
    table->sweep = walk.next;
    table->sweep_steps++;
    if (table->sweep == 0) {
        end_sweep(table);
    }
    kv_due_update(table);
}

bool kv_sweep_whole(struct kv_table *table, bool begun)
{
    if (table->expiring == 0) {
        return false;
    }
    table->sweep = begun ? table->sweep : 0;
    kv_sweep_step(table);
    return table->sweep != 0;
}
