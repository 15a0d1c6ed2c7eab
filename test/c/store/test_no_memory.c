/* Fails the n-th request for memory of each public function of a table, for every n until the
 * function makes no more requests. The function succeeds, or returns KV_ENOMEM and changes nothing.
 * Every invariant of the arena holds, and the model notices entries that are lost or changed. */
#include "support/store_model.h"

#include "base/alloc.h"
#include "store/arena_state.h"

#include <criterion/criterion.h>

enum { RESERVE = 1 << 26, SMALL = 40, LARGE = KV_ENTRY_SMALL_MAX + 1000, MANY = 1500, NS = 4 };

static const struct kv_arena_options no_limit = {.hash_key = {.k0 = 3, .k1 = 4}};
static struct kv_arena_memory memory;
static struct model model;
static size_t outstanding;
static unsigned failures; /* how often KV_ENOMEM was returned */

static void begin(const struct kv_table_options *options)
{
    outstanding = kv_alloc_outstanding();
    failures = 0;
    memory = model_memory(RESERVE);
    model = (struct model){0};
    model.arena = kv_arena_new(&memory, &no_limit);
    cr_assert_not_null(model_table_new(&model, options));
}

static void set_up(void)
{
    begin(NULL);
}

static void tear_down(void)
{
    kv_arena_fail(model.arena, 0);
    model_end(&model, &memory, outstanding);
}

TestSuite(no_memory, .init = set_up, .fini = tear_down, .timeout = 120);
TestSuite(no_memory_evicting, .fini = tear_down, .timeout = 120);

static void fail_at(uint64_t n)
{
    kv_arena_fail(model.arena, n);
}

/* Returns true if the request that was to fail was made. From now on none fails. */
static bool has_failed(void)
{
    bool used = model.arena->fail_in == 0;
    kv_arena_fail(model.arena, 0);
    return used;
}

/* Puts key i, and fails each request that the put makes in turn until it succeeds. */
static void put_at_every_n(unsigned i, uint32_t length, uint64_t expiry)
{
    for (uint64_t n = 1;; n++) {
        uint64_t count = kv_table_count(model.table);
        uint64_t bytes = kv_table_bytes(model.table);
        fail_at(n);
        int error = model_put(&model, i, length, 1, i + length, expiry);
        bool failed = has_failed();
        if (error == KV_OK) {
            break;
        }
        cr_assert(failed);
        cr_assert_eq(kv_table_count(model.table), count);
        cr_assert_eq(kv_table_bytes(model.table), bytes);
        model_check(model.arena);
        if (failures++ % 16 == 0) {
            model_compare(&model);
        }
    }
}

static void fill(unsigned count, uint32_t length)
{
    for (unsigned i = 0; i < count; i++) {
        cr_assert_eq(model_put(&model, i, length, 1, i, KV_NEVER), KV_OK);
    }
}

/* ---- puts -------------------------------------------------------------------------------------
 */

Test(no_memory, a_put_of_a_new_key)
{
    for (unsigned i = 0; i < MANY; i++) {
        put_at_every_n(i, SMALL, KV_NEVER);
    }
    cr_assert_gt(failures, 3);
}

Test(no_memory, a_put_that_replaces_a_value_by_a_longer_one)
{
    enum { FEW = 6 }; /* a large table makes room in its heap instead of failing */
    fill(FEW, SMALL);
    for (unsigned i = 0; i < MANY; i++) {
        put_at_every_n(i % FEW, SMALL + i, KV_NEVER);
    }
    cr_assert_gt(failures, 3);
}

Test(no_memory, a_put_of_a_large_value)
{
    for (unsigned i = 0; i < 50; i++) {
        put_at_every_n(i, LARGE, KV_NEVER);
    }
    cr_assert_geq(failures, 50);
}

