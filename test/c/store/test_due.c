/* Expiry: when the arena needs work, and which entries are counted. */
#include "support/store_model.h"

#include "base/alloc.h"
#include "store/index.h"
#include "store/reader.h"
#include "store/table.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { RESERVE = 1 << 26, TABLES = 300, ROUNDS = 3000, LARGE = 20000 };

static struct kv_arena_memory memory;
static struct kv_arena *arena;
static struct kv_table *table;
static size_t outstanding;

static void set_up(void)
{
    static const struct kv_arena_options options = {.hash_key = {.k0 = 1, .k1 = 2}, .id = "test"};
    outstanding = kv_alloc_outstanding();
    memory = model_memory(RESERVE);
    arena = kv_arena_new(&memory, &options);
    table = kv_table_new(arena, NULL);
    kv_arena_set_time(arena, 1000);
}

static void tear_down(void)
{
    model_check(arena);
    kv_table_free(table);
    kv_arena_free(arena);
    model_memory_free(&memory);
    if (kv_alloc_outstanding() != outstanding) {
        abort();
    }
}

TestSuite(due, .init = set_up, .fini = tear_down, .timeout = 60);

static void put(struct kv_table *to, unsigned i, uint64_t expiry)
{
    char text[16];
    int length = snprintf(text, sizeof text, "%u", i);
    struct kv_item key = {.bytes = kv_bytes(text, (size_t)length), .form = 1};
    cr_assert_eq(kv_table_put(to, key, key, expiry), KV_OK);
}

static void delete (struct kv_table *from, unsigned i)
{
    char text[16];
    int length = snprintf(text, sizeof text, "%u", i);
    (void)kv_table_delete(from, (struct kv_item){kv_bytes(text, (size_t)length), 1});
}

/* Does what an owner does that sleeps until the arena is due. Returns how often it woke. */
static unsigned sleep_and_work(void)
{
    unsigned times = 0;
    for (; kv_arena_due(arena) != UINT64_MAX; times++) {
        if (kv_arena_due(arena) > kv_arena_time(arena)) {
            kv_arena_set_time(arena, kv_arena_due(arena));
        }
        while (kv_arena_work(arena, 1)) {
        }
    }
    return times;
}

/* ---- when ------------------------------------------------------------------------------------ */

Test(due, an_arena_in_which_nothing_expires_need_not_be_woken)
{
    cr_assert_eq(kv_arena_due(arena), UINT64_MAX);
    put(table, 1, KV_NEVER);
    cr_assert_eq(kv_arena_due(arena), UINT64_MAX);
}

Test(due, the_first_of_all_tables_to_expire_is_when_the_arena_is_due)
{
    struct kv_table *other = kv_table_new(arena, NULL);
    put(table, 1, 5000);
    cr_assert_eq(kv_arena_due(arena), 5000);
    put(other, 1, 4000);
    cr_assert_eq(kv_arena_due(arena), 4000);
    put(other, 2, 4500);
    cr_assert_eq(kv_arena_due(arena), 4000);
    kv_table_clear(other);
    cr_assert_eq(kv_arena_due(arena), 5000);
    kv_table_free(other);
    kv_table_clear(table);
    cr_assert_eq(kv_arena_due(arena), UINT64_MAX);
}

Test(due, who_sleeps_until_the_arena_is_due_finds_everything_removed_in_the_end)
{
    for (unsigned i = 0; i < LARGE; i++) {
        put(table, i, i % 3 == 0 ? KV_NEVER : 2000 + i);
    }
    cr_assert_lt(sleep_and_work(), 50, "woken for nothing");
    cr_assert_eq(kv_table_count(table), (LARGE + 2) / 3);
    cr_assert_eq(kv_arena_due(arena), UINT64_MAX);
}

Test(due, a_sweep_of_a_large_table_is_followed_by_a_rest_in_proportion)
{
    for (unsigned i = 0; i < LARGE; i++) {
        put(table, i, i == 0 ? 2000 : 2001);
    }
    kv_arena_set_time(arena, 2000);
    while (kv_arena_work(arena, 1)) {
    }
    cr_assert_eq(kv_table_count(table), LARGE - 1);
    cr_assert_geq(kv_arena_due(arena), 3000 + LARGE / KV_SEGMENT_ENTRIES);
    cr_assert_leq(kv_arena_due(arena), 3000 + LARGE / 100);
}

Test(due, what_was_to_expire_and_is_deleted_wakes_once_at_most)
{
    put(table, 1, 5000);
    delete (table, 1);
    cr_assert_leq(sleep_and_work(), 1);
    cr_assert_eq(kv_arena_due(arena), UINT64_MAX);
}

Test(due, a_table_that_is_swept_does_not_keep_others_waiting)
{
    struct kv_table *small = kv_table_new(arena, NULL);
    for (unsigned i = 0; i < LARGE; i++) {
        put(table, i, 2000);
    }
    put(small, 1, 2001);
    kv_arena_set_time(arena, 2000);
    (void)kv_arena_work(arena, 1);
    kv_arena_set_time(arena, 2002);
    for (unsigned i = 0; i < 10; i++) {
        (void)kv_arena_work(arena, 1);
    }
    cr_assert_eq(kv_table_count(small), 0);
    cr_assert_gt(kv_table_count(table), 0);
    kv_table_free(small);
}

