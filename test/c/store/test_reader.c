/* The reader, with an arena that is written by hand as docs/store-format.md says. */
#include "store/reader.h"

#include "support/arena.h"

#include <kv/error.h>

#include <criterion/criterion.h>
#include <stdio.h>

static struct hand hand;
static struct kv_mapped mapped;
static struct kv_mapped_table table;

static void set_up(void)
{
    hand_start(&hand);
    cr_assert_eq(kv_mapped_open(&mapped, hand.base, HAND_SIZE, hand_id), KV_OK);
    cr_assert_eq(kv_mapped_table_of(&mapped, HAND_PID, HAND_SERIAL, &table), KV_READ_FOUND);
}

static void tear_down(void)
{
    hand_free(&hand);
}

TestSuite(reader, .init = set_up, .fini = tear_down, .timeout = 30);

static size_t add(const char *key, const char *value)
{
    struct hand_entry entry = {.key = kv_bytes_text(key), .key_form = 1};
    entry.value = kv_bytes_text(value);
    entry.value_form = 1;
    return hand_add(&hand, &entry);
}

static enum kv_read find(const char *key, struct kv_mapped_value *value)
{
    struct kv_bytes bytes = kv_bytes_text(key);
    return kv_mapped_find(&mapped, &table, bytes, 1, kv_mapped_hash(&mapped, bytes), value);
}

static bool has(const char *key, const char *expected)
{
    struct kv_mapped_value value;
    return find(key, &value) == KV_READ_FOUND && kv_bytes_is(value.bytes, expected) &&
           value.form == 1 && kv_mapped_holds(&value);
}

static uint8_t *slot(size_t at)
{
    return hand.base + hand_slot(HAND_SLOT) + at;
}

static uint8_t *stripe_of(const char *key)
{
    return slot(64 + 4 * (size_t)(hand_hash(kv_bytes_text(key)) >> 60));
}

/* ---- opening --------------------------------------------------------------------------------- */

Test(reader, opens_an_arena_of_any_identity_or_of_the_one_wanted)
{
    const uint8_t other[16] = {9};
    struct kv_mapped opened;
    cr_assert_eq(kv_mapped_open(&opened, hand.base, HAND_SIZE, NULL), KV_OK);
    cr_assert_eq(kv_mapped_open(&opened, hand.base, HAND_SIZE, hand_id), KV_OK);
    cr_assert_eq(kv_mapped_open(&opened, hand.base, HAND_SIZE, other), KV_ENOENT);
}

Test(reader, refuses_what_is_no_arena_or_not_all_of_one)
{
    struct kv_mapped opened;
    cr_assert_eq(kv_mapped_open(&opened, hand.base, 4088, NULL), KV_ETRUNCATED);
    cr_assert_eq(kv_mapped_open(&opened, hand.base, HAND_SIZE - 8, NULL), KV_ETRUNCATED);
    hand_put64(&hand, 48, 8);
    cr_assert_eq(kv_mapped_open(&opened, hand.base, HAND_SIZE, NULL), KV_EMALFORMED);
    hand_put64(&hand, 48, HAND_SIZE - 4);
    cr_assert_eq(kv_mapped_open(&opened, hand.base, HAND_SIZE, NULL), KV_EMALFORMED);
    hand_put64(&hand, 48, HAND_SIZE);
    hand_put32(&hand, 8, 1);
    cr_assert_eq(kv_mapped_open(&opened, hand.base, HAND_SIZE, NULL), KV_EVERSION);
    hand.base[7] ^= 1;
    cr_assert_eq(kv_mapped_open(&opened, hand.base, HAND_SIZE, NULL), KV_EMALFORMED);
}

