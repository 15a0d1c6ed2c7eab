/* kv_term_validate(): the terms that it accepts, those that it refuses, and the errors. Unless a
 * comment says otherwise, binary_to_term/1 of OTP 25.2.3 accepts and refuses the same. */
#include "support/terms.h"

#include "base/alloc.h"

TestSuite(term_validate, .timeout = 60);

#define A       "770161"
#define ZEROS_8 "0000000000000000"
#define PID     "58" A "000000010000000200000003"

struct row {
    const char *what;
    const char *hex;
};

static const struct row accepted[] = {
    {"a small integer", "61ff"},
    {"an integer", "62ffffffff"},
    {"a small bignum", "6e0200ffff"},
    {"a small bignum without digits", "6e0000"},
    {"a bignum with zeros in front", "6e0900 050000000000000000"},
    {"a bignum with any byte for minus", "6e010205"},
    {"a large bignum", "6f000000020101ff"},
    {"a float", "463ff8000000000000"},
    {"a float of old", "63 312e3530303030303030303030303030303030303030652b3030 0000000000"},
    {"a float of old without exponent", "63 2d302e30" ZEROS_8 ZEROS_8 ZEROS_8 "000000"},
    {"a float of old that is too small to be one",
     "63 312e30652d393939" ZEROS_8 ZEROS_8 "00000000000000"},
    {"an atom", "7703616263"},
    {"an atom without a character", "7700"},
    {"an atom of a zero byte", "770100"},
    {"an atom in the long form", "760003616263"},
    {"an atom of U+10FFFF", "7704f48fbfbf"},
    {"an atom of U+D7FF and U+E000", "7706ed9fbfee8080"},
    {"an atom of old", "640001e9"},
    {"a small atom of old", "7301e9"},
    {"nil", "6a"},
    {"a string", "6b0002ff00"},
    {"a string of nothing", "6b0000"},
    {"a list", "6c00000002 6101 6102 6a"},
    {"an improper list", "6c00000001 6101 6102"},
    {"a list of no elements", "6c00000000 6a"},
    {"a list of no elements before something else", "6c00000000 6101"},
    {"an empty tuple", "6800"},
    {"a tuple", "6802 6101 6a"},
    {"a large tuple", "6900000001 6a"},
    {"a binary", "6d00000003 010203"},
    {"an empty binary", "6d00000000"},
    {"a bit string", "4d00000001 03 a0"},
    {"a bit string with bits behind its end", "4d00000001 03 ff"},
    {"a bit string of whole bytes", "4d00000001 08 ff"},
    {"an empty bit string", "4d00000000 00"},
    {"an empty map", "7400000000"},
    {"a map", "7400000002 6101 6a 6102 6a"},
    {"a map with 1 and 1.0", "7400000002 6101 6a 463ff0000000000000 6a"},
    {"a pid", PID},
    {"a pid of any numbers", "58" A "ffffffffffffffffffffffff"},
    {"a pid of old", "67" A "ffffffffffffffff03"},
    {"a pid whose node is an atom of old", "58 64000161 000000010000000200000003"},
    {"a reference of one word", "5a0001" A "00000001 ffffffff"},
    {"a reference of five words", "5a0005" A "00000001 0000000100000002000000030000000400000005"},
    {"a reference of before OTP 19", "720003" A "03 0003ffff ffffffff ffffffff"},
    {"a reference of one word of old", "65" A "0003ffff 03"},
    {"a port", "78" A "ffffffffffffffff 00000001"},
    {"a port of before OTP 24", "59" A "ffffffff 00000001"},
    {"a port of old", "66" A "ffffffff 03"},
    {"an external fun", "71" A A "6103"},
    {"an external fun whose arity is a bignum", "71" A A "6e010005"},
    {"a fun", FUN_SAMPLE},
    {"what a BEAM made", RICH_SAMPLE},
};

Test(term_validate, every_tag_is_accepted_and_its_length_found)
{
    for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++) {
        struct kv_buffer term = from_hex(accepted[i].hex);
        size_t alone = term.length;
        kv_buffer_u8(&term, KV_TAG_NIL);
        size_t length = 0;
        int error = validate(kv_buffer_bytes(&term), &default_limits, &length);
        cr_expect_eq(error, KV_OK, "%s: %s", accepted[i].what, kv_error_text(error));
        cr_expect_eq(length, alone, "%s", accepted[i].what);
        kv_buffer_free(&term);
    }
}

