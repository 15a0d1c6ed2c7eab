/* kv_term_canonical(): equal bytes exactly for terms that are =:=. */
#include "support/terms.h"

#include "base/alloc.h"

TestSuite(term_canonical, .timeout = 60);

#define A       "770161"
#define ZEROS_8 "0000000000000000"

struct form {
    const char *what;
    const char *hex;
    const char *canonical;
};

static const struct form forms[] = {
    {"a small integer", "61ff", "61ff"},
    {"a small integer in four bytes", "62000000ff", "61ff"},
    {"256", "6200000100", "6200000100"},
    {"-1", "62ffffffff", "62ffffffff"},
    {"a small integer as a bignum", "6e010005", "6105"},
    {"a small integer as a large bignum", "6f000000010005", "6105"},
    {"a bignum of 2^31 - 1", "6e0400ffffff7f", "627fffffff"},
    {"a bignum of 2^31", "6e040000000080", "6e040000000080"},
    {"a bignum of -2^31", "6e040100000080", "6280000000"},
    {"a bignum of -2^31 - 1", "6e040101000080", "6e040101000080"},
    {"a bignum with zeros in front", "6e0a0001020304050000000000", "6e05000102030405"},
    {"zero with zeros in front", "6e0300000000", "6100"},
    {"zero without digits", "6e0000", "6100"},
    {"minus zero", "6e010100", "6100"},
    {"any byte for minus", "6e05ff0102030405", "6e05010102030405"},
    {"a large bignum that is small", "6f00000005000102030405", "6e05000102030405"},
    {"a float", "463ff8000000000000", "463ff8000000000000"},
    {"a float of old", "63 312e3530303030303030303030303030303030303030652b3030 0000000000",
     "463ff8000000000000"},
    {"an atom", "770161", "770161"},
    {"an atom in the long form", "76000161", "770161"},
    {"an atom of old", "640002e961", "7703c3a961"},
    {"a small atom of old", "7302e961", "7703c3a961"},
    {"an empty string", "6b0000", "6a"},
    {"a string", "6b00020102", "6b00020102"},
    {"a list of bytes", "6c00000002 6101 6102 6a", "6b00020102"},
    {"a list of bytes in other encodings", "6c00000002 6200000001 6e010002 6a", "6b00020102"},
    {"a list of more than bytes", "6c00000002 6101 6200000100 6a", "6c00000002 6101 6200000100 6a"},
    {"a list of negative numbers", "6c00000001 62ffffffff 6a", "6c00000001 62ffffffff 6a"},
    {"a list of nil", "6c00000002 6a6a 6a", "6c00000002 6a6a 6a"},
    {"an improper list of bytes", "6c00000002 6101 6102 6103", "6c00000002 6101 6102 6103"},
    {"a list whose tail is a list", "6c00000001 6101 6c00000001 6102 6a", "6b00020102"},
    {"a list whose tail is a string", "6c00000001 6101 6b00020203", "6b0003010203"},
    {"a list of atoms whose tail is a string", "6c00000001" A "6b00020203",
     "6c00000003" A "6102 6103 6a"},
    {"a list whose tail is an empty string", "6c00000001 6101 6b0000", "6b000101"},
    {"a list whose tail is a list that is improper", "6c00000001 6101 6c00000001 6102 6103",
     "6c00000002 6101 6102 6103"},
    {"a list of no elements", "6c00000000 6a", "6a"},
    {"a list of no elements before a string", "6c00000000 6b000101", "6b000101"},
    {"a list of no elements before a number", "6c00000000 6200000001", "6101"},
    {"a list of no elements as a tail", "6c00000001 6101 6c00000000 6c00000000 6102",
     "6c00000001 6101 6102"},
    {"strings in a list", "6c00000001 6b000101 6a", "6c00000001 6b000101 6a"},
    {"a list of strings that ends with one", "6c00000001 6b000101 6b000102",
     "6c00000002 6b000101 6102 6a"},
    {"a tuple", "6802 6200000001 6a", "6802 6101 6a"},
    {"a large tuple that is small", "6900000001 6a", "6801 6a"},
    {"an empty large tuple", "6900000000", "6800"},
    {"a binary", "6d0000000161", "6d0000000161"},
    {"a bit string of whole bytes", "4d00000001 08 61", "6d0000000161"},
    {"an empty bit string", "4d00000000 00", "6d00000000"},
    {"a bit string with bits behind its end", "4d00000002 03 ffff", "4d00000002 03 ffe0"},
    {"a pid", "58" A "000000010000000200000003", "58" A "000000010000000200000003"},
    {"a pid of old", "67" A "000000010000000203", "58" A "000000010000000200000003"},
    {"a pid whose node is an atom of old", "58 7301e9 000000010000000200000003",
     "58 7702c3a9 000000010000000200000003"},
    {"a port of before OTP 24", "59" A "0000000100000002", "78" A "0000000000000001 00000002"},
    {"a port of old", "66" A "0000000102", "78" A "0000000000000001 00000002"},
    {"a reference", "5a0003" A "00000001 000000020000000300000004",
     "5a0003" A "00000001 000000020000000300000004"},
    {"a reference of five words", "5a0005" A "00000001 0000000200000003000000040000000500000006",
     "5a0005" A "00000001 0000000200000003000000040000000500000006"},
    {"a reference with words of zero at its end",
     "5a0005" A "00000001 0000000200000003000000000000000000000000",
     "5a0005" A "00000001 0000000200000003000000000000000000000000"},
    {"a reference of one word", "5a0001" A "00000001 00000002",
     "5a0003" A "00000001 000000020000000000000000"},
    {"a reference of before OTP 19", "720003" A "01 000000020000000300000004",
     "5a0003" A "00000001 000000020000000300000004"},
    {"a reference of one word of old", "65" A "00000002 01",
     "5a0003" A "00000001 000000020000000000000000"},
    {"an external fun", "71 7302e961 76000161 6200000001", "71 7703c3a961 770161 6101"},
    {"a fun", FUN_SAMPLE, FUN_SAMPLE},
    {"an empty map", "7400000000", "7400000000"},
    {"a map of a pair", "7400000001 6200000001 6200000002", "7400000001 6101 6102"},
};