Test(reader, an_arena_that_has_ended_is_no_more)
{
    struct kv_mapped opened;
    struct kv_mapped_value value;
    add("a", "1");
    hand_put32(&hand, 12, 2);
    cr_assert_eq(kv_mapped_open(&opened, hand.base, HAND_SIZE, NULL), KV_ENOENT);
    cr_assert_eq(find("a", &value), KV_READ_GONE);
    cr_assert_eq(kv_mapped_table_of(&mapped, HAND_PID, HAND_SERIAL, &table), KV_READ_GONE);
}

/* ---- tables ---------------------------------------------------------------------------------- */

Test(reader, the_directory_tells_the_table_of_a_process)
{
    struct kv_mapped_table found;
    cr_assert_eq(table.generation, HAND_GENERATION);
    cr_assert_eq((const void *)table.slot, slot(0));
    cr_assert_eq(kv_mapped_table_of(&mapped, HAND_PID, HAND_SERIAL + 1, &found), KV_READ_GONE);
    cr_assert_eq(kv_mapped_table_of(&mapped, HAND_PID + 1, HAND_SERIAL, &found), KV_READ_GONE);
}

Test(reader, a_table_is_there_in_its_generation_only)
{
    struct kv_mapped_table found;
    cr_assert_eq(kv_mapped_table_at(&mapped, HAND_SLOT, HAND_GENERATION, &found), KV_READ_FOUND);
    cr_assert_eq(kv_mapped_table_at(&mapped, HAND_SLOT, HAND_GENERATION + 2, &found), KV_READ_GONE);
    cr_assert_eq(kv_mapped_table_at(&mapped, 5, 0, &found), KV_READ_GONE);
}

Test(reader, slots_are_found_in_blocks_that_double)
{
    struct kv_mapped_table found;
    hand_put64(&hand, 64 + 8, 73728); /* block 1: slots 512 to 1535, far enough for two of them */
    hand_put32(&hand, 73728, 5);
    hand_put32(&hand, 73728 + 128, 9);
    cr_assert_eq(kv_mapped_table_at(&mapped, 512, 5, &found), KV_READ_FOUND);
    cr_assert_eq(kv_mapped_table_at(&mapped, 513, 9, &found), KV_READ_FOUND);
    cr_assert_eq(kv_mapped_table_at(&mapped, 1535, 9, &found),
                 KV_READ_BROKEN); /* beyond the mapping */
    cr_assert_eq(kv_mapped_table_at(&mapped, 1536, 9, &found), KV_READ_BROKEN); /* no block 2 */
    cr_assert_eq(kv_mapped_table_at(&mapped, UINT32_MAX, 9, &found), KV_READ_BROKEN);
}

Test(reader, a_table_that_ended_is_gone_and_its_successor_is_another)
{
    struct kv_mapped_value value;
    uint64_t count;
    uint64_t next_expiry;
    add("a", "1");
    hand_put32(&hand, hand_slot(HAND_SLOT), HAND_GENERATION + 1);
    cr_assert_eq(find("a", &value), KV_READ_GONE);
    cr_assert_eq(kv_mapped_count(&mapped, &table, &count, &next_expiry), KV_READ_GONE);
    hand_put32(&hand, hand_slot(HAND_SLOT), HAND_GENERATION + 2);
    cr_assert_eq(find("a", &value), KV_READ_GONE);
    cr_assert_eq(kv_mapped_table_of(&mapped, HAND_PID, HAND_SERIAL, &table), KV_READ_GONE);
}

Test(reader, a_table_whose_owner_is_to_be_asked_is_not_read)
{
    struct kv_mapped_value value;
    struct kv_mapped_counters counters;
    uint64_t count;
    uint64_t next_expiry;
    add("a", "1");
    hand_put32(&hand, hand_slot(HAND_SLOT) + 4, 1);
    cr_assert_eq(find("a", &value), KV_READ_ASK_OWNER);
    cr_assert_eq(kv_mapped_count(&mapped, &table, &count, &next_expiry), KV_READ_ASK_OWNER);
    cr_assert_eq(kv_mapped_counters(&mapped, &table, &counters), KV_READ_ASK_OWNER);
    hand_put32(&hand, hand_slot(HAND_SLOT) + 4, 0);
    cr_assert(has("a", "1"));
}

