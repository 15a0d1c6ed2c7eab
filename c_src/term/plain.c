#include "term/plain.h"

struct plain {
    const uint8_t *end;
    unsigned left; /* terms that may still be walked */
};

static const uint8_t *past_term(struct plain *plain, const uint8_t *p, size_t levels);

/* ---- keys of maps ---------------------------------------------------------------------------- */

/* The keys of one map so far. */
struct keys {
    uint64_t seen; /* a bit for each, by a hash: most keys need no comparison */
    unsigned count;
    const uint8_t *key[KV_PLAIN_PAIRS];
    size_t size[KV_PLAIN_PAIRS];
};

/* Every spelling but one of an integer, or of an atom, is left to the general way: two keys could
 * be equal although their bytes differ. */
static const uint8_t *past_key(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *past = kv_past_leaf(p, end);
    if (past == NULL || *p == KV_TAG_NIL ||
        (*p == KV_TAG_INTEGER && kv_get32(p + 1) <= UINT8_MAX)) {
        return NULL;
    }
    return past;
}

/* Equal keys have the same bit. A key has at least two bytes. */
static uint64_t bit_of(const uint8_t *key, size_t size)
{
    const uint8_t *end = key + size;
    uint32_t last = size >= 4 ? kv_load32(end - 4) : (uint32_t)end[-2] << 8 | end[-1];
    uint32_t hash = (last ^ (uint32_t)size << 16) * UINT32_C(0x9E3779B1);
    return UINT64_C(1) << (hash >> 26);
}

/* Returns false if the key is there already. */
static bool take_key(struct keys *keys, const uint8_t *key, size_t size)
{
    const uint64_t bit = bit_of(key, size);
    for (unsigned i = 0; (keys->seen & bit) != 0 && i < keys->count; i++) {
        if (keys->size[i] == size && kv_same(keys->key[i], key, size)) {
            return false;
        }
    }
    keys->seen |= bit;
    keys->key[keys->count] = key;
    keys->size[keys->count++] = size;
    return true;
}

/* ---- containers ------------------------------------------------------------------------------ */

static const uint8_t *past_terms(struct plain *plain, const uint8_t *p, uint64_t count,
                                 size_t levels)
{
    if (count > plain->left) {
        return NULL;
    }
    for (; p != NULL && count > 0; count--) {
        p = past_term(plain, p, levels);
    }
    return p;
}

static const uint8_t *past_pairs(struct plain *plain, const uint8_t *p, uint32_t count,
                                 size_t levels)
{
    struct keys keys;
    if (count > KV_PLAIN_PAIRS || 2 * count > plain->left) {
        return NULL;
    }
    keys.seen = 0;
    keys.count = 0;
    plain->left -= count;
    for (; p != NULL && count > 0; count--) {
        const uint8_t *value = past_key(p, plain->end);
        if (value == NULL || !take_key(&keys, p, (size_t)(value - p))) {
            return NULL;
        }
        p = past_term(plain, value, levels);
    }
    return p;
}

/* Only containers with something in them count as a level. */
static const uint8_t *past_container(struct plain *plain, const uint8_t *p, size_t levels)
{
    const size_t room = (size_t)(plain->end - p);
    if (room < (*p == KV_TAG_SMALL_TUPLE ? 2 : KV_LONG_HEADER)) {
        return NULL;
    }
    if (*p == KV_TAG_SMALL_TUPLE) {
        return p[1] == 0 ? p + 2 : levels == 0 ? NULL : past_terms(plain, p + 2, p[1], levels - 1);
    }
    const uint32_t count = kv_get32(p + 1);
    const uint8_t *inside = p + KV_LONG_HEADER;
    if (*p == KV_TAG_MAP && count == 0) {
        return inside;
    }
    if (levels == 0) {
        return NULL;
    }
    return *p == KV_TAG_MAP ? past_pairs(plain, inside, count, levels - 1)
                            : past_terms(plain, inside, (uint64_t)count + 1, levels - 1);
}

/* ---- all together ---------------------------------------------------------------------------- */

static bool is_finite(uint64_t bits)
{
    const uint64_t exponent = UINT64_C(0x7FF0000000000000);
    return (bits & exponent) != exponent;
}

static const uint8_t *past_term(struct plain *plain, const uint8_t *p, size_t levels)
{
    const size_t room = (size_t)(plain->end - p);
    const uint8_t *past = kv_past_leaf(p, plain->end);
    if (plain->left == 0) {
        return NULL;
    }
    plain->left--;
    if (past != NULL) {
        return past;
    }
    switch (room == 0 ? 0 : *p) {
    case KV_TAG_NEW_FLOAT:
        return room >= 9 && is_finite(kv_get64(p + 1)) ? p + 9 : NULL;
    case KV_TAG_SMALL_BIG:
        return room >= 3 && room - 3 >= p[1] ? p + 3 + p[1] : NULL;
    case KV_TAG_STRING:
        return room >= 3 && room - 3 >= kv_get16(p + 1) ? p + 3 + kv_get16(p + 1) : NULL;
    case KV_TAG_SMALL_TUPLE:
    case KV_TAG_LIST:
    case KV_TAG_MAP:
        return past_container(plain, p, levels);
    default:
        return NULL;
    }
}

const uint8_t *kv_past_plain(const uint8_t *p, const uint8_t *end, size_t levels)
{
    struct plain plain = {.end = end, .left = KV_PLAIN_TERMS};
    return past_term(&plain, p, levels < KV_PLAIN_LEVELS ? levels : KV_PLAIN_LEVELS);
}