Test(no_memory, a_put_that_replaces_small_values_by_large_ones_and_back)
{
    fill(100, SMALL);
    for (unsigned i = 0; i < 100; i++) {
        put_at_every_n(i, LARGE, KV_NEVER);
        put_at_every_n(i / 2, i % 4 == 0 ? SMALL : 2 * LARGE, KV_NEVER);
    }
    cr_assert_gt(failures, 100);
}

Test(no_memory, a_put_of_what_expires)
{
    for (unsigned i = 0; i < MANY; i++) {
        model_set_time(&model, i);
        put_at_every_n(i, SMALL, i + 1 + i % 50);
        put_at_every_n(i / 2, SMALL + i % 9, i + 5);
    }
    cr_assert_gt(failures, 3);
}

Test(no_memory, a_put_of_a_key_that_was_looked_for_ahead)
{
    for (unsigned i = 0; i < MANY; i++) {
        if (i % MODEL_AHEAD == 0) {
            model_look_ahead(&model, i);
        }
        put_at_every_n(i, SMALL, KV_NEVER);
    }
    cr_assert_gt(failures, 3);
}

Test(no_memory, a_put_among_many_changes)
{
    kv_table_begin_changes(model.table);
    for (unsigned i = 0; i < MANY; i++) {
        put_at_every_n(i, SMALL, KV_NEVER);
    }
    kv_table_end_changes(model.table);
    cr_assert_gt(failures, 3);
}

Test(no_memory, a_put_into_what_was_cleared)
{
    fill(MANY, SMALL);
    for (unsigned i = 0; i < 20; i++) {
        model_clear(&model);
        put_at_every_n(i, SMALL, KV_NEVER);
        put_at_every_n(i + 1, LARGE, KV_NEVER);
    }
}

/* The table may evict entries before it returns KV_ENOMEM; the model knows which. */
Test(no_memory_evicting, a_put_into_a_table_that_evicts)
{
    begin(&(struct kv_table_options){.evict = KV_EVICT_LRU, .max_memory = 1 << 16});
    for (unsigned i = 0; i < 2 * MANY; i++) {
        fail_at(1 + i % NS);
        failures += model_put(&model, i, i % 50 == 0 ? LARGE : SMALL, 1, i, KV_NEVER) != KV_OK;
        (void)has_failed();
        if (i % 64 == 0) {
            model_check(model.arena);
            model_compare(&model);
        }
    }
    cr_assert_gt(failures, 0);
}

/* ---- what cannot fail -------------------------------------------------------------------------
 */

Test(no_memory, a_delete_succeeds_without_memory)
{
    for (uint64_t n = 1; n <= NS; n++) {
        fill(MANY, SMALL);
        for (unsigned i = 0; i < MANY; i++) {
            fail_at(n);
            model_delete(&model, i);
            (void)has_failed();
            if (i % 64 == 0) {
                model_check(model.arena);
            }
        }
        cr_assert_eq(kv_table_count(model.table), 0);
    }
}

Test(no_memory, a_get_of_what_has_expired_needs_no_memory)
{
    for (uint64_t n = 1; n <= NS; n++) {
        for (unsigned i = 0; i < MANY; i++) {
            cr_assert_eq(model_put(&model, i, SMALL, 1, i, model.now + 10), KV_OK);
        }
        model_set_time(&model, model.now + 10);
        for (unsigned i = 0; i < MANY; i++) {
            fail_at(n);
            model_get(&model, i);
            (void)has_failed();
        }
        cr_assert_eq(kv_table_count(model.table), 0);
        model_check(model.arena);
    }
}

Test(no_memory, a_count_that_removes_what_has_expired_needs_no_memory)
{
    for (uint64_t n = 1; n <= NS; n++) {
        for (unsigned i = 0; i < 500; i++) {
            uint64_t expiry = i % 2 == 0 ? KV_NEVER : model.now + 10;
            cr_assert_eq(model_put(&model, i, SMALL, 1, i, expiry), KV_OK);
        }
        model_set_time(&model, model.now + 10);
        fail_at(n);
        cr_assert_eq(kv_table_count_live(model.table), 250);
        (void)has_failed();
        model_check(model.arena);
        model_compare(&model);
    }
}

