/* The index of a table: a tree of nodes, whose leaves are segments, whose groups refer to entries.
 *
 * A table begins with one group, doubles its one segment up to 64 groups, and then splits segments;
 * the hashes are computed anew from the keys, 640 at most. What takes the place of a segment is
 * made where no reader looks, and then linked while the stripes that it covers are locked. */
#include "store/index.h"

#include "base/same.h"
#include "store/pages.h"
#include "store/stripes.h"
#include "store/tags.h"

#include <kv/error.h>

#include <string.h>

enum {
    PREFETCH = 12,    /* entries that are asked for ahead */
    FULL_SHARE = 8,   /* a segment is full when this part of it is left free */
    SPARSE_SHARE = 4, /* a segment that is the root halves below this part */
    MERGE_SHARE = 3,  /* two become one when they fill it to less than this part */
    HASH_BITS = 64,
    SPLITS_MAX = 3, /* for one insertion: only a freak of the hash needs a second */
};

/* ---- groups -----------------------------------------------------------------------------------
 */

static struct kv_tags tags_of(const struct kv_group *group)
{
    struct kv_tags tags;
    memcpy(&tags.low, group, sizeof tags.low);
    memcpy(&tags.high, (const uint8_t *)group + sizeof tags.low, sizeof tags.high);
    return tags;
}

static void set_reference(struct kv_group *group, unsigned entry, uint64_t offset)
{
    uint64_t reference = offset / KV_ARENA_UNIT;
    for (unsigned i = 0; i < KV_REFERENCE_SIZE; i++) {
        KV_STORE_RELAXED(group->references[entry][i], (uint8_t)(reference >> (8 * i)));
    }
}

/* The segment must have a free place. */
static void place_in(struct kv_group *groups, unsigned groups_log2, uint64_t hash, uint64_t offset)
{
    unsigned mask = (1U << groups_log2) - 1;
    struct kv_group *group = &groups[kv_hash_group(hash, groups_log2)];
    unsigned free = kv_tags_match(tags_of(group), 0);
    while (free == 0) {
        KV_STORE_RELAXED(group->passed, (uint16_t)(group->passed + 1));
        group = &groups[(unsigned)(group - groups + 1) & mask];
        free = kv_tags_match(tags_of(group), 0);
    }
    unsigned entry = (unsigned)__builtin_ctz(free);
    set_reference(group, entry, offset);
    KV_STORE_RELAXED(group->tags[entry], kv_hash_tag(hash));
    groups->own++;
}

static uint64_t segment_size(unsigned groups_log2)
{
    return sizeof(struct kv_group) << groups_log2;
}

static unsigned capacity(unsigned groups_log2)
{
    return (unsigned)KV_GROUP_ENTRIES << groups_log2;
}

static void count_index(struct kv_table *table, int64_t bytes)
{
    table->index_bytes += (uint64_t)bytes;
    table->arena->index_bytes += (uint64_t)bytes;
}

static void *take(struct kv_table *table, uint64_t size)
{
    uint64_t offset = kv_memory_take(table->arena, size, KV_WITHIN_LIMIT);
    if (offset == 0) {
        return NULL;
    }
    count_index(table, (int64_t)size);
    return memset(kv_at(table->arena, offset), 0, size);
}

static void give(struct kv_table *table, void *at, uint64_t size)
{
    if (at != NULL) {
        count_index(table, -(int64_t)size);
        kv_memory_give(table->arena, kv_offset(table->arena, at), size);
    }
}

/* ---- the way to a segment ---------------------------------------------------------------------
 */

/* A segment on the way of a hash. */
struct segment {
    struct kv_group *groups;
    unsigned groups_log2;
    unsigned level;  /* nodes above it */
    unsigned depth;  /* bits of the last node's six */
    uint64_t *links; /* of the last node, or NULL */
    uint64_t *above; /* the link of the last node itself */
};

