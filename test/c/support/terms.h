/* Helpers for the tests of term/: terms in hex, and samples from a BEAM. */
#ifndef KV_TEST_TERMS_H
#define KV_TEST_TERMS_H

#include "support/checks.h"

#include "term/piecewise.h"

#include <criterion/criterion.h>
#include <kv/term.h>

static const struct kv_term_limits default_limits = KV_TERM_LIMITS_DEFAULT;
static const struct kv_term_limits zeros_same = {
    .size = (size_t)128 << 20, .depth = 65536, .zeros = KV_ZEROS_SAME};

/* term_to_binary/1 of OTP 25.2.3 for
 *   {rich, [1, -1, 255, 256, 1 bsl 40, -(1 bsl 70), 1.5], "text", [$a|b], <<"binary">>, <<5:3>>,
 *    #{a => 1, "k" => #{1.0 => [], 1 => {}}}, self(), make_ref(), hd(erlang:ports()),
 *    fun lists:map/2, fun(Y) -> {X, Y} end, 'ö'} */
#define RICH_SAMPLE                                                                                \
    "680d 770472696368 6c00000007 6101 62ffffffff 61ff 6200000100 6e0600000000000001"              \
    "6e090100000000000000004046 3ff8000000000000 6a 6b000474657874 6c00000001 6161 770162"         \
    "6d0000000662696e617279 4d0000000103a0 7400000002 770161 6101 6b00016b 7400000002 6101 6800"   \
    "463ff0000000000000 6a 5877047140766d00000009000000006b015071"                                 \
    "5a000377047140766d6b01507100018d4baa4c0001f5216ad6 5977047140766d000000006b015071"            \
    "7177056c6973747377036d61706102"                                                               \
    "700000003a013a3e60b0067ae4e2de0c0816581069410000000000000000 770173 6100 6201d1f305"          \
    "5877047140766d00000009000000006b015071 7702c3b6"

/* term_to_binary/1 of OTP 25.2.3 for fun(Y) -> {7, Y} end. */
#define FUN_SAMPLE                                                                                 \
    "700000003c013a3e60b0067ae4e2de0c0816581069410000000100000001 770173 6101 6201d1f305"          \
    "5877047140766d00000009000000006b015071 6107"

/* In pieces of so many bytes the result is the same. */
static inline void validate_in_pieces(struct kv_bytes term, const struct kv_term_limits *limits,
                                      size_t size, int error)
{
    struct kv_piecewise *piecewise = kv_piecewise_new(term, limits);
    size_t length = 0;
    while (kv_piecewise_go_on(piecewise, size)) {
    }
    cr_assert_eq(kv_piecewise_result(piecewise, &length), error);
    kv_piecewise_free(piecewise);
}

/* kv_term_validate() on a copy that ends where its memory ends, and the same in pieces. */
static inline int validate(struct kv_bytes term, const struct kv_term_limits *limits,
                           size_t *length)
{
    struct kv_bytes copy = exact_copy(term);
    int error = kv_term_validate(copy, limits, length);
    validate_in_pieces(copy, limits, 1, error);
    validate_in_pieces(copy, limits, 7, error);
    free_copy(copy);
    return error;
}

static inline int validate_hex(const char *hex)
{
    struct kv_buffer term = from_hex(hex);
    int error = validate(kv_buffer_bytes(&term), &default_limits, NULL);
    kv_buffer_free(&term);
    return error;
}

static inline void append_repeated(struct kv_buffer *to, const char *hex, size_t times)
{
    struct kv_buffer piece = from_hex(hex);
    for (size_t i = 0; i < times; i++) {
        kv_buffer_append(to, kv_buffer_bytes(&piece));
    }
    kv_buffer_free(&piece);
}

static inline struct kv_buffer canonical(struct kv_bytes term, enum kv_zeros zeros)
{
    struct kv_buffer form = KV_BUFFER_INIT;
    struct kv_bytes copy = exact_copy(term);
    kv_term_canonical(copy, zeros, &form);
    free_copy(copy);
    return form;
}

#endif