Test(term_canonical, each_term_has_the_form_of_the_table)
{
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct kv_buffer term = from_hex(forms[i].hex);
        struct kv_buffer wanted = from_hex(forms[i].canonical);
        cr_assert_eq(kv_term_validate(kv_buffer_bytes(&term), &default_limits, NULL), KV_OK, "%s",
                     forms[i].what);
        struct kv_buffer form = canonical(kv_buffer_bytes(&term), KV_ZEROS_DIFFER);
        cr_expect(kv_bytes_equal(kv_buffer_bytes(&form), kv_buffer_bytes(&wanted)), "%s",
                  forms[i].what);
        kv_buffer_free(&form);
        kv_buffer_free(&wanted);
        kv_buffer_free(&term);
    }
}

/* Every form of the table inside lists, tuples, keys and values: the walk differs there. */
static const char *const around[][2] = {
    {"6c00000001", "6a"},        {"6802 6a", ""},
    {"7400000001", "6a"},        {"7400000001 6a", ""},
    {"7400000002 6a6a", "6a"},   {"7400000002 7400000001", "6a 6a 6a 6a"},
    {"4300000000 00" A A, NULL},
};

Test(term_canonical, a_canonical_form_is_its_own_canonical_form_and_valid)
{
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        for (size_t j = 0; around[j][1] != NULL; j++) {
            struct kv_buffer term = from_hex(around[j][0]);
            append_hex(&term, forms[i].hex);
            append_hex(&term, around[j][1]);
            if (kv_term_validate(kv_buffer_bytes(&term), &default_limits, NULL) == KV_EDUPLICATE) {
                kv_buffer_free(&term); /* nil twice */
                continue;
            }
            struct kv_buffer once = canonical(kv_buffer_bytes(&term), KV_ZEROS_DIFFER);
            struct kv_buffer twice = canonical(kv_buffer_bytes(&once), KV_ZEROS_DIFFER);
            size_t length = 0;
            cr_expect_eq(validate(kv_buffer_bytes(&once), &default_limits, &length), KV_OK, "%s",
                         forms[i].what);
            cr_expect_eq(length, once.length, "%s", forms[i].what);
            cr_expect(kv_bytes_equal(kv_buffer_bytes(&once), kv_buffer_bytes(&twice)), "%s",
                      forms[i].what);
            kv_buffer_free(&twice);
            kv_buffer_free(&once);
            kv_buffer_free(&term);
        }
    }
}

struct pair {
    const char *what;
    const char *a;
    const char *b;
};

static bool same(const char *a, const char *b, enum kv_zeros zeros)
{
    struct kv_buffer first = from_hex(a);
    struct kv_buffer second = from_hex(b);
    struct kv_buffer form = canonical(kv_buffer_bytes(&first), zeros);
    struct kv_buffer other = canonical(kv_buffer_bytes(&second), zeros);
    bool equal = kv_bytes_equal(kv_buffer_bytes(&form), kv_buffer_bytes(&other));
    kv_buffer_free(&first);
    kv_buffer_free(&second);
    kv_buffer_free(&form);
    kv_buffer_free(&other);
    return equal;
}