/* ---- entries --------------------------------------------------------------------------------- */

/* Sets the mark of a key in one of the two sets, or takes it away. */
static void mark(const char *key, unsigned set, bool is_set)
{
    const uint64_t bit = kv_mapped_hash(&mapped, kv_bytes_text(key)) >> 20 & 8191;
    hand_put64(&hand, 2048 + 1024 * set + bit / 64 * 8, is_set ? UINT64_C(1) << bit % 64 : 0);
}

Test(reader, asks_the_owner_about_a_marked_key_while_the_table_heeds_marks)
{
    struct kv_mapped_value value;
    struct kv_mapped_counters counters;
    uint64_t count;
    uint64_t next_expiry;
    add("a", "1");
    mark("a", 1, true);
    cr_assert(has("a", "1"));
    hand_put32(&hand, hand_slot(HAND_SLOT) + 4, 2);
    cr_assert_eq(find("a", &value), KV_READ_ASK_OWNER);
    cr_assert_eq(find("b", &value), KV_READ_ABSENT);
    cr_assert_eq(kv_mapped_count(&mapped, &table, &count, &next_expiry), KV_READ_ASK_OWNER);
    cr_assert_eq(kv_mapped_counters(&mapped, &table, &counters), KV_READ_FOUND);
    mark("a", 1, false);
    cr_assert(has("a", "1"));
    mark("a", 0, true);
    cr_assert_eq(find("a", &value), KV_READ_ASK_OWNER);
}

Test(reader, an_absent_key_is_absent)
{
    struct kv_mapped_value value;
    cr_assert_eq(find("a", &value), KV_READ_ABSENT);
    add("a", "1");
    cr_assert_eq(find("b", &value), KV_READ_ABSENT);
    cr_assert_eq(find("", &value), KV_READ_ABSENT);
}

Test(reader, finds_every_key_in_segments_and_behind_full_groups)
{
    char key[16];
    uint64_t count;
    uint64_t next_expiry;
    for (int i = 0; i < 280; i++) {
        (void)snprintf(key, sizeof key, "key-%d", i);
        add(key, key);
    }
    for (int i = 0; i < 280; i++) {
        (void)snprintf(key, sizeof key, "key-%d", i);
        cr_assert(has(key, key), "%s", key);
    }
    cr_assert_eq(kv_mapped_count(&mapped, &table, &count, &next_expiry), KV_READ_FOUND);
    cr_assert_eq(count, 280);
}

Test(reader, empty_and_long_keys_and_values_are_found)
{
    char long_key[300];
    static char long_value[20000];
    memset(long_key, 'k', sizeof long_key);
    memset(long_value, 'v', sizeof long_value);
    long_key[sizeof long_key - 1] = 0;
    long_value[sizeof long_value - 1] = 0;
    add("", "");
    add(long_key, long_value);
    add("x", long_value);
    cr_assert(has("", ""));
    cr_assert(has(long_key, long_value));
    cr_assert(has("x", long_value));
}

Test(reader, the_form_belongs_to_the_key_and_that_of_the_value_is_told)
{
    struct kv_bytes key = kv_bytes_text("k");
    struct hand_entry entry = {.key = key, .key_form = 0, .value = kv_bytes_text("term")};
    entry.value_form = 2;
    hand_add(&hand, &entry);
    struct kv_mapped_value value;
    cr_assert_eq(find("k", &value), KV_READ_ABSENT);
    cr_assert_eq(kv_mapped_find(&mapped, &table, key, 0, hand_hash(key), &value), KV_READ_FOUND);
    cr_assert(kv_bytes_is(value.bytes, "term"));
    cr_assert_eq(value.form, 2);
}

