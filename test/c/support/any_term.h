/* Terms drawn at random, in usual and unusual spellings, with keys of maps that are often equal. */
#ifndef KV_TEST_ANY_TERM_H
#define KV_TEST_ANY_TERM_H

#include "support/draw.h"

#include <kv/term.h>

struct any_leaf {
    size_t size;
    uint8_t bytes[9];
};

static const struct any_leaf any_leaves[] = {
    {2, {KV_TAG_SMALL_INTEGER, 1}},
    {5, {KV_TAG_INTEGER, 0, 0, 0, 1}}, /* the same in four bytes */
    {4, {KV_TAG_SMALL_BIG, 1, 0, 1}},  /* and as a bignum */
    {3, {KV_TAG_SMALL_ATOM_UTF8, 1, 'a'}},
    {4, {KV_TAG_ATOM_UTF8, 0, 1, 'a'}},
    {4, {KV_TAG_ATOM, 0, 1, 'a'}},
    {3, {KV_TAG_SMALL_ATOM, 1, 'a'}},
    {6, {KV_TAG_BINARY, 0, 0, 0, 1, 'a'}},
    {7, {KV_TAG_BIT_BINARY, 0, 0, 0, 1, 8, 'a'}}, /* the same binary */
    {2, {KV_TAG_SMALL_INTEGER, 255}},
    {5, {KV_TAG_INTEGER, 0, 0, 0, 255}},
    {5, {KV_TAG_INTEGER, 0, 0, 1, 0}},
    {5, {KV_TAG_INTEGER, 255, 255, 255, 255}},
    {5, {KV_TAG_SMALL_BIG, 2, 7, 1, 1}}, /* negative */
    {4, {KV_TAG_SMALL_ATOM_UTF8, 2, 0xc3, 0xb6}},
    {3, {KV_TAG_SMALL_ATOM, 1, 0xf6}}, /* the same atom */
    {2, {KV_TAG_SMALL_ATOM_UTF8, 0}},
    {9, {KV_TAG_NEW_FLOAT, 0x3f, 0xf0}}, /* 1.0 */
    {9, {KV_TAG_NEW_FLOAT, 0}},
    {9, {KV_TAG_NEW_FLOAT, 0x80}},          /* -0.0 */
    {9, {KV_TAG_NEW_FLOAT, 0x7f, 0xf0}},    /* infinity: malformed */
    {3, {KV_TAG_SMALL_ATOM_UTF8, 1, 0xff}}, /* malformed */
    {7, {KV_TAG_BIT_BINARY, 0, 0, 0, 1, 3, 0xa0}},
    {1, {KV_TAG_NIL}},
    {4, {KV_TAG_STRING, 0, 1, 1}},
    {3, {KV_TAG_STRING, 0, 0}},
    {8, {KV_TAG_LIST, 0, 0, 0, 1, KV_TAG_SMALL_INTEGER, 1, KV_TAG_NIL}},
    {2, {KV_TAG_SMALL_TUPLE, 0}},
    {5, {KV_TAG_LARGE_TUPLE, 0, 0, 0, 0}},
    {5, {KV_TAG_MAP, 0, 0, 0, 0}},
};

enum {
    ANY_LEAVES = sizeof any_leaves / sizeof any_leaves[0],
    ANY_FEW_LEAVES = 9, /* the first ones, of which many are equal */
    ANY_PARTS = 4,
};

static inline void any_leaf(struct draw *draw, struct kv_buffer *to)
{
    const unsigned below = draw_once_in(draw, 2) ? ANY_FEW_LEAVES : ANY_LEAVES;
    const struct any_leaf *leaf = &any_leaves[draw_below(draw, below)];
    kv_buffer_append(to, kv_bytes(leaf->bytes, leaf->size));
}

/* Appends a term of at most `levels` containers inside containers, and one more if it is empty.
 * Not each is well-formed. */
static inline void any_term(struct draw *draw, struct kv_buffer *to, unsigned levels)
{
    const unsigned kind = levels == 0 ? 3 : draw_below(draw, 6);
    unsigned count = draw_below(draw, ANY_PARTS);
    if (kind == 0) {
        kv_write_tuple(to, count);
    } else if (kind == 1) {
        kv_write_map(to, count);
    } else if (kind == 2) {
        kv_buffer_u8(to, KV_TAG_LIST); /* perhaps of no elements */
        kv_buffer_u32(to, count++);    /* and the tail */
    } else {
        any_leaf(draw, to);
        return;
    }
    for (; count > 0; count--) {
        if (kind == 1) {
            any_leaf(draw, to);
        }
        any_term(draw, to, levels - 1);
    }
}

#endif
