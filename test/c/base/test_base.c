/* The base room: buffers, lists, the keyed hash and the texts of errors. */
#include "base/alloc.h"
#include "base/endian.h"
#include "base/later.h"
#include "base/list.h"
#include "base/siphash.h"
#include "base/word.h"

#include <criterion/criterion.h>
#include <kv/buffer.h>
#include <kv/error.h>

TestSuite(base, .timeout = 10);

/* ---- buffer ---------------------------------------------------------------------------------- */

Test(base, a_new_buffer_is_empty_and_holds_no_memory)
{
    struct kv_buffer buffer = KV_BUFFER_INIT;
    cr_expect_eq(buffer.length, 0);
    cr_expect_null(buffer.data);
    kv_buffer_free(&buffer);
    cr_expect_eq(kv_alloc_outstanding(), 0);
}

Test(base, a_buffer_grows_and_keeps_what_is_in_it)
{
    struct kv_buffer buffer = KV_BUFFER_INIT;
    for (uint32_t i = 0; i < 10000; i++) {
        kv_buffer_u32(&buffer, i);
    }
    cr_assert_eq(buffer.length, 40000);
    for (uint32_t i = 0; i < 10000; i++) {
        cr_assert_eq(kv_get32(buffer.data + 4 * (size_t)i), i);
    }
    kv_buffer_free(&buffer);
    cr_expect_eq(kv_alloc_outstanding(), 0);
}

