/* The writers: our readers and libei read their bytes back, and a BEAM writes the same. */
#include "support/terms.h"

#include <ei.h>

TestSuite(term_write, .timeout = 10);

static void expect_hex(struct kv_buffer *written, const char *hex)
{
    struct kv_buffer wanted = from_hex(hex);
    cr_expect(kv_bytes_equal(kv_buffer_bytes(written), kv_buffer_bytes(&wanted)), "%s", hex);
    cr_expect_eq(validate(kv_buffer_bytes(written), &default_limits, NULL), KV_OK, "%s", hex);
    kv_buffer_free(&wanted);
    kv_buffer_clear(written);
}

static const struct {
    int64_t value;
    const char *hex; /* term_to_binary/1 */
} integers[] = {
    {0, "6100"},
    {1, "6101"},
    {255, "61ff"},
    {256, "6200000100"},
    {-1, "62ffffffff"},
    {-256, "62ffffff00"},
    {134217727, "6207ffffff"},
    {134217728, "6208000000"},
    {INT32_MAX, "627fffffff"},
    {INT32_MIN, "6280000000"},
    {INT64_C(2147483648), "6e040000000080"},
    {INT64_C(-2147483649), "6e040101000080"},
    {INT64_C(4294967296), "6e05000000000001"},
    {INT64_MAX, "6e0800ffffffffffffff7f"},
    {INT64_MIN, "6e08010000000000000080"},
};

Test(term_write, integers_have_the_bytes_that_a_BEAM_writes)
{
    struct kv_buffer out = KV_BUFFER_INIT;
    for (size_t i = 0; i < sizeof(integers) / sizeof(integers[0]); i++) {
        int64_t value = integers[i].value;
        kv_write_i64(&out, value);
        expect_hex(&out, integers[i].hex);
        if (value >= 0) {
            kv_write_u64(&out, (uint64_t)value);
            expect_hex(&out, integers[i].hex);
        }
    }
    kv_write_u64(&out, (uint64_t)INT64_MAX + 1);
    expect_hex(&out, "6e08000000000000000080");
    kv_write_u64(&out, UINT64_MAX);
    expect_hex(&out, "6e0800ffffffffffffffff");
    kv_buffer_free(&out);
}

Test(term_write, integers_are_read_back_by_us_and_by_libei)
{
    struct kv_buffer out = KV_BUFFER_INIT;
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int off = -1; off <= 1; off++) {
            uint64_t value = (UINT64_C(1) << bit) + (uint64_t)(int64_t)off;
            kv_buffer_clear(&out);
            kv_write_u64(&out, value);
            kv_write_i64(&out, (int64_t)value);
            struct kv_reader reader = kv_reader(kv_buffer_bytes(&out));
            uint64_t read = 0;
            int64_t read_signed = 0;
            cr_assert_eq(kv_read_u64(&reader, &read), KV_OK);
            cr_assert_eq(kv_read_i64(&reader, &read_signed), KV_OK);
            cr_expect(read == value && read_signed == (int64_t)value && kv_reader_at_end(&reader));
            EI_ULONGLONG other = 0;
            EI_LONGLONG other_signed = 0;
            int index = 0;
            cr_assert_eq(ei_decode_ulonglong((char *)out.data, &index, &other), 0);
            cr_assert_eq(ei_decode_longlong((char *)out.data, &index, &other_signed), 0);
            cr_expect(other == value && other_signed == (int64_t)value);
            cr_expect_eq((size_t)index, out.length);
        }
    }
    kv_buffer_free(&out);
}

Test(term_write, headers_have_the_bytes_that_a_BEAM_writes)
{
    struct kv_buffer out = KV_BUFFER_INIT;
    kv_write_tuple(&out, 0);
    expect_hex(&out, "6800");
    kv_write_tuple(&out, 1);
    kv_write_nil(&out);
    expect_hex(&out, "6801 6a");
    kv_write_list(&out, 1);
    kv_write_nil(&out);
    kv_write_nil(&out);
    expect_hex(&out, "6c00000001 6a 6a");
    kv_write_map(&out, 0);
    expect_hex(&out, "7400000000");
    kv_write_map(&out, 1);
    kv_write_nil(&out);
    kv_write_nil(&out);
    expect_hex(&out, "7400000001 6a 6a");
    kv_buffer_free(&out);
}

