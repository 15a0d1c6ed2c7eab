/* The readers: the terms that each takes, and that it leaves all others alone. */
#include "support/terms.h"

TestSuite(term_read, .timeout = 10);

#define A "770161"

/* A result of any reader. */
struct any_value {
    uint32_t u32;
    uint64_t u64;
    int64_t i64;
    struct kv_bytes bytes;
    struct kv_pid pid;
    struct kv_ref ref;
};

static int as_tuple(struct kv_reader *reader, struct any_value *value)
{
    return kv_read_tuple(reader, &value->u32);
}

static int as_tuple_of_2(struct kv_reader *reader, struct any_value *value)
{
    (void)value;
    return kv_read_tuple_of(reader, 2);
}

static int as_list(struct kv_reader *reader, struct any_value *value)
{
    return kv_read_list(reader, &value->u32);
}

static int as_nil(struct kv_reader *reader, struct any_value *value)
{
    (void)value;
    return kv_read_nil(reader);
}

static int as_map(struct kv_reader *reader, struct any_value *value)
{
    return kv_read_map(reader, &value->u32);
}

static int as_atom(struct kv_reader *reader, struct any_value *value)
{
    return kv_read_atom(reader, &value->bytes);
}

static int as_this_atom(struct kv_reader *reader, struct any_value *value)
{
    (void)value;
    return kv_read_this_atom(reader, "ok");
}

static int as_binary(struct kv_reader *reader, struct any_value *value)
{
    return kv_read_binary(reader, &value->bytes);
}

static int as_u32(struct kv_reader *reader, struct any_value *value)
{
    return kv_read_u32(reader, &value->u32);
}

static int as_u64(struct kv_reader *reader, struct any_value *value)
{
    return kv_read_u64(reader, &value->u64);
}

static int as_i64(struct kv_reader *reader, struct any_value *value)
{
    return kv_read_i64(reader, &value->i64);
}

static int as_pid(struct kv_reader *reader, struct any_value *value)
{
    return kv_read_pid(reader, &value->pid);
}

static int as_ref(struct kv_reader *reader, struct any_value *value)
{
    return kv_read_ref(reader, &value->ref);
}

enum { READERS = 13 };
static const struct {
    char letter;
    int (*read)(struct kv_reader *reader, struct any_value *value);
} readers[READERS] = {
    {'t', as_tuple}, {'2', as_tuple_of_2}, {'l', as_list},   {'n', as_nil}, {'m', as_map},
    {'a', as_atom},  {'o', as_this_atom},  {'b', as_binary}, {'u', as_u32}, {'U', as_u64},
    {'I', as_i64},   {'p', as_pid},        {'r', as_ref},
};

static const struct {
    const char *what;
    const char *hex;
    const char *takers; /* the letters of the readers that take it */
    const char *ranges; /* of those that answer KV_ERANGE */
} rows[] = {
    {"nothing", "", "", ""},
    {"a small integer", "6101", "uUI", ""},
    {"an integer", "6200000100", "uUI", ""},
    {"a negative integer", "62ffffffff", "I", "uU"},
    {"2^32 - 1", "6e0400ffffffff", "uUI", ""},
    {"2^32", "6e05000000000001", "UI", "u"},
    {"2^63 - 1", "6e0800ffffffffffffff7f", "UI", "u"},
    {"2^63", "6e08000000000000000080", "U", "uI"},
    {"2^64 - 1", "6e0800ffffffffffffffff", "U", "uI"},
    {"2^64", "6e0900000000000000000001", "", "uUI"},
    {"-2^63", "6e08010000000000000080", "I", "uU"},
    {"-2^63 - 1", "6e08010100000000000080", "", "uUI"},
    {"1 with zeros in front", "6e0a0001000000000000000000", "uUI", ""},
    {"1 as a large bignum", "6f000000010001", "uUI", ""},
    {"a float", "463ff0000000000000", "", ""},
    {"the atom ok", "77026f6b", "ao", ""},
    {"the atom ok in the long form", "7600026f6b", "ao", ""},
    {"the atom ok of old", "6400026f6b", "ao", ""},
    {"the small atom ok of old", "73026f6b", "ao", ""},
    {"another atom", "77036f6b61", "a", ""},
    {"a UTF-8 atom", "7702c3b6", "a", ""},
    {"a Latin-1 atom beyond ASCII", "7301f6", "", ""},
    {"nil", "6a", "ln", ""},
    {"an empty string", "6b0000", "ln", ""},
    {"a list of no elements", "6c000000006a", "ln", ""},
    {"a list of no elements before a number", "6c000000006101", "", ""},
    {"a string", "6b000161", "", ""},
    {"a list", "6c0000000161016a", "l", ""},
    {"an empty tuple", "6800", "t", ""},
    {"a pair", "6802 6a6a", "t2", ""},
    {"a large tuple", "6900000002 6a6a", "t2", ""},
    {"a triple", "6803 6a6a6a", "t", ""},
    {"a map", "7400000001 6a6a", "m", ""},
    {"an empty map", "7400000000", "m", ""},
    {"a binary", "6d0000000161", "b", ""},
    {"a bit string", "4d000000010380", "", ""},
    {"a bit string of whole bytes", "4d000000010880", "", ""},
    {"a pid", "58" A "000000010000000200000003", "p", ""},
    {"a pid of old", "67" A "000000010000000203", "p", ""},
    {"a reference", "5a0001" A "0000000100000002", "r", ""},
    {"a reference of before OTP 19", "720001" A "0100000002", "r", ""},
    {"a reference of old", "65" A "0000000201", "r", ""},
    {"a port", "78" A "000000000000000100000001", "", ""},
    {"an external fun", "71" A A "6101", "", ""},
    {"a fun", FUN_SAMPLE, "", ""},
};