Test(reader, tells_when_an_entry_expires_and_when_it_was_used)
{
    struct kv_mapped_value value;
    struct hand_entry entry = {.key = kv_bytes_text("k"), .key_form = 1, .value_form = 1};
    entry.value = kv_bytes_text("v");
    entry.expires = UINT64_C(0xA1B2C3D4E5F6);
    entry.has_use = true;
    entry.use = 0x01020304;
    hand_add(&hand, &entry);
    cr_assert_eq(find("k", &value), KV_READ_FOUND);
    cr_assert(kv_bytes_is(value.bytes, "v"));
    cr_assert_eq(value.expires, UINT64_C(0xA1B2C3D4E5F6));
    cr_assert(value.has_use);
    cr_assert_eq(value.last_use, 0x01020304);
    add("l", "w");
    cr_assert_eq(find("l", &value), KV_READ_FOUND);
    cr_assert_eq(value.expires, 0);
    cr_assert_not(value.has_use);
}

Test(reader, an_entry_may_end_with_the_mapping)
{
    hand.next_entry = HAND_SIZE - 8;
    add("key", "ab");
    cr_assert(has("key", "ab"));
}

/* ---- a writer at work ------------------------------------------------------------------------ */

Test(reader, an_odd_counter_disturbs_and_only_keys_of_its_stripe)
{
    struct kv_mapped_value value;
    struct kv_mapped_counters counters;
    const char *other = "b";
    add("a", "1");
    char name[2] = "b";
    while (stripe_of(name) == stripe_of("a")) {
        name[0]++;
    }
    other = name;
    add(other, "2");
    (*stripe_of("a"))++;
    cr_assert_eq(find("a", &value), KV_READ_DISTURBED);
    cr_assert(has(other, "2"));
    cr_assert_eq(kv_mapped_counters(&mapped, &table, &counters), KV_READ_DISTURBED);
    (*stripe_of("a"))++;
    cr_assert(has("a", "1"));
}

Test(reader, a_value_does_not_hold_once_its_stripe_or_its_table_changed)
{
    struct kv_mapped_value value;
    add("a", "1");
    cr_assert_eq(find("a", &value), KV_READ_FOUND);
    cr_assert(kv_mapped_holds(&value));
    *stripe_of("a") = (uint8_t)(*stripe_of("a") + 2);
    cr_assert_not(kv_mapped_holds(&value));
    cr_assert_eq(find("a", &value), KV_READ_FOUND);
    hand_put32(&hand, hand_slot(HAND_SLOT), HAND_GENERATION + 1);
    cr_assert_not(kv_mapped_holds(&value));
}

static bool same_counters(const struct kv_mapped_counters *before)
{
    struct kv_mapped_counters now;
    return kv_mapped_counters(&mapped, &table, &now) == KV_READ_FOUND &&
           memcmp(&now, before, sizeof now) == 0;
}

Test(reader, counters_tell_whether_anything_in_a_table_changed)
{
    struct kv_mapped_counters counters;
    cr_assert_eq(kv_mapped_counters(&mapped, &table, &counters), KV_READ_FOUND);
    cr_assert(same_counters(&counters));
    for (size_t i = 0; i < 16; i++) {
        *slot(64 + 4 * i) ^= 2;
        cr_assert_not(same_counters(&counters));
        *slot(64 + 4 * i) ^= 2;
    }
    hand_put32(&hand, hand_slot(HAND_SLOT), HAND_GENERATION + 1);
    cr_assert_not(same_counters(&counters));
}

/* ---- a broken arena -------------------------------------------------------------------------- */

static enum kv_read find_with_root(uint64_t root)
{
    struct kv_mapped_value value;
    hand_put64(&hand, hand_slot(HAND_SLOT) + 8, root);
    return find("a", &value);
}

