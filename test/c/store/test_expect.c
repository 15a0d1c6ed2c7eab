/* Entries that are added to a table which knows how many will come, as in a recovery. */
#include "support/store_model.h"

#include "store/place.h"
#include "store/table_state.h"

#include <kv/error.h>

#include <criterion/criterion.h>
#include <stdlib.h>

enum { RESERVE = 1 << 28, MANY = 100000, TOGETHER = 32, KEY_SIZE = 4, LIMIT = 1 << 20 };

static struct kv_arena_memory memory;
static struct model model;

static void begin(uint64_t max_memory)
{
    const struct kv_arena_options options = {.hash_key = {.k0 = 3, .k1 = 4},
                                             .max_memory = max_memory};
    memory = model_memory(RESERVE);
    model = (struct model){.arena = kv_arena_new(&memory, &options)};
    cr_assert_not_null(model_table_new(&model, NULL));
}

static void set_up(void)
{
    begin(0);
}

static void tear_down(void)
{
    model_check(model.arena);
    kv_table_free(model.table);
    kv_arena_free(model.arena);
    model_memory_free(&memory);
}

TestSuite(expect, .init = set_up, .fini = tear_down, .timeout = 60);

static struct kv_item item_of(const unsigned *number)
{
    return (struct kv_item){.bytes = kv_bytes(number, KEY_SIZE), .form = 1};
}

/* Adds the numbers in this array as a recovery does. Returns how many found room. */
static unsigned add(const unsigned *numbers, unsigned count)
{
    struct kv_lookup lookups[TOGETHER];
    for (unsigned i = 0; i < count; i++) {
        lookups[i].key = item_of(&numbers[i]);
    }
    kv_table_look_ahead(model.table, lookups, count);
    for (unsigned i = 0; i < count; i++) {
        if (kv_table_add_at(model.table, &lookups[i], item_of(&numbers[i]), KV_NEVER) != KV_OK) {
            return i;
        }
    }
    return count;
}

static unsigned add_all(const unsigned *numbers, unsigned count)
{
    unsigned done = 0;
    unsigned last = TOGETHER;
    while (done < count && last == TOGETHER) {
        last = add(numbers + done, count - done < TOGETHER ? count - done : TOGETHER);
        done += last;
    }
    return done;
}

static const unsigned *in_any_order(void)
{
    static unsigned numbers[MANY];
    for (unsigned i = 0; i < MANY; i++) {
        numbers[i] = i;
    }
    return numbers;
}

static int by_hash(const void *a, const void *b)
{
    const uint64_t one = kv_table_hash(model.table, item_of(a).bytes);
    const uint64_t other = kv_table_hash(model.table, item_of(b).bytes);
    return one < other ? -1 : one > other;
}

static const unsigned *in_the_order_of_a_checkpoint(void)
{
    static unsigned numbers[MANY];
    memcpy(numbers, in_any_order(), sizeof numbers);
    qsort(numbers, MANY, sizeof *numbers, by_hash);
    return numbers;
}

static void check_values(unsigned count)
{
    struct kv_item value;
    const unsigned *numbers = in_any_order();
    cr_assert_eq(kv_table_count(model.table), count);
    for (unsigned i = 0; i < count; i++) {
        cr_assert(kv_table_get(model.table, item_of(&numbers[i]), &value));
        cr_assert_eq(memcmp(value.bytes.data, &i, KEY_SIZE), 0);
    }
}

/* Entries of segments that were split, and of heap pages, count as effort. */
static uint64_t effort_of(const unsigned *numbers)
{
    const uint64_t before = kv_arena_effort(model.arena);
    cr_assert_eq(add_all(numbers, MANY), MANY);
    check_values(MANY);
    return kv_arena_effort(model.arena) - before;
}

Test(expect, a_table_of_the_expected_size_moves_hardly_an_entry_in_its_index)
{
    kv_table_expect(model.table, MANY);
    cr_assert_lt(effort_of(in_any_order()), MANY / 10);
}