Test(term_validate, each_of_them_is_truncated_at_every_offset)
{
    for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++) {
        struct kv_buffer term = from_hex(accepted[i].hex);
        for (size_t length = 0; length < term.length; length++) {
            int error = validate(kv_bytes(term.data, length), &default_limits, NULL);
            cr_expect_eq(error, KV_ETRUNCATED, "%s, %zu bytes: %s", accepted[i].what, length,
                         kv_error_text(error));
        }
        kv_buffer_free(&term);
    }
}

Test(term_validate, each_term_is_too_large_for_a_limit_of_one_byte_less)
{
    for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++) {
        struct kv_buffer term = from_hex(accepted[i].hex);
        struct kv_term_limits limits = default_limits;
        limits.size = term.length;
        cr_expect_eq(kv_term_validate(kv_buffer_bytes(&term), &limits, NULL), KV_OK);
        limits.size--;
        cr_expect_eq(kv_term_validate(kv_buffer_bytes(&term), &limits, NULL), KV_ESIZE, "%s",
                     accepted[i].what);
        kv_buffer_free(&term);
    }
}

static const struct row malformed[] = {
    {"a reference to the atom cache", "5200"},
    {"a term of another node's own", "7900000000000000006101"},
    {"a compressed term", "5000000002"},
    {"a version byte inside", "6801836101"},
    {"a fun of old", "7500000000" PID A "61016101"},
    {"tag 0", "00"},
    {"tag 255", "ff"},
    {"an overlong character", "7702c080"},
    {"an overlong character of three bytes", "7703e09fbf"},
    {"an overlong character of four bytes", "7704f08fbfbf"},
    {"half of a surrogate pair", "7703eda080"},
    {"a character beyond Unicode", "7704f4908080"},
    {"a byte that begins no character", "7701ff"},
    {"a character that is cut off", "7702c3"
                                    "61"},
    {"a character cut off by the end of the atom", "7701c3"},
    {"not a number", "467ff8000000000000"},
    {"infinity", "467ff0000000000000"},
    {"minus infinity", "46fff0000000000000"},
    {"a float text of infinity", "63 696e66" ZEROS_8 ZEROS_8 ZEROS_8 "00000000"},
    {"a float text without a point", "63 31" ZEROS_8 ZEROS_8 ZEROS_8 "000000000000"},
    {"a float text with nothing behind the point", "63 312e" ZEROS_8 ZEROS_8 ZEROS_8 "0000000000"},
    {"a float text with nothing before the point", "63 2e35" ZEROS_8 ZEROS_8 ZEROS_8 "0000000000"},
    {"a float text without an exponent behind e", "63 312e3565" ZEROS_8 ZEROS_8 ZEROS_8 "000000"},
    {"a float text with a blank", "63 20312e30" ZEROS_8 ZEROS_8 ZEROS_8 "000000"},
    {"a float text in base 16", "63 3078312e387031" ZEROS_8 ZEROS_8 ZEROS_8},
    {"a float text beyond the largest", "63 312e3065393939" ZEROS_8 ZEROS_8 ZEROS_8},
    {"a float text that does not end",
     "63 312e3030303030303030303030303030303030303030303030303030303030"},
    {"nine bits in a byte", "4d00000001 09 ff"},
    {"no bit in a byte", "4d00000001 00 ff"},
    {"bits in no byte", "4d00000000 03"},
    {"a pid whose node is no atom", "58 6101 000000010000000200000003"},
    {"a pid of old with a creation of today", "67" A "0000000100000002 04"},
    {"a port whose node is no atom", "78 6a 000000000000000100000001"},
    {"a port of old with a creation of today", "66" A "00000001 04"},
    {"a reference without words", "5a0000" A "00000001"},
    {"a reference of six words",
     "5a0006" A "00000001 000000010000000200000003000000040000000500000006"},
    {"a reference whose node is no atom", "5a0001 6101 00000001 00000001"},
    {"a reference of before OTP 19 with a large first word", "720001" A "01 00040000"},
    {"a reference of before OTP 19 with a creation of today", "720001" A "04 00000001"},
    {"a reference of old with a large word", "65" A "00040000 01"},
    {"a reference of old with a creation of today", "65" A "00000001 04"},
    {"an external fun of no atom", "71 6101" A "6101"},
    {"an external fun without a name", "71" A "6a 6101"},
    {"an external fun of negative arity", "71" A A "62ffffffff"},
    {"an external fun whose arity is no integer", "71" A A A},
    {"an external fun of an arity beyond a word", "71" A A "6e0800ffffffffffffffff"},
};