Test(base, numbers_are_appended_in_the_order_of_the_network)
{
    static const uint8_t wanted[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    struct kv_buffer buffer = KV_BUFFER_INIT;
    kv_buffer_u8(&buffer, 0x01);
    kv_buffer_u16(&buffer, 0x0203);
    kv_buffer_u32(&buffer, 0x04050607);
    kv_buffer_u64(&buffer, UINT64_C(0x08090a0b0c0d0e0f));
    cr_expect(kv_bytes_equal(kv_buffer_bytes(&buffer), kv_bytes(wanted, sizeof(wanted))));
    cr_expect_eq(kv_get16(buffer.data + 1), 0x0203);
    cr_expect_eq(kv_get64(buffer.data + 7), UINT64_C(0x08090a0b0c0d0e0f));
    kv_buffer_free(&buffer);
}

Test(base, room_that_is_reserved_is_not_yet_part_of_the_buffer)
{
    struct kv_buffer buffer = KV_BUFFER_INIT;
    kv_buffer_u8(&buffer, 7);
    uint8_t *room = kv_buffer_reserve(&buffer, 1000);
    memset(room, 0xFF, 1000);
    cr_expect_eq(buffer.length, 1);
    cr_expect_geq(buffer.capacity, 1001);
    cr_expect_eq(kv_buffer_try_reserve(&buffer, 5000), KV_OK);
    cr_expect_eq(buffer.length, 1);
    cr_expect_geq(buffer.capacity, 5001);
    cr_expect_eq(buffer.data[0], 7);
    kv_buffer_free(&buffer);
}

Test(base, appending_nothing_changes_nothing)
{
    struct kv_buffer buffer = KV_BUFFER_INIT;
    kv_buffer_append(&buffer, kv_bytes(NULL, 0));
    cr_expect_eq(buffer.length, 0);
    kv_buffer_free(&buffer);
}

Test(base, what_is_consumed_goes_and_the_rest_moves_to_the_front)
{
    struct kv_buffer buffer = KV_BUFFER_INIT;
    kv_buffer_append(&buffer, kv_bytes_text("hello"));
    kv_buffer_consume(&buffer, 0);
    cr_expect(kv_bytes_is(kv_buffer_bytes(&buffer), "hello"));
    kv_buffer_consume(&buffer, 2);
    cr_expect(kv_bytes_is(kv_buffer_bytes(&buffer), "llo"));
    kv_buffer_consume(&buffer, 100);
    cr_expect_eq(buffer.length, 0);
    kv_buffer_append(&buffer, kv_bytes_text("again"));
    cr_expect(kv_bytes_is(kv_buffer_bytes(&buffer), "again"));
    kv_buffer_clear(&buffer);
    cr_expect_eq(buffer.length, 0);
    kv_buffer_free(&buffer);
}

Test(base, bytes_are_equal_when_length_and_content_are)
{
    cr_expect(kv_bytes_equal(kv_bytes(NULL, 0), kv_bytes_text("")));
    cr_expect(kv_bytes_is(kv_bytes("ab", 2), "ab"));
    cr_expect_not(kv_bytes_is(kv_bytes("ab", 2), "abc"));
    cr_expect_not(kv_bytes_is(kv_bytes("ab", 2), "ac"));
    cr_expect_not(kv_bytes_is(kv_bytes("a\0", 2), "a"));
}

Test(base, zeroed_memory_is_zero_and_counted_until_it_is_freed)
{
    uint8_t *memory = kv_zalloc(100);
    for (size_t i = 0; i < 100; i++) {
        cr_assert_eq(memory[i], 0);
    }
    void *other = kv_alloc(0);
    cr_assert_not_null(other);
    cr_expect_eq(kv_alloc_outstanding(), 2);
    memory = kv_realloc(memory, 1000);
    cr_expect_eq(kv_alloc_outstanding(), 2);
    kv_free(memory);
    kv_free(other);
    kv_free(NULL);
    cr_expect_eq(kv_alloc_outstanding(), 0);
}

/* ---- list ------------------------------------------------------------------------------------ */

struct member {
    int number;
    struct kv_list link;
};

static int joined(struct kv_list *list)
{
    int digits = 0;
    KV_LIST_FOREACH (link, list) {
        digits = 10 * digits + KV_LIST_OF(link, struct member, link)->number;
    }
    return digits;
}

Test(base, a_large_block_is_freed_in_pieces_once_somebody_frees_them)
{
    enum { PIECES = 5 };
    unsigned steps = 1;
    kv_free_later(kv_alloc(PIECES * KV_LATER_PIECE), PIECES * KV_LATER_PIECE);
    cr_assert_eq(kv_alloc_outstanding(), 0);
    kv_later_begin();
    kv_free_later(kv_alloc(PIECES * KV_LATER_PIECE), PIECES * KV_LATER_PIECE);
    cr_assert_eq(kv_alloc_outstanding(), 1);
    while (kv_free_more()) {
        steps++;
    }
    cr_assert_eq(steps, PIECES);
    cr_assert_eq(kv_alloc_outstanding(), 0);
    kv_free_later(kv_alloc(1), 1);
    cr_assert_eq(kv_alloc_outstanding(), 0);
}

Test(base, a_list_keeps_the_order_and_gives_up_any_member)
{
    struct kv_list list;
    struct member members[4] = {{.number = 1}, {.number = 2}, {.number = 3}, {.number = 4}};
    kv_list_init(&list);
    cr_expect(kv_list_is_empty(&list));
    for (size_t i = 0; i < 4; i++) {
        kv_list_append(&list, &members[i].link);
    }
    cr_expect_eq(joined(&list), 1234);
    kv_list_remove(&members[1].link);
    cr_expect_eq(joined(&list), 134);
    kv_list_remove(&members[1].link);
    cr_expect_eq(joined(&list), 134, "removing it again does no harm");
    kv_list_remove(&members[0].link);
    kv_list_remove(&members[3].link);
    cr_expect_eq(joined(&list), 3);
    kv_list_append(&list, &members[1].link);
    cr_expect_eq(joined(&list), 32);
}

Test(base, a_list_can_be_emptied_while_one_goes_over_it)
{
    struct kv_list list;
    struct member members[3] = {{.number = 1}, {.number = 2}, {.number = 3}};
    kv_list_init(&list);
    for (size_t i = 0; i < 3; i++) {
        kv_list_append(&list, &members[i].link);
    }
    int seen = 0;
    KV_LIST_FOREACH (link, &list) {
        kv_list_remove(link);
        seen++;
    }
    cr_expect_eq(seen, 3);
    cr_expect(kv_list_is_empty(&list));
}

/* ---- hash ------------------------------------------------------------------------------------ */

/* The results of hash(bytes) in CPython 3.11, which uses SipHash-1-3, too, for the bytes 0, 1, 2
 * ... up to `length`; with PYTHONHASHSEED=0 its key is zero, with 42 it is as below. */
static const struct {
    size_t length;
    uint64_t zero_key;
    uint64_t other_key;
} hashes[] = {
    {1, UINT64_C(0x68a914128e01e473), UINT64_C(0xce880c366bcf3489)},
    {2, UINT64_C(0x10bac45c41e3669), UINT64_C(0xef32fbc0469f0756)},
    {7, UINT64_C(0x2f098ab0c751325a), UINT64_C(0xce280fabc397fbda)},
    {8, UINT64_C(0xead411e67ebe2eea), UINT64_C(0x60866c3c108c6afb)},
    {9, UINT64_C(0x75927f9d95124362), UINT64_C(0x68814005f7469e03)},
    {15, UINT64_C(0xf30eb725bb91c9ea), UINT64_C(0x94ace24d68c18cf8)},
    {16, UINT64_C(0x8972188433a5c5b7), UINT64_C(0x339176f3ac59ce05)},
    {17, UINT64_C(0x4883c49a2c009c1d), UINT64_C(0xed2706b414c296f1)},
    {63, UINT64_C(0x385d3e39e5f37359), UINT64_C(0x6e24d6f0d014c37)},
    {255, UINT64_C(0x5dc1f93ea135eb43), UINT64_C(0xd02008474fae02c8)},
    {256, UINT64_C(0x31ae646afba70308), UINT64_C(0xd0624090d255259)},
};

Test(base, the_hash_is_siphash_1_3_as_another_program_computes_it)
{
    static const struct kv_hash_key zero = {0, 0};
    static const struct kv_hash_key other = {UINT64_C(0xdc504fd368cd90af),
                                             UINT64_C(0xb920bb9ffe99e9c1)};
    uint8_t bytes[256];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)i;
    }
    for (size_t i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++) {
        struct kv_bytes input = kv_bytes(bytes, hashes[i].length);
        cr_expect_eq(kv_siphash(&zero, input), hashes[i].zero_key, "%zu", input.length);
        cr_expect_eq(kv_siphash(&other, input), hashes[i].other_key, "%zu", input.length);
    }
}

