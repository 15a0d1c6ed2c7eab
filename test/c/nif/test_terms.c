/* kv_nif_term(): the terms that it decodes itself, those that it leaves to the VM, and that it is
 * as strict as the validator. */
#include "nif/enif_stub.h"
#include "nif/nif.h"
#include "support/any_term.h"
#include "support/terms.h"

static ErlNifEnv *env;

static void set_up(void)
{
    env = stub_env(NULL, 1);
}

static void tear_down(void)
{
    enif_free_env(env);
}

TestSuite(nif_terms, .init = set_up, .fini = tear_down, .timeout = 60);

#define A "770161"

struct row {
    const char *what;
    const char *hex;
};

/* Decodes a copy that ends where its memory ends. */
static bool decode(struct kv_bytes external, ERL_NIF_TERM *term)
{
    struct kv_bytes copy = exact_copy(external);
    bool known = kv_nif_term(env, copy, term);
    free_copy(copy);
    return known;
}

static bool same(struct kv_bytes a, struct kv_bytes b)
{
    struct kv_buffer one = canonical(a, KV_ZEROS_DIFFER);
    struct kv_buffer other = canonical(b, KV_ZEROS_DIFFER);
    bool equal = kv_bytes_equal(kv_buffer_bytes(&one), kv_buffer_bytes(&other));
    kv_buffer_free(&one);
    kv_buffer_free(&other);
    return equal;
}

/* A term that is decoded is valid whatever the rule for zeros, and is the term of these bytes. */
static bool assert_right(struct kv_bytes external)
{
    ERL_NIF_TERM term;
    size_t length = 0;
    if (!decode(external, &term)) {
        return false;
    }
    cr_assert_eq(kv_term_validate(external, &zeros_same, &length), KV_OK);
    cr_assert_eq(length, external.length);
    cr_assert_eq(kv_term_validate(external, &default_limits, NULL), KV_OK);
    cr_assert(same(external, stub_external(term)));
    return true;
}

static bool decode_hex(const char *hex)
{
    struct kv_buffer external = from_hex(hex);
    bool decoded = assert_right(kv_buffer_bytes(&external));
    kv_buffer_free(&external);
    return decoded;
}

static const struct row known[] = {
    {"a small integer", "61ff"},
    {"an integer", "62ffffffff"},
    {"an integer of eight bytes", "6e0800ffffffffffffffff"},
    {"the least of these", "6e0801ffffffffffffff7f"},
    {"an integer without digits", "6e0000"},
    {"minus zero", "6e010100"},
    {"any byte for minus", "6e010205"},
    {"a float", "463ff8000000000000"},
    {"minus zero as a float", "468000000000000000"},
    {"an atom", "7703616263"},
    {"an atom without a character", "7700"},
    {"an atom in the long form", "760003616263"},
    {"an atom of old, as OTP 25 writes it inside a VM", "640003616263"},
    {"a small atom of old", "7303616263"},
    {"an atom that a thread does not remember",
     "771c6162636465666768696a6b6c6d6e6f707172737475767778797a4142"},
    {"nil", "6a"},
    {"a string", "6b0002ff00"},
    {"a string of nothing", "6b0000"},
    {"a list", "6c0000000a 6101 6102 6103 6104 6105 6106 6107 6108 6109 610a 6a"},
    {"an improper list", "6c00000002 6101" A "6102"},
    {"a list whose tail is a list", "6c00000001" A "6c00000001" A "6a"},
    {"a list whose tail is a string", "6c00000001" A "6b00020102"},
    {"a tuple", "6804 770773657373696f6e 6201020304 6d00000003616263 6103"},
    {"an empty map", "7400000000"},
    {"a map with atoms as keys", "7400000002 77026964 6101 77046e616d65 6d0000000178"},
    {"a map with binaries as keys", "7400000002 6d000000026964 6101 6d00000000 6a"},
    {"a map with integers as keys", "7400000002 6101 6a 62ffffffff 6a"},
    {"maps in a tuple in a list in a map", "7400000001" A "6c00000001 6802 7400000001" A "6a"
                                           "7400000001" A "6a 6a"},
    {"a binary", "6d00000003010203"},
    {"an empty binary", "6d00000000"},
};

Test(nif_terms, the_terms_that_people_keep_are_decoded)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        cr_expect(decode_hex(known[i].hex), "%s", known[i].what);
    }
}

Test(nif_terms, a_term_that_is_cut_off_or_followed_by_a_byte_is_none)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        struct kv_buffer external = from_hex(known[i].hex);
        ERL_NIF_TERM term;
        for (size_t length = 0; length < external.length; length++) {
            cr_expect_not(decode(kv_bytes(external.data, length), &term), "%s, %zu bytes",
                          known[i].what, length);
        }
        append_hex(&external, "6a");
        cr_expect_not(decode(kv_buffer_bytes(&external), &term), "%s", known[i].what);
        kv_buffer_free(&external);
    }
}

