/* What goes by itself: entries that have expired, and those that make room for others. */
#include "store/state.h"

enum {
    SAMPLE = 5,            /* entries that are compared before one is evicted */
    SWEEP_PAUSE_MS = 1000, /* from one sweep to the next, */
    SWEEP_REST_MS = 1, /* and for each segment that was looked at, which takes a tenth of that */
};

static uint64_t next_random(struct kv_arena *arena)
{
    arena->random ^= arena->random << 13;
    arena->random ^= arena->random >> 7;
    arena->random ^= arena->random << 17;
    return arena->random;
}

/* ---- eviction ---------------------------------------------------------------------------------
 */

struct choice {
    unsigned seen;
    uint64_t worth; /* of the one that is worth least */
    uint64_t hash;
    uint64_t offset; /* 0: none */
};

static uint32_t time_of_use(const struct kv_entry *entry)
{
    uint32_t use = 0;
    for (unsigned i = 0; i < KV_ENTRY_USE_SIZE; i++) {
        use |= (uint32_t)entry->use[i] << (8 * i);
    }
    return use;
}

/* How long an entry should be kept; false when the rule does not let it go. */
static bool worth_of(const struct kv_table *table, const struct kv_entry *entry, uint64_t *worth)
{
    if (kv_entry_has_expired(table->arena, entry)) {
        *worth = 0;
        return true;
    }
    if (table->evict == KV_EVICT_LRU && entry->use != NULL) {
        *worth = UINT32_MAX - (uint32_t)((uint32_t)table->arena->now - time_of_use(entry));
        return true;
    }
    *worth = entry->expiry;
    return table->evict == KV_EVICT_TTL && (entry->flags & KV_ENTRY_EXPIRES) != 0;
}

static void consider(const struct kv_table *table, struct kv_place place, struct choice *choice)
{
    struct kv_entry entry;
    uint64_t worth = 0;
    uint64_t offset = kv_place_offset(place);
    kv_entry_read(kv_at(table->arena, offset), &entry);
    table->arena->effort++;
    if (worth_of(table, &entry, &worth)) {
        choice->seen++;
        if (choice->offset == 0 || worth < choice->worth) {
            choice->worth = worth;
            choice->offset = offset;
            choice->hash = kv_table_hash(table, entry.key);
        }
    }
}

static void choose(const struct kv_table *table, const struct kv_segment *segment, unsigned from,
                   struct choice *choice)
{
    unsigned groups = 1U << segment->groups_log2;
    for (unsigned i = 0; i < groups && choice->seen < SAMPLE; i++) {
        struct kv_place place = {.group = &segment->groups[(from + i) & (groups - 1)]};
        for (; place.entry < KV_GROUP_ENTRIES && choice->seen < SAMPLE; place.entry++) {
            if (place.group->tags[place.entry] != 0) {
                consider(table, place, choice);
            }
        }
    }
}

/* Returns the bytes of the entry. */
static uint64_t drop_at(struct kv_table *table, uint64_t hash, uint64_t offset)
{
    struct kv_entry entry;
    kv_entry_read(kv_at(table->arena, offset), &entry);
    kv_table_drop(table, hash, kv_index_find_offset(table, hash, offset), &entry);
    return entry.size;
}

bool kv_evict_one(struct kv_table *table)
{
    uint64_t random = next_random(table->arena);
    struct choice choice = {0};
    struct kv_segment segment;
    if (table->evict == KV_EVICT_NONE || !kv_index_segment(table, random, &segment)) {
        return false;
    }
    choose(table, &segment, (unsigned)random, &choice);
    if (choice.offset == 0) {
        return false;
    }
    kv_table_tidy(table, drop_at(table, choice.hash, choice.offset));
    return true;
}

/* ---- expiry -----------------------------------------------------------------------------------
 */

struct expired {
    unsigned count;
    uint64_t offsets[KV_SEGMENT_ENTRIES];
};

static void look_at(struct kv_table *table, struct kv_place place, struct expired *expired)
{
    struct kv_entry entry;
    uint64_t offset = kv_place_offset(place);
    kv_entry_read(kv_at(table->arena, offset), &entry);
    if (kv_entry_has_expired(table->arena, &entry)) {
        expired->offsets[expired->count++] = offset;
    } else if ((entry.flags & KV_ENTRY_EXPIRES) != 0 && entry.expiry < table->sweep_least) {
        table->sweep_least = entry.expiry;
    }
}

static void sweep_segment(struct kv_table *table, const struct kv_segment *segment)
{
    struct expired expired = {0};
    for (unsigned i = 0; i < 1U << segment->groups_log2; i++) {
        struct kv_place place = {.group = &segment->groups[i]};
        for (; place.entry < KV_GROUP_ENTRIES; place.entry++) {
            if (place.group->tags[place.entry] != 0) {
                look_at(table, place, &expired);
                table->arena->effort++;
            }
        }
    }
    uint64_t dead = 0;
    for (unsigned i = 0; i < expired.count; i++) { /* the segment may change with each */
        struct kv_entry entry;
        kv_entry_read(kv_at(table->arena, expired.offsets[i]), &entry);
        dead += drop_at(table, kv_table_hash(table, entry.key), expired.offsets[i]);
    }
    kv_table_tidy(table, dead); /* only now: it moves entries */
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

/* Nothing that expires is left. */
static void forget_sweep(struct kv_table *table)
{
    table->sweep = 0;
    kv_table_set_next_expiry(table, UINT64_MAX);
    kv_due_update(table);
}

void kv_sweep_step(struct kv_table *table)
{
    struct kv_segment segment;
    uint64_t first = 0;
    uint64_t last = UINT64_MAX;
    if (table->expiring == 0) {
        forget_sweep(table);
        return;
    }
    if (table->sweep == 0) {
        begin_sweep(table);
    }
    if (kv_index_segment(table, table->sweep, &segment)) {
        kv_segment_range(&segment, table->sweep, &first, &last);
        sweep_segment(table, &segment);
    }
    table->sweep = last + 1;
    table->sweep_steps++;
    if (table->sweep == 0) {
        end_sweep(table);
    }
    kv_due_update(table);
}
