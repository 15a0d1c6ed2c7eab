/* kv_past_plain(): the terms it knows, those it leaves to the general way, and that both agree. */
#include "support/any_term.h"
#include "support/general.h"
#include "support/terms.h"

#include "term/plain.h"

TestSuite(term_plain, .timeout = 60);

#define ID   "77026964"
#define NAME "77046e616d65"

struct row {
    const char *what;
    const char *hex;
};

/* The end that kv_past_plain() finds in a copy that ends where its memory ends; 0: none. */
static size_t past(struct kv_bytes term, size_t levels)
{
    struct kv_bytes copy = exact_copy(term);
    const uint8_t *end = kv_past_plain(copy.data, copy.data + copy.length, levels);
    size_t length = end == NULL ? 0 : (size_t)(end - copy.data);
    free_copy(copy);
    return length;
}

static size_t past_hex(const char *hex, size_t levels)
{
    struct kv_buffer term = from_hex(hex);
    size_t length = past(kv_buffer_bytes(&term), levels);
    kv_buffer_free(&term);
    return length;
}

static void assert_agreed(struct kv_bytes term, const struct kv_term_limits *limits)
{
    size_t length = 0;
    size_t general = 0;
    int error = validate(term, limits, &length);
    size_t plain = past(term, limits->depth);
    cr_assert_eq(validate_generally(term, limits, &general), error);
    cr_assert(error != KV_OK || length == general);
    cr_assert(plain == 0 || (error == KV_OK && plain == general));
}

/* ---- known and unknown ----------------------------------------------------------------------- */

static const struct row known[] = {
    {"an atom", ID},
    {"a small integer", "61ff"},
    {"an integer", "62ffffffff"},
    {"an integer of eight bytes", "6e0800ffffffffffffffff"},
    {"a float", "463ff8000000000000"},
    {"a binary", "6d00000003010203"},
    {"a string", "6b0002ff00"},
    {"nil", "6a"},
    {"an empty tuple", "6800"},
    {"an empty map", "7400000000"},
    {"a tuple", "6802 6101 6a"},
    {"a list", "6c00000002 6101 6102 6a"},
    {"an improper list", "6c00000001 6101 6102"},
    {"a list of no elements", "6c00000000 6101"},
    {"a map with atoms as keys", "7400000002" ID "6101" NAME "6d0000000178"},
    {"a map with binaries as keys", "7400000002 6d000000026964 6101 6d0000000178 6a"},
    {"a map with integers as keys", "7400000003 6101 6a 6200000100 6a 62ffffffff 6a"},
    {"keys with the same end", "7400000003 77056c6e616d65 6a 7705666e616d65 6a 77046e616d65 6a"},
    {"an atom and a binary of the same text", "7400000002 770161 6a 6d0000000161 6a"},
    {"the same key in two maps", "7400000002" ID "7400000001" ID "6a" NAME "7400000001" ID "6a"},
    {"maps in a tuple in a list in a map",
     "7400000001" ID "6c00000001 6802 7400000001" ID "6a 7400000001" ID "6a 6a"},
};

Test(term_plain, small_terms_in_their_usual_spelling_are_known)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        struct kv_buffer term = from_hex(known[i].hex);
        cr_expect_eq(past(kv_buffer_bytes(&term), KV_PLAIN_LEVELS), term.length, "%s",
                     known[i].what);
        assert_agreed(kv_buffer_bytes(&term), &default_limits);
        kv_buffer_free(&term);
    }
}

Test(term_plain, each_of_them_is_unknown_if_it_is_cut_off_and_found_if_more_follows)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        struct kv_buffer term = from_hex(known[i].hex);
        size_t whole = term.length;
        for (size_t length = 0; length < whole; length++) {
            cr_expect_eq(past(kv_bytes(term.data, length), KV_PLAIN_LEVELS), 0, "%s, %zu bytes",
                         known[i].what, length);
        }
        append_hex(&term, "ff");
        cr_expect_eq(past(kv_buffer_bytes(&term), KV_PLAIN_LEVELS), whole, "%s", known[i].what);
        kv_buffer_free(&term);
    }
}

