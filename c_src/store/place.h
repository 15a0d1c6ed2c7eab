/* A place in the index: what refers to an entry. */
#ifndef KV_STORE_PLACE_H
#define KV_STORE_PLACE_H

#include "base/word.h"
#include "store/layout.h"

enum {
    KV_SEGMENT_GROUPS = 1 << KV_SEGMENT_GROUPS_LOG2,
    KV_SEGMENT_ENTRIES = KV_SEGMENT_GROUPS * KV_GROUP_ENTRIES,
};

/* The place in the index that refers to an entry. */
struct kv_place {
    struct kv_group *group; /* NULL: nowhere */
    unsigned entry;
};

/* The offset of the entry that a place refers to. */
static inline uint64_t kv_place_offset(struct kv_place place)
{
    const uint8_t *bytes = place.group->references[place.entry];
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    /* One load of a word that ends with the reference: in a group, bytes precede each reference. */
    enum { AHEAD = 8 - KV_REFERENCE_SIZE };
    return (kv_load64(bytes - AHEAD) >> (8 * AHEAD)) * KV_ARENA_UNIT;
#else
    uint64_t reference = 0;
    for (unsigned i = 0; i < KV_REFERENCE_SIZE; i++) {
        reference |= (uint64_t)bytes[i] << (8 * i);
    }
    return reference * KV_ARENA_UNIT;
#endif
}

#endif
