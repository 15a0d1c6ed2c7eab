/* Walks over all entries of a table. */
#include "store/walk.h"
#include "base/siphash_inline.h"
#include "store/index.h"

#include <string.h>

/* Reads the entry at `offset`. Returns false if it has expired. */
static bool read_at(const struct kv_table *table, uint64_t offset, struct kv_item *key,
                    struct kv_item *value)
{
    struct kv_entry entry;
    kv_entry_read(kv_at(table->arena, offset), &entry);
    *key = (struct kv_item){.bytes = entry.key, .form = kv_entry_key_form(&entry)};
    *value = (struct kv_item){.bytes = entry.value, .form = kv_entry_value_form(&entry)};
    return !kv_entry_has_expired(&entry, kv_table_time(table));
}

bool kv_table_next(const struct kv_table *table, struct kv_table_walk *walk, struct kv_item *key,
                   struct kv_item *value)
{
    struct kv_index_walk in;
    while ((!walk->begun || walk->hash != 0 || walk->entry != 0) &&
           kv_index_walk(table, walk->hash, &in)) {
        walk->begun = true;
        in.at = walk->entry;
        in.left -= walk->entry;
        for (uint64_t offset = kv_index_next(&in); offset != 0; offset = kv_index_next(&in)) {
            if (read_at(table, offset, key, value)) {
                walk->entry = in.size - in.left;
                return true;
            }
        }
        walk->hash = in.next;
        walk->entry = 0;
    }
    return false;
}

void kv_table_scan(const struct kv_table *table, uint64_t *cursor,
                   void (*visit)(void *context, struct kv_item key, struct kv_item value),
                   void *context)
{
    struct kv_index_walk in = {0};
    struct kv_item key;
    struct kv_item value;
    if (kv_index_walk(table, *cursor, &in)) {
        for (uint64_t offset = kv_index_next(&in); offset != 0; offset = kv_index_next(&in)) {
            if (read_at(table, offset, &key, &value)) {
                visit(context, key, value);
            }
        }
    }
    *cursor = in.next;
}

/* ---- pieces, in hash order --------------------------------------------------------------------
 * Splits and merges move entries between segments, but never across a hash. So a cursor that is a
 * hash parts the entries that were visited from those that were not, whatever happens meanwhile. */

enum {
    PREFETCH = 12, /* entries that are prefetched while others are hashed */
    SORT_BITS = 8,
    SORT_BUCKETS = 1 << SORT_BITS,
};

struct found {
    uint64_t hash;
    uint64_t offset;
};

/* Finds the entries of a segment whose hash is not below `from`, in no order. */
static unsigned find_from(const struct kv_table *table, struct kv_index_walk *in, uint64_t from,
                          struct found found[KV_SEGMENT_ENTRIES])
{
    const struct kv_hash_key hash_key = table->arena->hash_key;
    unsigned count = 0;
    unsigned kept = 0;
    for (uint64_t offset = kv_index_next(in); offset != 0; offset = kv_index_next(in)) {
        found[count++].offset = offset;
    }
    for (unsigned i = 0; i < count && i < PREFETCH; i++) {
        __builtin_prefetch(kv_at(table->arena, found[i].offset));
    }
    for (unsigned i = 0; i < count; i++) {
        struct kv_entry entry;
        const uint64_t offset = found[i].offset;
        if (i + PREFETCH < count) {
            __builtin_prefetch(kv_at(table->arena, found[i + PREFETCH].offset));
        }
        kv_entry_read(kv_at(table->arena, offset), &entry);
        const uint64_t hash = kv_siphash_inline(&hash_key, entry.key);
        if (hash >= from) {
            found[kept++] = (struct found){.hash = hash, .offset = offset};
        }
    }
    return kept;
}

static inline unsigned sort_bucket(const struct kv_index_walk *in, uint64_t hash)
{
    const uint64_t span = (in->next - 1 - in->first) | (SORT_BUCKETS - 1);
    const unsigned shift = (unsigned)(64 - SORT_BITS - __builtin_clzll(span));
    return (unsigned)((hash - in->first) >> shift) & (SORT_BUCKETS - 1);
}

/* Sorts by hash. The hashes of a segment are spread evenly over its range, so their first bits give
 * nearly the right order, and an insertion sort does the rest. */