static int expected(size_t row, char letter)
{
    if (strchr(rows[row].takers, letter) != NULL) {
        return KV_OK;
    }
    return strchr(rows[row].ranges, letter) != NULL ? KV_ERANGE : KV_ETYPE;
}

Test(term_read, each_reader_takes_its_own_and_leaves_everything_else_untouched)
{
    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        struct kv_buffer term = from_hex(rows[row].hex);
        for (size_t i = 0; i < READERS; i++) {
            struct any_value value;
            struct any_value before;
            memset(&value, 0x5A, sizeof(value));
            before = value;
            struct kv_reader reader = kv_reader(kv_buffer_bytes(&term));
            int error = readers[i].read(&reader, &value);
            int wanted = expected(row, readers[i].letter);
            cr_expect_eq(error, wanted, "%s, %c: %s", rows[row].what, readers[i].letter,
                         kv_error_text(error));
            if (wanted != KV_OK) {
                cr_expect_eq(reader.offset, 0, "%s, %c", rows[row].what, readers[i].letter);
                cr_expect_eq(memcmp(&value, &before, sizeof(value)), 0, "%s, %c", rows[row].what,
                             readers[i].letter);
            }
        }
        kv_buffer_free(&term);
    }
}

Test(term_read, any_term_is_taken_whole)
{
    for (size_t row = 1; row < sizeof(rows) / sizeof(rows[0]); row++) {
        struct kv_buffer term = from_hex(rows[row].hex);
        size_t length = term.length;
        kv_buffer_u8(&term, KV_TAG_NIL);
        struct kv_reader reader = kv_reader(kv_buffer_bytes(&term));
        struct kv_bytes bytes;
        cr_expect_eq(kv_read_any(&reader, &bytes), KV_OK);
        cr_expect_eq(bytes.length, length, "%s", rows[row].what);
        cr_expect_eq(bytes.data, term.data);
        cr_expect_eq(kv_read_any(&reader, NULL), KV_OK);
        cr_expect(kv_reader_at_end(&reader), "%s", rows[row].what);
        cr_expect_eq(kv_read_any(&reader, &bytes), KV_ETYPE);
        kv_buffer_free(&term);
    }
}

Test(term_read, a_term_of_a_BEAM_is_read_part_by_part)
{
    struct kv_buffer term = from_hex(RICH_SAMPLE);
    struct kv_reader reader = kv_reader(kv_buffer_bytes(&term));
    uint32_t count;
    struct kv_bytes bytes;
    int64_t number;
    cr_assert_eq(kv_read_tuple(&reader, &count), KV_OK);
    cr_expect_eq(count, 13);
    cr_assert_eq(kv_read_this_atom(&reader, "rich"), KV_OK);
    cr_assert_eq(kv_read_list(&reader, &count), KV_OK);
    cr_expect_eq(count, 7);
    static const int64_t numbers[] = {1, -1, 255, 256, INT64_C(1) << 40};
    for (size_t i = 0; i < 5; i++) {
        cr_assert_eq(kv_read_i64(&reader, &number), KV_OK);
        cr_expect_eq(number, numbers[i]);
    }
    cr_expect_eq(kv_read_i64(&reader, &number), KV_ERANGE);
    cr_assert_eq(kv_read_any(&reader, NULL), KV_OK);
    cr_expect_eq(kv_read_peek(&reader), KV_TAG_NEW_FLOAT);
    cr_assert_eq(kv_read_any(&reader, NULL), KV_OK);
    cr_assert_eq(kv_read_nil(&reader), KV_OK);
    cr_expect_eq(kv_read_list(&reader, &count), KV_ETYPE, "a string");
    cr_assert_eq(kv_read_any(&reader, NULL), KV_OK);
    cr_assert_eq(kv_read_list(&reader, &count), KV_OK);
    cr_assert_eq(kv_read_i64(&reader, &number), KV_OK);
    cr_expect_eq(kv_read_nil(&reader), KV_ETYPE, "an improper list");
    cr_assert_eq(kv_read_this_atom(&reader, "b"), KV_OK);
    cr_assert_eq(kv_read_binary(&reader, &bytes), KV_OK);
    cr_expect(kv_bytes_is(bytes, "binary"));
    cr_assert_eq(kv_read_any(&reader, NULL), KV_OK);
    cr_assert_eq(kv_read_map(&reader, &count), KV_OK);
    cr_expect_eq(count, 2);
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(kv_read_any(&reader, NULL), KV_OK);
    }
    struct kv_pid pid;
    cr_assert_eq(kv_read_pid(&reader, &pid), KV_OK);
    cr_expect(kv_bytes_is(pid.node, "q@vm"));
    cr_expect_eq(pid.id, 9);
    cr_expect_eq(pid.serial, 0);
    cr_expect_eq(pid.creation, 0x6b015071);
    struct kv_ref ref;
    cr_assert_eq(kv_read_ref(&reader, &ref), KV_OK);
    cr_expect_eq(ref.count, 3);
    cr_expect_eq(ref.creation, 0x6b015071);
    cr_expect_eq(ref.words[2], 0xf5216ad6);
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(kv_read_any(&reader, NULL), KV_OK);
    }
    cr_expect(kv_reader_at_end(&reader));
    cr_expect_eq(kv_read_peek(&reader), 0);
    kv_buffer_free(&term);
}