Test(term_validate, terms_that_a_BEAM_does_not_decode_are_malformed)
{
    for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
        int error = validate_hex(malformed[i].hex);
        cr_expect_eq(error, KV_EMALFORMED, "%s: %s", malformed[i].what, kv_error_text(error));
    }
}

/* arity, uniq and index of a fun; the number of variables, module, index, uniq, pid and variables
 * follow. */
#define FUN_HEAD "01 000102030405060708090a0b0c0d0e0f 00000001"

/* A fun with a size field that is wrong by `off`. The field counts itself. */
static int validate_fun(const char *body, int off)
{
    struct kv_buffer inside = from_hex(body);
    struct kv_buffer term = from_hex("70");
    kv_buffer_u32(&term, (uint32_t)((int)inside.length + 4 + off));
    kv_buffer_append(&term, kv_buffer_bytes(&inside));
    append_hex(&term, "6a");
    int error = validate(kv_buffer_bytes(&term), &default_limits, NULL);
    kv_buffer_free(&inside);
    kv_buffer_free(&term);
    return error;
}

#define FUN_OF_NONE FUN_HEAD "00000000" A "61016101" PID
#define FUN_OF_ONE  FUN_HEAD "00000001" A "61016101" PID

static const struct row malformed_funs[] = {
    {"a module that is no atom", FUN_HEAD "00000000 6101 61016101" PID},
    {"an index that is no integer", FUN_HEAD "00000000" A "6a 6101" PID},
    {"a uniq beyond a word", FUN_HEAD "00000000" A "6101 6e0800ffffffffffffffff" PID},
    {"a creator that is no pid", FUN_HEAD "00000000" A "61016101" A},
    {"256 variables", FUN_HEAD "00000100" A "61016101" PID},
};

Test(term_validate, a_fun_with_a_part_that_cannot_be_is_malformed)
{
    cr_expect_eq(validate_fun(FUN_OF_NONE, 0), KV_OK);
    for (size_t i = 0; i < sizeof(malformed_funs) / sizeof(malformed_funs[0]); i++) {
        int error = validate_fun(malformed_funs[i].hex, 0);
        cr_expect_eq(error, KV_EMALFORMED, "%s: %s", malformed_funs[i].what, kv_error_text(error));
    }
}

Test(term_validate, a_fun_whose_parts_do_not_fill_its_size_is_malformed)
{
    cr_expect_eq(validate_fun(FUN_OF_NONE, -1), KV_EMALFORMED);
    cr_expect_eq(validate_fun(FUN_OF_NONE, 1), KV_EMALFORMED);
    cr_expect_eq(validate_fun(FUN_OF_ONE "6101", 0), KV_OK);
    cr_expect_eq(validate_fun(FUN_OF_ONE "6101", -1), KV_EMALFORMED);
    cr_expect_eq(validate_fun(FUN_OF_ONE "6101", 1), KV_EMALFORMED);
    cr_expect_eq(validate_fun(FUN_OF_ONE "6801 6101", -2), KV_EMALFORMED);
}

static int validate_atom(const char *header, const char *character, size_t times)
{
    struct kv_buffer term = from_hex(header);
    append_repeated(&term, character, times);
    int error = validate(kv_buffer_bytes(&term), &default_limits, NULL);
    kv_buffer_free(&term);
    return error;
}

Test(term_validate, an_atom_has_at_most_255_characters)
{
    cr_expect_eq(validate_atom("7600ff", "61", 255), KV_OK);
    cr_expect_eq(validate_atom("760100", "61", 256), KV_EMALFORMED);
    cr_expect_eq(validate_atom("7603fc", "f09f9880", 255), KV_OK);
    cr_expect_eq(validate_atom("760400", "f09f9880", 256), KV_EMALFORMED);
    cr_expect_eq(validate_atom("77ff", "61", 255), KV_OK);
    cr_expect_eq(validate_atom("6400ff", "e9", 255), KV_OK);
    cr_expect_eq(validate_atom("640100", "e9", 256), KV_EMALFORMED);
}

static int validate_big(const char *header, size_t bytes)
{
    struct kv_buffer term = from_hex(header);
    append_repeated(&term, "01", bytes);
    int error = validate(kv_buffer_bytes(&term), &default_limits, NULL);
    kv_buffer_free(&term);
    return error;
}

