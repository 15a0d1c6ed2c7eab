/* The table behind a bucket, and the arena that it lies in. */
#include "support/store_model.h"

#include "base/alloc.h"
#include "store/heap.h"
#include "store/index.h"
#include "store/pages.h"
#include "store/slots.h"
#include "store/table.h"
#include "store/tags.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RESERVE = 1 << 28, WORK_MAX = 3 * KV_SEGMENT_ENTRIES };

static const struct kv_arena_options no_limit = {.hash_key = {.k0 = 11, .k1 = 22}, .id = "test"};
static struct kv_arena_memory memory;
static struct model model;
static size_t outstanding;

static void begin(const struct kv_arena_options *options, const struct kv_table_options *table)
{
    outstanding = kv_alloc_outstanding();
    memory = model_memory(RESERVE);
    model = (struct model){0};
    model.arena = kv_arena_new(&memory, options);
    cr_assert_not_null(model_table_new(&model, table));
}

static void set_up(void)
{
    begin(&no_limit, NULL);
}

static void tear_down(void)
{
    model_check(model.arena);
    kv_table_free(model.table);
    while (kv_arena_work(model.arena, 1)) {
    }
    struct kv_arena_stats stats;
    kv_arena_stats(model.arena, &stats);
    stats.entries -= model.arena->directory->heap_bytes;
    kv_arena_free(model.arena);
    bool ended = ((struct kv_arena_header *)(void *)memory.base)->state == KV_ARENA_ENDED;
    model_memory_free(&memory);
    if (kv_alloc_outstanding() != outstanding || !ended || stats.live != 0 || stats.entries != 0) {
        abort(); /* an assertion in a tear-down does not fail the test */
    }
}

TestSuite(store, .init = set_up, .fini = tear_down, .timeout = 60);

static struct kv_item item(const char *text)
{
    return (struct kv_item){.bytes = kv_bytes_text(text), .form = 1};
}

static void put(const char *key, const char *value)
{
    cr_assert_eq(kv_table_put(model.table, item(key), item(value), KV_NEVER), KV_OK);
}

static bool has(const char *key, const char *expected)
{
    struct kv_item value;
    return kv_table_get(model.table, item(key), &value) && kv_bytes_is(value.bytes, expected);
}