static const struct pair equal[] = {
    {"maps in two orders", "7400000002 6101 6a 6102 6b000105", "7400000002 6102 6b000105 6101 6a"},
    {"keys in two encodings", "7400000002 6101 6a 6102 6a", "7400000002 6200000002 6a 6e010001 6a"},
    {"values that are maps", "7400000002 6101 7400000002 6a6a" A "6a 6102 6a",
     "7400000002 6102 6a 6101 7400000002" A "6a 6a6a"},
    {"keys that are maps", "7400000002 7400000002 6a6a" A "6a 6101 6102 6103",
     "7400000002 6102 6103 7400000002" A "6a 6a6a 6101"},
    {"keys that hold maps", "7400000002 6801 7400000002 6a6a" A "6a 6101 6102 6103",
     "7400000002 6102 6103 6801 7400000002" A "6a 6a6a 6101"},
    {"maps after maps", "6802 7400000002 6a6a" A "6a 7400000002 6101 6a" A "6a",
     "6802 7400000002" A "6a 6a6a 7400000002" A "6a 6101 6a"},
    {"maps in a list with a string behind", "6c00000001 7400000002 6a6a" A "6a 6b000101",
     "6c00000002 7400000002" A "6a 6a6a 6101 6a"},
    {"maps in the tail of a list", "6c00000001 6101 7400000002 6a6a" A "6a",
     "6c00000001 6101 7400000002" A "6a 6a6a"},
    {"references with and without words of zero", "5a0001" A "00000001 00000002",
     "5a0003" A "00000001 00000002 0000000000000000"},
};

static const struct pair unequal[] = {
    {"1 and 1.0", "6101", "463ff0000000000000"},
    {"an atom and a binary", "770161", "6d0000000161"},
    {"a string and a binary", "6b000161", "6d0000000161"},
    {"nil and an empty tuple", "6a", "6800"},
    {"nil and an empty binary", "6a", "6d00000000"},
    {"nil and an empty map", "6a", "7400000000"},
    {"bit strings of other lengths", "4d00000001 03 a0", "4d00000001 04 a0"},
    {"a number and its negative", "6e050001020304 05", "6e050101020304 05"},
    {"maps that differ in a value", "7400000002 6101 6101 6a6a", "7400000002 6101 6102 6a6a"},
    {"maps that differ in a key", "7400000002 6101 6101 6a6a", "7400000002 6102 6101 6a6a"},
    {"maps with keys and values changed", "7400000001 6101 6102", "7400000001 6102 6101"},
    {"maps with values changed", "7400000002 6101 6103 6102 6104",
     "7400000002 6101 6104 6102 6103"},
    {"keys that are maps that differ", "7400000002 7400000001 6101 6a 6a 6a6a",
     "7400000002 7400000001 6102 6a 6a 6a6a"},
    {"a list and one in a list", "6b000101", "6c00000001 6b000101 6a"},
    {"a proper and an improper list", "6c00000001 6101 6102", "6b00020102"},
    {"pids of two creations", "58" A "000000010000000200000003", "58" A "000000010000000200000004"},
    {"references of other words", "5a0001" A "00000001 00000002", "5a0001" A "00000001 00000003"},
    {"atoms", "770161", "770162"},
};

Test(term_canonical, equal_terms_have_equal_forms)
{
    for (size_t i = 0; i < sizeof(equal) / sizeof(equal[0]); i++) {
        cr_expect(same(equal[i].a, equal[i].b, KV_ZEROS_DIFFER), "%s", equal[i].what);
        cr_expect(same(equal[i].a, equal[i].b, KV_ZEROS_SAME), "%s", equal[i].what);
    }
}

Test(term_canonical, two_terms_that_differ_have_forms_that_differ)
{
    for (size_t i = 0; i < sizeof(unequal) / sizeof(unequal[0]); i++) {
        cr_expect_not(same(unequal[i].a, unequal[i].b, KV_ZEROS_DIFFER), "%s", unequal[i].what);
        cr_expect_not(same(unequal[i].a, unequal[i].b, KV_ZEROS_SAME), "%s", unequal[i].what);
    }
}