static void sort(const struct kv_index_walk *in, const struct found *found, unsigned count,
                 struct found sorted[KV_SEGMENT_ENTRIES])
{
    uint16_t place[SORT_BUCKETS + 1] = {0};
    for (unsigned i = 0; i < count; i++) {
        place[sort_bucket(in, found[i].hash) + 1]++;
    }
    for (unsigned i = 1; i < SORT_BUCKETS; i++) {
        place[i] = (uint16_t)(place[i] + place[i - 1]);
    }
    for (unsigned i = 0; i < count; i++) {
        sorted[place[sort_bucket(in, found[i].hash)]++] = found[i];
    }
    for (unsigned i = 1; i < count; i++) {
        const struct found one = sorted[i];
        unsigned at = i;
        for (; at > 0 && sorted[at - 1].hash > one.hash; at--) {
            sorted[at] = sorted[at - 1];
        }
        sorted[at] = one;
    }
}

struct piece {
    kv_table_visit *visit;
    void *context;
    const struct kv_saved *saved; /* hashes that are left out; or NULL */
    bool begun;
    uint64_t last; /* the hash of the last entry visited, if `begun` */
};

/* Visits the entries of a segment from *cursor on. Returns false, with *cursor set, if the piece
 * ends within the segment. */
static bool visit_segment(const struct kv_table *table, struct kv_index_walk *in,
                          struct piece *piece, uint64_t *cursor)
{
    struct found found[KV_SEGMENT_ENTRIES];
    struct found sorted[KV_SEGMENT_ENTRIES];
    const unsigned count = find_from(table, in, *cursor, found);
    sort(in, found, count, sorted);
    for (unsigned i = 0; i < count; i++) {
        struct kv_entry entry;
        const uint64_t hash = sorted[i].hash;
        kv_entry_read(kv_at(table->arena, sorted[i].offset), &entry);
        if (kv_entry_has_expired(&entry, table->arena->now) ||
            (piece->saved != NULL && kv_saved_has(piece->saved, hash))) {
            continue;
        }
        const bool may_end = piece->begun && piece->last != hash;
        const struct kv_table_entry seen = {
            .key = {.bytes = entry.key, .form = kv_entry_key_form(&entry)},
            .value = {.bytes = entry.value, .form = kv_entry_value_form(&entry)},
            .expiry = (entry.flags & KV_ENTRY_EXPIRES) != 0 ? entry.expiry : KV_NEVER,
        };
        if (!piece->visit(piece->context, &seen, may_end) && may_end) {
            *cursor = hash;
            return false;
        }
        piece->begun = true;
        piece->last = hash;
    }
    return true;
}

/* Looks at `most` entries, or at one segment. */
static bool visit_piece(const struct kv_table *table, uint64_t *cursor, unsigned most,
                        struct piece *piece)
{
    struct kv_index_walk in;
    unsigned looked_at = 0;
    while (kv_index_walk(table, *cursor, &in)) {
        /* A segment costs as much as its groups, even if it has few entries. */
        const unsigned cost = in.used + in.size / KV_GROUP_ENTRIES;
        if (looked_at > 0 && looked_at + cost > most) {
            return true;
        }
        looked_at += cost;
        if (!visit_segment(table, &in, piece, cursor)) {
            return true;
        }
        *cursor = in.next;
        if (in.next == 0) {
            return false;
        }
    }
    return false;
}

bool kv_table_piece(const struct kv_table *table, uint64_t *cursor, kv_table_visit *visit,
                    void *context)
{
    struct piece piece = {.visit = visit, .context = context};
    return visit_piece(table, cursor, KV_PIECE_ENTRIES, &piece);
}

bool kv_table_small_piece(const struct kv_table *table, uint64_t *cursor, kv_table_visit *visit,
                          void *context)
{
    struct piece piece = {.visit = visit, .context = context};
    return visit_piece(table, cursor, 0, &piece);
}

bool kv_walk_unsaved(const struct kv_table *table, uint64_t *cursor, const struct kv_saved *saved,
                     bool begun, kv_table_visit *visit, void *context)
{
    struct piece piece = {.visit = visit, .context = context, .saved = saved, .begun = begun};
    piece.last = *cursor - 1; /* no hash that comes, so the piece may end with the first entry */
    return visit_piece(table, cursor, KV_PIECE_ENTRIES, &piece);
}

void kv_table_identity(const struct kv_table *table, uint8_t to[KV_TABLE_IDENTITY_SIZE])
{
    memcpy(to, kv_header_of(table->arena)->id, KV_ARENA_ID_SIZE);
    memcpy(to + KV_ARENA_ID_SIZE, &table->number, sizeof table->number);
    memcpy(to + KV_ARENA_ID_SIZE + sizeof table->number, &table->slot->generation,
           sizeof table->slot->generation);
}

_Static_assert(KV_TABLE_IDENTITY_SIZE == KV_ARENA_ID_SIZE + 2 * sizeof(uint32_t),
               "an identity is the arena, the slot and its generation");
