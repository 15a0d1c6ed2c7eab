/* Validating leaves, for validate.c. No other file includes this. */
#ifndef KV_TERM_VALIDATE_H
#define KV_TERM_VALIDATE_H

#include <kv/term.h>

/* Bytes that are not validated yet. */
struct kv_raw {
    const uint8_t *next;
    const uint8_t *end;
};

static inline size_t kv_raw_left(const struct kv_raw *raw)
{
    return (size_t)(raw->end - raw->next);
}

/* Returns KV_OK, or KV_ETRUNCATED if there are fewer bytes. */
static inline int kv_raw_skip(struct kv_raw *raw, size_t size)
{
    if (size > kv_raw_left(raw)) {
        return KV_ETRUNCATED;
    }
    raw->next += size;
    return KV_OK;
}

/* Takes `size` bytes. Returns NULL if there are fewer. */
static inline const uint8_t *kv_raw_take(struct kv_raw *raw, size_t size)
{
    const uint8_t *taken = raw->next;
    return kv_raw_skip(raw, size) == KV_OK ? taken : NULL;
}

/* The following return the errors of kv_term_validate() and move past the bytes they accept. */

/* The rest of a leaf, whose tag has been taken. Returns KV_EMALFORMED if `tag` is not one of a
 * leaf. */
int kv_raw_leaf(struct kv_raw *raw, uint8_t tag);

/* An atom, or a pid. Any other term is KV_EMALFORMED. */
int kv_raw_atom(struct kv_raw *raw);
int kv_raw_pid(struct kv_raw *raw);

/* An integer that a BEAM keeps in a word and that is not below `least`. Any other term is
 * KV_EMALFORMED. */
int kv_raw_small(struct kv_raw *raw, int64_t least);

/* The largest and smallest integer that a BEAM keeps in a word. OTP: is_small(). */
#define KV_SMALL_MAX ((INT64_C(1) << 59) - 1)
#define KV_SMALL_MIN (-KV_SMALL_MAX - 1)

#endif
