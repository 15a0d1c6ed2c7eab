/* Frames: a length and the content. */
#include "wire/frame.h"

#include "support/checks.h"

#include <criterion/criterion.h>

enum { LIMIT = 16 };

static int next_of(const char *hex, size_t limit, struct kv_bytes *frame, size_t *consumed)
{
    struct kv_buffer input = from_hex(hex);
    struct kv_bytes copy = exact_copy(kv_buffer_bytes(&input));
    *frame = kv_bytes(NULL, 99);
    *consumed = 99;
    int error = kv_frame_next(copy, limit, frame, consumed);
    free_copy(copy);
    kv_buffer_free(&input);
    return error;
}

Test(frame, a_frame_is_the_bytes_that_its_length_counts)
{
    struct kv_buffer input = from_hex("00000003 0a0b0c ff");
    struct kv_bytes frame;
    size_t consumed = 0;
    cr_assert_eq(kv_frame_next(kv_buffer_bytes(&input), LIMIT, &frame, &consumed), KV_OK);
    cr_assert_eq(consumed, 7);
    cr_assert_eq(frame.length, 3);
    cr_assert_eq(frame.data, input.data + 4, "the frame borrows from the input");
    kv_buffer_free(&input);
}

Test(frame, a_length_of_zero_is_a_tick)
{
    struct kv_bytes frame;
    size_t consumed = 0;
    cr_assert_eq(next_of("00000000", LIMIT, &frame, &consumed), KV_OK);
    cr_assert_eq(frame.length, 0);
    cr_assert_eq(consumed, 4);
}

Test(frame, an_incomplete_header_needs_more_bytes_and_does_not_say_how_many)
{
    const char *prefixes[] = {"", "00", "0000", "000000"};
    for (size_t i = 0; i < 4; i++) {
        struct kv_bytes frame;
        size_t consumed = 0;
        cr_assert_eq(next_of(prefixes[i], LIMIT, &frame, &consumed), KV_ETRUNCATED);
        cr_assert_eq(consumed, 0);
    }
}

Test(frame, an_incomplete_frame_tells_the_length_of_the_whole_frame)
{
    const char *prefixes[] = {"00000003", "00000003 0a", "00000003 0a0b"};
    for (size_t i = 0; i < 3; i++) {
        struct kv_bytes frame;
        size_t consumed = 0;
        cr_assert_eq(next_of(prefixes[i], LIMIT, &frame, &consumed), KV_ETRUNCATED);
        cr_assert_eq(consumed, 7);
    }
}

Test(frame, the_limit_is_the_largest_length_taken)
{
    struct kv_bytes frame;
    size_t consumed = 0;
    cr_assert_eq(next_of("00000010", LIMIT, &frame, &consumed), KV_ETRUNCATED);
    cr_assert_eq(next_of("00000011", LIMIT, &frame, &consumed), KV_ESIZE);
    cr_assert_eq(next_of("ffffffff", LIMIT, &frame, &consumed), KV_ESIZE);
}

Test(frame, frames_follow_one_another)
{
    struct kv_buffer input = from_hex("00000001 0a 00000000 00000002 0b0c");
    const size_t lengths[] = {1, 0, 2};
    for (size_t i = 0; i < 3; i++) {
        struct kv_bytes frame;
        size_t consumed = 0;
        cr_assert_eq(kv_frame_next(kv_buffer_bytes(&input), LIMIT, &frame, &consumed), KV_OK);
        cr_assert_eq(frame.length, lengths[i]);
        kv_buffer_consume(&input, consumed);
    }
    cr_assert_eq(input.length, 0);
    kv_buffer_free(&input);
}