Test(term_write, a_tuple_of_255_is_small_and_one_of_256_is_large)
{
    struct kv_buffer out = KV_BUFFER_INIT;
    kv_write_tuple(&out, 255);
    cr_expect_eq(out.length, 2);
    kv_buffer_clear(&out);
    kv_write_tuple(&out, 256);
    cr_expect_eq(out.length, 5);
    int index = 0;
    int arity = 0;
    cr_expect_eq(ei_decode_tuple_header((char *)out.data, &index, &arity), 0);
    cr_expect_eq(arity, 256);
    kv_buffer_free(&out);
}

Test(term_write, atoms_have_the_bytes_that_a_BEAM_writes)
{
    struct kv_buffer out = KV_BUFFER_INIT;
    kv_write_atom_text(&out, "");
    expect_hex(&out, "7700");
    kv_write_atom_text(&out, "ok");
    expect_hex(&out, "77026f6b");
    kv_write_atom_text(&out, "\xc3\xb6");
    expect_hex(&out, "7702c3b6");
    kv_write_bool(&out, true);
    expect_hex(&out, "770474727565");
    kv_write_bool(&out, false);
    expect_hex(&out, "770566616c7365");
    kv_buffer_free(&out);
}

Test(term_write, an_atom_of_255_bytes_is_small_and_the_longest_is_large)
{
    struct kv_buffer text = KV_BUFFER_INIT;
    struct kv_buffer out = KV_BUFFER_INIT;
    struct kv_bytes read;
    append_repeated(&text, "61", 255);
    kv_write_atom(&out, kv_buffer_bytes(&text));
    cr_expect_eq(out.data[0], KV_TAG_SMALL_ATOM_UTF8);
    kv_buffer_clear(&text);
    kv_buffer_clear(&out);
    append_repeated(&text, "f09f9880", 255);
    kv_write_atom(&out, kv_buffer_bytes(&text));
    cr_expect_eq(out.data[0], KV_TAG_ATOM_UTF8);
    cr_expect_eq(validate(kv_buffer_bytes(&out), &default_limits, NULL), KV_OK);
    struct kv_reader reader = kv_reader(kv_buffer_bytes(&out));
    cr_assert_eq(kv_read_atom(&reader, &read), KV_OK);
    cr_expect(kv_bytes_equal(read, kv_buffer_bytes(&text)));
    kv_buffer_free(&text);
    kv_buffer_free(&out);
}

Test(term_write, binaries_and_strings_have_the_bytes_that_a_BEAM_writes)
{
    struct kv_buffer out = KV_BUFFER_INIT;
    kv_write_binary(&out, kv_bytes(NULL, 0));
    expect_hex(&out, "6d00000000");
    kv_write_binary(&out, kv_bytes("\0\xff", 2));
    expect_hex(&out, "6d0000000200ff");
    kv_write_binary_text(&out, "abc");
    expect_hex(&out, "6d00000003616263");
    kv_write_string(&out, "");
    expect_hex(&out, "6a");
    kv_write_string(&out, "abc");
    expect_hex(&out, "6b0003616263");
    kv_write_term(&out, kv_bytes("\x6a", 1));
    expect_hex(&out, "6a");
    kv_buffer_free(&out);
}

Test(term_write, a_string_may_have_65535_bytes)
{
    struct kv_buffer text = KV_BUFFER_INIT;
    struct kv_buffer out = KV_BUFFER_INIT;
    append_repeated(&text, "78", 65535);
    kv_buffer_u8(&text, 0);
    kv_write_string(&out, (const char *)text.data);
    cr_expect_eq(out.length, 3 + 65535);
    cr_expect_eq(validate(kv_buffer_bytes(&out), &default_limits, NULL), KV_OK);
    kv_buffer_free(&text);
    kv_buffer_free(&out);
}

