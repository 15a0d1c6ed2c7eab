#include "store/segments.h"

#include "base/assert.h"
#include "store/entry.h"
#include "store/pages.h"
#include "store/place.h"
#include "store/stripes.h"

enum {
    PREFETCH = 12,    /* entries that are prefetched while others are hashed */
    SPARSE_SHARE = 4, /* the root segment halves below this part */
    MERGE_SHARE = 3,  /* two segments become one that is filled to less than this part */
    HASH_BITS = 64,
    EXPECTED_ENTRIES = KV_SEGMENT_ENTRIES * 3 / 4, /* of a segment, at most: chance adds some */
    EXPECTED_BITS = 24,
    SPLITS_MAX = 3, /* for one insertion: a second is needed only if hashes agree by chance */
};

void kv_segment_place(struct kv_group *groups, unsigned groups_log2, uint64_t hash, uint64_t offset)
{
    unsigned mask = (1U << groups_log2) - 1;
    kv_assert(groups->own < (mask + 1) * KV_GROUP_ENTRIES);
    struct kv_group *group = &groups[kv_hash_group(hash, groups_log2)];
    unsigned free = kv_tags_match(kv_tags_of(group), 0);
    while (free == 0) {
        KV_STORE_RELAXED(group->passed, (uint16_t)(group->passed + 1));
        group = &groups[(unsigned)(group - groups + 1) & mask];
        free = kv_tags_match(kv_tags_of(group), 0);
    }
    unsigned entry = (unsigned)__builtin_ctz(free);
    kv_group_refer(group, entry, offset);
    KV_STORE_RELAXED(group->tags[entry], kv_hash_tag(hash));
    KV_STORE_RELAXED(groups->own, (uint16_t)(groups->own + 1));
}

static uint64_t segment_size(unsigned groups_log2)
{
    return sizeof(struct kv_group) << groups_log2;
}

static void count_index(struct kv_table *table, int64_t bytes)
{
    table->index_bytes += (uint64_t)bytes;
    table->arena->index_bytes += (uint64_t)bytes;
}