static const struct row left[] = {
    {"an atom with a character that is not ASCII", "7702c3b6"},
    {"an atom of old with such a character", "7301f6"},
    {"an atom that is no text", "7701ff"},
    {"an atom that this VM does not have", "770a 756e68656172645f6f66"},
    {"an integer of nine bytes", "6e0900ffffffffffffffffff"},
    {"an integer below eight bytes", "6e08010000000000000080"},
    {"a large bignum", "6f000000020101ff"},
    {"a float that is not a number", "467ff8000000000000"},
    {"infinity", "46fff0000000000000"},
    {"a float of old", "63 312e3530303030303030303030303030303030303030652b3030 0000000000"},
    {"a bit string", "4d0000000103 a0"},
    {"an empty tuple", "6800"},
    {"a large tuple", "6900000001 6a"},
    {"a list of no elements", "6c00000000 6101"},
    {"an atom twice in a map", "7400000002" A "6a" A "6a"},
    {"the same atom in two spellings", "7400000002" A "6a 64000161 6a"},
    {"the same integer in two spellings", "7400000002 6101 6a 6200000001 6a"},
    {"a binary twice in a map", "7400000002 6d0000000161 6a 6d0000000161 6a"},
    {"both zeros as keys", "7400000002 460000000000000000 6a 468000000000000000 6a"},
    {"a key that is a container", "7400000001 6801 6101 6a"},
    {"a key that is a bignum", "7400000001 6e010001 6a"},
    {"a pid", "58" A "000000010000000200000003"},
    {"a reference", "5a0001" A "00000001 ffffffff"},
    {"a fun", FUN_SAMPLE},
    {"a compressed term", "5000000002"},
    {"a version byte", "836101"},
    {"a claim of many elements", "6cffffffff 6101"},
    {"a claim of many pairs", "74ffffffff 6101"},
    {"a claim of half as many", "7480000001 6101 6a"},
    {"a claim of many bytes", "6dffffffff 6101"},
    {"no tag", "00"},
};

Test(nif_terms, all_others_are_left_to_the_vm)
{
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        cr_expect_not(decode_hex(left[i].hex), "%s", left[i].what);
    }
}

/* ---- bounds ---------------------------------------------------------------------------------- */

static bool decode_repeated(const char *header, const char *part, size_t times, const char *last)
{
    struct kv_buffer external = from_hex(header);
    append_repeated(&external, part, times);
    append_hex(&external, last);
    bool decoded = assert_right(kv_buffer_bytes(&external));
    kv_buffer_free(&external);
    return decoded;
}

Test(nif_terms, a_list_of_512_elements_is_decoded_and_a_longer_one_left)
{
    cr_expect(decode_repeated("6c00000200", "6a", 512, "6a"));
    cr_expect_not(decode_repeated("6c00000201", "6a", 513, "6a"));
    cr_expect_not(decode_repeated("6c00000200 6801 6a", "6a", 511, "6a"));
}

Test(nif_terms, sixteen_levels_are_decoded_and_one_more_is_left)
{
    cr_expect(decode_repeated("", "6801", 16, "6a"));
    cr_expect_not(decode_repeated("", "6801", 17, "6a"));
    cr_expect(decode_repeated("", "7400000001" A, 16, "6a"));
    cr_expect_not(decode_repeated("", "7400000001" A, 17, "6a"));
}

static bool decode_map(uint32_t pairs)
{
    struct kv_buffer external = KV_BUFFER_INIT;
    kv_write_map(&external, pairs);
    for (uint32_t i = 0; i < pairs; i++) {
        kv_write_u64(&external, i);
        kv_write_nil(&external);
    }
    bool decoded = assert_right(kv_buffer_bytes(&external));
    kv_buffer_free(&external);
    return decoded;
}

Test(nif_terms, a_map_of_32_pairs_is_decoded_and_a_larger_one_left)
{
    cr_expect(decode_map(32));
    cr_expect_not(decode_map(33));
}

/* ---- atoms ----------------------------------------------------------------------------------- */

/* More than a thread remembers, each twice, so that atoms drive each other out. */
Test(nif_terms, an_atom_is_the_right_one_also_after_many_others)
{
    for (unsigned i = 0; i < 6000; i++) {
        char text[16];
        ERL_NIF_TERM term;
        struct kv_buffer external = KV_BUFFER_INIT;
        (void)snprintf(text, sizeof text, "atom_%u", i % 3000);
        kv_write_atom_text(&external, text);
        cr_assert(decode(kv_buffer_bytes(&external), &term));
        cr_assert(stub_is_atom(term, text), "%s", text);
        kv_buffer_free(&external);
    }
}

/* ---- any term -------------------------------------------------------------------------------- */

enum { TERMS = 200000 };

Test(nif_terms, any_term_that_is_decoded_is_valid_and_has_the_same_value)
{
    struct draw draw = {.state = 2};
    struct kv_buffer external = KV_BUFFER_INIT;
    unsigned decoded = 0;
    for (unsigned i = 0; i < TERMS; i++) {
        external.length = 0;
        any_term(&draw, &external, 4);
        decoded += assert_right(kv_buffer_bytes(&external));
        if (i % 1000 == 0) {
            enif_clear_env(env);
        }
    }
    cr_expect_gt(decoded, TERMS / 16);
    kv_buffer_free(&external);
}
