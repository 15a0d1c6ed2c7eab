/* The layout of the arena, which docs/store-format.md describes byte by byte. The writer (the rest
 * of store/) and the reader (reader.c), perhaps in another program, share it.
 *
 * Both use atomic accesses for memory that one writes while the other reads, whatever its type is
 * here. */
#ifndef KV_LAYOUT_H
#define KV_LAYOUT_H

#include <kv/table.h>

#include <stddef.h>
#include <stdint.h>

#define KV_ARENA_MAGIC UINT64_C(0x414E4552414B5601)

enum {
    KV_ARENA_VERSION = 2,
    KV_ARENA_ID_SIZE = 16,
    KV_ARENA_PAGE = 4096,
    KV_ARENA_UNIT = 8, /* bytes that a reference counts */
    KV_SLOT_BLOCKS = 32,
    KV_SLOT_BLOCK_FIRST = 512, /* slots of block 0; each block has twice as many as the last */
    KV_STRIPES = 16,
    KV_STRIPE_SHIFT = 60,
    KV_NODE_BITS = 6,
    KV_NODE_LINKS = 64,
    KV_NODES_MAX = 8, /* between a root and an entry, at most */
    KV_GROUP_ENTRIES = 10,
    KV_GROUP_SHIFT = 8,
    KV_SEGMENT_GROUPS_LOG2 = 6, /* at most */
    KV_REFERENCE_SIZE = 5,
    KV_DIRECTORY_SLOT = 0,
    KV_MARKS_AT = 2048,  /* in the header */
    KV_MARK_WORDS = 128, /* of one set */
    KV_MARK_SHIFT = 20,
    KV_COUNT_EXACT_MAX = 1000, /* entries of a table that is counted without expired ones */
};

/* A bit in the serial of a key of the directory: the table has the names of a registry. */
#define KV_DIRECTORY_NAMES UINT32_C(0x80000000)

enum kv_arena_state { KV_ARENA_LIVES = 1, KV_ARENA_ENDED = 2 };

struct kv_arena_header {
    uint64_t magic;
    uint32_t version;
    uint32_t state;
    uint8_t id[KV_ARENA_ID_SIZE];
    uint64_t hash_key[2];
    uint64_t size;
    uint64_t zero;
    uint64_t slot_blocks[KV_SLOT_BLOCKS];
    uint8_t unused[KV_MARKS_AT - 320];
    uint64_t marks[KV_MARK_SETS][KV_MARK_WORDS];
};

/* The flags of a slot. */
enum { KV_SLOT_ASK_OWNER = 1, KV_SLOT_MARKED = 2 };

struct kv_table_slot {
    uint32_t generation;
    uint32_t flags;
    uint64_t root;
    uint64_t count;
    uint64_t bytes;
    uint64_t memory;
    uint64_t next_expiry;
    uint64_t touch; /* milliseconds; 0: reads do not prolong entries */
    uint64_t zero;
    uint32_t stripes[KV_STRIPES];
};

enum kv_link_kind { KV_LINK_NONE = 0, KV_LINK_SEGMENT = 1, KV_LINK_NODE = 2 };

struct kv_group {
    uint8_t tags[KV_GROUP_ENTRIES];
    uint16_t passed;
    uint8_t references[KV_GROUP_ENTRIES][KV_REFERENCE_SIZE];
    uint16_t own; /* for the writer: in the first group of a segment, its number of entries */
};

/* The first byte of an entry. */
enum {
    KV_ENTRY_KEY_FORM = 3,
    KV_ENTRY_VALUE_FORM_SHIFT = 2,
    KV_ENTRY_EXPIRES = 1 << 4,
    KV_ENTRY_HAS_USE = 1 << 5,
    KV_ENTRY_EXPIRY_SIZE = 6,
    KV_ENTRY_USE_SIZE = 4,
    KV_ENTRY_LENGTH_SIZE = 5, /* at most */
};

_Static_assert(sizeof(struct kv_table_slot) == 128, "a slot is two cache lines");
_Static_assert(sizeof(struct kv_group) == 64, "a group is one cache line");
_Static_assert(sizeof(struct kv_arena_header) <= KV_ARENA_PAGE, "the header is one page");
_Static_assert(offsetof(struct kv_arena_header, marks) == KV_MARKS_AT, "as the format says");

static inline enum kv_link_kind kv_link_kind(uint64_t link)
{
    return (enum kv_link_kind)(link & 3);
}

static inline unsigned kv_link_groups_log2(uint64_t link)
{
    return (unsigned)(link >> 2) & 15;
}

static inline unsigned kv_link_depth(uint64_t link)
{
    return (unsigned)(link >> 6) & 7;
}

static inline uint64_t kv_link_offset(uint64_t link)
{
    return ((link >> 16) & UINT64_C(0xFFFFFFFFFF)) * KV_ARENA_UNIT;
}

static inline uint64_t kv_make_link(enum kv_link_kind kind, unsigned groups_log2, unsigned depth,
                                    uint64_t offset)
{
    return (uint64_t)kind | ((uint64_t)groups_log2 << 2) | ((uint64_t)depth << 6) |
           ((offset / KV_ARENA_UNIT) << 16);
}

static inline unsigned kv_hash_stripe(uint64_t hash)
{
    return (unsigned)(hash >> KV_STRIPE_SHIFT);
}

/* The bit of a hash in a set of marks. */
static inline unsigned kv_hash_mark(uint64_t hash)
{
    return (unsigned)(hash >> KV_MARK_SHIFT) % (KV_MARK_WORDS * 64);
}

static inline uint8_t kv_hash_tag(uint64_t hash)
{
    return (uint8_t)hash == 0 ? 1 : (uint8_t)hash;
}

/* The link of a hash in a node that has `level` nodes above it. */
static inline unsigned kv_hash_link(uint64_t hash, unsigned level)
{
    return (unsigned)(hash >> (64 - KV_NODE_BITS * (level + 1))) & (KV_NODE_LINKS - 1);
}

static inline unsigned kv_hash_group(uint64_t hash, unsigned groups_log2)
{
    return (unsigned)(hash >> KV_GROUP_SHIFT) & ((1U << groups_log2) - 1);
}

#endif