Test(term_validate,
     a_bignum_that_only_older_beams_read_is_refused_and_one_that_none_reads_malformed)
{
    cr_expect_eq(validate_big("6f0007fff8 00", 524280), KV_OK);
    cr_expect_eq(validate_big("6f0007fff9 00", 524281), KV_EBIG);
    cr_expect_eq(validate_big("6f003ffff8 00", 4194296), KV_EBIG);
    cr_expect_eq(validate_big("6f003ffff9 00", 4194297), KV_EMALFORMED);
}

static const struct row refused[] = {
    {"a record", "43 00000002 00" A A "770178 770179 6101 6102"},
    {"a record in a tuple", "68 02 61 01 43 00000000 00" A A},
    {"a record in a list", "6c 00000001 43 00000000 00" A A "6a"},
    {"a record as a key", "74 00000001 43 00000000 00" A A "6a"},
    {"a record in a fun", "70 00000000" FUN_HEAD "00000001" A "61016101" PID "43"},
    {"a record that is not whole", "43"},
};

Test(term_validate, records_of_OTP_29_are_refused_since_older_nodes_cannot_read_them)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        int error = validate_hex(refused[i].hex);
        cr_expect_eq(error, KV_ERECORD, "%s: %s", refused[i].what, kv_error_text(error));
        cr_expect(kv_is_refusal(error));
    }
}

static const struct row claims[] = {
    {"a list", "6cffffffff 6101"},
    {"a tuple", "69ffffffff 6101"},
    {"a map", "74ffffffff 6101"},
    {"a map of half", "7480000000 6101"},
    {"a binary", "6dffffffff 6101"},
    {"a bit string", "4dffffffff 01 61"},
    {"a string", "6bffff 61"},
    {"a bignum", "6f00100000 00 01"},
    {"an atom", "7600ff 61"},
    {"a fun", "70ffffffff" FUN_HEAD "00000000" A "61016101" PID},
    {"a nested list", "6c00000001 6c7fffffff 6101"},
};

Test(term_validate, a_claim_far_beyond_the_input_is_truncated_and_takes_no_memory)
{
    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
        size_t before = kv_alloc_outstanding();
        int error = validate_hex(claims[i].hex);
        cr_expect_eq(error, KV_ETRUNCATED, "%s: %s", claims[i].what, kv_error_text(error));
        cr_expect_eq(kv_alloc_outstanding(), before, "%s", claims[i].what);
    }
}

static const struct row containers[] = {
    {"tuples", "6801"},
    {"large tuples", "6900000001"},
    {"lists", "6c00000001 6a"},
    {"heads of lists", "6c00000001"},
    {"values of maps", "7400000001 6a"},
    {"keys of maps", "7400000001"},
    {"lists of nothing", "6c00000000"},
};

/* `depth` nested containers, followed by enough nils to end them all. */
static int validate_nested(const char *container, size_t depth, size_t limit)
{
    struct kv_buffer term = KV_BUFFER_INIT;
    append_repeated(&term, container, depth);
    append_repeated(&term, "6a", depth + 1);
    struct kv_term_limits limits = default_limits;
    limits.depth = limit;
    int error = validate(kv_buffer_bytes(&term), &limits, NULL);
    kv_buffer_free(&term);
    return error;
}

Test(term_validate, nesting_is_accepted_at_the_limit_and_refused_one_beyond)
{
    static const size_t limits[] = {1, 15, 16, 17, 33, 65536, 1 << 20};
    for (size_t i = 0; i < sizeof(containers) / sizeof(containers[0]); i++) {
        for (size_t j = 0; j < sizeof(limits) / sizeof(limits[0]); j++) {
            const char *hex = containers[i].hex;
            cr_expect_eq(validate_nested(hex, limits[j], limits[j]), KV_OK, "%s, %zu",
                         containers[i].what, limits[j]);
            cr_expect_eq(validate_nested(hex, limits[j] + 1, limits[j]), KV_EDEPTH, "%s, %zu",
                         containers[i].what, limits[j]);
        }
    }
}