/* False when the table is empty. */
static bool find_segment(const struct kv_table *table, uint64_t hash, struct segment *segment)
{
    const struct kv_arena *arena = table->arena;
    uint64_t *place = &table->slot->root;
    segment->links = NULL;
    segment->above = NULL;
    segment->level = 0;
    while (kv_link_kind(*place) == KV_LINK_NODE) {
        segment->above = place;
        segment->links = kv_at(arena, kv_link_offset(*place));
        place = &segment->links[kv_hash_link(hash, segment->level)];
        segment->level++;
    }
    segment->groups = kv_at(arena, kv_link_offset(*place));
    segment->groups_log2 = kv_link_groups_log2(*place);
    segment->depth = kv_link_depth(*place);
    return kv_link_kind(*place) == KV_LINK_SEGMENT;
}

/* The bits of the hash that a segment's keys have in common, as first and last hash. */
static void range_of(const struct segment *segment, uint64_t hash, uint64_t *first, uint64_t *last)
{
    unsigned bits = segment->level == 0 ? 0 : KV_NODE_BITS * (segment->level - 1) + segment->depth;
    uint64_t rest = UINT64_MAX >> (bits % HASH_BITS); /* bits: at most KV_NODES_MAX nodes */
    *first = hash & ~rest;
    *last = hash | rest;
}

/* The first of the links of a node in which the segment stands, and how many they are. */
static unsigned first_link(const struct segment *segment, uint64_t hash, unsigned *span)
{
    *span = 1U << (KV_NODE_BITS - segment->depth);
    return kv_hash_link(hash, segment->level - 1) & ~(*span - 1);
}

static uint64_t link_to(const struct kv_arena *arena, const struct kv_group *groups,
                        unsigned groups_log2, unsigned depth)
{
    return kv_make_link(KV_LINK_SEGMENT, groups_log2, depth, kv_offset(arena, groups));
}

/* The builtin writes, which the check does not see. */
/* NOLINTNEXTLINE(readability-non-const-parameter) */
static void set_links(uint64_t *links, unsigned count, uint64_t link)
{
    for (unsigned i = 0; i < count; i++) {
        KV_STORE_RELAXED(links[i], link);
    }
}

static inline uint64_t link_below(const uint8_t *base, uint64_t root, uint64_t hash)
{
    uint64_t link = root;
    for (unsigned level = 0; kv_link_kind(link) == KV_LINK_NODE; level++) {
        const uint64_t *links = (const void *)(base + kv_link_offset(link));
        link = links[kv_hash_link(hash, level)];
    }
    return link;
}

/* The link to the segment that has this hash; KV_LINK_NONE: the table is empty. Right until the
 * shape of the table is another. */
static inline uint64_t link_of(const struct kv_table *table, uint64_t hash)
{
    return link_below(table->arena->base, table->slot->root, hash);
}

/* ---- finding ----------------------------------------------------------------------------------
 */

/* A search looks at the entries of the right tag in one group, and goes on to the next while keys
 * have passed it. Each step leaves the place of the next candidate. */
struct search {
    struct kv_group *groups;
    unsigned mask; /* of groups */
    unsigned at;
    unsigned left; /* groups that were not looked at */
    uint8_t tag;
    struct kv_tags tags;
    unsigned same;
};

static inline void look_at_group(struct search *search)
{
    search->tags = tags_of(&search->groups[search->at]);
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

/* False: there is no more. */
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
            kv_same_bytes(entry->key.data, key.data, key.length)) {
            return place;
        }
    }
    return (struct kv_place){0};
}

/* The memory of all groups is asked for before the first is looked at. */
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
        unsigned same = kv_tags_match(tags_of(place.group), kv_hash_tag(lookups[i].hash));
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

/* ---- walking ----------------------------------------------------------------------------------
 */

