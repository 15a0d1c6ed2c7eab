#include "store/evict.h"

#include "store/account.h"
#include "store/snapshot.h"
#include "store/undo.h"

enum {
    SAMPLE = 5,         /* entries that are compared before one is evicted, as in Redis */
    SEGMENTS_TRIED = 4, /* while a batch protects its entries, before others are, in order, */
    LOOKED_MOST = 4096, /* up to so many entries */
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

/* The batch that makes room must not lose its own entries. */
static bool is_of_batch(const struct kv_table *table, uint64_t offset, const struct kv_entry *entry)
{
    const struct kv_undo *pending = table->pending;
    return kv_undo_find(pending, offset) != NULL ||
           (pending->held != NULL &&
            kv_undo_holds(pending, kv_arena_hash(table->arena, entry->key)));
}

static void consider(const struct kv_table *table, uint64_t offset, struct choice *choice)
{
    struct kv_entry entry;
    uint64_t worth = 0;
    kv_entry_read(kv_at(table->arena, offset), &entry);
    table->arena->effort++;
    if (table->pending != NULL && is_of_batch(table, offset, &entry)) {
        return;
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

static void consider_all(const struct kv_table *table, struct kv_index_walk *walk,
                         struct choice *choice)
{
    for (uint64_t offset = kv_index_next(walk); offset != 0 && choice->seen < SAMPLE;
         offset = kv_index_next(walk)) {
        consider(table, offset, choice);
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
    consider_all(table, &walk, choice);
    return true;
}

/* Looks for an entry in the order of hashes, and goes on where the last such search of this batch
 * has ended: entries that the batch protects are never free before its end. */
static void choose_in_order(const struct kv_table *table, struct choice *choice)
{
    struct kv_undo *pending = table->pending;
    struct kv_index_walk walk;
    unsigned looked = 0;
    while (choice->offset == 0 && !pending->looked_at_all && looked < LOOKED_MOST &&
           kv_index_walk(table, pending->looked_to, &walk)) {
        looked += walk.used;
        consider_all(table, &walk, choice);
        if (choice->offset == 0) {
            pending->looked_to = walk.next;
            pending->looked_at_all = walk.next == 0;
        }
    }
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
    if (choice.offset == 0 && table->pending != NULL) {
        choose_in_order(table, &choice);
    }
    if (choice.offset == 0) {
        return false;
    }
    if (choice.why == KV_GONE_EVICTED) {
        kv_snapshots_before(table, choice.hash);
    }
    kv_table_tidy(table, kv_table_lose_at(table, choice.why, choice.hash, choice.offset));
    return true;
}
