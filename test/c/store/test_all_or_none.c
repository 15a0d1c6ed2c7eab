/* Puts that are made all or none, and the limit of entries. */
#include "support/store_model.h"

#include "base/alloc.h"
#include "store/arena_state.h"
#include "store/table_state.h"

#include <criterion/criterion.h>

enum { RESERVE = 1 << 26, SMALL = 40, LARGE = KV_ENTRY_SMALL_MAX + 1000, MANY = 1500 };

static struct kv_arena_memory memory;
static struct model model;
static size_t outstanding;

static void begin(const struct kv_table_options *options, uint64_t max_memory)
{
    const struct kv_arena_options arena = {.hash_key = {.k0 = 3, .k1 = 4},
                                           .max_memory = max_memory};
    outstanding = kv_alloc_outstanding();
    memory = model_memory(RESERVE);
    model = (struct model){0};
    model.arena = kv_arena_new(&memory, &arena);
    cr_assert_not_null(model_table_new(&model, options));
}

static void tear_down(void)
{
    kv_arena_fail(model.arena, 0);
    model_end(&model, &memory, outstanding);
}

TestSuite(all_or_none, .fini = tear_down, .timeout = 240);

/* Values of many sizes: some fit where the old one lies, some need pages of their own. */
static uint32_t length_of(unsigned i)
{
    return i % 40 == 39 ? LARGE : i % 7 == 0 ? 2000 : SMALL + i % 3;
}

static void fill(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        cr_assert_eq(model_put(&model, i, length_of(i), 1, i, KV_NEVER), KV_OK);
    }
}

/* Puts keys from `first` on, every fifth one twice. Returns the first error. */
static int put_some(unsigned first, unsigned count, unsigned seed)
{
    int error = KV_OK;
    for (unsigned i = first; i < first + count && error == KV_OK; i++) {
        error = model_put(&model, i, length_of(i + seed), 2, i + seed, KV_NEVER);
        if (error == KV_OK && i % 5 == 0) {
            error = model_put(&model, i, length_of(i + seed + 1), 2, i, KV_NEVER);
        }
    }
    return error;
}

static void check(void)
{
    model_check(model.arena);
    model_compare(&model);
}

Test(all_or_none, puts_that_are_kept_are_there)
{
    for (unsigned old = 0; old < 800; old = 2 * old + 3) {
        begin(NULL, 0);
        fill(old);
        model_begin_all(&model, 600);
        cr_assert_eq(put_some(0, 600, 1), KV_OK);
        model_end_all(&model, true, 7);
        check();
        tear_down();
    }
    begin(NULL, 0);
}

Test(all_or_none, puts_that_are_taken_back_leave_the_table_as_it_was)
{
    for (unsigned old = 0; old < 800; old = 2 * old + 3) {
        begin(NULL, 0);
        fill(old);
        const uint64_t counted = kv_table_counted(model.table);
        const uint64_t bytes = kv_table_bytes(model.table);
        for (unsigned count = 1; count < 600; count = 2 * count + 1) {
            model_begin_all(&model, count);
            cr_assert_eq(put_some(old / 2, count, 1), KV_OK);
            model_end_all(&model, false, 7);
            cr_assert_eq(kv_table_count(model.table), old);
            cr_assert_eq(kv_table_bytes(model.table), bytes);
            cr_assert_geq(kv_table_counted(model.table), counted / 2);
            check();
        }
        tear_down();
    }
    begin(NULL, 0);
}

Test(all_or_none, cleaning_moves_old_and_new_entries_meanwhile)
{
    begin(NULL, 0);
    fill(MANY);
    for (unsigned i = 0; i < MANY; i += 2) {
        model_delete(&model, i);
    }
    for (unsigned round = 0; round < 6; round++) {
        model_begin_all(&model, MANY);
        for (unsigned i = 0; i < MANY; i += 50) {
            cr_assert_eq(put_some(i, 50, round), KV_OK);
            for (unsigned j = 0; j < 5; j++) {
                (void)kv_arena_work(model.arena, 1);
            }
        }
        model_end_all(&model, round % 2 == 0, 100);
        check();
    }
}

Test(all_or_none, each_request_for_memory_may_fail)
{
    unsigned failures = 0;
    begin(NULL, 0);
    for (unsigned old = 0; old < 500; old = 2 * old + 5) {
        fill(old);
        int error = KV_ENOMEM;
        for (uint64_t n = 1; error != KV_OK; n++) {
            const uint64_t count = kv_table_count(model.table);
            model_begin_all(&model, 300);
            kv_arena_fail(model.arena, n);
            error = put_some(old / 2, 300, (unsigned)n);
            kv_arena_fail(model.arena, 0);
            model_end_all(&model, error == KV_OK, UINT32_MAX);
            cr_assert(error == KV_OK || kv_table_count(model.table) == count);
            failures += error != KV_OK;
            check();
        }
    }
    cr_assert_gt(failures, 2);
}

