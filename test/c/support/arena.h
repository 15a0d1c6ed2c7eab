/* A small arena written by hand, byte by byte as docs/store-format.md says, without store/layout.h.
 * If the reader can read it, the document is right.
 *
 *   0       header              69632   root node of the bucket's table
 *   4096    512 table slots     70144   segments
 *   ...                         86016   entries
 */
#ifndef KV_TEST_ARENA_H
#define KV_TEST_ARENA_H

#include "base/siphash.h"

#include <stdlib.h>
#include <string.h>

enum {
    HAND_SIZE = 131072,
    HAND_SLOTS = 4096,
    HAND_SLOT_SIZE = 128,
    HAND_NODE = HAND_SLOTS + 512 * HAND_SLOT_SIZE,
    HAND_SEGMENTS = HAND_NODE + 512,
    HAND_ENTRIES = 86016,
    HAND_GROUP = 64,
    HAND_GENERATION = 7,
    HAND_SLOT = 3,
    HAND_PID = 41,
    HAND_SERIAL = 2,
};

struct hand {
    uint8_t *base; /* HAND_SIZE bytes at a multiple of 64 */
    size_t next_segment;
    size_t next_entry;
};

static const struct kv_hash_key hand_key = {.k0 = 0x0123456789ABCDEF, .k1 = 0xFEDCBA9876543210};
static const uint8_t hand_id[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

static inline void hand_put32(struct hand *hand, size_t at, uint32_t value)
{
    memcpy(hand->base + at, &value, 4);
}

static inline void hand_put64(struct hand *hand, size_t at, uint64_t value)
{
    memcpy(hand->base + at, &value, 8);
}

static inline size_t hand_slot(uint32_t slot)
{
    return HAND_SLOTS + (size_t)slot * HAND_SLOT_SIZE;
}

static inline size_t hand_length(uint8_t *to, size_t length)
{
    size_t written = 0;
    for (; length >= 128; length >>= 7) {
        to[written++] = (uint8_t)(length | 128);
    }
    to[written++] = (uint8_t)length;
    return written;
}

struct hand_entry {
    struct kv_bytes key;
    unsigned key_form;
    struct kv_bytes value;
    unsigned value_form;
    uint64_t expires;
    bool has_use;
    uint32_t use;
};

/* Writes an entry behind the last one. Returns its offset. */
static inline size_t hand_write(struct hand *hand, const struct hand_entry *entry)
{
    size_t offset = hand->next_entry;
    uint8_t *p = hand->base + offset;
    *p++ = (uint8_t)(entry->key_form | (entry->value_form << 2) | (entry->expires != 0 ? 16U : 0U) |
                     (entry->has_use ? 32U : 0U));
    p += hand_length(p, entry->key.length);
    p += hand_length(p, entry->value.length);
    for (unsigned i = 0; entry->expires != 0 && i < 6; i++) {
        *p++ = (uint8_t)(entry->expires >> (8 * i));
    }
    for (unsigned i = 0; entry->has_use && i < 4; i++) {
        *p++ = (uint8_t)(entry->use >> (8 * i));
    }
    if (entry->key.length > 0) {
        memcpy(p, entry->key.data, entry->key.length);
    }
    if (entry->value.length > 0) {
        memcpy(p + entry->key.length, entry->value.data, entry->value.length);
    }
    size_t end = (size_t)(p - hand->base) + entry->key.length + entry->value.length;
    hand->next_entry = (end + 7) & ~(size_t)7;
    return offset;
}

/* Makes a segment of that many groups. Returns its offset. */
static inline size_t hand_segment(struct hand *hand, unsigned groups)
{
    size_t offset = hand->next_segment;
    hand->next_segment += (size_t)groups * HAND_GROUP;
    return offset;
}

/* Adds a reference to an entry, in the first free place that a search for this hash looks at. */
static inline void hand_refer(struct hand *hand, size_t segment, unsigned groups, uint64_t hash,
                              size_t entry)
{
    unsigned at = (unsigned)(hash >> 8) & (groups - 1);
    for (;; at = (at + 1) % groups) {
        uint8_t *group = hand->base + segment + (size_t)at * HAND_GROUP;
        for (unsigned i = 0; i < 10; i++) {
            if (group[i] == 0) {
                group[i] = (uint8_t)hash == 0 ? 1 : (uint8_t)hash;
                for (unsigned byte = 0; byte < 5; byte++) {
                    group[12 + 5 * i + byte] = (uint8_t)(entry / 8 >> (8 * byte));
                }
                return;
            }
        }
        uint16_t passed;
        memcpy(&passed, group + 10, 2);
        passed++;
        memcpy(group + 10, &passed, 2);
    }
}

static inline uint64_t hand_link(unsigned kind, unsigned groups_log2, unsigned depth, size_t offset)
{
    return (uint64_t)kind | ((uint64_t)groups_log2 << 2) | ((uint64_t)depth << 6) |
           ((uint64_t)(offset / 8) << 16);
}

static inline void hand_start_slot(struct hand *hand, uint32_t slot, uint32_t generation,
                                   uint64_t root)
{
    hand_put32(hand, hand_slot(slot), generation);
    hand_put64(hand, hand_slot(slot) + 8, root);
}

static inline uint64_t hand_hash(struct kv_bytes key)
{
    return kv_siphash(&hand_key, key);
}

static inline void hand_count(struct hand *hand, uint32_t slot)
{
    uint64_t count;
    memcpy(&count, hand->base + hand_slot(slot) + 16, 8);
    hand_put64(hand, hand_slot(slot) + 16, count + 1);
}

/* The table in HAND_SLOT has a root node. The upper half of the node is one segment of 16 groups;
 * each link of the lower half has a segment of four groups. */
static inline size_t hand_segment_of(const struct hand *hand, uint64_t hash, unsigned *groups)
{
    uint64_t link;
    memcpy(&link, hand->base + HAND_NODE + 8 * (hash >> 58), 8);
    *groups = 1U << ((link >> 2) & 15);
    return (size_t)((link >> 16) & 0xFFFFFFFFFF) * 8;
}

static inline size_t hand_add(struct hand *hand, const struct hand_entry *entry)
{
    unsigned groups;
    size_t at = hand_write(hand, entry);
    uint64_t hash = hand_hash(entry->key);
    size_t segment = hand_segment_of(hand, hash, &groups);
    hand_refer(hand, segment, groups, hash, at);
    hand_count(hand, HAND_SLOT);
    return at;
}

static inline void hand_add_directory(struct hand *hand, size_t segment)
{
    const uint32_t pid[2] = {HAND_PID, HAND_SERIAL};
    const uint32_t place[2] = {HAND_SLOT, HAND_GENERATION};
    struct hand_entry entry = {.key = kv_bytes(pid, 8), .key_form = 1};
    entry.value = kv_bytes(place, 8);
    entry.value_form = 1;
    hand_refer(hand, segment, 1, hand_hash(entry.key), hand_write(hand, &entry));
    hand_count(hand, 0);
}

/* An arena with an empty table that belongs to <HAND_PID, HAND_SERIAL>. */
static inline void hand_start(struct hand *hand)
{
    hand->base = aligned_alloc(HAND_GROUP, HAND_SIZE);
    hand->next_segment = HAND_SEGMENTS;
    hand->next_entry = HAND_ENTRIES;
    memset(hand->base, 0, HAND_SIZE);
    hand_put64(hand, 0, UINT64_C(0x414E4552414B5601));
    hand_put32(hand, 8, 2);
    hand_put32(hand, 12, 1);
    memcpy(hand->base + 16, hand_id, sizeof hand_id);
    hand_put64(hand, 32, hand_key.k0);
    hand_put64(hand, 40, hand_key.k1);
    hand_put64(hand, 48, HAND_SIZE);
    hand_put64(hand, 64, HAND_SLOTS);
    size_t directory = hand_segment(hand, 1);
    hand_start_slot(hand, 0, 1, hand_link(1, 0, 0, directory));
    hand_add_directory(hand, directory);
    hand_start_slot(hand, HAND_SLOT, HAND_GENERATION, hand_link(2, 0, 0, HAND_NODE));
    size_t upper = hand_segment(hand, 16);
    for (unsigned i = 0; i < 64; i++) {
        uint64_t link =
            i < 32 ? hand_link(1, 2, 6, hand_segment(hand, 4)) : hand_link(1, 4, 1, upper);
        hand_put64(hand, HAND_NODE + 8 * (size_t)i, link);
    }
}

static inline void hand_free(struct hand *hand)
{
    free(hand->base);
}

#endif