static const struct row unknown[] = {
    {"the same atom twice", "7400000002" ID "6a" ID "6a"},
    {"the same binary twice", "7400000002 6d0000000161 6a 6d0000000161 6a"},
    {"the same integer twice", "7400000003 6101 6a 6102 6a 6101 6a"},
    {"the same integer in five bytes", "7400000002 6101 6a 6200000001 6a"},
    {"a small integer in five bytes", "7400000002 62000000ff 6a 6a 6a"},
    {"an integer as a bignum", "7400000002 6101 6a 6e010001 6a"},
    {"an atom in the long form", "7400000002 770161 6a 76000161 6a"},
    {"an atom of old", "7400000002 770161 6a 64000161 6a"},
    {"a small atom of old", "7400000002 770161 6a 730161 6a"},
    {"a binary as a bit string", "7400000002 6d0000000161 6a 4d0000000108 61 6a"},
    {"a float as a key", "7400000001 463ff0000000000000 6a"},
    {"nil as a key", "7400000001 6a 6a"},
    {"a tuple as a key", "7400000001 6801 6101 6a"},
    {"a map as a key", "7400000001 7400000000 6a"},
    {"an atom of characters that are not ASCII", "7702c3b6"},
    {"an atom that is no text", "7702ffff"},
    {"a float that is not a number", "467ff8000000000000"},
    {"infinity", "46fff0000000000000"},
    {"a bit string", "4d0000000103 a0"},
    {"a pid", "58" ID "000000010000000200000003"},
    {"a fun", FUN_SAMPLE},
    {"a claim of many elements", "6cffffffff 6101"},
    {"a claim of many pairs", "74ffffffff 6101"},
    {"a claim of half as many", "7480000001 6101 6a"},
    {"no tag", "00"},
};

Test(term_plain, all_else_is_left_to_the_general_way)
{
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        struct kv_buffer term = from_hex(unknown[i].hex);
        cr_expect_eq(past(kv_buffer_bytes(&term), KV_PLAIN_LEVELS), 0, "%s", unknown[i].what);
        assert_agreed(kv_buffer_bytes(&term), &default_limits);
        kv_buffer_free(&term);
    }
}

/* ---- bounds ---------------------------------------------------------------------------------- */

/* Pairs i => nil. */
static size_t past_map(uint32_t pairs)
{
    struct kv_buffer term = KV_BUFFER_INIT;
    kv_write_map(&term, pairs);
    for (uint32_t i = 0; i < pairs; i++) {
        kv_write_u64(&term, i);
        kv_write_nil(&term);
    }
    size_t length = past(kv_buffer_bytes(&term), KV_PLAIN_LEVELS);
    assert_agreed(kv_buffer_bytes(&term), &default_limits);
    kv_buffer_free(&term);
    return length;
}

Test(term_plain, a_map_of_more_pairs_than_a_small_one_has_is_left)
{
    cr_expect_gt(past_map(KV_PLAIN_PAIRS), 0);
    cr_expect_eq(past_map(KV_PLAIN_PAIRS + 1), 0);
}

static size_t past_list(uint32_t count)
{
    struct kv_buffer term = KV_BUFFER_INIT;
    kv_write_list(&term, count);
    append_repeated(&term, "6a", count + 1);
    size_t length = past(kv_buffer_bytes(&term), KV_PLAIN_LEVELS);
    kv_buffer_free(&term);
    return length;
}

/* The list and its tail are terms, too. */
Test(term_plain, a_term_of_too_many_parts_is_left)
{
    cr_expect_gt(past_list(KV_PLAIN_TERMS - 2), 0);
    cr_expect_eq(past_list(KV_PLAIN_TERMS - 1), 0);
}

Test(term_plain, a_term_deeper_than_the_limit_is_left)
{
    static const char *const nested = "6801 7400000001 6101 6c00000001 6101 6a";
    cr_expect_gt(past_hex(nested, 3), 0);
    cr_expect_eq(past_hex(nested, 2), 0);
    cr_expect_gt(past_hex("6801 6800", 1), 0);
    cr_expect_gt(past_hex("6801 7400000000", 1), 0);
    cr_expect_gt(past_hex("6801 6801 6801 6801 6801 6801 6801 6801 6a", 100), 0);
    cr_expect_eq(past_hex("6801 6801 6801 6801 6801 6801 6801 6801 6801 6a", 100), 0);
}

/* ---- any term -------------------------------------------------------------------------------- */

enum { TERMS = 200000 };

Test(term_plain, any_term_is_judged_as_by_the_general_way)
{
    struct draw draw = {.state = 16};
    struct kv_buffer term = KV_BUFFER_INIT;
    unsigned accepted = 0;
    unsigned short_ways = 0;
    for (unsigned i = 0; i < TERMS; i++) {
        const struct kv_term_limits limits = {.size = 1 << 20,
                                              .depth = 1 + draw_below(&draw, 5),
                                              .zeros = draw_once_in(&draw, 2) ? KV_ZEROS_SAME
                                                                              : KV_ZEROS_DIFFER};
        term.length = 0;
        any_term(&draw, &term, 4);
        assert_agreed(kv_buffer_bytes(&term), &limits);
        accepted += kv_term_validate(kv_buffer_bytes(&term), &limits, NULL) == KV_OK;
        short_ways += past(kv_buffer_bytes(&term), limits.depth) != 0;
    }
    cr_expect_gt(accepted, TERMS / 4);
    cr_expect_gt(short_ways, TERMS / 16);
    kv_buffer_free(&term);
}