Test(all_or_none, a_table_at_its_limit_takes_new_values_of_the_same_size)
{
    begin(&(struct kv_table_options){.max_memory = 1 << 16}, 0);
    unsigned count = 0;
    while (model_put(&model, count, SMALL, 1, count, KV_NEVER) == KV_OK) {
        count++;
    }
    model_begin_all(&model, count);
    for (unsigned i = 0; i < count; i++) {
        cr_assert_eq(model_put(&model, i, SMALL, 1, i + 1, KV_NEVER), KV_OK);
    }
    cr_assert_eq(model_put(&model, count, SMALL, 1, 0, KV_NEVER), KV_ENOMEM);
    model_end_all(&model, true, 10);
    cr_assert_leq(kv_table_counted(model.table), kv_table_limit(model.table));
}

Test(all_or_none, an_arena_at_its_limit_takes_new_values_of_the_same_size)
{
    begin(NULL, 1 << 20);
    unsigned count = 0;
    while (count < MODEL_KEYS && model_put(&model, count, 600, 1, count, KV_NEVER) == KV_OK) {
        count++;
    }
    cr_assert_lt(count, MODEL_KEYS);
    for (unsigned round = 1; round < 10; round++) {
        model_begin_all(&model, count);
        for (unsigned i = 0; i < count; i++) {
            cr_assert_eq(model_put(&model, i, 600, 1, i + round, KV_NEVER), KV_OK, "%u %u", round,
                         i);
        }
        model_end_all(&model, round % 3 != 0, 50);
        check();
        cr_assert_leq(model.arena->used_pages, model.arena->limit_pages + 16, "%lu",
                      (unsigned long)model.arena->used_pages);
    }
}

Test(all_or_none, puts_that_evict_never_lose_each_other)
{
    for (unsigned evict = KV_EVICT_LRU; evict <= KV_EVICT_TTL; evict++) {
        begin(&(struct kv_table_options){.evict = evict, .max_memory = 1 << 16}, 0);
        for (unsigned round = 0; round < 40; round++) {
            const unsigned first = round * 37 % 900;
            int error = KV_OK;
            model_begin_all(&model, 500);
            for (unsigned i = first; i < first + 500 && error == KV_OK; i++) {
                error = model_put(&model, i, SMALL, 1, i + round, 1000000 + i);
            }
            cr_assert_eq(error, KV_OK);
            model_end_all(&model, round % 3 != 0, 10);
            for (unsigned i = first; round % 3 != 0 && i < first + 500; i++) {
                cr_assert(model.entries[i].there);
            }
            check();
        }
        model_begin_all(&model, MODEL_KEYS);
        int error = KV_OK;
        for (unsigned i = 0; i < MODEL_KEYS && error == KV_OK; i++) {
            error = model_put(&model, i, SMALL, 1, i, 1000000 + i);
        }
        cr_assert_eq(error, KV_ENOMEM);
        model_end_all(&model, false, 10);
        check();
        tear_down();
    }
    begin(NULL, 0);
}

Test(all_or_none, nothing_expires_before_the_end)
{
    begin(NULL, 0);
    for (unsigned i = 0; i < 700; i++) {
        cr_assert_eq(model_put(&model, i, SMALL, 1, i, 10 + i % 20), KV_OK);
    }
    model_set_time(&model, 15);
    for (unsigned keep = 0; keep < 2; keep++) {
        model_begin_all(&model, 700);
        for (unsigned i = 0; i < 700; i++) {
            kv_arena_set_time(model.arena, 15 + i);
            (void)kv_arena_work(model.arena, 2);
            cr_assert_eq(model_put(&model, i, SMALL, 1, i + 9, i % 2 == 0 ? KV_NEVER : 16 + i),
                         KV_OK);
        }
        kv_arena_set_time(model.arena, 15);
        model_end_all(&model, keep == 1, 33);
    }
    model_set_time(&model, 3000);
    while (kv_arena_work(model.arena, 1)) {
    }
    cr_assert_eq(kv_table_count(model.table), 350);
}

Test(all_or_none, a_table_may_end_in_the_middle)
{
    begin(NULL, 0);
    fill(300);
    struct kv_table *table = kv_table_new(model.arena, NULL);
    const struct kv_item value = {.bytes = kv_bytes_text("value"), .form = 1};
    kv_table_begin_changes(table);
    kv_table_begin_all(table, 100);
    for (unsigned i = 0; i < 100; i++) {
        cr_assert_eq(kv_table_put(table, model_key(i), value, 5), KV_OK);
    }
    kv_table_free(table);
    check();
    table = kv_table_new(model.arena, NULL);
    cr_assert_eq(kv_table_put(table, model_key(0), value, 5), KV_OK);
    kv_table_free(table);
}

/* ---- room ------------------------------------------------------------------------------------ */