Test(term_validate, a_flat_list_of_a_million_is_not_deep)
{
    struct kv_buffer term = from_hex("6c000f4240");
    append_repeated(&term, "6101", 1000000);
    kv_buffer_u8(&term, KV_TAG_NIL);
    struct kv_term_limits limits = default_limits;
    limits.depth = 1;
    cr_expect_eq(kv_term_validate(kv_buffer_bytes(&term), &limits, NULL), KV_OK);
    kv_buffer_free(&term);
}

static const struct row duplicates[] = {
    {"the same key", "7400000002 6101 6101 6101 6102"},
    {"not next to each other", "7400000003 6101 6a 6102 6a 6101 6a"},
    {"in two encodings", "7400000002 6101 6a 6200000001 6a"},
    {"an atom of old and one of today", "7400000002 7302e961 6a 7703c3a961 6a"},
    {"a string and a list", "7400000002 6b0001 05 6a 6c00000001 6105 6a 6a"},
    {"inside a list", "6c00000001 7400000002 6a6a 6a6a 6a"},
    {"inside a value of a map", "7400000001 6a 7400000002 6a6a 6a6a"},
    {"inside a key of a map", "7400000001 7400000002 6a6a 6a6a 6a"},
    {"maps as keys, in two orders", "7400000002 7400000002 6101 6a 6102 6b000105 6a"
                                    "7400000002 6102 6b000105 6101 6a 6a"},
    {"maps of one pair as keys", "7400000002 7400000001 6101 6a 6a 7400000001 6200000001 6a 6a"},
    {"empty maps as keys", "7400000002 7400000000 6a 7400000000 6a"},
};

Test(term_validate, a_map_with_the_same_key_twice_is_refused)
{
    for (size_t i = 0; i < sizeof(duplicates) / sizeof(duplicates[0]); i++) {
        int error = validate_hex(duplicates[i].hex);
        cr_expect_eq(error, KV_EDUPLICATE, "%s: %s", duplicates[i].what, kv_error_text(error));
    }
}

Test(term_validate, a_map_with_the_same_key_twice_is_refused_inside_a_fun_too)
{
    cr_expect_eq(validate_fun(FUN_OF_ONE "7400000002 61016a 61016a", 0), KV_EDUPLICATE);
    cr_expect_eq(validate_fun(FUN_OF_ONE "7400000002 61016a 61026a", 0), KV_OK);
}

static const struct row no_duplicates[] = {
    {"1 and 1.0", "7400000002 6101 6a 463ff0000000000000 6a"},
    {"an atom and a binary", "7400000002 770161 6a 6d0000000161 6a"},
    {"a list and its beginning", "7400000002 6b000101 6a 6b00020102 6a"},
    {"the same key in two maps", "7400000002 6101 7400000001 6101 6a 6102 7400000001 6101 6a"},
    {"maps that differ in a value", "7400000002 7400000001 6101 6101 6a 7400000001 6101 6102 6a"},
    {"maps that differ in a key", "7400000002 7400000001 6101 6101 6a 7400000001 6102 6101 6a"},
    {"an empty map and one of a pair", "7400000002 7400000000 6a 7400000001 6101 6101 6a"},
    {"a map inside a list as key",
     "7400000002 6c00000001 7400000001 6101 6101 6a 6a 7400000001 6101 6101 6a"},
    {"keys that are maps of maps", "7400000002 7400000001 7400000001 6a6a 6a 6a"
                                   "7400000001 6a 7400000001 6a6a 6a"},
};

Test(term_validate, different_keys_are_no_duplicates)
{
    for (size_t i = 0; i < sizeof(no_duplicates) / sizeof(no_duplicates[0]); i++) {
        int error = validate_hex(no_duplicates[i].hex);
        cr_expect_eq(error, KV_OK, "%s: %s", no_duplicates[i].what, kv_error_text(error));
    }
}

Test(term_validate, zero_and_minus_zero_are_two_keys_or_one_as_the_limits_say)
{
    struct kv_buffer term = from_hex("7400000002 46" ZEROS_8 "6a 468000000000000000 6a");
    cr_expect_eq(kv_term_validate(kv_buffer_bytes(&term), &default_limits, NULL), KV_OK);
    cr_expect_eq(kv_term_validate(kv_buffer_bytes(&term), &zeros_same, NULL), KV_EDUPLICATE);
    kv_buffer_free(&term);
}

