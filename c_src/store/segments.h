/* The inside of the hash index, for index.c: groups, segments, and the nodes above them.
 *
 * A table begins with one segment of one group. The segment doubles up to 64 groups, and is then
 * split, as its halves are later. Growing and shrinking rehash up to 640 entries, from their keys.
 * A segment that replaces another is built where no reader looks, and linked while the stripes that
 * it covers are locked. */
#ifndef KV_STORE_SEGMENTS_H
#define KV_STORE_SEGMENTS_H

#include "store/table_state.h"
#include "store/tags.h"

#include <string.h>

enum { KV_SEGMENT_FREE_SHARE = 8 };

/* A segment that was found for a hash. Valid until the shape of the table changes. */
struct kv_segment {
    struct kv_group *groups;
    unsigned groups_log2;
    unsigned level;  /* nodes above it */
    unsigned depth;  /* how many of the last node's six bits its keys have in common */
    uint64_t *links; /* of the last node, or NULL */
    uint64_t *above; /* the link to the last node */
};

static inline struct kv_tags kv_tags_of(const struct kv_group *group)
{
    struct kv_tags tags;
    memcpy(&tags.low, group, sizeof tags.low);
    memcpy(&tags.high, (const uint8_t *)group + sizeof tags.low, sizeof tags.high);
    return tags;
}

static inline void kv_group_refer(struct kv_group *group, unsigned entry, uint64_t offset)
{
    uint64_t reference = offset / KV_ARENA_UNIT;
    for (unsigned i = 0; i < KV_REFERENCE_SIZE; i++) {
        KV_STORE_RELAXED(group->references[entry][i], (uint8_t)(reference >> (8 * i)));
    }
}

static inline unsigned kv_segment_places(unsigned groups_log2)
{
    return (unsigned)KV_GROUP_ENTRIES << groups_log2;
}

/* The entries of a segment that is full: a part of its places stays free, or searches would be
 * long.
 */
static inline unsigned kv_segment_most(unsigned groups_log2)
{
    const unsigned places = kv_segment_places(groups_log2);
    return groups_log2 == 0 ? places : places - places / KV_SEGMENT_FREE_SHARE;
}

/* Adds an entry to a segment, which must have a free place. */
void kv_segment_place(struct kv_group *groups, unsigned groups_log2, uint64_t hash,
                      uint64_t offset);

/* Finds the segment of a hash. Returns false if the table has no segment. */
bool kv_segment_find(const struct kv_table *table, uint64_t hash, struct kv_segment *segment);

/* The first and the last hash of a segment that was found for `hash`. */
void kv_segment_range(const struct kv_segment *segment, uint64_t hash, uint64_t *first,
                      uint64_t *last);

/* Finds or makes a segment that has a free place for the hash. Returns false if there is no memory:
 * the entries are as they were. */
bool kv_segment_make_room(struct kv_table *table, uint64_t hash, struct kv_segment *segment);

/* Called after an entry was removed: makes the segment smaller if it is sparse. */
void kv_segment_shrink(struct kv_table *table, const struct kv_segment *segment, uint64_t hash);

/* Makes one segment of two that were split apart, if together they have no more than `most`
 * entries, or the only segment smaller. Begin with *hash 0. Returns false at the end of the table.
 */
bool kv_segments_tighten(struct kv_table *table, uint64_t *hash, unsigned most);

/* Frees one segment or node below a root that no reader follows any more. Returns false if none is
 * left. */
bool kv_segments_free_step(struct kv_arena *arena, uint64_t *root);

#endif
