/* kv_term_validate() by the general way only, to compare the short ways of term/plain.c with it. */
#ifndef KV_TEST_GENERAL_H
#define KV_TEST_GENERAL_H

#include <kv/term.h>

/* Validates the tuple {#{1.0 => [], 2.0 => []}, Term}. The map is not plain, and from then on no
 * other map is tried the short way. */
static inline int validate_generally(struct kv_bytes term, const struct kv_term_limits *limits,
                                     size_t *length)
{
    static const uint8_t before[] = {KV_TAG_SMALL_TUPLE,
                                     2,
                                     KV_TAG_MAP,
                                     0,
                                     0,
                                     0,
                                     2,
                                     KV_TAG_NEW_FLOAT,
                                     0x3f,
                                     0xf0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0, /* 1.0 */
                                     KV_TAG_NIL,
                                     KV_TAG_NEW_FLOAT,
                                     0x40,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0, /* 2.0 */
                                     KV_TAG_NIL};
    const struct kv_term_limits around = {
        .size = limits->size + sizeof before, .depth = limits->depth + 1, .zeros = limits->zeros};
    struct kv_buffer both = KV_BUFFER_INIT;
    kv_buffer_append(&both, kv_bytes(before, sizeof before));
    kv_buffer_append(&both, term);
    int error = kv_term_validate(kv_buffer_bytes(&both), &around, length);
    if (error == KV_OK) {
        *length -= sizeof before;
    }
    kv_buffer_free(&both);
    return error;
}

#endif