/* Pairs i => nil for i below `count`, and one more with the key `extra`. */
static int validate_large_map(uint32_t count, int64_t extra)
{
    struct kv_buffer term = KV_BUFFER_INIT;
    kv_write_map(&term, count + (extra >= 0 ? 1 : 0));
    for (uint32_t i = 0; i < count; i++) {
        kv_write_u64(&term, i);
        kv_write_nil(&term);
    }
    if (extra >= 0) {
        kv_write_i64(&term, extra);
        kv_write_nil(&term);
    }
    int error = kv_term_validate(kv_buffer_bytes(&term), &default_limits, NULL);
    kv_buffer_free(&term);
    return error;
}

Test(term_validate, a_duplicate_is_found_among_a_hundred_thousand_keys)
{
    cr_expect_eq(validate_large_map(100000, -1), KV_OK);
    cr_expect_eq(validate_large_map(100000, 0), KV_EDUPLICATE);
    cr_expect_eq(validate_large_map(100000, 54321), KV_EDUPLICATE);
    cr_expect_eq(validate_large_map(100000, 99999), KV_EDUPLICATE);
}

/* Keys in an order in which a sort has much to do, and each comes once. With `twice` a key comes a
 * second time. */
static struct kv_buffer scattered_map(uint32_t count, bool twice)
{
    enum { PRIME = 7919 };
    struct kv_buffer term = KV_BUFFER_INIT;
    kv_write_map(&term, count);
    for (uint32_t i = 0; i < count; i++) {
        const bool again = twice && i == count / 3;
        kv_write_i64(&term, 1000 + (again ? 0 : i * PRIME % count));
        kv_write_nil(&term);
    }
    return term;
}

Test(term_validate, maps_of_any_number_of_pairs_give_the_same_result_in_pieces)
{
    for (uint32_t count = 2; count < 200; count++) {
        struct kv_buffer once = scattered_map(count, false);
        struct kv_buffer twice = scattered_map(count, count / 3 > 0);
        cr_expect_eq(validate(kv_buffer_bytes(&once), &default_limits, NULL), KV_OK, "%u", count);
        cr_expect_eq(validate(kv_buffer_bytes(&twice), &default_limits, NULL),
                     count / 3 > 0 ? KV_EDUPLICATE : KV_OK, "%u", count);
        kv_buffer_free(&once);
        kv_buffer_free(&twice);
    }
}

/* Two walks over all bytes, and some hundred pieces between the last key and the result. */
Test(term_validate, a_large_map_is_sorted_in_pieces)
{
    enum { PAIRS = 10000, PIECE = 1024 };
    struct kv_buffer term = scattered_map(PAIRS, false);
    struct kv_piecewise *piecewise = kv_piecewise_new(kv_buffer_bytes(&term), &default_limits);
    const size_t walked = 2 * (term.length / PIECE + 1);
    size_t pieces = 0;
    size_t length = 0;
    while (kv_piecewise_go_on(piecewise, PIECE)) {
        pieces++;
    }
    cr_assert_eq(kv_piecewise_result(piecewise, &length), KV_OK);
    cr_assert_eq(length, term.length);
    cr_assert_gt(pieces, walked + 300);
    kv_piecewise_free(piecewise);
    kv_buffer_free(&term);
}

/* This would take hours if each level compared the keys of all levels below. */
Test(term_validate, maps_nested_in_keys_sixty_thousand_deep_take_no_time)
{
    struct kv_buffer term = KV_BUFFER_INIT;
    append_repeated(&term, "7400000002 6101 6a", 60000);
    kv_write_nil(&term);
    append_repeated(&term, "6a", 60000);
    cr_expect_eq(kv_term_validate(kv_buffer_bytes(&term), &default_limits, NULL), KV_OK);
    kv_buffer_free(&term);
}

/* ---- long lists ---------------------------------------------------------------------------------
 * Runs of leaves and of pairs of leaves have a short way, which must find the same errors as the
 * general way does for single elements. */

enum { LONG_HEADER = 5, LONG_ELEMENTS = 14 };

