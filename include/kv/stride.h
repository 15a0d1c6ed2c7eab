/* Strides: stepping through long lists whose elements all look alike.
 *
 * Most long lists consist of leaves, or of pairs of leaves, with the tags and lengths of the
 * element before. The start of the next element then does not depend on the bytes of this one;
 * these only have to confirm the guess, so the processor runs ahead instead of waiting for each
 * load. */
#ifndef KV_STRIDE_H
#define KV_STRIDE_H

#include <kv/term.h>

enum {
    KV_STRIDE_PAIR = 2,    /* bytes in front of the first term of a pair */
    KV_STRIDE_MISSES = 32, /* elements of another shape, after which guessing stops for the list */
};

/* Zeroed, no element fits. */
struct kv_stride {
    size_t size;     /* of an element; 0: no known shape */
    size_t value_at; /* offset of the second term of a pair; 0 for a leaf */
    uint64_t head, head_mask;
    uint64_t value_head, value_mask;
    unsigned misses;
};

/* How many bytes tell the size of a leaf; 0: a leaf of another kind. */
static inline unsigned kv_stride_head_size(uint8_t tag)
{
    return tag == KV_TAG_BINARY                                   ? KV_LONG_HEADER
           : tag == KV_TAG_INTEGER || tag == KV_TAG_SMALL_INTEGER ? 1
                                                                  : 0;
}

/* In the byte order of the machine. */
static inline uint64_t kv_stride_load(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return word;
}

/* The first `size` bytes of a word in memory. */
static inline uint64_t kv_stride_mask(unsigned size)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return ~(UINT64_MAX >> (8 * size));
#else
    return (UINT64_C(1) << (8 * size)) - 1;
#endif
}

/* Returns true if the element at `at` has the shape. Such an element is complete and well-formed.
 */
static inline bool kv_stride_fits(const struct kv_stride *stride, const uint8_t *at,
                                  const uint8_t *end)
{
    const size_t room = (size_t)(end - at);
    return stride->size != 0 && room >= stride->size &&
           room >= stride->value_at + sizeof(uint64_t) &&
           (kv_stride_load(at) & stride->head_mask) == stride->head &&
           (kv_stride_load(at + stride->value_at) & stride->value_mask) == stride->value_head;
}

/* Takes the shape of a well-formed element that ends at `past`. The memory is readable up to
 * `end`. */
static inline void kv_stride_take(struct kv_stride *stride, const uint8_t *at, const uint8_t *past,
                                  const uint8_t *end)
{
    const unsigned pair = at[0] == KV_TAG_SMALL_TUPLE ? KV_STRIDE_PAIR : 0;
    stride->size = 0;
    if (++stride->misses > KV_STRIDE_MISSES || (pair > 0 && at[1] != 2)) {
        return;
    }
    const unsigned head = kv_stride_head_size(at[pair]);
    const size_t value_at = pair == 0 || head == 0 ? 0 : pair + kv_term_size(at + pair);
    const unsigned value_head = kv_stride_head_size(at[value_at > 0 ? value_at : pair]);
    if (head == 0 || value_head == 0 || (size_t)(end - at) < value_at + sizeof(uint64_t)) {
        return;
    }
    stride->size = (size_t)(past - at);
    stride->value_at = value_at;
    stride->head_mask = kv_stride_mask(pair + head);
    stride->head = kv_stride_load(at) & stride->head_mask;
    stride->value_mask = kv_stride_mask(value_head);
    stride->value_head = kv_stride_load(at + value_at) & stride->value_mask;
}

#endif