Test(term_read, old_identifiers_have_the_same_parts_as_new_ones)
{
    struct kv_buffer term = from_hex("67" A "000000010000000203"
                                     "720002" A "030000000500000006"
                                     "65" A "0000000702");
    struct kv_reader reader = kv_reader(kv_buffer_bytes(&term));
    struct kv_pid pid;
    struct kv_ref ref;
    cr_assert_eq(kv_read_pid(&reader, &pid), KV_OK);
    cr_expect(pid.id == 1 && pid.serial == 2 && pid.creation == 3);
    cr_assert_eq(kv_read_ref(&reader, &ref), KV_OK);
    cr_expect(ref.count == 2 && ref.words[0] == 5 && ref.words[1] == 6 && ref.creation == 3);
    cr_assert_eq(kv_read_ref(&reader, &ref), KV_OK);
    cr_expect(ref.count == 1 && ref.words[0] == 7 && ref.creation == 2);
    cr_expect(kv_reader_at_end(&reader));
    kv_buffer_free(&term);
}

Test(term_read, sixty_thousand_containers_deep_are_skipped)
{
    struct kv_buffer term = KV_BUFFER_INIT;
    append_repeated(&term, "7400000001", 60000);
    append_repeated(&term, "6a", 60001);
    struct kv_reader reader = kv_reader(kv_buffer_bytes(&term));
    cr_expect_eq(kv_read_any(&reader, NULL), KV_OK);
    cr_expect(kv_reader_at_end(&reader));
    kv_buffer_free(&term);
}

Test(term_read, pids_are_equal_when_all_their_parts_are)
{
    struct kv_pid pid = {.node = kv_bytes_text("a@b"), .id = 1, .serial = 2, .creation = 3};
    char node[] = "a@b";
    struct kv_pid other = pid;
    other.node = kv_bytes_text(node);
    cr_expect(kv_pid_equal(&pid, &other));
    other.id++;
    cr_expect_not(kv_pid_equal(&pid, &other));
    other = pid;
    other.serial++;
    cr_expect_not(kv_pid_equal(&pid, &other));
    other = pid;
    other.creation++;
    cr_expect_not(kv_pid_equal(&pid, &other));
    other = pid;
    other.node = kv_bytes_text("a@c");
    cr_expect_not(kv_pid_equal(&pid, &other));
}

Test(term_read, references_are_equal_when_all_their_parts_are)
{
    struct kv_ref ref = {
        .node = kv_bytes_text("a@b"), .creation = 1, .count = 3, .words = {1, 2, 3, 4, 5}};
    struct kv_ref other = ref;
    other.words[3] = 9; /* not in use */
    cr_expect(kv_ref_equal(&ref, &other));
    other.words[2]++;
    cr_expect_not(kv_ref_equal(&ref, &other));
    other = ref;
    other.count = 2;
    cr_expect_not(kv_ref_equal(&ref, &other));
    other = ref;
    other.creation++;
    cr_expect_not(kv_ref_equal(&ref, &other));
    other = ref;
    other.node = kv_bytes_text("a@");
    cr_expect_not(kv_ref_equal(&ref, &other));
}

static int list_length(const char *hex, uint32_t *length)
{
    struct kv_buffer list = from_hex(hex);
    struct kv_bytes copy = exact_copy(kv_buffer_bytes(&list));
    int error = kv_read_list_length(copy, length);
    free_copy(copy);
    kv_buffer_free(&list);
    return error;
}

Test(term_read, proper_lists_and_strings_have_a_length)
{
    uint32_t length = 7;
    cr_assert_eq(list_length("6a", &length), KV_OK);
    cr_assert_eq(length, 0);
    cr_assert_eq(list_length("6c 00000002 61 01 6a 6a", &length), KV_OK);
    cr_assert_eq(length, 2);
    cr_assert_eq(list_length("6b 0003 010203", &length), KV_OK);
    cr_assert_eq(length, 3);
    cr_assert_eq(list_length("6c 00000001 61 01 61 02", &length), KV_ETYPE);
    cr_assert_eq(list_length("61 01", &length), KV_ETYPE);
}