static const char *const long_lists[] = {
    "6c0000000e" /* all kinds */
    "6d00000003010203 6802 6d000000026b31 6d00000001ff 770161 6a 61ff 62ffffffff"
    "6802 770161 6a 6802 61ff 62ffffffff 6801 6a 6800 6802 6802 6101 6102 6103"
    "463ff8000000000000 6d00000000 6802 6a 7702c3b6 6a",
    "6c0000000e" /* one shape after the other */
    "6d00000003010203 6d00000003010203 6d00000003010203 6d00000000 6d00000000 6d00000000"
    "6101 6102 6103 62ffffffff 62ffffffff 62ffffffff 6a 6a 6a",
    "6c0000000e"
    "6802 6d000000026b31 6d00000001ff 6802 6d000000026b31 6d00000001ff"
    "6802 6d000000026b31 6d00000001ff 6802 6d000000026b31 6101 6802 6d000000026b31 6101"
    "6802 6d000000026b31 6101 6802 6d000000026b31 62ffffffff 6802 6d000000026b31 62ffffffff"
    "6802 6101 6d00000000 6802 6101 6d00000000 6802 6101 6d00000000 6802 6101 6102 6802 6101 6102"
    "6802 6101 6102 6a",
};

enum { LONG_LISTS = sizeof long_lists / sizeof long_lists[0] };

/* The tail counts as one more element. */
static int validate_each(struct kv_bytes list, const struct kv_term_limits *limits, size_t *length)
{
    struct kv_term_limits inner = *limits;
    size_t at = LONG_HEADER;
    inner.depth--;
    for (unsigned i = 0; i <= LONG_ELEMENTS; i++) {
        size_t size = 0;
        int error = validate(kv_bytes(list.data + at, list.length - at), &inner, &size);
        if (error != KV_OK) {
            return error;
        }
        at += size;
    }
    *length = at;
    return KV_OK;
}

static void expect_as_each(struct kv_bytes list, const struct kv_term_limits *limits)
{
    size_t length = 0;
    size_t expected = 0;
    int error = validate_each(list, limits, &expected);
    cr_assert_eq(validate(list, limits, &length), error);
    cr_assert_eq(length, expected);
}

static void change_each_byte(struct kv_buffer *list)
{
    struct kv_bytes bytes = kv_buffer_bytes(list);
    for (size_t i = LONG_HEADER; i < list->length; i++) {
        uint8_t was = list->data[i];
        for (unsigned byte = 0; byte <= UINT8_MAX; byte++) {
            list->data[i] = (uint8_t)byte;
            expect_as_each(bytes, &default_limits);
        }
        list->data[i] = was;
    }
}

Test(term_validate, an_element_of_a_long_list_is_seen_as_by_itself)
{
    for (size_t i = 0; i < LONG_LISTS; i++) {
        struct kv_buffer list = from_hex(long_lists[i]);
        size_t length = 0;
        cr_expect_eq(validate(kv_buffer_bytes(&list), &default_limits, &length), KV_OK);
        cr_expect_eq(length, list.length);
        change_each_byte(&list);
        kv_buffer_free(&list);
    }
}

Test(term_validate, a_long_list_that_ends_too_early_is_truncated)
{
    for (size_t i = 0; i < LONG_LISTS; i++) {
        struct kv_buffer list = from_hex(long_lists[i]);
        for (size_t length = 0; length < list.length; length++) {
            struct kv_bytes part = kv_bytes(list.data, length);
            cr_expect_eq(validate(part, &default_limits, NULL), KV_ETRUNCATED);
        }
        kv_buffer_free(&list);
    }
}

Test(term_validate, pairs_in_a_long_list_are_as_deep_as_any_tuple)
{
    struct kv_buffer list = KV_BUFFER_INIT;
    struct kv_term_limits limits = default_limits;
    kv_write_list(&list, 100);
    append_repeated(&list, "6802 6101 6102", 100);
    kv_write_nil(&list);
    limits.depth = 1;
    cr_expect_eq(validate(kv_buffer_bytes(&list), &limits, NULL), KV_EDEPTH);
    limits.depth = 2;
    cr_expect_eq(validate(kv_buffer_bytes(&list), &limits, NULL), KV_OK);
    kv_buffer_free(&list);
}

Test(term_validate, no_memory_is_left_after_accepting_or_refusing_a_term)
{
    struct kv_buffer term = from_hex(RICH_SAMPLE);
    size_t before = kv_alloc_outstanding();
    cr_expect_eq(kv_term_validate(kv_buffer_bytes(&term), &default_limits, NULL), KV_OK);
    cr_expect_eq(kv_alloc_outstanding(), before);
    for (size_t i = 0; i < sizeof(duplicates) / sizeof(duplicates[0]); i++) {
        before = kv_alloc_outstanding();
        (void)validate_hex(duplicates[i].hex);
        cr_expect_eq(kv_alloc_outstanding(), before, "%s", duplicates[i].what);
    }
    kv_buffer_free(&term);
}
