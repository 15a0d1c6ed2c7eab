#include "store/index.h"

#include "base/word.h"
#include "store/segments.h"
#include "store/stripes.h"

#include <kv/error.h>

static inline uint64_t link_below(const uint8_t *base, uint64_t root, uint64_t hash)
{
    uint64_t link = root;
    for (unsigned level = 0; kv_link_kind(link) == KV_LINK_NODE; level++) {
        const uint64_t *links = (const void *)(base + kv_link_offset(link));
        link = links[kv_hash_link(hash, level)];
    }
    return link;
}

/* The link to the segment of this hash, or KV_LINK_NONE if the table is empty. Valid until the
 * shape of the table changes. */
static inline uint64_t link_of(const struct kv_table *table, uint64_t hash)
{
    return link_below(table->arena->base, table->slot->root, hash);
}

/* ---- finding ----------------------------------------------------------------------------------
 */

/* A search looks at the entries with the right tag in one group, and goes on to the next group if
 * keys have passed this one. Each step finds the next candidate. */
struct search {
    struct kv_group *groups;
    unsigned mask; /* of groups */
    unsigned at;
    unsigned left; /* groups not looked at yet */
    uint8_t tag;
    struct kv_tags tags;
    unsigned same; /* a bit for each candidate left in the group */
};

static inline void look_at_group(struct search *search)
{
    search->tags = kv_tags_of(&search->groups[search->at]);
    search->same = kv_tags_match(search->tags, search->tag);
}

static inline struct search begin_search(const struct kv_table *table, uint64_t link, uint64_t hash)
{
    unsigned groups_log2 = kv_link_groups_log2(link);
    struct search search = {
        .groups = kv_at(table->arena, kv_link_offset(link)),
        .mask = (1U << groups_log2) - 1,
        .at = kv_hash_group(hash, groups_log2),
        .left = (1U << groups_log2) - 1,
        .tag = kv_hash_tag(hash),
    };
    look_at_group(&search);
    return search;
}

/* Returns false if there is no other candidate. */
static inline bool next_candidate(struct search *search, struct kv_place *place)
{
    while (search->same == 0) {
        if (kv_tags_passed(search->tags) == 0 || search->left == 0) {
            return false;
        }
        search->left--;
        search->at = (search->at + 1) & search->mask;
        look_at_group(search);
    }
    *place = (struct kv_place){.group = &search->groups[search->at],
                               .entry = (unsigned)__builtin_ctz(search->same)};
    search->same &= search->same - 1;
    return true;
}

struct kv_place kv_index_find(const struct kv_table *table, const struct kv_lookup *lookup,
                              struct kv_entry *entry)
{
    const struct kv_bytes key = lookup->key.bytes;
    uint64_t link = lookup->shape == table->shape ? lookup->link : link_of(table, lookup->hash);
    if (kv_link_kind(link) == KV_LINK_NONE) {
        return (struct kv_place){0};
    }
    struct search search = begin_search(table, link, lookup->hash);
    struct kv_place place;
    while (next_candidate(&search, &place)) {
        kv_entry_read(kv_at(table->arena, kv_place_offset(place)), entry);
        if (entry->key.length == key.length && kv_entry_key_form(entry) == lookup->key.form &&
            kv_same(entry->key.data, key.data, key.length)) {
            return place;
        }
    }
    return (struct kv_place){0};
}

/* Two passes: the first prefetches all groups, so that their cache misses overlap. */
void kv_index_look_ahead(const struct kv_table *table, struct kv_lookup *lookups, unsigned count)
{
    uint8_t *base = table->arena->base;
    const uint64_t root = table->slot->root;
    if (kv_link_kind(root) == KV_LINK_NONE) {
        for (unsigned i = 0; i < count; i++) {
            lookups[i].link = root;
            lookups[i].entry = 0;
        }
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        const uint64_t hash = lookups[i].hash;
        const uint64_t link = link_below(base, root, hash);
        const uint64_t group = kv_hash_group(hash, kv_link_groups_log2(link));
        lookups[i].link = link;
        lookups[i].entry = kv_link_offset(link) + group * sizeof(struct kv_group);
        __builtin_prefetch(base + lookups[i].entry);
    }
    for (unsigned i = 0; i < count; i++) {
        struct kv_place place = {.group = (void *)(base + lookups[i].entry)};
        unsigned same = kv_tags_match(kv_tags_of(place.group), kv_hash_tag(lookups[i].hash));
        lookups[i].entry = 0;
        if (same != 0) {
            place.entry = (unsigned)__builtin_ctz(same);
            lookups[i].entry = kv_place_offset(place);
            __builtin_prefetch(base + lookups[i].entry);
        }
    }
}

struct kv_place kv_index_find_offset(const struct kv_table *table, uint64_t hash, uint64_t offset)
{
    uint64_t link = link_of(table, hash);
    if (kv_link_kind(link) == KV_LINK_NONE) {
        return (struct kv_place){0};
    }
    struct search search = begin_search(table, link, hash);
    struct kv_place place;
    while (next_candidate(&search, &place)) {
        if (kv_place_offset(place) == offset) {
            return place;
        }
    }
    return (struct kv_place){0};
}

void kv_index_each(const struct kv_table *table, uint64_t hash,
                   void (*visit)(void *context, const struct kv_entry *entry), void *context)
{
    uint64_t link = link_of(table, hash);
    if (kv_link_kind(link) == KV_LINK_NONE) {
        return;
    }
    struct search search = begin_search(table, link, hash);
    struct kv_place place;
    while (next_candidate(&search, &place)) {
        struct kv_entry entry;
        kv_entry_read(kv_at(table->arena, kv_place_offset(place)), &entry);
        if (kv_arena_hash(table->arena, entry.key) == hash) {
            visit(context, &entry);
        }
    }
}

