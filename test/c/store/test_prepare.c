/* Memory that is prepared before it is needed: what the arena asks its owner for, and when. */
#include "support/store_model.h"

#include "store/pages.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/resource.h>

enum { RESERVE = 1 << 26, PAGES = RESERVE / KV_ARENA_PAGE, MANY = 100000, MARGIN = 128 };

static struct kv_arena_memory memory;
static struct kv_arena *arena;
static struct kv_table *table;
static bool prepared[PAGES]; /* at some time in the test */
static struct kv_arena_range asked;
static struct kv_arena_range records;
static bool is_asked;
static unsigned times_asked;

static void prepare(void *preparer, const struct kv_arena_range ranges[KV_ARENA_RANGES])
{
    cr_assert_eq(preparer, &asked);
    cr_assert_not(is_asked, "asked again before it is done");
    asked = ranges[0];
    records = ranges[1];
    is_asked = true;
    times_asked++;
}

static unsigned page_at(const void *at)
{
    return (unsigned)((size_t)((const uint8_t *)at - memory.base) / KV_ARENA_PAGE);
}

static void answer(bool ready)
{
    is_asked = false;
    for (size_t i = 0; ready && i < asked.length / KV_ARENA_PAGE; i++) {
        prepared[page_at(asked.start) + i] = true;
    }
    kv_arena_prepared(arena, ready);
}

static void set_up(void)
{
    static const struct kv_arena_options options = {.hash_key = {.k0 = 1, .k1 = 2}, .id = "test"};
    memory = model_memory(RESERVE);
    memory.prepare = prepare;
    memory.preparer = &asked;
    arena = kv_arena_new(&memory, &options);
    table = kv_table_new(arena, NULL);
}

static void tear_down(void)
{
    kv_table_free(table);
    kv_arena_free(arena);
    model_memory_free(&memory);
}

TestSuite(prepare, .init = set_up, .fini = tear_down, .timeout = 60);

static struct kv_item key_of(unsigned i)
{
    static char text[16];
    int length = snprintf(text, sizeof text, "%u", i);
    return (struct kv_item){.bytes = kv_bytes(text, (size_t)length), .form = 1};
}

/* Puts a value and returns its offset. */
static const void *put(unsigned i)
{
    static const uint8_t bytes[100];
    struct kv_item value = {.bytes = kv_bytes(bytes, sizeof bytes), .form = 1};
    cr_assert_eq(kv_table_put(table, key_of(i), value, KV_NEVER), KV_OK);
    cr_assert(kv_table_get(table, key_of(i), &value));
    return value.bytes.data;
}

static uint64_t free_pages(void)
{
    struct kv_arena_stats stats;
    kv_arena_stats(arena, &stats);
    return stats.free / KV_ARENA_PAGE;
}

Test(prepare, what_is_written_lies_in_memory_that_was_made_ready)
{
    unsigned elsewhere = 0;
    for (unsigned i = 0; i < MANY; i++) {
        elsewhere += !prepared[page_at(put(i))];
        while (is_asked) {
            answer(true);
        }
    }
    cr_assert_lt(elsewhere, MARGIN);
    model_check(arena);
}

Test(prepare, the_records_of_the_pages_are_made_ready_with_them)
{
    (void)put(1);
    cr_assert(is_asked);
    cr_assert_eq(records.start, &arena->pages[page_at(asked.start)]);
    cr_assert_eq(records.length, asked.length / KV_ARENA_PAGE * sizeof(struct kv_page));
}

Test(prepare, pages_that_are_being_prepared_are_not_handed_out)
{
    (void)put(0);
    cr_assert(is_asked);
    for (unsigned i = 1; i < MANY; i++) {
        const uint8_t *at = put(i);
        const uint8_t *start = asked.start;
        cr_assert(at < start || at >= start + asked.length);
    }
    cr_assert_eq(times_asked, 1);
    while (is_asked) {
        answer(true);
    }
    model_check(arena);
}