static void *take(struct kv_table *table, uint64_t size, enum kv_need need)
{
    uint64_t offset = kv_memory_take(table->arena, size, need);
    if (offset == 0) {
        return NULL;
    }
    count_index(table, (int64_t)size);
    kv_races_begin();
    void *fresh = memset(kv_at(table->arena, offset), 0, size);
    kv_races_end();
    return fresh;
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

bool kv_segment_find(const struct kv_table *table, uint64_t hash, struct kv_segment *segment)
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

/* How many of the first bits of the hash its keys have in common. */
static unsigned bits_of(const struct kv_segment *segment)
{
    return segment->level == 0 ? 0 : KV_NODE_BITS * (segment->level - 1) + segment->depth;
}

void kv_segment_range(const struct kv_segment *segment, uint64_t hash, uint64_t *first,
                      uint64_t *last)
{
    uint64_t rest = UINT64_MAX >> (bits_of(segment) % HASH_BITS); /* at most KV_NODES_MAX nodes */
    *first = hash & ~rest;
    *last = hash | rest;
}

/* A segment stands in several neighbouring links of a node: the first of them, and their number. */
static unsigned first_link(const struct kv_segment *segment, uint64_t hash, unsigned *span)
{
    *span = 1U << (KV_NODE_BITS - segment->depth);
    return kv_hash_link(hash, segment->level - 1) & ~(*span - 1);
}

static uint64_t link_to(const struct kv_arena *arena, const struct kv_group *groups,
                        unsigned groups_log2, unsigned depth)
{
    return kv_make_link(KV_LINK_SEGMENT, groups_log2, depth, kv_offset(arena, groups));
}

/* clang-tidy does not see that the builtin writes. */
/* NOLINTNEXTLINE(readability-non-const-parameter) */
static void set_links(uint64_t *links, unsigned count, uint64_t link)
{
    for (unsigned i = 0; i < count; i++) {
        KV_STORE_RELAXED(links[i], link);
    }
}

/* ---- contents of a segment --------------------------------------------------------------------
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

/* Hashes all keys, and prefetches entries ahead of their turn. */
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

/* Adds each entry to groups[1] if its hash has `bit`, else to groups[0]. */
static void distribute(const struct contents *contents, struct kv_group *groups[2],
                       unsigned groups_log2, uint64_t bit)
{
    for (unsigned i = 0; i < contents->count; i++) {
        uint64_t hash = contents->entries[i].hash;
        kv_segment_place(groups[(hash & bit) != 0], groups_log2, hash, contents->entries[i].offset);
    }
}

/* ---- growing ----------------------------------------------------------------------------------
 */

/* Replaces the root segment by one with another number of groups. */
static bool resize_root(struct kv_table *table, const struct kv_segment *old, unsigned groups_log2,
                        enum kv_need need)
{
    struct contents contents;
    struct kv_group *groups = take(table, segment_size(groups_log2), need);
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

/* The one link to a segment that stands in no other: the root, or a link of a node. */
static uint64_t *only_link(struct kv_table *table, const struct kv_segment *segment, uint64_t hash)
{
    return segment->links == NULL ? &table->slot->root
                                  : &segment->links[kv_hash_link(hash, segment->level - 1)];
}

static bool split(struct kv_table *table, const struct kv_segment *old, uint64_t hash)
{
    bool new_node = old->links == NULL || old->depth == KV_NODE_BITS;
    unsigned level = new_node ? old->level : old->level - 1; /* of the node that gets both halves */
    unsigned depth = new_node ? 1 : old->depth + 1;
    if (level == KV_NODES_MAX) {
        return false;
    }
    uint64_t size = segment_size(KV_SEGMENT_GROUPS_LOG2);
    const enum kv_need need = kv_table_need(table);
    struct kv_group *halves[2] = {take(table, size, need), take(table, size, need)};
    uint64_t *node = new_node ? take(table, KV_NODE_LINKS * sizeof *node, need) : old->links;
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
    kv_segment_range(old, hash, &first, &last);
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
    const unsigned log2 =
        table->doublings < KV_SEGMENT_GROUPS_LOG2 ? table->doublings : KV_SEGMENT_GROUPS_LOG2;
    struct kv_group *groups = take(table, segment_size(log2), kv_table_need(table));
    if (groups != NULL) {
        table->shape++;
        kv_stripes_lock(table, 0, UINT64_MAX);
        KV_STORE_RELAXED(table->slot->root, link_to(table->arena, groups, log2, 0));
        kv_stripes_unlock(table, 0, UINT64_MAX);
    }
    return groups != NULL;
}

static bool is_full(const struct kv_segment *segment)
{
    return segment->groups->own >= kv_segment_most(segment->groups_log2);
}

/* The loan of the arena is for entries, and not for the room that a segment has to spare. */
static bool uses_loan(const struct kv_arena *arena)
{
    return arena->loan_pages > 0 && arena->used_pages >= kv_arena_own_limit(arena);
}

static bool may_wait(const struct kv_table *table, const struct kv_segment *segment)
{
    return uses_loan(table->arena) &&
           segment->groups->own < kv_segment_places(segment->groups_log2);
}

void kv_table_expect(struct kv_table *table, uint64_t entries)
{
    unsigned log2 = 0;
    unsigned bits = 0;
    while (log2 < KV_SEGMENT_GROUPS_LOG2 && entries > kv_segment_most(log2)) {
        log2++;
    }
    while (entries > kv_segment_most(log2) && bits < EXPECTED_BITS &&
           entries >> bits > EXPECTED_ENTRIES) {
        bits++;
    }
    table->doublings = (uint8_t)(log2 + bits);
}

/* An empty segment is split before its first entry comes, if more will follow. */
static void split_ahead(struct kv_table *table, uint64_t hash, struct kv_segment *segment)
{
    while (segment->groups->own == 0 && segment->groups_log2 == KV_SEGMENT_GROUPS_LOG2 &&
           bits_of(segment) + KV_SEGMENT_GROUPS_LOG2 < table->doublings &&
           !uses_loan(table->arena) && split(table, segment, hash)) {
        (void)kv_segment_find(table, hash, segment);
    }
}

bool kv_segment_make_room(struct kv_table *table, uint64_t hash, struct kv_segment *segment)
{
    if (!kv_segment_find(table, hash, segment)) {
        if (!first_segment(table)) {
            return false;
        }
        (void)kv_segment_find(table, hash, segment);
    }
    split_ahead(table, hash, segment);
    for (unsigned i = 0; i < SPLITS_MAX && is_full(segment) && !may_wait(table, segment); i++) {
        if (!(segment->groups_log2 < KV_SEGMENT_GROUPS_LOG2
                  ? resize_root(table, segment, segment->groups_log2 + 1, kv_table_need(table))
                  : split(table, segment, hash))) {
            break;
        }
        (void)kv_segment_find(table, hash, segment);
    }
    return segment->groups->own < kv_segment_places(segment->groups_log2);
}

/* ---- shrinking --------------------------------------------------------------------------------
 */

static void shrink_root(struct kv_table *table, const struct kv_segment *segment)
{
    unsigned count = segment->groups->own;
    if (count == 0) {
        table->shape++;
        kv_stripes_lock(table, 0, UINT64_MAX);
        KV_STORE_RELAXED(table->slot->root, 0);
        kv_stripes_unlock(table, 0, UINT64_MAX);
        give(table, segment->groups, segment_size(segment->groups_log2));
    } else if (segment->groups_log2 > 0 &&
               count < kv_segment_places(segment->groups_log2) / SPARSE_SHARE) {
        /* Without memory it stays large. */
        (void)resize_root(table, segment, segment->groups_log2 - 1, kv_table_need(table));
    }
}

/* The segment that was split off together with this one; NULL if it has been split further. */
static struct kv_group *sibling_of(const struct kv_table *table, const struct kv_segment *segment,
                                   uint64_t hash)
{
    unsigned span;
    unsigned at = first_link(segment, hash, &span);
    uint64_t link = segment->links[at ^ span];
    bool whole = kv_link_kind(link) == KV_LINK_SEGMENT && kv_link_depth(link) == segment->depth;
    return whole ? kv_at(table->arena, kv_link_offset(link)) : NULL;
}

/* Moves the entries of the sibling into the segment. Frees the node if nothing else is in it. */
static void merge(struct kv_table *table, const struct kv_segment *segment,
                  struct kv_group *sibling, uint64_t hash)
{
    struct contents contents;
    struct kv_segment whole = *segment;
    uint64_t first;
    uint64_t last;
    unsigned span;
    bool collapse = segment->depth == 1;
    collect(sibling, KV_SEGMENT_GROUPS_LOG2, &contents);
    rehash(table, &contents);
    whole.depth--;
    kv_segment_range(&whole, hash, &first, &last);
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

void kv_segment_shrink(struct kv_table *table, const struct kv_segment *segment, uint64_t hash)
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

/* ---- tightening -------------------------------------------------------------------------------
 */

/* Smaller ones would leave gaps in pages of blocks. */
static bool tighten_root(struct kv_table *table, const struct kv_segment *segment)
{
    const unsigned log2 = segment->groups_log2;
    return segment_size(log2) > KV_BLOCK_MAX &&
           segment->groups->own <= kv_segment_places(log2 - 1) &&
           resize_root(table, segment, log2 - 1, KV_BEYOND_LIMIT);
}

bool kv_segments_tighten(struct kv_table *table, uint64_t *hash, unsigned most)
{
    struct kv_segment segment;
    uint64_t first;
    uint64_t last;
    if (!kv_segment_find(table, *hash, &segment)) {
        return false;
    }
    if (segment.links == NULL) {
        return tighten_root(table, &segment);
    }
    struct kv_group *sibling = sibling_of(table, &segment, *hash);
    if (sibling != NULL && segment.groups->own + sibling->own <= most) {
        merge(table, &segment, sibling, *hash);
        return true;
    }
    kv_segment_range(&segment, *hash, &first, &last);
    *hash = last + 1;
    return last != UINT64_MAX;
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

bool kv_segments_free_step(struct kv_arena *arena, uint64_t *root)
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
    for (unsigned i = 0; i < span; i++) { /* a late reader may still look here */
        KV_STORE_RELAXED(link[i], 0);
    }
    return *root != 0;
}
