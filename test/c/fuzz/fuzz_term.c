/* Fuzzes the functions of term/. The input is an external term. A valid term has a canonical form
 * that is valid, too, and its own canonical form; it can be read and skipped. The short ways of the
 * validator agree with the general one. */
#include "base/alloc.h"
#include "term/piecewise.h"
#include "term/plain.h"

#include "support/general.h"

#include <kv/term.h>

#include <stdlib.h>

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* Asks every reader at every term. The reader that takes the term decides where the next one is. */
static void read_next(struct kv_reader *reader)
{
    uint32_t count;
    uint64_t number;
    int64_t signed_number;
    struct kv_bytes bytes;
    struct kv_pid pid;
    struct kv_ref ref;
    size_t offset = reader->offset;
    int taken = kv_read_tuple_of(reader, 2) == KV_OK || kv_read_tuple(reader, &count) == KV_OK ||
                kv_read_map(reader, &count) == KV_OK || kv_read_list(reader, &count) == KV_OK ||
                kv_read_nil(reader) == KV_OK || kv_read_this_atom(reader, "ok") == KV_OK ||
                kv_read_atom(reader, &bytes) == KV_OK || kv_read_binary(reader, &bytes) == KV_OK ||
                kv_read_u32(reader, &count) == KV_OK || kv_read_u64(reader, &number) == KV_OK ||
                kv_read_i64(reader, &signed_number) == KV_OK ||
                kv_read_pid(reader, &pid) == KV_OK || kv_read_ref(reader, &ref) == KV_OK;
    if (!taken) {
        check(reader->offset == offset);
        check(kv_read_any(reader, NULL) == KV_OK);
    }
    check(reader->offset > offset);
}

static void read_all(struct kv_bytes term)
{
    struct kv_reader reader = kv_reader(term);
    while (!kv_reader_at_end(&reader)) {
        read_next(&reader);
    }
    check(reader.offset == term.length);
    reader.offset = 0;
    check(kv_read_any(&reader, NULL) == KV_OK);
    check(kv_reader_at_end(&reader));
}

static void canonical_twice(struct kv_bytes term, const struct kv_term_limits *limits)
{
    struct kv_buffer once = KV_BUFFER_INIT;
    struct kv_buffer twice = KV_BUFFER_INIT;
    size_t length = 0;
    kv_term_canonical(term, limits->zeros, &once);
    check(kv_term_validate(kv_buffer_bytes(&once), limits, &length) == KV_OK);
    check(length == once.length);
    kv_term_canonical(kv_buffer_bytes(&once), limits->zeros, &twice);
    check(kv_bytes_equal(kv_buffer_bytes(&once), kv_buffer_bytes(&twice)));
    kv_buffer_free(&once);
    kv_buffer_free(&twice);
}

/* Pieces of any size give the same result as the whole. */
static void validate_in_pieces(struct kv_bytes input, const struct kv_term_limits *limits)
{
    size_t length = 0;
    const int error = kv_term_validate(input, limits, &length);
    for (size_t size = 1; size <= input.length && size < 64; size++) {
        struct kv_piecewise *piecewise = kv_piecewise_new(input, limits);
        size_t same = 0;
        while (kv_piecewise_go_on(piecewise, size)) {
        }
        check(kv_piecewise_result(piecewise, &same) == error);
        check(error != KV_OK || same == length);
        kv_piecewise_free(piecewise);
    }
}

/* The short way past small terms accepts what the general way accepts. */
static void validate_both_ways(struct kv_bytes input, const struct kv_term_limits *limits)
{
    size_t length = 0;
    size_t general = 0;
    const int error = kv_term_validate(input, limits, &length);
    check(validate_generally(input, limits, &general) == error);
    check(error != KV_OK || length == general);
    const uint8_t *past = kv_past_plain(input.data, input.data + input.length, limits->depth);
    check(past == NULL || (error == KV_OK && past == input.data + length));
}

static void one_input(struct kv_bytes input, enum kv_zeros zeros)
{
    struct kv_term_limits limits = {.size = (size_t)1 << 20, .depth = 300, .zeros = zeros};
    size_t length = 0;
    validate_in_pieces(input, &limits);
    validate_both_ways(input, &limits);
    if (kv_term_validate(input, &limits, &length) != KV_OK) {
        return;
    }
    check(length <= input.length);
    struct kv_bytes term = kv_bytes(input.data, length);
    for (size_t cut = 0; cut < length && length < 64; cut++) {
        check(kv_term_validate(kv_bytes(input.data, cut), &limits, NULL) == KV_ETRUNCATED);
    }
    read_all(term);
    canonical_twice(term, &limits);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t before = kv_alloc_outstanding();
    one_input(kv_bytes(data, size), KV_ZEROS_DIFFER);
    one_input(kv_bytes(data, size), KV_ZEROS_SAME);
    check(kv_alloc_outstanding() == before);
    return 0;
}