Test(reader, links_that_lead_nowhere_are_broken)
{
    add("a", "1");
    cr_assert_eq(find_with_root(0), KV_READ_ABSENT);
    cr_assert_eq(find_with_root(hand_link(3, 0, 0, HAND_NODE)), KV_READ_BROKEN);
    cr_assert_eq(find_with_root(hand_link(2, 0, 0, HAND_SIZE - 504)), KV_READ_BROKEN);
    cr_assert_eq(find_with_root(hand_link(2, 0, 0, (size_t)1 << 42)), KV_READ_BROKEN);
    cr_assert_eq(find_with_root(hand_link(1, 7, 0, HAND_SEGMENTS)), KV_READ_BROKEN);
    cr_assert_eq(find_with_root(hand_link(1, 6, 0, HAND_SIZE - 4088)), KV_READ_BROKEN);
}

Test(reader, a_way_that_turns_in_a_circle_ends)
{
    for (size_t i = 0; i < 64; i++) {
        hand_put64(&hand, HAND_NODE + 8 * i, hand_link(2, 0, 0, HAND_NODE));
    }
    cr_assert_eq(find_with_root(hand_link(2, 0, 0, HAND_NODE)), KV_READ_BROKEN);
}

Test(reader, a_segment_in_which_every_group_was_passed_is_gone_round_once)
{
    size_t segment = hand_segment(&hand, 64);
    for (size_t i = 0; i < 64; i++) {
        hand.base[segment + 64 * i + 10] = 1;
    }
    cr_assert_eq(find_with_root(hand_link(1, 6, 0, segment)), KV_READ_ABSENT);
}

/* All tags are the tag of "a", and all entries have its length. */
Test(reader, a_search_looks_at_no_more_than_so_many_candidates)
{
    size_t segment = hand_segment(&hand, 64);
    size_t entry = add("b", "1");
    for (size_t i = 0; i < 640; i++) {
        hand_refer(&hand, segment, 64, hand_hash(kv_bytes_text("a")), entry);
    }
    cr_assert_eq(find_with_root(hand_link(1, 6, 0, segment)), KV_READ_BROKEN);
}

Test(reader, entries_over_the_end_are_broken)
{
    struct kv_mapped_value value;
    size_t entry = add("a", "1");
    memset(hand.base + entry + 1, 0xFF, 5); /* a length without an end */
    cr_assert_eq(find("a", &value), KV_READ_BROKEN);
    hand.base[entry + 1] = 1;
    hand.base[entry + 2] = 0xFF; /* the value: 4 GiB */
    hand.base[entry + 6] = 0x7F;
    cr_assert_eq(find("a", &value), KV_READ_BROKEN);
}

Test(reader, references_over_the_end_or_into_the_header_are_broken)
{
    struct kv_mapped_value value;
    unsigned groups;
    uint64_t hash = hand_hash(kv_bytes_text("a"));
    size_t segment = hand_segment_of(&hand, hash, &groups);
    hand_refer(&hand, segment, groups, hash, HAND_SIZE);
    cr_assert_eq(find("a", &value), KV_READ_BROKEN);
    memset(hand.base + segment, 0, (size_t)groups * HAND_GROUP);
    hand_refer(&hand, segment, groups, hash, 8);
    cr_assert_eq(find("a", &value), KV_READ_BROKEN);
}

Test(reader, a_directory_that_lies_is_broken)
{
    struct kv_mapped_table found;
    uint32_t nowhere[2] = {UINT32_MAX, 1};
    size_t place = HAND_ENTRIES + 3 + 8;
    memcpy(hand.base + place, nowhere, sizeof nowhere);
    cr_assert_eq(kv_mapped_table_of(&mapped, HAND_PID, HAND_SERIAL, &found), KV_READ_BROKEN);
    hand.base[HAND_ENTRIES + 2] = 7; /* the value's length */
    cr_assert_eq(kv_mapped_table_of(&mapped, HAND_PID, HAND_SERIAL, &found), KV_READ_BROKEN);
    hand_put64(&hand, 64, 0);
    cr_assert_eq(kv_mapped_table_of(&mapped, HAND_PID, HAND_SERIAL, &found), KV_READ_BROKEN);
}