static uint32_t random_of(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

/* ---- one key ----------------------------------------------------------------------------------
 */

/* Bytes from a small set, so that many are equal, some differ in one bit, and some are 0. */
static uint64_t few_bytes(uint64_t *random)
{
    uint64_t word = 0;
    for (unsigned i = 0; i < sizeof(word); i++) {
        static const uint8_t BYTES[] = {0, 1, 0x7F, 0x80, 0x81, 0xFE, 0xFF, 2};
        *random = *random * UINT64_C(6364136223846793005) + 1;
        word = word << 8 | BYTES[*random >> 61];
    }
    return word;
}

Test(store, tags_are_matched_alike_with_and_without_vector_instructions)
{
    uint64_t random = 1;
    for (int i = 0; i < 20000; i++) {
        struct kv_tags tags = {.low = few_bytes(&random), .high = few_bytes(&random)};
        uint8_t bytes[sizeof(tags)];
        memcpy(bytes, &tags.low, sizeof(tags.low));
        memcpy(bytes + sizeof(tags.low), &tags.high, sizeof(tags.high));
        for (unsigned tag = 0; tag <= UINT8_MAX; tag++) {
            unsigned expected = 0;
            for (unsigned entry = 0; entry < KV_GROUP_ENTRIES; entry++) {
                expected |= (bytes[entry] == tag ? 1U : 0U) << entry;
            }
            cr_assert_eq(kv_tags_match_portable(tags, (uint8_t)tag), expected);
            cr_assert_eq(kv_tags_match(tags, (uint8_t)tag), expected);
        }
    }
}

Test(store, an_absent_key_is_not_found)
{
    struct kv_item value;
    cr_assert_not(kv_table_get(model.table, item("a"), &value));
    cr_assert_not(kv_table_delete(model.table, item("a")));
    cr_assert_eq(kv_table_count(model.table), 0);
}

Test(store, a_key_keeps_its_last_value)
{
    put("a", "1");
    put("a", "22");
    put("a", "33");
    put("a", "");
    cr_assert(has("a", ""));
    put("a", "4444");
    cr_assert(has("a", "4444"));
    cr_assert_eq(kv_table_count(model.table), 1);
    cr_assert_eq(kv_table_bytes(model.table), 5);
}

Test(store, keys_may_hold_any_bytes_and_none)
{
    struct kv_item key = {.bytes = kv_bytes("a\0b", 3), .form = 1};
    cr_assert_eq(kv_table_put(model.table, key, item("long"), KV_NEVER), KV_OK);
    put("a", "short");
    put("", "empty");
    struct kv_item value;
    cr_assert(kv_table_get(model.table, key, &value) && kv_bytes_is(value.bytes, "long"));
    cr_assert(has("a", "short") && has("", "empty"));
    cr_assert_eq(kv_table_count(model.table), 3);
}

Test(store, the_form_is_part_of_a_key_and_kept_with_a_value)
{
    struct kv_item value = {.bytes = kv_bytes_text("v")};
    for (uint8_t form = 0; form <= 3; form++) {
        struct kv_item key = {.bytes = kv_bytes_text("k"), .form = form};
        value.form = 3 - form;
        cr_assert_eq(kv_table_put(model.table, key, value, KV_NEVER), KV_OK);
    }
    cr_assert_eq(kv_table_count(model.table), 4);
    for (uint8_t form = 0; form <= 3; form++) {
        struct kv_item key = {.bytes = kv_bytes_text("k"), .form = form};
        cr_assert(kv_table_get(model.table, key, &value));
        cr_assert_eq(value.form, 3 - form);
    }
}

Test(store, lengths_of_one_to_four_bytes_are_kept)
{
    static const uint32_t lengths[] = {0,    1,     127,   128,    8170,    8189,   8190,
                                       8200, 16383, 16384, 100000, 2097151, 2097152};
    for (unsigned i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        cr_assert_eq(model_put(&model, i, lengths[i], 0, i, KV_NEVER), KV_OK);
    }
    model_compare(&model);
}

/* ---- against the map --------------------------------------------------------------------------
 */

static uint32_t some_length(uint64_t *random)
{
    switch (random_of(random) % 16) {
    case 0:
        return random_of(random) % 70000;
    case 1:
    case 2:
        return random_of(random) % 9000;
    case 3:
        return 0;
    default:
        return random_of(random) % 100;
    }
}

static void random_step(uint64_t *random, unsigned keys)
{
    unsigned i = random_of(random) % keys;
    switch (random_of(random) % 16) {
    case 0:
        model_get(&model, i);
        break;
    case 1:
    case 2:
    case 3:
    case 4:
        model_delete(&model, i);
        break;
    case 5:
        model_put(&model, i, some_length(random), 1, random_of(random),
                  model.now + 1 + random_of(random) % 5000);
        break;
    case 6:
        model_set_time(&model, model.now + random_of(random) % 10);
        break;
    case 7:
        (void)kv_arena_work(model.arena, random_of(random) % 4);
        break;
    default:
        model_put(&model, i, some_length(random), random_of(random) % 4, random_of(random),
                  KV_NEVER);
    }
}

static void random_steps(uint64_t seed, unsigned keys, unsigned steps)
{
    for (unsigned i = 1; i <= steps; i++) {
        random_step(&seed, keys);
        if (i % 5000 == 0) {
            model_check(model.arena);
            model_compare(&model);
        }
        if (random_of(&seed) % 20000 == 0) {
            model_clear(&model);
        }
    }
    model_check(model.arena);
    model_compare(&model);
}

Test(store, does_what_a_map_does_with_few_keys)
{
    random_steps(1, 12, 20000);
}

Test(store, does_what_a_map_does_with_some_keys)
{
    random_steps(2, 300, 40000);
}

Test(store, does_what_a_map_does_with_many_keys)
{
    random_steps(3, MODEL_KEYS, 80000);
}

/* ---- growing and shrinking --------------------------------------------------------------------
 */

static struct kv_item numbered(unsigned i)
{
    static char text[24];
    (void)snprintf(text, sizeof text, "key-%016u", i);
    return (struct kv_item){.bytes = kv_bytes(text, 20), .form = 1};
}

static struct kv_item value_of_32(unsigned i)
{
    static uint8_t bytes[32];
    memset(bytes, (int)i, sizeof bytes);
    return (struct kv_item){.bytes = kv_bytes(bytes, sizeof bytes), .form = 1};
}

static uint64_t effort_since(uint64_t *before)
{
    uint64_t now = kv_arena_effort(model.arena);
    uint64_t done = now - *before;
    *before = now;
    return done;
}

static void fill(unsigned from, unsigned to)
{
    uint64_t before = kv_arena_effort(model.arena);
    for (unsigned i = from; i < to; i++) {
        cr_assert_eq(kv_table_put(model.table, numbered(i), value_of_32(i), KV_NEVER), KV_OK);
        cr_assert_leq(effort_since(&before), WORK_MAX);
    }
}

static bool is_numbered_there(unsigned i)
{
    struct kv_item value;
    return kv_table_get(model.table, numbered(i), &value) &&
           kv_bytes_equal(value.bytes, value_of_32(i).bytes);
}

enum { MANY = 200000 };

Test(store, grows_and_shrinks_with_a_bounded_amount_of_work_at_a_time)
{
    fill(0, MANY);
    model_check(model.arena);
    cr_assert_eq(kv_table_count(model.table), MANY);
    uint64_t before = kv_arena_effort(model.arena);
    for (unsigned i = 0; i < MANY; i++) {
        cr_assert(is_numbered_there(i));
        cr_assert(kv_table_delete(model.table, numbered(i)));
        cr_assert_leq(effort_since(&before), WORK_MAX);
        if (i % (MANY / 8) == 0) {
            model_check(model.arena);
        }
    }
    cr_assert_eq(kv_table_count(model.table), 0);
    cr_assert_leq(kv_table_memory(model.table), 64 << 10);
}

Test(store, takes_at_most_70_bytes_for_a_key_of_20_and_a_value_of_32)
{
    fill(0, MANY);
    cr_assert_leq(kv_table_memory(model.table), UINT64_C(70) * MANY);
}

Test(store, takes_few_bytes_for_a_table_with_one_entry)
{
    enum { TABLES = 1000 };
    static struct kv_table *tables[TABLES];
    struct kv_arena_stats before;
    struct kv_arena_stats after;
    kv_arena_stats(model.arena, &before);
    for (unsigned i = 0; i < TABLES; i++) {
        tables[i] = kv_table_new(model.arena, NULL);
        cr_assert_eq(kv_table_put(tables[i], numbered(i), value_of_32(i), KV_NEVER), KV_OK);
        cr_assert_eq(kv_arena_publish(model.arena, i, 7, KV_PUBLISHED_VALUES, tables[i]), KV_OK);
    }
    kv_arena_stats(model.arena, &after);
    uint64_t each = (after.entries + after.index - before.entries - before.index) / TABLES +
                    sizeof(struct kv_table) + sizeof(struct kv_table_slot);
    cr_assert_leq(each, 600);
    for (unsigned i = 0; i < TABLES; i++) {
        kv_table_free(tables[i]);
    }
}

Test(store, dead_bytes_stay_below_a_quarter_of_the_pages)
{
    uint64_t random = 5;
    uint64_t before = kv_arena_effort(model.arena);
    fill(0, MANY / 4);
    before = kv_arena_effort(model.arena);
    for (unsigned i = 0; i < MANY; i++) {
        struct kv_item value = {.bytes = kv_bytes(memory.base, 0), .form = 1};
        static uint8_t bytes[200];
        value.bytes = kv_bytes(bytes, random_of(&random) % sizeof bytes);
        unsigned key = random_of(&random) % (MANY / 4);
        cr_assert_eq(kv_table_put(model.table, numbered(key), value, KV_NEVER), KV_OK);
        cr_assert_leq(effort_since(&before), WORK_MAX);
        cr_assert_leq(model.table->dead, model.table->heap_bytes / 4 + 2 * KV_HEAP_PAGE_MAX);
    }
}

enum { STAY = 3000, COME = 30000 };

static void mark(void *context, struct kv_item key, struct kv_item value)
{
    bool *seen = context;
    char text[24] = {0};
    (void)value;
    memcpy(text, key.bytes.data, key.bytes.length);
    unsigned i = (unsigned)strtoul(text + 4, NULL, 10);
    if (i < STAY) {
        seen[i] = true;
    }
}

static unsigned unseen(const bool *seen)
{
    unsigned count = 0;
    for (unsigned i = 0; i < STAY; i++) {
        count += seen[i] ? 0 : 1;
    }
    return count;
}

Test(store, a_walk_sees_every_key_that_stays_while_others_come)
{
    bool seen[STAY] = {0};
    uint64_t cursor = 0;
    unsigned next = STAY;
    fill(0, STAY);
    do {
        kv_table_scan(model.table, &cursor, mark, seen);
        fill(next, next + 1000);
        next += 1000;
    } while (cursor != 0 && next < 1000000);
    cr_assert_eq(cursor, 0);
    cr_assert_eq(unseen(seen), 0);
}

Test(store, a_walk_sees_every_key_that_stays_while_others_go)
{
    bool seen[STAY] = {0};
    uint64_t cursor = 0;
    unsigned next = STAY;
    fill(0, STAY + COME);
    do {
        kv_table_scan(model.table, &cursor, mark, seen);
        for (unsigned end = next + 1000; next < end && next < STAY + COME; next++) {
            cr_assert(kv_table_delete(model.table, numbered(next)));
        }
    } while (cursor != 0);
    cr_assert_eq(unseen(seen), 0);
}

/* ---- clearing, ending -------------------------------------------------------------------------
 */

static uint64_t in_use(void)
{
    struct kv_arena_stats stats;
    kv_arena_stats(model.arena, &stats);
    return stats.reserved - stats.free;
}

static void work_to_the_end(void)
{
    uint64_t before = kv_arena_effort(model.arena);
    while (kv_arena_work(model.arena, 1)) {
        cr_assert_leq(effort_since(&before), WORK_MAX);
    }
}

Test(store, a_table_of_any_size_is_cleared_at_once_and_its_memory_given_back_later)
{
    uint64_t before = in_use();
    fill(0, MANY);
    cr_assert_eq(model_put(&model, 1, 100000, 0, 1, KV_NEVER), KV_OK);
    uint64_t effort = kv_arena_effort(model.arena);
    kv_table_clear(model.table);
    cr_assert_leq(effort_since(&effort), WORK_MAX);
    cr_assert_eq(kv_table_count(model.table), 0);
    cr_assert_not(is_numbered_there(1));
    fill(0, 1000);
    work_to_the_end();
    cr_assert(is_numbered_there(1));
    model_check(model.arena);
    kv_table_clear(model.table);
    work_to_the_end();
    cr_assert_eq(in_use(), before);
    cr_assert_gt(model_memory_released(), UINT64_C(60) * MANY);
}

/* Values that differ in length leave parts of their blocks over. */
static void replace_large_values(unsigned times)
{
    enum { KEYS = 100, LEAST = 36 << 10, MORE = 28 << 10 };
    static uint64_t random = 7;
    for (unsigned i = 0; i < times * KEYS; i++) {
        const uint32_t length = LEAST + random_of(&random) % MORE;
        cr_assert_eq(model_put(&model, i % KEYS, length, 0, i, KV_NEVER), KV_OK);
        kv_arena_set_time(model.arena, kv_arena_time(model.arena) + 1);
        (void)kv_arena_work(model.arena, 2);
    }
}

Test(store, free_pages_are_kept_while_large_values_are_replaced_and_given_back_a_second_later)
{
    replace_large_values(2);
    const uint64_t released = model_memory_released();
    replace_large_values(10);
    cr_assert_eq(model_memory_released(), released);
    const uint64_t due = kv_arena_due(model.arena);
    cr_assert_leq(due, kv_arena_time(model.arena) + 1000);
    work_to_the_end();
    cr_assert_eq(model_memory_released(), released);
    kv_arena_set_time(model.arena, due);
    work_to_the_end();
    cr_assert_gt(model_memory_released(), released);
    struct kv_arena_stats stats;
    kv_arena_stats(model.arena, &stats);
    cr_assert_leq(stats.free, 130 * (uint64_t)KV_ARENA_PAGE);
    cr_assert_eq(kv_arena_due(model.arena), UINT64_MAX);
}

Test(store, a_table_that_ends_leaves_its_slot_with_another_generation)
{
    struct kv_table *table = kv_table_new(model.arena, NULL);
    uint32_t number = kv_table_slot_number(table);
    uint32_t generation = kv_table_generation(table);
    const struct kv_table_slot *slot = kv_slot(model.arena, number);
    cr_assert_eq(generation % 2, 1);
    cr_assert_eq(kv_table_put(table, item("a"), item("1"), KV_NEVER), KV_OK);
    kv_table_ask_owner(table, true);
    cr_assert_eq(slot->flags, KV_SLOT_ASK_OWNER);
    kv_table_free(table);
    cr_assert_eq(slot->generation, generation + 1);
    cr_assert_eq(slot->root, 0);
    cr_assert_eq(slot->flags, 0);
    table = kv_table_new(model.arena, NULL);
    cr_assert_eq(kv_table_slot_number(table), number);
    cr_assert_eq(kv_table_generation(table), generation + 2);
    kv_table_free(table);
}

Test(store, the_directory_knows_where_the_table_of_a_pid_is_until_it_ends)
{
    const uint32_t pid[] = {77, 3};
    struct kv_item key = {.bytes = kv_bytes(pid, sizeof pid), .form = 1};
    struct kv_item value;
    struct kv_table *table = kv_table_new(model.arena, NULL);
    cr_assert_eq(kv_arena_publish(model.arena, pid[0], pid[1], KV_PUBLISHED_VALUES, table), KV_OK);
    cr_assert(kv_table_get(model.arena->directory, key, &value));
    const uint32_t place[] = {kv_table_slot_number(table), kv_table_generation(table)};
    cr_assert(kv_bytes_equal(value.bytes, kv_bytes(place, sizeof place)));
    kv_table_free(table);
    cr_assert_not(kv_table_get(model.arena->directory, key, &value));
}

Test(store, slots_of_many_tables_are_found_by_their_number)
{
    enum { TABLES = 2000 };
    static struct kv_table *tables[TABLES];
    for (unsigned i = 0; i < TABLES; i++) {
        tables[i] = kv_table_new(model.arena, NULL);
        cr_assert_eq(tables[i]->slot, kv_slot(model.arena, kv_table_slot_number(tables[i])));
        cr_assert_eq(tables[i]->slot->generation, 1);
    }
    for (unsigned i = 0; i < TABLES; i++) {
        kv_table_free(tables[i]);
    }
}

/* ---- expiry -----------------------------------------------------------------------------------
 */

Test(store, a_key_is_gone_from_the_millisecond_at_which_it_expires)
{
    struct kv_item value;
    model_set_time(&model, 1000);
    cr_assert_eq(kv_table_put(model.table, item("a"), item("1"), 1500), KV_OK);
    kv_arena_set_time(model.arena, 1499);
    cr_assert(kv_table_get(model.table, item("a"), &value));
    kv_arena_set_time(model.arena, 1500);
    cr_assert_not(kv_table_get(model.table, item("a"), &value));
    cr_assert_eq(kv_table_count(model.table), 0);
}

Test(store, a_key_put_again_without_a_time_stays)
{
    cr_assert_eq(kv_table_put(model.table, item("a"), item("1"), 5), KV_OK);
    cr_assert_eq(kv_table_put(model.table, item("a"), item("1"), KV_NEVER), KV_OK);
    kv_arena_set_time(model.arena, 10);
    cr_assert(has("a", "1"));
    cr_assert_eq(model.table->expiring, 0);
}

Test(store, what_has_expired_is_removed_by_and_by_without_being_asked_for)
{
    for (unsigned i = 0; i < MANY / 4; i++) {
        uint64_t expiry = i % 4 == 0 ? KV_NEVER : 1000 + i % 100;
        cr_assert_eq(kv_table_put(model.table, numbered(i), value_of_32(i), expiry), KV_OK);
    }
    work_to_the_end();
    cr_assert_eq(kv_table_count(model.table), MANY / 4);
    kv_arena_set_time(model.arena, 1050);
    work_to_the_end();
    kv_arena_set_time(model.arena, 3000);
    work_to_the_end();
    cr_assert_eq(kv_table_count(model.table), MANY / 16);
    cr_assert_eq(model.table->expiring, 0);
    model_check(model.arena);
}

/* ---- memory that does not suffice -------------------------------------------------------------
 */

static void with_limit(uint64_t max_memory, enum kv_evict evict, uint64_t table_memory)
{
    struct kv_arena_options options = no_limit;
    struct kv_table_options table = {.evict = evict, .max_memory = table_memory};
    options.max_memory = max_memory;
    begin(&options, &table);
}

TestSuite(store_limits, .fini = tear_down, .timeout = 60);

/* Puts keys until there is no room. Returns how many were put. */
static unsigned fill_up(unsigned most)
{
    for (unsigned i = 0; i < most; i++) {
        if (kv_table_put(model.table, numbered(i), value_of_32(i), KV_NEVER) != KV_OK) {
            return i;
        }
    }
    return most;
}

Test(store_limits, a_put_over_the_limit_of_the_arena_fails_and_the_rest_goes_on)
{
    with_limit(4 << 20, KV_EVICT_NONE, 0);
    unsigned count = fill_up(MANY);
    cr_assert_gt(count, (4 << 20) / 100);
    cr_assert_lt(count, (4 << 20) / 60);
    cr_assert_leq(in_use(), 4 << 20);
    for (unsigned i = 0; i < count; i++) {
        cr_assert(is_numbered_there(i));
    }
    cr_assert_eq(kv_table_put(model.table, numbered(3), value_of_32(3), KV_NEVER), KV_OK);
    for (unsigned i = 0; i < count / 2; i++) {
        cr_assert(kv_table_delete(model.table, numbered(i)));
    }
    cr_assert_eq(kv_table_put(model.table, numbered(0), value_of_32(0), KV_NEVER), KV_OK);
    cr_assert_eq(fill_up(count / 3), count / 3);
}

Test(store_limits, what_one_delete_has_freed_one_put_can_take)
{
    enum { VALUE = 1000, TURNS = 2000 };
    static const uint8_t bytes[VALUE];
    struct kv_item value = {.bytes = kv_bytes(bytes, VALUE), .form = 1};
    unsigned next = 0;
    uint64_t random = 7;
    with_limit(4 << 20, KV_EVICT_NONE, 0);
    while (kv_table_put(model.table, numbered(next), value, KV_NEVER) == KV_OK) {
        next++;
    }
    for (unsigned i = 0; i < TURNS; i++) {
        unsigned gone = random_of(&random) % next;
        if (kv_table_delete(model.table, numbered(gone))) {
            uint64_t effort = kv_arena_effort(model.arena);
            cr_assert_eq(kv_table_put(model.table, numbered(next++), value, KV_NEVER), KV_OK, "%u",
                         i);
            cr_assert_leq(effort_since(&effort), WORK_MAX);
        }
    }
    kv_table_clear(model.table);
}

Test(store_limits, what_was_cleared_makes_room_at_once)
{
    with_limit(4 << 20, KV_EVICT_NONE, 0);
    unsigned count = fill_up(MANY);
    for (unsigned i = 0; i < 3; i++) {
        kv_table_clear(model.table);
        cr_assert_gt(fill_up(MANY), count * 9 / 10);
    }
}

Test(store_limits, a_table_keeps_its_own_limit)
{
    with_limit(0, KV_EVICT_NONE, 1 << 20);
    unsigned count = fill_up(MANY);
    cr_assert_gt(count, (1 << 20) / 90);
    cr_assert_leq(model.table->live + model.table->index_bytes, (1 << 20) + 2 * 4096);
    cr_assert_eq(kv_table_put(model.table, numbered(3), value_of_32(4), KV_NEVER), KV_OK);
    struct kv_table *other = kv_table_new(model.arena, NULL);
    cr_assert_eq(kv_table_put(other, numbered(3), value_of_32(4), KV_NEVER), KV_OK);
    kv_table_free(other);
}

Test(store_limits, the_least_recently_used_go_when_there_is_no_room)
{
    with_limit(0, KV_EVICT_LRU, 1 << 20);
    enum { USED = 1000 };
    unsigned there = 0;
    for (unsigned i = 0; i < MANY / 4; i++) {
        kv_arena_set_time(model.arena, i);
        cr_assert_eq(kv_table_put(model.table, numbered(i), value_of_32(i), KV_NEVER), KV_OK);
        (void)is_numbered_there(i % USED);
    }
    for (unsigned i = 0; i < USED; i++) {
        there += is_numbered_there(i) ? 1 : 0;
    }
    cr_assert_gt(there, USED * 9 / 10);
    cr_assert_lt(kv_table_count(model.table), MANY / 8);
}

Test(store_limits, those_that_expire_soonest_go_when_there_is_no_room)
{
    with_limit(0, KV_EVICT_TTL, 1 << 20);
    enum { STAYING = 1000 };
    for (unsigned i = 0; i < MANY / 4; i++) {
        uint64_t expiry = i < STAYING ? KV_NEVER : 1000000 + i;
        cr_assert_eq(kv_table_put(model.table, numbered(i), value_of_32(i), expiry), KV_OK);
    }
    for (unsigned i = 0; i < STAYING; i++) {
        cr_assert(is_numbered_there(i));
    }
}

Test(store_limits, a_table_that_may_only_let_go_of_what_expires_fails_when_nothing_does)
{
    with_limit(0, KV_EVICT_TTL, 1 << 20);
    cr_assert_lt(fill_up(MANY), MANY);
}

Test(store_limits, eviction_keeps_the_limit_of_the_arena_too)
{
    with_limit(4 << 20, KV_EVICT_LRU, 0);
    cr_assert_eq(fill_up(MANY), MANY);
    cr_assert_leq(in_use(), (4 << 20) + 4 * KV_HEAP_PAGE_MAX);
    cr_assert_gt(kv_table_count(model.table), (4 << 20) / 150);
}

Test(store_limits, does_what_a_map_does_when_entries_are_evicted)
{
    with_limit(3 << 20, KV_EVICT_LRU, 0);
    random_steps(6, MODEL_KEYS, 40000);
}

Test(store_limits, does_what_a_map_does_when_puts_fail)
{
    with_limit(3 << 20, KV_EVICT_NONE, 0);
    random_steps(7, MODEL_KEYS, 40000);
}

Test(store, a_put_that_finds_no_memory_changes_nothing)
{
    uint64_t random = 8;
    unsigned failed = 0;
    for (unsigned i = 0; i < 6000; i++) {
        unsigned key = random_of(&random) % 2000;
        uint32_t length = some_length(&random);
        for (uint64_t n = 1; n < 8; n++) {
            kv_arena_fail(model.arena, n);
            int error = model_put(&model, key, length, 1, i, KV_NEVER);
            kv_arena_fail(model.arena, 0);
            failed += error == KV_OK ? 0 : 1;
            model_get(&model, key);
            if (error == KV_OK) {
                break;
            }
        }
        if (i % 500 == 0) {
            model_check(model.arena);
            model_compare(&model);
        }
        if (i % 100 == 99 && i > 3000) { /* a small table cannot make room by moving entries */
            model_clear(&model);
        }
    }
    cr_assert_gt(failed, 100);
    model_compare(&model);
}

/* ---- large values -----------------------------------------------------------------------------
 */

Test(store, a_large_value_of_the_same_length_takes_the_place_of_the_old_one)
{
    enum { LENGTH = 100000 };
    struct kv_item old;
    struct kv_item new;
    cr_assert_eq(model_put(&model, 1, LENGTH, 1, 42, KV_NEVER), KV_OK);
    cr_assert(kv_table_get(model.table, model_key(1), &old));
    uint64_t before = in_use();
    cr_assert_eq(model_put(&model, 1, LENGTH, 1, 43, KV_NEVER), KV_OK);
    cr_assert(kv_table_get(model.table, model_key(1), &new));
    cr_assert_eq(new.bytes.data, old.bytes.data);
    cr_assert_eq(in_use(), before);
    model_check(model.arena);
    model_compare(&model);
}

Test(store, a_value_so_long_that_readers_would_wait_is_written_elsewhere)
{
    enum { LENGTH = 3 << 20 };
    struct kv_item old;
    struct kv_item new;
    cr_assert_eq(model_put(&model, 1, LENGTH, 1, 42, KV_NEVER), KV_OK);
    cr_assert(kv_table_get(model.table, model_key(1), &old));
    cr_assert_eq(model_put(&model, 1, LENGTH, 1, 43, KV_NEVER), KV_OK);
    cr_assert(kv_table_get(model.table, model_key(1), &new));
    cr_assert_neq(new.bytes.data, old.bytes.data);
    model_compare(&model);
}

/* ---- pins -------------------------------------------------------------------------------------
 */

Test(store, a_pinned_value_stays_intact_whatever_becomes_of_its_key)
{
    enum { LENGTH = 100000 };
    struct kv_item value;
    cr_assert_eq(model_put(&model, 1, LENGTH, 1, 42, KV_NEVER), KV_OK);
    cr_assert(kv_table_get(model.table, model_key(1), &value));
    uint8_t *copy = malloc(LENGTH);
    memcpy(copy, value.bytes.data, LENGTH);
    uint64_t before = in_use();
    cr_assert(kv_arena_pin(model.arena, value.bytes.data));
    cr_assert(kv_arena_pin(model.arena, value.bytes.data));
    cr_assert_eq(model_put(&model, 1, LENGTH, 1, 43, KV_NEVER), KV_OK);
    for (unsigned i = 2; i < 50; i++) {
        cr_assert_eq(model_put(&model, i, LENGTH, 1, i, KV_NEVER), KV_OK);
    }
    model_clear(&model);
    work_to_the_end();
    model_check(model.arena);
    cr_assert(kv_bytes_equal(value.bytes, kv_bytes(copy, LENGTH)));
    kv_arena_unpin(model.arena, value.bytes.data);
    cr_assert(kv_bytes_equal(value.bytes, kv_bytes(copy, LENGTH)));
    kv_arena_unpin(model.arena, value.bytes.data);
    cr_assert_lt(in_use(), before);
    free(copy);
}

Test(store, a_small_value_cannot_be_pinned)
{
    struct kv_item value;
    put("a", "1");
    cr_assert(kv_table_get(model.table, item("a"), &value));
    cr_assert_not(kv_arena_pin(model.arena, value.bytes.data));
    fill(0, 1000);
    cr_assert(kv_table_get(model.table, numbered(999), &value));
    cr_assert_not(kv_arena_pin(model.arena, value.bytes.data));
}

Test(store, a_pinned_value_that_is_not_replaced_stays_after_the_pin)
{
    struct kv_item value;
    cr_assert_eq(model_put(&model, 1, 20000, 1, 42, KV_NEVER), KV_OK);
    cr_assert(kv_table_get(model.table, model_key(1), &value));
    cr_assert(kv_arena_pin(model.arena, value.bytes.data));
    kv_arena_unpin(model.arena, value.bytes.data);
    model_compare(&model);
}

/* ---- many keys --------------------------------------------------------------------------------
 */

static void grow(void)
{
    for (unsigned i = 100; i < MODEL_KEYS; i++) {
        cr_assert_eq(model_put(&model, i, 20, 1, i, KV_NEVER), KV_OK);
    }
}

static void shrink(void)
{
    for (unsigned i = 100; i < MODEL_KEYS; i++) {
        model_delete(&model, i);
    }
}

static void change_lengths(void)
{
    for (unsigned i = 0; i < 100; i++) {
        cr_assert_eq(model_put(&model, i, 60 + i, 1, i, KV_NEVER), KV_OK);
    }
}

static void change_values(void)
{
    for (unsigned i = 0; i < 100; i++) {
        cr_assert_eq(model_put(&model, i, 20, 2, i + 1, KV_NEVER), KV_OK);
    }
}

static void delete_half(void)
{
    for (unsigned i = 0; i < 100; i += 2) {
        model_delete(&model, i);
    }
}

static void clear(void)
{
    model_clear(&model);
}

static void nothing(void)
{
}

static void use(unsigned way, unsigned i)
{
    switch (way) {
    case 0:
        model_get(&model, i);
        break;
    case 1:
        (void)model_put(&model, i, 20, 1, 77, KV_NEVER);
        break;
    case 2:
        (void)model_put(&model, i, 300, 1, 78, KV_NEVER);
        break;
    case 3:
        (void)model_put(&model, i, 20, 1, 79, model.now + 5);
        break;
    default:
        model_delete(&model, i);
    }
}

Test(store, what_was_looked_for_ahead_is_right_whatever_has_happened_since)
{
    void (*const acts[])(void) = {nothing,       grow,        shrink, change_lengths,
                                  change_values, delete_half, clear};
    for (unsigned act = 0; act < sizeof acts / sizeof acts[0]; act++) {
        for (unsigned way = 0; way < 5; way++) {
            model.is_ahead = false;
            change_values();
            if (acts[act] == shrink) {
                grow();
            }
            model_look_ahead(&model, 40);
            model.is_ahead = false;
            acts[act]();
            model.is_ahead = true;
            for (unsigned i = 40; i < 40 + MODEL_AHEAD; i++) {
                use(way, i);
                use(0, i);
                use((way + i) % 5, i);
            }
            model_check(model.arena);
            model_compare(&model);
        }
    }
}

/* ---- the header -------------------------------------------------------------------------------
 */

Test(store, the_header_is_as_the_format_says)
{
    const uint8_t *base = memory.base;
    uint64_t word;
    uint32_t half;
    memcpy(&word, base, 8);
    cr_assert_eq(word, UINT64_C(0x414E4552414B5601));
    memcpy(&half, base + 8, 4);
    cr_assert_eq(half, 2);
    memcpy(&half, base + 12, 4);
    cr_assert_eq(half, 1);
    cr_assert_arr_eq(base + 16, no_limit.id, 16);
    memcpy(&word, base + 32, 8);
    cr_assert_eq(word, 11);
    memcpy(&word, base + 48, 8);
    cr_assert_eq(word, RESERVE);
    memcpy(&word, base + 64, 8);
    cr_assert_neq(word, 0);
}

/* ---- what readers are told --------------------------------------------------------------------
 */

/* The number of stripes that an action changes. */
static unsigned changed(void (*act)(void))
{
    unsigned count = 0;
    uint32_t before[KV_STRIPES];
    memcpy(before, model.table->slot->stripes, sizeof before);
    act();
    for (unsigned i = 0; i < KV_STRIPES; i++) {
        uint32_t now = model.table->slot->stripes[i];
        cr_assert_eq(now % 2, 0);
        count += now != before[i];
    }
    return count;
}

static void rewrite_one(void)
{
    put("key", "a value");
    put("key", "value");
}

static void rewrite_value(void)
{
    put("key", "VALUE");
}

static void replace_one(void)
{
    put("key", "a value that takes more room than the one before");
}

static void delete_one(void)
{
    cr_assert(kv_table_delete(model.table, item("key")));
}

Test(store, readers_of_every_key_of_a_segment_see_that_the_memory_of_one_is_used_again)
{
    put("key", "value");
    put("other", "value");
    cr_expect_eq(changed(rewrite_one), KV_STRIPES);
    cr_expect_eq(changed(replace_one), KV_STRIPES);
    cr_expect_eq(changed(delete_one), KV_STRIPES);
}

Test(store, readers_of_other_keys_see_nothing_of_a_value_that_is_rewritten)
{
    put("key", "value");
    put("other", "value");
    cr_expect_eq(changed(rewrite_value), 1);
    cr_expect(has("key", "VALUE"));
    cr_expect(has("other", "value"));
}

Test(store, readers_are_told_once_of_many_changes)
{
    const struct kv_table_slot *slot = model.table->slot;
    uint32_t before[KV_STRIPES];
    memcpy(before, slot->stripes, sizeof before);
    kv_table_begin_changes(model.table);
    cr_expect_eq(slot->flags, KV_SLOT_ASK_OWNER);
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        (void)model_put(&model, i, 40, 1, i, KV_NEVER);
    }
    for (unsigned i = 0; i < KV_STRIPES; i++) {
        cr_expect_eq(slot->stripes[i], before[i] + 1);
    }
    kv_table_end_changes(model.table);
    cr_expect_eq(slot->flags, 0);
    for (unsigned i = 0; i < KV_STRIPES; i++) {
        cr_expect_eq(slot->stripes[i], before[i] + 2);
    }
    model_compare(&model);
}

Test(store, readers_of_other_segments_are_not_disturbed)
{
    char text[16];
    put("key", "value");
    for (unsigned i = 0; i < 20 * KV_SEGMENT_ENTRIES; i++) {
        (void)snprintf(text, sizeof text, "%u", i);
        put(text, "value");
    }
    cr_expect_eq(changed(rewrite_one), 1);
    cr_expect_eq(changed(delete_one), 1);
}