Test(expect, so_it_is_in_the_order_of_a_checkpoint)
{
    kv_table_expect(model.table, MANY);
    cr_assert_lt(effort_of(in_the_order_of_a_checkpoint()), MANY / 10);
}

Test(expect, a_table_that_expects_nothing_grows_in_any_order)
{
    cr_assert_geq(effort_of(in_the_order_of_a_checkpoint()), MANY / 2);
}

Test(expect, a_table_of_the_expected_size_takes_no_more_memory_than_one_that_grew)
{
    cr_assert_eq(add_all(in_any_order(), MANY), MANY);
    const uint64_t grown = model.table->index_bytes;
    tear_down();
    begin(0);
    kv_table_expect(model.table, MANY);
    cr_assert_eq(add_all(in_any_order(), MANY), MANY);
    cr_assert_leq(model.table->index_bytes, 2 * grown);
}

Test(expect, small_tables_begin_at_their_size)
{
    for (unsigned count = 1; count < 2 * KV_SEGMENT_ENTRIES; count = count * 3 / 2 + 1) {
        kv_table_clear(model.table);
        kv_table_expect(model.table, count);
        cr_assert_eq(add_all(in_any_order(), count), count);
        check_values(count);
        model_check(model.arena);
    }
}

Test(expect, a_number_that_is_far_too_large_costs_nothing_before_entries_come)
{
    const uint64_t before = kv_table_memory(model.table);
    kv_table_expect(model.table, UINT64_C(80) * MANY);
    cr_assert_eq(kv_table_memory(model.table), before);
    cr_assert_eq(add_all(in_the_order_of_a_checkpoint(), MANY / 10), MANY / 10);
    model_check(model.arena);
}

Test(expect, a_wrong_number_breaks_no_limit_and_loses_no_entry)
{
    static const uint64_t wrong[] = {0, 1, 1000, MANY, UINT64_C(1) << 30, UINT64_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        tear_down();
        begin(LIMIT);
        kv_table_expect(model.table, wrong[i]);
        const unsigned done = add_all(in_any_order(), MANY);
        struct kv_arena_stats stats;
        kv_arena_stats(model.arena, &stats);
        cr_assert_lt(done, MANY);
        cr_assert_leq(stats.reserved - stats.free, stats.limit + KV_ARENA_PAGE);
        check_values(done);
        model_check(model.arena);
    }
}

Test(expect, an_entry_that_is_added_twice_has_the_last_value)
{
    static const unsigned first[] = {1, 2, 3, 4};
    static const unsigned other = 9;
    struct kv_lookup lookup = {.key = item_of(&first[2])};
    struct kv_item value;
    cr_assert_eq(add(first, 4), 4);
    kv_table_look_ahead(model.table, &lookup, 1);
    cr_assert_eq(kv_table_add_at(model.table, &lookup, item_of(&other), 77), KV_OK);
    cr_assert_eq(kv_table_count(model.table), 4);
    uint64_t expiry = 0;
    cr_assert(kv_table_find(model.table, item_of(&first[2]), &value, &expiry));
    cr_assert(memcmp(value.bytes.data, &other, KEY_SIZE) == 0 && expiry == 77);
}

Test(expect, the_hash_key_may_be_replaced_before_the_first_entry)
{
    const struct kv_hash_key key = {.k0 = 7, .k1 = 8};
    const struct kv_arena_header *header = (const void *)memory.base;
    const unsigned one = 1;
    const uint64_t before = kv_table_hash(model.table, item_of(&one).bytes);
    kv_arena_set_hash_key(model.arena, &key);
    cr_assert_neq(kv_table_hash(model.table, item_of(&one).bytes), before);
    cr_assert(header->hash_key[0] == 7 && header->hash_key[1] == 8);
    cr_assert_eq(add_all(in_any_order(), MANY), MANY);
    check_values(MANY);
}
