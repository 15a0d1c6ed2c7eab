/* Elements of one shape: a long list is mostly of leaves, or of pairs, that all have the tags and
 * lengths of the one before. Then where the next one begins is known without a look at this one,
 * which only has to confirm it: the processor goes on meanwhile. */
#ifndef KV_STRIDE_H
#define KV_STRIDE_H

#include <kv/term.h>

enum {
    KV_STRIDE_PAIR = 2,    /* bytes in front of the first term of a pair */
    KV_STRIDE_MISSES = 32, /* elements of another shape after which it is not tried any more */
};

/* Zeroed, no element has its shape. */
struct kv_stride {
    size_t size;     /* of an element; 0: of no shape that is known */
    size_t value_at; /* where the value begins; of a leaf, 0 */
    uint64_t head, head_mask;
    uint64_t value_head, value_mask;
    unsigned misses;
};

/* The bytes that tell the size of a leaf; 0: not of this kind. */
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

/* Whether the element at `at` has the shape; then it is there and well-formed. */
static inline bool kv_stride_fits(const struct kv_stride *stride, const uint8_t *at,
                                  const uint8_t *end)
{
    const size_t room = (size_t)(end - at);
    return stride->size != 0 && room >= stride->size &&
           room >= stride->value_at + sizeof(uint64_t) &&
           (kv_stride_load(at) & stride->head_mask) == stride->head &&
           (kv_stride_load(at + stride->value_at) & stride->value_mask) == stride->value_head;
}

/* Takes the shape of an element that is well-formed and ends at `past`, and of which the memory
 * goes on to `end`. */
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