Test(no_memory, a_clear_needs_no_memory)
{
    fill(MANY, SMALL);
    fail_at(1);
    model_clear(&model);
    cr_assert_not(has_failed());
}

Test(no_memory, the_end_of_a_table_needs_no_memory)
{
    struct kv_table *other = kv_table_new(model.arena, NULL);
    struct kv_item item = {.bytes = kv_bytes_text("a"), .form = 1};
    cr_assert_eq(kv_table_put(other, item, item, KV_NEVER), KV_OK);
    cr_assert_eq(kv_arena_publish(model.arena, 1, 2, KV_PUBLISHED_VALUES, other), KV_OK);
    fail_at(1);
    kv_table_free(other);
    cr_assert_not(has_failed());
}

Test(no_memory, work_that_finds_no_memory_goes_on_later)
{
    fill(MODEL_KEYS, 100);
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        if (i % 3 != 0) {
            model_delete(&model, i);
        }
    }
    for (unsigned i = 0; i < 1000; i++) {
        fail_at(1 + i % NS);
        (void)kv_arena_work(model.arena, 1);
        (void)has_failed();
        if (i % 100 == 0) {
            model_check(model.arena);
        }
    }
    while (kv_arena_work(model.arena, 1)) {
    }
}

Test(no_memory, a_walk_and_a_pin_need_no_memory)
{
    struct kv_item value;
    fill(100, LARGE);
    fail_at(1);
    cr_assert(kv_table_get(model.table, model_key(1), &value));
    cr_assert(kv_arena_pin(model.arena, value.bytes.data));
    kv_arena_unpin(model.arena, value.bytes.data);
    model_compare(&model);
    model_look_ahead(&model, 1);
    cr_assert_not(has_failed());
}

/* ---- tables -----------------------------------------------------------------------------------
 */

Test(no_memory, a_new_table)
{
    static struct kv_table *tables[KV_SLOT_BLOCK_FIRST];
    unsigned count = 0;
    while (model.arena->slot_count <
           KV_SLOT_BLOCK_FIRST) { /* the next table needs another block of slots */
        tables[count++] = kv_table_new(model.arena, NULL);
    }
    fail_at(1);
    cr_assert_null(kv_table_new(model.arena, NULL));
    cr_assert(has_failed());
    model_check(model.arena);
    struct kv_arena_stats stats;
    kv_arena_stats(model.arena, &stats);
    cr_assert_eq(stats.tables, count + 1);
    tables[count++] = kv_table_new(model.arena, NULL);
    cr_assert_not_null(tables[count - 1]);
    for (unsigned i = 0; i < count; i++) {
        kv_table_free(tables[i]);
    }
}

Test(no_memory, a_table_that_is_published)
{
    enum { TABLES = 300 };
    static struct kv_table *tables[TABLES];
    for (unsigned i = 0; i < TABLES; i++) {
        tables[i] = kv_table_new(model.arena, NULL);
        uint64_t n = 1;
        for (int error = KV_ENOMEM; error != KV_OK; n++) {
            fail_at(n);
            error = kv_arena_publish(model.arena, i, 7, KV_PUBLISHED_VALUES, tables[i]);
            bool failed = has_failed();
            cr_assert(error == KV_OK || (error == KV_ENOMEM && failed));
            cr_assert_eq(kv_table_count(model.arena->directory), i + (error == KV_OK ? 1 : 0));
            failures += error != KV_OK;
            model_check(model.arena);
        }
    }
    cr_assert_gt(failures, 5);
    for (unsigned i = 0; i < TABLES; i++) {
        kv_table_free(tables[i]);
    }
    cr_assert_eq(kv_table_count(model.arena->directory), 0);
}
