/* Compares all tags of a group at once: which of its entries may have a key.
 *
 * Writer and reader load the first 16 bytes of a group as two words, with the memory ordering that
 * each needs. These functions compare in registers and touch no shared memory. */
#ifndef KV_TAGS_H
#define KV_TAGS_H

#include "store/layout.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* One bit for each entry of a group. */
#define KV_TAGS_ALL ((1U << KV_GROUP_ENTRIES) - 1)

/* The first 16 bytes of a group, in memory order: tags, then the number of keys that passed. */
struct kv_tags {
    uint64_t low;
    uint64_t high;
};

/* Sets bit i if byte i of the word, in memory order, equals the tag. */
static inline unsigned kv_tags_match_word(uint64_t word, uint8_t tag)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t low_bits = UINT64_C(0x7F7F7F7F7F7F7F7F);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    uint64_t differs = word ^ (ones * tag);
    uint64_t equal = ~(((differs & low_bits) + low_bits) | differs | low_bits) >> 7;
    return (unsigned)((equal * UINT64_C(0x0102040810204080)) >> 56);
}

/* kv_tags_match() without vector instructions. Where there are some, only a test uses it. */
static inline unsigned kv_tags_match_portable(struct kv_tags tags, uint8_t tag)
{
    unsigned equal = kv_tags_match_word(tags.low, tag) | (kv_tags_match_word(tags.high, tag) << 8);
    return equal & KV_TAGS_ALL;
}

/* Sets bit i if entry i of the group has this tag. Tag 0 finds free entries. */
static inline unsigned kv_tags_match(struct kv_tags tags, uint8_t tag)
{
#ifdef __SSE2__
    __m128i all = _mm_set_epi64x((long long)tags.high, (long long)tags.low);
    __m128i equal = _mm_cmpeq_epi8(all, _mm_set1_epi8((char)tag));
    return (unsigned)_mm_movemask_epi8(equal) & KV_TAGS_ALL;
#else
    return kv_tags_match_portable(tags, tag);
#endif
}

/* The number of keys that went on to a later group. */
static inline uint16_t kv_tags_passed(struct kv_tags tags)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return (uint16_t)(tags.high >> 32);
#else
    return (uint16_t)(tags.high >> 16);
#endif
}

#endif
