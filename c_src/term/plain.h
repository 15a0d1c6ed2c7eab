/* Short ways past terms in their usual spelling, for validate.c. No other file includes this.
 *
 * Each function returns the end of the term at `p`, or NULL if the term is cut off, malformed or
 * merely unknown here: the general way then decides. What a short way accepts, the general way
 * accepts too, and finds the same end. `end` is the end of all bytes; p <= end. */
#ifndef KV_TERM_PLAIN_H
#define KV_TERM_PLAIN_H

#include "base/endian.h"
#include "base/word.h"

#include <kv/term.h>

enum {
    KV_PLAIN_PAIRS = 32,  /* pairs of a map; a BEAM keeps more of them as a tree */
    KV_PLAIN_LEVELS = 8,  /* containers inside containers */
    KV_PLAIN_TERMS = 256, /* of one plain term, itself included */
};

/* A term of at most KV_PLAIN_TERMS parts, with containers at most `levels` and KV_PLAIN_LEVELS
 * deep. Leaves are integers, floats, binaries, strings, nil, and atoms in ASCII. Maps have at most
 * KV_PLAIN_PAIRS pairs. Their keys are atoms, binaries or integers, each in its only usual
 * spelling, so that keys are equal exactly if their bytes are. Needs no memory. */
const uint8_t *kv_past_plain(const uint8_t *p, const uint8_t *end, size_t levels);

/* ---- leaves ------------------------------------------------------------------------------------
 */

/* Names need no count of characters as long as they are ASCII. `behind`: bytes that must follow. */
static inline const uint8_t *kv_past_atom(const uint8_t *p, const uint8_t *end, size_t behind)
{
    size_t room = (size_t)(end - p);
    if (room < 2 + behind || p[0] != KV_TAG_SMALL_ATOM_UTF8 || p[1] > room - 2 - behind ||
        !kv_is_ascii(p + 2, p[1])) {
        return NULL;
    }
    return p + 2 + p[1];
}

static inline const uint8_t *kv_past_pid(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *node = kv_past_atom(p + 1, end, 12);
    return node == NULL ? NULL : node + 12;
}

static inline const uint8_t *kv_past_ref(const uint8_t *p, const uint8_t *end)
{
    if (end - p < 3 || p[1] != 0 || p[2] < 1 || p[2] > KV_REF_MAX_WORDS) {
        return NULL;
    }
    size_t behind = 4 + 4 * (size_t)p[2];
    const uint8_t *node = kv_past_atom(p + 3, end, behind);
    return node == NULL ? NULL : node + behind;
}

static inline const uint8_t *kv_past_binary(const uint8_t *p, const uint8_t *end)
{
    size_t room = (size_t)(end - p);
    if (room < KV_LONG_HEADER || kv_get32(p + 1) > room - KV_LONG_HEADER) {
        return NULL;
    }
    return p + KV_LONG_HEADER + kv_get32(p + 1);
}

/* The leaves that most messages consist of. */
static inline const uint8_t *kv_past_leaf(const uint8_t *p, const uint8_t *end)
{
    size_t room = (size_t)(end - p);
    switch (room == 0 ? 0 : *p) {
    case KV_TAG_BINARY:
        return kv_past_binary(p, end);
    case KV_TAG_SMALL_ATOM_UTF8:
        return kv_past_atom(p, end, 0);
    case KV_TAG_SMALL_INTEGER:
        return room < 2 ? NULL : p + 2;
    case KV_TAG_INTEGER:
        return room < 5 ? NULL : p + 5;
    case KV_TAG_NIL:
        return p + 1;
    default:
        return NULL;
    }
}

#endif