/* The earliest expiry in all tables. */
static uint64_t least(const uint64_t *times)
{
    uint64_t found = UINT64_MAX;
    for (unsigned i = 0; i < TABLES; i++) {
        found = times[i] != 0 && times[i] < found ? times[i] : found;
    }
    return found;
}

Test(due, of_many_tables_the_first_is_known_whatever_comes_and_goes)
{
    static struct kv_table *tables[TABLES];
    static uint64_t times[TABLES];
    uint64_t random = 1;
    for (unsigned i = 0; i < TABLES; i++) {
        tables[i] = kv_table_new(arena, NULL);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        unsigned i = (unsigned)(random >> 33) % TABLES;
        if (random >> 63 != 0 && times[i] != 0) {
            kv_table_clear(tables[i]);
            times[i] = 0;
        } else {
            uint64_t expiry = 2000 + ((random >> 20) & 0xFFFF);
            put(tables[i], round, expiry);
            times[i] = times[i] == 0 || expiry < times[i] ? expiry : times[i];
        }
        cr_assert_eq(kv_arena_due(arena), least(times));
    }
    for (unsigned i = 0; i < TABLES; i++) {
        kv_table_free(tables[i]);
        times[i] = 0;
        cr_assert_eq(kv_arena_due(arena), least(times));
    }
}

/* ---- what counts ----------------------------------------------------------------------------- */

Test(due, in_a_small_table_what_has_expired_does_not_count)
{
    for (unsigned i = 0; i < KV_COUNT_EXACT_MAX; i++) {
        put(table, i, i % 10 == 0 ? 5000 : 2000 + i % 4);
    }
    cr_assert_eq(kv_table_count_live(table), KV_COUNT_EXACT_MAX);
    for (unsigned i = 0; i < 3; i++) { /* also during the rest after a sweep */
        kv_arena_set_time(arena, 2000 + i);
        uint64_t left = KV_COUNT_EXACT_MAX / 10 + (uint64_t)KV_COUNT_EXACT_MAX / 4 * (3 - i);
        cr_assert_leq(kv_table_count_live(table), left);
    }
    kv_arena_set_time(arena, 2003);
    cr_assert_eq(kv_table_count_live(table), KV_COUNT_EXACT_MAX / 10);
}

Test(due, in_a_table_that_was_large_what_has_expired_does_not_count)
{
    for (unsigned i = 0; i < LARGE; i++) {
        put(table, i, i % 100 == 0 ? 2000 : KV_NEVER);
    }
    for (unsigned i = 0; i < LARGE; i++) {
        if (i % 100 != 0 && i >= 100) {
            delete (table, i);
        }
    }
    kv_arena_set_time(arena, 2000);
    cr_assert_eq(kv_table_count_live(table), 99);
}

Test(due, in_a_sweep_that_is_on_its_way_what_expires_behind_it_does_not_count)
{
    for (unsigned i = 0; i < KV_COUNT_EXACT_MAX; i++) {
        put(table, i, 2000 + i % 2);
    }
    kv_arena_set_time(arena, 2000);
    (void)kv_arena_work(arena, 1);
    kv_arena_set_time(arena, 2001);
    cr_assert_eq(kv_table_count_live(table), 0);
}

Test(due, a_large_table_counts_without_looking_through_it)
{
    for (unsigned i = 0; i < LARGE; i++) {
        put(table, i, 2000);
    }
    kv_arena_set_time(arena, 2000);
    uint64_t effort = kv_arena_effort(arena);
    cr_assert_eq(kv_table_count_live(table), LARGE);
    cr_assert_eq(kv_arena_effort(arena), effort);
}

Test(due, a_reader_knows_from_when_on_a_count_may_be_too_large)
{
    struct kv_mapped mapped;
    struct kv_mapped_table at;
    uint64_t count;
    uint64_t next;
    cr_assert_eq(kv_mapped_open(&mapped, memory.base, memory.reserve, NULL), KV_OK);
    cr_assert_eq(
        kv_mapped_table_at(&mapped, kv_table_slot_number(table), kv_table_generation(table), &at),
        KV_READ_FOUND);
    static const uint64_t expiries[] = {KV_NEVER, 5000, 4000, 6000};
    static const uint64_t nexts[] = {0, 5000, 4000, 4000};
    for (unsigned i = 0; i < 4; i++) {
        put(table, i, expiries[i]);
        cr_assert_eq(kv_mapped_count(&mapped, &at, &count, &next), KV_READ_FOUND);
        cr_assert_eq(count, i + 1);
        cr_assert_eq(next, nexts[i]);
    }
    kv_arena_set_time(arena, 5000);
    cr_assert_eq(kv_table_count_live(table), 2);
    cr_assert_eq(kv_mapped_count(&mapped, &at, &count, &next), KV_READ_FOUND);
    cr_assert_eq(next, 6000);
    kv_table_clear(table);
    cr_assert_eq(kv_mapped_count(&mapped, &at, &count, &next), KV_READ_FOUND);
    cr_assert_eq(next, 0);
}
