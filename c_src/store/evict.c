#include "store/evict.h"

#include "store/account.h"
#include "store/undo.h"

enum {
    SAMPLE = 5,         /* entries that are compared before one is evicted, as in Redis */
    SEGMENTS_TRIED = 4, /* while a batch protects its entries */
};

static uint64_t next_random(struct kv_arena *arena)
{
    arena->random ^= arena->random << 13;
    arena->random ^= arena->random >> 7;
    arena->random ^= arena->random << 17;
    return arena->random;
}

struct choice {
    unsigned seen;
    uint64_t worth; /* of the entry that is worth least so far */
    uint64_t hash;
    uint64_t offset; /* 0: none */
    enum kv_gone why;
};

static uint32_t time_of_use(const struct kv_entry *entry)
{
    uint32_t use = 0;
    for (unsigned i = 0; i < KV_ENTRY_USE_SIZE; i++) {
        use |= (uint32_t)entry->use[i] << (8 * i);
    }
    return use;
}

/* Rates an entry: the lowest worth goes first. Returns false if the rule does not let it go. */
static bool worth_of(const struct kv_table *table, const struct kv_entry *entry, uint64_t *worth)
{
    if (kv_entry_has_expired(entry, table->arena->now)) {
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

static void consider(const struct kv_table *table, uint64_t offset, struct choice *choice)
{
    struct kv_entry entry;
    uint64_t worth = 0;
    kv_entry_read(kv_at(table->arena, offset), &entry);
    table->arena->effort++;
    if (table->pending != NULL && kv_undo_find(table->pending, offset) != NULL) {
        return; /* the batch that makes room must not lose its own entries */
    }
    if (worth_of(table, &entry, &worth)) {
        choice->seen++;
        if (choice->offset == 0 || worth < choice->worth) {
            choice->worth = worth;
            choice->offset = offset;
            choice->hash = kv_arena_hash(table->arena, entry.key);
            choice->why =
                kv_entry_has_expired(&entry, table->arena->now) ? KV_GONE_EXPIRED : KV_GONE_EVICTED;
        }
    }
}

/* Chooses among the entries of one segment. Returns false if the table is empty. */
static bool choose(const struct kv_table *table, struct choice *choice)
{
    uint64_t random = next_random(table->arena);
    struct kv_index_walk walk;
    if (!kv_index_walk(table, random, &walk)) {
        return false;
    }
    walk.at = (unsigned)random % walk.size; /* the high bits have chosen the segment */
    for (uint64_t offset = kv_index_next(&walk); offset != 0 && choice->seen < SAMPLE;
         offset = kv_index_next(&walk)) {
        consider(table, offset, choice);
    }
    return true;
}

bool kv_evict_one(struct kv_table *table)
{
    struct choice choice = {0};
    unsigned tries = table->pending != NULL ? SEGMENTS_TRIED : 1;
    if (table->evict == KV_EVICT_NONE) {
        return false;
    }
    while (choice.offset == 0 && tries > 0 && choose(table, &choice)) {
        tries--;
    }
    if (choice.offset == 0) {
        return false;
    }
    kv_table_tidy(table, kv_table_lose_at(table, choice.why, choice.hash, choice.offset));
    return true;
}