static const struct pair zeros[] = {
    {"alone", "46" ZEROS_8, "468000000000000000"},
    {"from text", "46" ZEROS_8, "63 2d302e30" ZEROS_8 ZEROS_8 ZEROS_8 "000000"},
    {"in a tuple", "6801 46" ZEROS_8, "6801 468000000000000000"},
    {"in a list", "6c00000001 46" ZEROS_8 "6a", "6c00000001 468000000000000000 6a"},
    {"in a key", "7400000002 46" ZEROS_8 "6a 6a6a", "7400000002 468000000000000000 6a 6a6a"},
    {"in a value", "7400000002 6101 46" ZEROS_8 "6a6a", "7400000002 6101 468000000000000000 6a6a"},
    {"in a key of a key", "7400000001 7400000001 46" ZEROS_8 "6a 6a",
     "7400000001 7400000001 468000000000000000 6a 6a"},
};

Test(term_canonical, zero_and_minus_zero_are_one_key_only_on_request)
{
    for (size_t i = 0; i < sizeof(zeros) / sizeof(zeros[0]); i++) {
        cr_expect(same(zeros[i].a, zeros[i].b, KV_ZEROS_SAME), "%s", zeros[i].what);
        cr_expect_not(same(zeros[i].a, zeros[i].b, KV_ZEROS_DIFFER), "%s", zeros[i].what);
    }
}

/* A list of `count` ones: as a list or, if possible, as strings of at most `string`. */
static struct kv_buffer ones(size_t count, size_t string)
{
    struct kv_buffer term = KV_BUFFER_INIT;
    kv_write_list(&term, (uint32_t)(count - string));
    append_repeated(&term, "6101", count - string);
    if (string == 0) {
        kv_write_nil(&term);
        return term;
    }
    kv_buffer_u8(&term, KV_TAG_STRING);
    kv_buffer_u16(&term, (uint16_t)string);
    append_repeated(&term, "01", string);
    return term;
}

Test(term_canonical, a_list_of_65535_bytes_is_a_string_and_one_of_65536_is_a_list)
{
    static const size_t strings[] = {0, 1, 65534};
    for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
        struct kv_buffer term = ones(65535, strings[i]);
        struct kv_buffer form = canonical(kv_buffer_bytes(&term), KV_ZEROS_DIFFER);
        cr_expect_eq(form.data[0], KV_TAG_STRING);
        cr_expect_eq(form.length, 3 + 65535);
        kv_buffer_free(&form);
        kv_buffer_free(&term);

        term = ones(65536, strings[i]);
        form = canonical(kv_buffer_bytes(&term), KV_ZEROS_DIFFER);
        cr_expect_eq(form.data[0], KV_TAG_LIST);
        cr_expect_eq(form.length, 5 + 2 * 65536 + 1);
        kv_buffer_free(&form);
        kv_buffer_free(&term);
    }
}

Test(term_canonical, a_tuple_of_255_is_small_and_one_of_256_is_large)
{
    struct kv_buffer term = from_hex("69000000ff");
    append_repeated(&term, "6a", 255);
    struct kv_buffer form = canonical(kv_buffer_bytes(&term), KV_ZEROS_DIFFER);
    cr_expect_eq(form.data[0], KV_TAG_SMALL_TUPLE);
    cr_expect_eq(form.length, 2 + 255);
    kv_buffer_free(&form);
    kv_buffer_clear(&term);
    append_hex(&term, "6900000100");
    append_repeated(&term, "6a", 256);
    form = canonical(kv_buffer_bytes(&term), KV_ZEROS_DIFFER);
    cr_expect(kv_bytes_equal(kv_buffer_bytes(&form), kv_buffer_bytes(&term)));
    kv_buffer_free(&form);
    kv_buffer_free(&term);
}

/* count pairs {key, {i}} => #{i => nil, a => nil}, beginning with pair `first`, each `step` on. */
static struct kv_buffer large_map(uint32_t count, uint32_t first, uint32_t step)
{
    struct kv_buffer term = KV_BUFFER_INIT;
    kv_write_map(&term, count);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t key = (uint32_t)((first + (uint64_t)i * step) % count);
        kv_write_tuple(&term, 2);
        kv_write_atom_text(&term, "key");
        kv_write_u64(&term, key);
        kv_write_map(&term, 2);
        kv_write_u64(&term, i % 2 == 0 ? key : 1000000);
        kv_write_nil(&term);
        kv_write_u64(&term, i % 2 == 0 ? 1000000 : key);
        kv_write_nil(&term);
    }
    return term;
}

