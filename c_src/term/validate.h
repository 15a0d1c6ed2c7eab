/* Leaves of a term that is not validated yet. Nobody but validate.c includes this. */
#ifndef KV_TERM_VALIDATE_H
#define KV_TERM_VALIDATE_H

#include <kv/term.h>

/* Bytes that are still to be looked at. */
struct kv_raw {
    const uint8_t *next;
    const uint8_t *end;
};

static inline size_t kv_raw_left(const struct kv_raw *raw)
{
    return (size_t)(raw->end - raw->next);
}

/* KV_OK, or KV_ETRUNCATED: there are not so many bytes. */
static inline int kv_raw_skip(struct kv_raw *raw, size_t size)
{
    if (size > kv_raw_left(raw)) {
        return KV_ETRUNCATED;
    }
    raw->next += size;
    return KV_OK;
}

/* Takes `size` bytes; NULL when they are not there. */
static inline const uint8_t *kv_raw_take(struct kv_raw *raw, size_t size)
{
    const uint8_t *taken = raw->next;
    return kv_raw_skip(raw, size) == KV_OK ? taken : NULL;
}

/* The results of these are those of kv_term_validate(), and each goes past what it has checked. */

/* The rest of a leaf, whose tag has been taken. KV_EMALFORMED also for a tag that is none of a
 * leaf. */
int kv_raw_leaf(struct kv_raw *raw, uint8_t tag);

/* An atom, or a pid, where nothing else may be. */
int kv_raw_atom(struct kv_raw *raw);
int kv_raw_pid(struct kv_raw *raw);

/* An integer where nothing else may be: one that the BEAM keeps in a word, and not below `least`.
 */
int kv_raw_small(struct kv_raw *raw, int64_t least);

/* The smallest and largest integer that a BEAM keeps in a word: what is_small() asks. */
#define KV_SMALL_MAX ((INT64_C(1) << 59) - 1)
#define KV_SMALL_MIN (-KV_SMALL_MAX - 1)

#endif