Test(prepare, little_is_made_ready_and_no_more_until_it_is_used)
{
    (void)put(1);
    while (is_asked) {
        answer(true);
    }
    cr_assert_geq(free_pages(), 64);
    cr_assert_leq(free_pages(), MARGIN);
    cr_assert_eq(model_memory_released(), 0);
    while (kv_arena_work(arena, 1)) {
    }
    cr_assert_eq(model_memory_released(), 0, "what was made ready is given back at once");
    model_check(arena);
}

Test(prepare, much_is_made_ready_in_large_pieces_while_the_owner_expects_much)
{
    enum { AHEAD = 8 << 20, LARGEST = 4 << 20 };
    bool large = false;
    kv_arena_prepare_ahead(arena, AHEAD);
    while (is_asked) {
        large = large || asked.length == LARGEST;
        cr_assert_leq(asked.length, (size_t)LARGEST);
        answer(true);
    }
    cr_assert(large);
    cr_assert_geq(free_pages(), AHEAD / KV_ARENA_PAGE);
    cr_assert_leq(free_pages(), (AHEAD + LARGEST) / KV_ARENA_PAGE);
    while (kv_arena_work(arena, 1)) {
    }
    cr_assert_eq(model_memory_released(), 0, "what was made ready is given back at once");
    kv_arena_prepare_ahead(arena, 0);
    while (kv_arena_work(arena, 1)) {
    }
    cr_assert_leq(free_pages(), MARGIN);
    model_check(arena);
}

static void populate(void *start, size_t length)
{
    cr_assert(length % KV_ARENA_PAGE == 0 && length > KV_ARENA_PAGE);
    for (size_t i = 0; i < length / KV_ARENA_PAGE; i++) {
        prepared[page_at(start) + i] = true;
    }
}

Test(prepare, while_the_owner_expects_much_what_is_not_ready_yet_is_made_ready_at_once)
{
    unsigned elsewhere = 0;
    arena->memory.populate = populate;
    kv_arena_prepare_ahead(arena, RESERVE);
    for (unsigned i = 0; i < MANY; i++) {
        elsewhere += !prepared[page_at(put(i))];
    }
    cr_assert_eq(times_asked, 1);
    cr_assert_lt(elsewhere, MANY / 10, "some small pages come one by one");
    kv_arena_prepare_ahead(arena, 0);
    memset(prepared, 0, sizeof prepared);
    for (unsigned i = MANY; i < MANY + MANY / 10; i++) {
        cr_assert_not(prepared[page_at(put(i))]);
    }
    while (is_asked) {
        answer(true);
    }
    model_check(arena);
}

Test(prepare, a_system_that_cannot_is_not_asked_again)
{
    (void)put(0);
    answer(false);
    for (unsigned i = 1; i < MANY; i++) {
        (void)put(i);
    }
    cr_assert_eq(times_asked, 1);
    model_check(arena);
}

/* ---- memory that is used again ----------------------------------------------------------------
 */

static long page_faults(void)
{
    struct rusage usage;
    cr_assert_eq(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_minflt;
}

static void put_large(unsigned i, size_t length)
{
    static const uint8_t bytes[1 << 17];
    struct kv_item value = {.bytes = kv_bytes(bytes, length), .form = 1};
    cr_assert_eq(kv_table_put(table, key_of(i % 100), value, KV_NEVER), KV_OK);
    (void)kv_arena_work(arena, 2);
}

/* Runs of 15 pages in a block of 16, of 17 in a block of 32, and of 32 and 33. */
Test(prepare, a_large_value_that_is_put_over_and_over_needs_no_memory_of_the_system)
{
    static const size_t LENGTHS[] = {60000, 65536, 130000, 131072};
    (void)put(0);
    answer(false);
    for (size_t n = 0; n < sizeof LENGTHS / sizeof LENGTHS[0]; n++) {
        for (unsigned i = 0; i < 1000; i++) {
            put_large(i, LENGTHS[n]);
        }
        long before = page_faults();
        for (unsigned i = 0; i < 1000; i++) {
            put_large(i, LENGTHS[n]);
        }
        cr_assert_lt(page_faults() - before, 1000, "%zu bytes", LENGTHS[n]);
    }
    model_check(arena);
}