Test(term_canonical, a_hundred_thousand_keys_in_two_orders_have_one_form)
{
    struct kv_buffer a = large_map(100000, 0, 1);
    struct kv_buffer b = large_map(100000, 77777, 99999);
    cr_assert_eq(kv_term_validate(kv_buffer_bytes(&b), &default_limits, NULL), KV_OK);
    struct kv_buffer form = canonical(kv_buffer_bytes(&a), KV_ZEROS_DIFFER);
    struct kv_buffer other = canonical(kv_buffer_bytes(&b), KV_ZEROS_DIFFER);
    cr_expect(kv_bytes_equal(kv_buffer_bytes(&form), kv_buffer_bytes(&other)));
    cr_expect_eq(form.length, a.length);
    cr_expect_eq(kv_term_validate(kv_buffer_bytes(&form), &default_limits, NULL), KV_OK);
    kv_buffer_free(&form);
    kv_buffer_free(&other);
    kv_buffer_free(&a);
    kv_buffer_free(&b);
}

/* Two ways to write the same `depth` containers. */
static void expect_same_when_nested(const char *a, const char *a_end, const char *b,
                                    const char *b_end, size_t depth)
{
    struct kv_buffer first = KV_BUFFER_INIT;
    struct kv_buffer second = KV_BUFFER_INIT;
    append_repeated(&first, a, depth);
    kv_write_nil(&first);
    append_repeated(&first, a_end, depth);
    append_repeated(&second, b, depth);
    kv_write_nil(&second);
    append_repeated(&second, b_end, depth);
    cr_assert_eq(kv_term_validate(kv_buffer_bytes(&first), &default_limits, NULL), KV_OK);
    cr_assert_eq(kv_term_validate(kv_buffer_bytes(&second), &default_limits, NULL), KV_OK);
    struct kv_buffer form = canonical(kv_buffer_bytes(&first), KV_ZEROS_DIFFER);
    struct kv_buffer other = canonical(kv_buffer_bytes(&second), KV_ZEROS_DIFFER);
    cr_expect(kv_bytes_equal(kv_buffer_bytes(&form), kv_buffer_bytes(&other)), "%s", a);
    kv_buffer_free(&form);
    kv_buffer_free(&other);
    kv_buffer_free(&first);
    kv_buffer_free(&second);
}

Test(term_canonical, sixty_thousand_containers_deep_take_no_stack_and_no_time)
{
    expect_same_when_nested("6801", "", "6900000001", "", 60000);
    expect_same_when_nested("6c00000001", "6a", "6c00000001", "6c000000006a", 30000);
    expect_same_when_nested("6c00000001 6101", "", "6c00000001 6200000001", "", 60000);
    expect_same_when_nested("7400000002" A "6a 6101", "", "7400000002 6101", A "6a", 60000);
    expect_same_when_nested("7400000002" A "6a", "6101", "7400000002", "6101" A "6a", 60000);
    expect_same_when_nested("7400000001", "6101", "7400000001", "6200000001", 60000);
    expect_same_when_nested("6801 7400000002" A "6a", "6101", "6801 7400000002", "6101" A "6a",
                            30000);
}

Test(term_canonical, the_form_is_appended_to_the_bytes_in_the_buffer)
{
    struct kv_buffer form = from_hex("0102");
    struct kv_buffer term = from_hex("7400000002 6102 6a 6101 6a");
    kv_term_canonical(kv_buffer_bytes(&term), KV_ZEROS_DIFFER, &form);
    cr_assert_eq(form.length, 2 + term.length);
    cr_expect_eq(form.data[0], 1);
    cr_expect_eq(form.data[1], 2);
    cr_expect_eq(kv_term_validate(kv_bytes(form.data + 2, form.length - 2), &default_limits, NULL),
                 KV_OK);
    kv_buffer_free(&form);
    kv_buffer_free(&term);
}

Test(term_canonical, the_form_of_a_term_of_a_BEAM_has_its_length_and_leaves_no_memory)
{
    struct kv_buffer term = from_hex(RICH_SAMPLE);
    size_t before = kv_alloc_outstanding();
    struct kv_buffer form = canonical(kv_buffer_bytes(&term), KV_ZEROS_DIFFER);
    struct kv_buffer again = canonical(kv_buffer_bytes(&form), KV_ZEROS_DIFFER);
    cr_expect_eq(form.length, term.length + 4, "a port of today is longer by 4 bytes");
    cr_expect(kv_bytes_equal(kv_buffer_bytes(&form), kv_buffer_bytes(&again)));
    kv_buffer_free(&form);
    kv_buffer_free(&again);
    cr_expect_eq(kv_alloc_outstanding(), before);
    kv_buffer_free(&term);
}