Test(all_or_none, puts_for_which_there_is_room_make_no_request_that_fails)
{
    begin(NULL, 0);
    unsigned rooms = 0;
    for (unsigned i = 0; i + 64 < MODEL_KEYS; i += 64) {
        uint64_t bytes = 0;
        for (unsigned j = i; j < i + 64; j++) {
            bytes += model_key(j).bytes.length + length_of(j);
        }
        bool room = kv_table_has_room(model.table, 64, bytes);
        for (unsigned j = i; j < i + 64; j++) {
            int error = model_put(&model, j, length_of(j), 1, j, KV_NEVER);
            cr_assert(!room || error == KV_OK);
        }
        rooms += room;
    }
    cr_assert_gt(rooms, 10);
}

/* ---- the number of entries ------------------------------------------------------------------- */

Test(all_or_none, a_full_table_takes_no_new_key)
{
    begin(&(struct kv_table_options){.max_entries = 10}, 0);
    fill(10);
    cr_assert_eq(model_put(&model, 10, SMALL, 1, 0, KV_NEVER), KV_EFULL);
    cr_assert_eq(model_put(&model, 3, LARGE, 1, 0, KV_NEVER), KV_OK);
    model_delete(&model, 4);
    cr_assert_eq(model_put(&model, 10, SMALL, 1, 0, KV_NEVER), KV_OK);
    cr_assert_not(kv_table_has_room(model.table, 1, SMALL));
    cr_assert_eq(kv_table_max_entries(model.table), 10);
}

Test(all_or_none, an_expired_entry_makes_room_in_a_full_table)
{
    begin(&(struct kv_table_options){.max_entries = 10}, 0);
    fill(9);
    cr_assert_eq(model_put(&model, 9, SMALL, 1, 0, 20), KV_OK);
    cr_assert_eq(model_put(&model, 10, SMALL, 1, 0, KV_NEVER), KV_EFULL);
    model_set_time(&model, 20);
    cr_assert_eq(model_put(&model, 10, SMALL, 1, 0, KV_NEVER), KV_OK);
}

Test(all_or_none, an_expired_entry_makes_room_for_a_batch)
{
    begin(&(struct kv_table_options){.max_entries = 10}, 0);
    fill(9);
    cr_assert_eq(model_put(&model, 9, SMALL, 1, 0, 20), KV_OK);
    model_set_time(&model, 20);
    kv_table_begin_changes(model.table);
    kv_table_begin_all(model.table, 1);
    cr_assert_eq(model_put(&model, 10, SMALL, 1, 0, KV_NEVER), KV_OK);
    while (kv_table_end_all(model.table, true, 1)) {
    }
    kv_table_end_changes(model.table);
    model_compare(&model);
}

Test(all_or_none, an_entry_that_never_fits_is_refused_for_its_bytes)
{
    begin(&(struct kv_table_options){.max_entries = 10, .max_memory = 65536}, 0);
    fill(10);
    cr_assert_eq(model_put(&model, 10, 100000, 1, 0, KV_NEVER), KV_ENOMEM);
    cr_assert_eq(model_put(&model, 10, SMALL, 1, 0, KV_NEVER), KV_EFULL);
}

Test(all_or_none, a_full_table_evicts_if_it_may)
{
    begin(&(struct kv_table_options){.evict = KV_EVICT_LRU, .max_entries = 700}, 0);
    for (unsigned i = 0; i < 3000; i++) {
        cr_assert_eq(model_put(&model, i, SMALL, 1, i, KV_NEVER), KV_OK);
        cr_assert_leq(kv_table_count(model.table), 700);
    }
    cr_assert_eq(kv_table_count(model.table), 700);
}

Test(all_or_none, a_full_table_in_which_nothing_expires_is_full_with_evict_ttl)
{
    begin(&(struct kv_table_options){.evict = KV_EVICT_TTL, .max_entries = 10}, 0);
    fill(9);
    cr_assert_eq(model_put(&model, 9, SMALL, 1, 0, 20), KV_OK);
    cr_assert_eq(model_put(&model, 10, SMALL, 1, 0, KV_NEVER), KV_OK);
    cr_assert_eq(model_put(&model, 11, SMALL, 1, 0, KV_NEVER), KV_EFULL);
}

Test(all_or_none, puts_at_each_number_of_entries_below_the_limit)
{
    for (unsigned old = 0; old <= 40; old++) {
        begin(&(struct kv_table_options){.max_entries = 40}, 0);
        fill(old);
        for (unsigned count = 1; count <= 41; count++) {
            model_begin_all(&model, count);
            int error = put_some(100, count, 3);
            cr_assert_eq(error, old + count <= 40 ? KV_OK : KV_EFULL);
            model_end_all(&model, false, 1);
            cr_assert_eq(kv_table_count(model.table), old);
        }
        check();
        tear_down();
    }
    begin(NULL, 0);
}