/* ---- errors ---------------------------------------------------------------------------------- */

Test(base, every_error_has_a_text_of_its_own)
{
    for (int error = 0; error < KV_ERROR_COUNT; error++) {
        const char *text = kv_error_text(error);
        cr_expect_str_neq(text, "unknown error", "%d", error);
        cr_expect_neq(text[0], '\0');
        for (int other = 0; other < error; other++) {
            cr_expect_str_neq(text, kv_error_text(other), "%d and %d", error, other);
        }
    }
}

Test(base, a_code_that_is_not_in_the_list_is_an_unknown_error)
{
    cr_expect_str_eq(kv_error_text(KV_ERROR_COUNT), "unknown error");
    cr_expect_str_eq(kv_error_text(-1), "unknown error");
    cr_expect_str_eq(kv_error_text(KV_OK), "no error");
}

/* ---- runs of bytes --------------------------------------------------------------------------- */

enum { RUN_MAX = 100 }; /* longer than what is compared without memcmp() */

Test(base, runs_of_bytes_are_the_same_when_no_byte_differs)
{
    uint8_t a[RUN_MAX];
    uint8_t b[RUN_MAX];
    for (size_t i = 0; i < RUN_MAX; i++) {
        a[i] = b[i] = (uint8_t)(i * 7);
    }
    cr_expect(kv_same(NULL, NULL, 0));
    for (size_t length = 0; length <= RUN_MAX; length++) {
        cr_expect(kv_same(a, a, length));
        cr_expect(kv_same(a, b, length), "%zu", length);
        for (size_t at = 0; at < RUN_MAX; at++) {
            b[at] ^= 0x10;
            cr_expect_eq(kv_same(a, b, length), at >= length, "%zu of %zu", at, length);
            b[at] ^= 0x10;
        }
    }
}

Test(base, a_copy_of_a_run_of_bytes_changes_nothing_beside_it)
{
    uint8_t from[RUN_MAX];
    uint8_t to[RUN_MAX + 1];
    for (size_t i = 0; i < RUN_MAX; i++) {
        from[i] = (uint8_t)(i + 1);
    }
    for (size_t length = 0; length <= RUN_MAX; length++) {
        memset(to, 0, sizeof to);
        kv_copy(to, from, length);
        cr_expect_eq(memcmp(to, from, length), 0, "%zu", length);
        cr_expect_eq(to[length], 0, "%zu", length);
    }
}

Test(base, a_text_is_ascii_when_no_byte_has_its_highest_bit)
{
    uint8_t text[RUN_MAX];
    memset(text, 'a', sizeof text);
    for (size_t length = 0; length <= RUN_MAX; length++) {
        for (size_t at = 0; at < RUN_MAX; at++) {
            text[at] = 0x80;
            cr_expect_eq(kv_is_ascii(text, length), at >= length, "%zu of %zu", at, length);
            text[at] = 'a';
        }
    }
}