bool kv_index_walk(const struct kv_table *table, uint64_t hash, struct kv_index_walk *walk)
{
    struct segment segment;
    uint64_t first;
    uint64_t last;
    if (!find_segment(table, hash, &segment)) {
        return false;
    }
    range_of(&segment, hash, &first, &last);
    walk->groups = segment.groups;
    walk->size = walk->left = capacity(segment.groups_log2);
    walk->at = 0;
    walk->next = last + 1;
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

/* ---- what a segment has -----------------------------------------------------------------------
 */

struct contents {
    unsigned count;
    struct {
        uint64_t hash;
        uint64_t offset;
    } entries[KV_SEGMENT_ENTRIES];
};

static void collect(const struct kv_group *groups, unsigned groups_log2, struct contents *to)
{
    to->count = 0;
    for (unsigned i = 0; i < 1U << groups_log2; i++) {
        for (unsigned j = 0; j < KV_GROUP_ENTRIES; j++) {
            if (groups[i].tags[j] != 0) {
                struct kv_place place = {.group = (struct kv_group *)&groups[i], .entry = j};
                to->entries[to->count++].offset = kv_place_offset(place);
            }
        }
    }
}

/* The hashes of all, from their keys; the entries are fetched ahead of their turn. */
static void rehash(const struct kv_table *table, struct contents *contents)
{
    const struct kv_arena *arena = table->arena;
    for (unsigned i = 0; i < contents->count; i++) {
        struct kv_entry entry;
        if (i + PREFETCH < contents->count) {
            __builtin_prefetch(kv_at(arena, contents->entries[i + PREFETCH].offset));
        }
        kv_entry_read(kv_at(arena, contents->entries[i].offset), &entry);
        contents->entries[i].hash = kv_arena_hash(arena, entry.key);
    }
    table->arena->effort += contents->count;
}

/* Puts those whose hash has `bit`, or has not, into a segment. */
static void distribute(const struct contents *contents, struct kv_group *groups[2],
                       unsigned groups_log2, uint64_t bit)
{
    for (unsigned i = 0; i < contents->count; i++) {
        uint64_t hash = contents->entries[i].hash;
        place_in(groups[(hash & bit) != 0], groups_log2, hash, contents->entries[i].offset);
    }
}

/* ---- growing ----------------------------------------------------------------------------------
 */

/* Gives the root a segment with another number of groups. */
static bool resize_root(struct kv_table *table, const struct segment *old, unsigned groups_log2)
{
    struct contents contents;
    struct kv_group *groups = take(table, segment_size(groups_log2));
    if (groups == NULL) {
        return false;
    }
    collect(old->groups, old->groups_log2, &contents);
    rehash(table, &contents);
    distribute(&contents, (struct kv_group *[]){groups, groups}, groups_log2, 0);
    table->shape++;
    kv_stripes_lock(table, 0, UINT64_MAX);
    KV_STORE_RELAXED(table->slot->root, link_to(table->arena, groups, groups_log2, 0));
    kv_stripes_unlock(table, 0, UINT64_MAX);
    give(table, old->groups, segment_size(old->groups_log2));
    return true;
}

/* The link in which the segment stands alone: the root, or one of a node. */
static uint64_t *only_link(struct kv_table *table, const struct segment *segment, uint64_t hash)
{
    return segment->links == NULL ? &table->slot->root
                                  : &segment->links[kv_hash_link(hash, segment->level - 1)];
}

static bool split(struct kv_table *table, const struct segment *old, uint64_t hash)
{
    bool new_node = old->links == NULL || old->depth == KV_NODE_BITS;
    unsigned level = new_node ? old->level : old->level - 1; /* of the node that has both */
    unsigned depth = new_node ? 1 : old->depth + 1;
    if (level == KV_NODES_MAX) {
        return false;
    }
    uint64_t size = segment_size(KV_SEGMENT_GROUPS_LOG2);
    struct kv_group *halves[2] = {take(table, size), take(table, size)};
    uint64_t *node = new_node ? take(table, KV_NODE_LINKS * sizeof *node) : old->links;
    if (halves[0] == NULL || halves[1] == NULL || node == NULL) {
        give(table, halves[0], size);
        give(table, halves[1], size);
        give(table, new_node ? node : NULL, KV_NODE_LINKS * sizeof *node);
        return false;
    }
    struct contents contents;
    collect(old->groups, KV_SEGMENT_GROUPS_LOG2, &contents);
    rehash(table, &contents);
    distribute(&contents, halves, KV_SEGMENT_GROUPS_LOG2,
               UINT64_C(1) << (HASH_BITS - KV_NODE_BITS * level - depth));

    uint64_t links[2];
    uint64_t first;
    uint64_t last;
    unsigned span = KV_NODE_LINKS;
    unsigned at = new_node ? 0 : first_link(old, hash, &span);
    links[0] = link_to(table->arena, halves[0], KV_SEGMENT_GROUPS_LOG2, depth);
    links[1] = link_to(table->arena, halves[1], KV_SEGMENT_GROUPS_LOG2, depth);
    range_of(old, hash, &first, &last);
    table->shape++;
    kv_stripes_lock(table, first, last);
    set_links(node + at, span / 2, links[0]);
    set_links(node + at + span / 2, span / 2, links[1]);
    if (new_node) {
        KV_STORE_RELAXED(*only_link(table, old, hash),
                         kv_make_link(KV_LINK_NODE, 0, 0, kv_offset(table->arena, node)));
    }
    kv_stripes_unlock(table, first, last);
    give(table, old->groups, size);
    return true;
}

static bool first_segment(struct kv_table *table)
{
    struct kv_group *groups = take(table, segment_size(0));
    if (groups != NULL) {
        table->shape++;
        kv_stripes_lock(table, 0, UINT64_MAX);
        KV_STORE_RELAXED(table->slot->root, link_to(table->arena, groups, 0, 0));
        kv_stripes_unlock(table, 0, UINT64_MAX);
    }
    return groups != NULL;
}

static bool is_full(const struct segment *segment)
{
    unsigned most = capacity(segment->groups_log2);
    return segment->groups->own >= (segment->groups_log2 == 0 ? most : most - most / FULL_SHARE);
}

int kv_index_insert(struct kv_table *table, uint64_t hash, uint64_t offset)
{
    struct segment segment;
    if (!find_segment(table, hash, &segment)) {
        if (!first_segment(table)) {
            return KV_ENOMEM;
        }
        (void)find_segment(table, hash, &segment);
    }
    for (unsigned i = 0; i < SPLITS_MAX && is_full(&segment); i++) {
        if (!(segment.groups_log2 < KV_SEGMENT_GROUPS_LOG2
                  ? resize_root(table, &segment, segment.groups_log2 + 1)
                  : split(table, &segment, hash))) {
            break;
        }
        (void)find_segment(table, hash, &segment);
    }
    if (segment.groups->own == capacity(segment.groups_log2)) {
        return KV_ENOMEM;
    }
    kv_stripes_lock(table, hash, hash);
    place_in(segment.groups, segment.groups_log2, hash, offset);
    kv_stripes_unlock(table, hash, hash);
    return KV_OK;
}

/* Whoever searches a segment may follow a reference to the entry of another key, of another stripe,
 * that has the same tag. Hence what changes such an entry, or lets its memory be used again, locks
 * all stripes of the segment: else that search could take what lies there later for its own key. */
void kv_index_range(const struct kv_table *table, uint64_t hash, uint64_t *first, uint64_t *last)
{
    struct segment segment;
    *first = *last = hash;
    if (!table->is_changing) { /* else all are locked */
        (void)find_segment(table, hash, &segment);
        range_of(&segment, hash, first, last);
    }
}

void kv_index_replace(struct kv_table *table, uint64_t hash, struct kv_place place, uint64_t offset)
{
    uint64_t first;
    uint64_t last;
    kv_index_range(table, hash, &first, &last);
    table->moves++;
    kv_stripes_lock(table, first, last);
    set_reference(place.group, place.entry, offset);
    kv_stripes_unlock(table, first, last);
}

/* ---- shrinking --------------------------------------------------------------------------------
 */

static void shrink_root(struct kv_table *table, const struct segment *segment)
{
    unsigned count = segment->groups->own;
    if (count == 0) {
        table->shape++;
        kv_stripes_lock(table, 0, UINT64_MAX);
        KV_STORE_RELAXED(table->slot->root, 0);
        kv_stripes_unlock(table, 0, UINT64_MAX);
        give(table, segment->groups, segment_size(segment->groups_log2));
    } else if (segment->groups_log2 > 0 && count < capacity(segment->groups_log2) / SPARSE_SHARE) {
        (void)resize_root(table, segment, segment->groups_log2 - 1); /* else it stays large */
    }
}

/* The other half of what the segment was split from, if it is whole; NULL if not. */
static struct kv_group *sibling_of(const struct kv_table *table, const struct segment *segment,
                                   uint64_t hash)
{
    unsigned span;
    unsigned at = first_link(segment, hash, &span);
    uint64_t link = segment->links[at ^ span];
    bool whole = kv_link_kind(link) == KV_LINK_SEGMENT && kv_link_depth(link) == segment->depth;
    return whole ? kv_at(table->arena, kv_link_offset(link)) : NULL;
}

/* Both halves into the one; a node that has only them goes. */
static void merge(struct kv_table *table, const struct segment *segment, struct kv_group *sibling,
                  uint64_t hash)
{
    struct contents contents;
    struct segment whole = *segment;
    uint64_t first;
    uint64_t last;
    unsigned span;
    bool collapse = segment->depth == 1;
    collect(sibling, KV_SEGMENT_GROUPS_LOG2, &contents);
    rehash(table, &contents);
    whole.depth--;
    range_of(&whole, hash, &first, &last);
    table->shape++;
    kv_stripes_lock(table, first, last);
    distribute(&contents, (struct kv_group *[]){segment->groups, segment->groups},
               KV_SEGMENT_GROUPS_LOG2, 0);
    if (collapse) {
        unsigned depth = segment->level == 1 ? 0 : KV_NODE_BITS;
        KV_STORE_RELAXED(*segment->above,
                         link_to(table->arena, segment->groups, KV_SEGMENT_GROUPS_LOG2, depth));
    } else {
        unsigned at = first_link(&whole, hash, &span);
        set_links(segment->links + at, span,
                  link_to(table->arena, segment->groups, KV_SEGMENT_GROUPS_LOG2, whole.depth));
    }
    kv_stripes_unlock(table, first, last);
    give(table, sibling, segment_size(KV_SEGMENT_GROUPS_LOG2));
    if (collapse) {
        give(table, segment->links, KV_NODE_LINKS * sizeof *segment->links);
    }
}

static void shrink(struct kv_table *table, const struct segment *segment, uint64_t hash)
{
    if (segment->links == NULL) {
        shrink_root(table, segment);
    } else if (segment->groups->own < KV_SEGMENT_ENTRIES / MERGE_SHARE) {
        struct kv_group *sibling = sibling_of(table, segment, hash);
        if (sibling != NULL &&
            segment->groups->own + sibling->own < KV_SEGMENT_ENTRIES / MERGE_SHARE) {
            merge(table, segment, sibling, hash);
        }
    }
}

void kv_index_remove(struct kv_table *table, uint64_t hash, struct kv_place place)
{
    struct segment segment;
    uint64_t first;
    uint64_t last;
    (void)find_segment(table, hash, &segment);
    range_of(&segment, hash, &first, &last);
    unsigned mask = (1U << segment.groups_log2) - 1;
    unsigned at = kv_hash_group(hash, segment.groups_log2);
    table->moves++;
    kv_stripes_lock(table, first, last);
    for (; &segment.groups[at] != place.group; at = (at + 1) & mask) {
        KV_STORE_RELAXED(segment.groups[at].passed, (uint16_t)(segment.groups[at].passed - 1));
    }
    KV_STORE_RELAXED(place.group->tags[place.entry], 0);
    segment.groups->own--;
    kv_stripes_unlock(table, first, last);
    shrink(table, &segment, hash);
}

/* ---- the end ----------------------------------------------------------------------------------
 */

static void free_below(struct kv_arena *arena, uint64_t link)
{
    uint64_t size = kv_link_kind(link) == KV_LINK_NODE ? KV_NODE_LINKS * sizeof(uint64_t)
                                                       : segment_size(kv_link_groups_log2(link));
    arena->index_bytes -= size;
    kv_memory_give(arena, kv_link_offset(link), size);
}

static unsigned first_used(const uint64_t *links)
{
    unsigned at = 0;
    while (at < KV_NODE_LINKS && links[at] == 0) {
        at++;
    }
    return at;
}

bool kv_index_free_step(struct kv_arena *arena, uint64_t *root)
{
    uint64_t *link = root;
    unsigned span = 1;
    while (kv_link_kind(*link) == KV_LINK_NODE) {
        uint64_t *links = kv_at(arena, kv_link_offset(*link));
        unsigned at = first_used(links);
        if (at == KV_NODE_LINKS) {
            span = 1;
            break;
        }
        link = &links[at];
        span = kv_link_kind(*link) == KV_LINK_SEGMENT ? 1U << (KV_NODE_BITS - kv_link_depth(*link))
                                                      : 1;
    }
    if (*link == 0) {
        return false;
    }
    free_below(arena, *link);
    memset(link, 0, span * sizeof *link);
    return *root != 0;
}