Test(term_write, a_pid_is_read_back_by_us_and_by_libei)
{
    struct kv_pid pid = {
        .node = kv_bytes_text("kv@host"), .id = UINT32_MAX, .serial = 2, .creation = 0x80000003};
    struct kv_buffer out = KV_BUFFER_INIT;
    kv_write_pid(&out, &pid);
    cr_expect_eq(validate(kv_buffer_bytes(&out), &default_limits, NULL), KV_OK);
    struct kv_reader reader = kv_reader(kv_buffer_bytes(&out));
    struct kv_pid read;
    cr_assert_eq(kv_read_pid(&reader, &read), KV_OK);
    cr_expect(kv_pid_equal(&pid, &read));
    cr_expect(kv_reader_at_end(&reader));
    erlang_pid other;
    int index = 0;
    cr_assert_eq(ei_decode_pid((char *)out.data, &index, &other), 0);
    cr_expect_str_eq(other.node, "kv@host");
    cr_expect(other.num == pid.id && other.serial == 2 && other.creation == pid.creation);
    kv_buffer_free(&out);
}

Test(term_write, a_reference_of_each_length_is_read_back_by_us_and_by_libei)
{
    for (uint32_t count = 1; count <= KV_REF_MAX_WORDS; count++) {
        struct kv_ref ref = {.node = kv_bytes_text("kv@host"),
                             .creation = 0x80000003,
                             .count = count,
                             .words = {1, UINT32_MAX, 3, 4, 5}};
        struct kv_buffer out = KV_BUFFER_INIT;
        kv_write_ref(&out, &ref);
        cr_expect_eq(validate(kv_buffer_bytes(&out), &default_limits, NULL), KV_OK);
        struct kv_reader reader = kv_reader(kv_buffer_bytes(&out));
        struct kv_ref read;
        cr_assert_eq(kv_read_ref(&reader, &read), KV_OK);
        cr_expect(kv_ref_equal(&ref, &read));
        cr_expect(kv_reader_at_end(&reader));
        erlang_ref other;
        int index = 0;
        cr_assert_eq(ei_decode_ref((char *)out.data, &index, &other), 0);
        cr_expect_eq((uint32_t)other.len, count);
        for (uint32_t i = 0; i < count; i++) {
            cr_expect_eq(other.n[i], ref.words[i]);
        }
        kv_buffer_free(&out);
    }
}

Test(term_write, a_whole_reply_is_read_back_by_libei)
{
    struct kv_buffer out = KV_BUFFER_INIT;
    kv_write_tuple(&out, 3);
    kv_write_atom_text(&out, "ok");
    kv_write_list(&out, 2);
    kv_write_binary_text(&out, "milk");
    kv_write_i64(&out, -3);
    kv_write_nil(&out);
    kv_write_map(&out, 1);
    kv_write_atom_text(&out, "eggs");
    kv_write_u64(&out, 12);
    cr_assert_eq(validate(kv_buffer_bytes(&out), &default_limits, NULL), KV_OK);
    const char *bytes = (const char *)out.data;
    char text[MAXATOMLEN_UTF8];
    int index = 0;
    int count = 0;
    long number = 0;
    long length = 0;
    cr_assert_eq(ei_decode_tuple_header(bytes, &index, &count), 0);
    cr_expect_eq(count, 3);
    cr_assert_eq(ei_decode_atom(bytes, &index, text), 0);
    cr_expect_str_eq(text, "ok");
    cr_assert_eq(ei_decode_list_header(bytes, &index, &count), 0);
    cr_expect_eq(count, 2);
    cr_assert_eq(ei_decode_binary(bytes, &index, text, &length), 0);
    cr_expect(kv_bytes_is(kv_bytes(text, (size_t)length), "milk"));
    cr_assert_eq(ei_decode_long(bytes, &index, &number), 0);
    cr_expect_eq(number, -3);
    cr_assert_eq(ei_decode_list_header(bytes, &index, &count), 0);
    cr_expect_eq(count, 0);
    cr_assert_eq(ei_decode_map_header(bytes, &index, &count), 0);
    cr_expect_eq(count, 1);
    cr_assert_eq(ei_decode_atom(bytes, &index, text), 0);
    cr_assert_eq(ei_decode_long(bytes, &index, &number), 0);
    cr_expect_eq(number, 12);
    cr_expect_eq((size_t)index, out.length);
    kv_buffer_free(&out);
}