/* ---- walking ----------------------------------------------------------------------------------
 */

bool kv_index_walk(const struct kv_table *table, uint64_t hash, struct kv_index_walk *walk)
{
    struct kv_segment segment;
    uint64_t first;
    uint64_t last;
    if (!kv_segment_find(table, hash, &segment)) {
        return false;
    }
    kv_segment_range(&segment, hash, &first, &last);
    walk->groups = segment.groups;
    walk->size = walk->left = (unsigned)KV_GROUP_ENTRIES << segment.groups_log2;
    walk->at = 0;
    walk->first = first;
    walk->next = last + 1;
    walk->used = segment.groups->own;
    return true;
}

uint64_t kv_index_next(struct kv_index_walk *walk)
{
    while (walk->left > 0) {
        struct kv_place place = {.group = &walk->groups[walk->at / KV_GROUP_ENTRIES],
                                 .entry = walk->at % KV_GROUP_ENTRIES};
        walk->left--;
        walk->at = walk->at + 1 == walk->size ? 0 : walk->at + 1;
        if (place.group->tags[place.entry] != 0) {
            return kv_place_offset(place);
        }
    }
    return 0;
}

/* ---- growing ----------------------------------------------------------------------------------
 */

int kv_index_insert(struct kv_table *table, uint64_t hash, uint64_t offset)
{
    struct kv_segment segment;
    if (!kv_segment_make_room(table, hash, &segment)) {
        return KV_ENOMEM;
    }
    kv_stripes_lock(table, hash, hash);
    kv_segment_place(segment.groups, segment.groups_log2, hash, offset);
    kv_stripes_unlock(table, hash, hash);
    return KV_OK;
}

/* A key is in its own group, unless it has passed that. An empty segment may have to be split
 * first.
 */
bool kv_index_find_vacancy(const struct kv_table *table, const struct kv_lookup *lookup,
                           struct kv_vacancy *vacancy)
{
    const uint64_t hash = lookup->hash;
    const uint64_t link = lookup->shape == table->shape ? lookup->link : link_of(table, hash);
    const unsigned log2 = kv_link_groups_log2(link);
    if (kv_link_kind(link) == KV_LINK_NONE) {
        return false;
    }
    vacancy->groups = kv_at(table->arena, kv_link_offset(link));
    struct kv_group *group = &vacancy->groups[kv_hash_group(hash, log2)];
    const struct kv_tags tags = kv_tags_of(group);
    const unsigned own = vacancy->groups->own;
    const unsigned vacant = kv_tags_match(tags, 0);
    if (own == 0 || own >= kv_segment_most(log2) || vacant == 0 || kv_tags_passed(tags) != 0 ||
        kv_tags_match(tags, kv_hash_tag(hash)) != 0) {
        return false;
    }
    vacancy->place = (struct kv_place){.group = group, .entry = (unsigned)__builtin_ctz(vacant)};
    return true;
}

void kv_index_occupy(struct kv_table *table, uint64_t hash, const struct kv_vacancy *vacancy,
                     uint64_t offset)
{
    struct kv_group *group = vacancy->place.group;
    kv_stripes_lock(table, hash, hash);
    kv_group_refer(group, vacancy->place.entry, offset);
    KV_STORE_RELAXED(group->tags[vacancy->place.entry], kv_hash_tag(hash));
    KV_STORE_RELAXED(vacancy->groups->own, (uint16_t)(vacancy->groups->own + 1));
    kv_stripes_unlock(table, hash, hash);
}

/* A search in a segment may follow a reference to the entry of another key, whose hash has the same
 * tag but another stripe. So a writer locks all stripes of the segment before it changes an entry
 * or lets its memory be used again. Otherwise the search could find its own key in the new bytes.
 */
void kv_index_range(const struct kv_table *table, uint64_t hash, uint64_t *first, uint64_t *last)
{
    struct kv_segment segment;
    *first = *last = hash;
    if (!table->is_changing) { /* while it is, all stripes are locked */
        (void)kv_segment_find(table, hash, &segment);
        kv_segment_range(&segment, hash, first, last);
    }
}

void kv_index_replace(struct kv_table *table, uint64_t hash, struct kv_place place, uint64_t offset)
{
    uint64_t first;
    uint64_t last;
    kv_index_range(table, hash, &first, &last);
    table->moves++;
    kv_stripes_lock(table, first, last);
    kv_group_refer(place.group, place.entry, offset);
    kv_stripes_unlock(table, first, last);
}

/* ---- shrinking --------------------------------------------------------------------------------
 */

void kv_index_remove(struct kv_table *table, uint64_t hash, struct kv_place place)
{
    struct kv_segment segment;
    uint64_t first;
    uint64_t last;
    (void)kv_segment_find(table, hash, &segment);
    kv_segment_range(&segment, hash, &first, &last);
    unsigned mask = (1U << segment.groups_log2) - 1;
    unsigned at = kv_hash_group(hash, segment.groups_log2);
    table->moves++;
    kv_stripes_lock(table, first, last);
    for (; &segment.groups[at] != place.group; at = (at + 1) & mask) {
        KV_STORE_RELAXED(segment.groups[at].passed, (uint16_t)(segment.groups[at].passed - 1));
    }
    KV_STORE_RELAXED(place.group->tags[place.entry], 0);
    KV_STORE_RELAXED(segment.groups->own, (uint16_t)(segment.groups->own - 1));
    kv_stripes_unlock(table, first, last);
    kv_segment_shrink(table, &segment, hash);
}
