/* A table reports entries that expired, were evicted or were cleared, and reports nothing else. */
#include "support/store_model.h"

#include "base/alloc.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { RESERVE = 1 << 26, KEYS = 20000, LIMIT = 1 << 18, SOON = 2000, LATE = 100000 };

static struct kv_arena_memory memory;
static struct kv_arena *arena;
static struct kv_table *table;
static size_t outstanding;

/* The reports so far. */
static struct {
    unsigned total;
    unsigned cleared;
    size_t length_when_cleared; /* of the key */
    uint8_t expired[KEYS];
    uint8_t evicted[KEYS];
} seen;

static void note(void *context, enum kv_gone why, struct kv_item key)
{
    unsigned i = 0;
    cr_assert_eq(context, &seen);
    seen.total++;
    if (why == KV_GONE_CLEARED) {
        seen.cleared++;
        seen.length_when_cleared = key.bytes.length;
        return;
    }
    cr_assert_eq(key.bytes.length, sizeof i);
    cr_assert_eq(key.form, 1);
    memcpy(&i, key.bytes.data, sizeof i);
    (why == KV_GONE_EXPIRED ? seen.expired : seen.evicted)[i]++;
}

static void begin(enum kv_evict evict, uint64_t max_memory)
{
    const struct kv_arena_options options = {.hash_key = {.k0 = 5, .k1 = 6}};
    outstanding = kv_alloc_outstanding();
    memset(&seen, 0, sizeof seen);
    memory = model_memory(RESERVE);
    arena = kv_arena_new(&memory, &options);
    kv_arena_set_time(arena, 1000);
    table = kv_table_new(
        arena, &(struct kv_table_options){
                   .evict = evict, .max_memory = max_memory, .gone = note, .gone_context = &seen});
}

static void set_up(void)
{
    begin(KV_EVICT_NONE, 0);
}

static void tear_down(void)
{
    unsigned before = seen.total;
    model_check(arena);
    kv_table_free(table);
    while (kv_arena_work(arena, 1)) {
    }
    kv_arena_free(arena);
    model_memory_free(&memory);
    if (kv_alloc_outstanding() != outstanding || seen.total != before) {
        abort(); /* an assertion in a tear-down does not fail the test */
    }
}

TestSuite(gone, .init = set_up, .fini = tear_down, .timeout = 60);
TestSuite(gone_evicted, .fini = tear_down, .timeout = 60);

/* Borrowed until the next call. */
static struct kv_item key_of(unsigned i)
{
    static unsigned key;
    key = i;
    return (struct kv_item){.bytes = kv_bytes(&key, sizeof key), .form = 1};
}

static void put(unsigned i, uint64_t expiry)
{
    struct kv_item value = {.bytes = kv_bytes_text("a value of some bytes"), .form = 1};
    cr_assert_eq(kv_table_put(table, key_of(i), value, expiry), KV_OK);
}

static bool is_there(unsigned i)
{
    struct kv_item value;
    return kv_table_get(table, key_of(i), &value);
}

/* ---- expired ----------------------------------------------------------------------------------
 */

Test(gone, an_expired_entry_is_reported_by_the_get_that_finds_it)
{
    put(1, SOON);
    kv_arena_set_time(arena, SOON - 1);
    cr_assert(is_there(1));
    cr_assert_eq(seen.total, 0);
    kv_arena_set_time(arena, SOON);
    cr_assert_not(is_there(1));
    cr_assert_not(is_there(1));
    cr_assert_eq(seen.expired[1], 1);
    cr_assert_eq(seen.total, 1);
}

Test(gone, an_expired_entry_is_reported_by_the_delete_that_finds_it)
{
    put(1, SOON);
    kv_arena_set_time(arena, SOON);
    cr_assert_not(kv_table_delete(table, key_of(1)));
    cr_assert_not(kv_table_delete(table, key_of(1)));
    cr_assert_eq(seen.expired[1], 1);
    cr_assert_eq(seen.total, 1);
}

Test(gone, an_expired_entry_is_reported_by_the_put_that_replaces_it)
{
    put(1, SOON);
    kv_arena_set_time(arena, SOON);
    put(1, KV_NEVER);
    put(1, LATE);
    cr_assert(is_there(1));
    cr_assert_eq(seen.expired[1], 1);
    cr_assert_eq(seen.total, 1);
}

Test(gone, a_sweep_in_many_steps_reports_each_expired_entry_once)
{
    unsigned steps = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        put(i, i % 3 == 0 ? KV_NEVER : i % 3 == 1 ? SOON : LATE);
    }
    kv_arena_set_time(arena, SOON);
    while (kv_arena_work(arena, 1)) {
        steps++;
    }
    cr_assert_gt(steps, 10);
    for (unsigned i = 0; i < KEYS; i++) {
        cr_assert_eq(seen.expired[i], i % 3 == 1 ? 1 : 0, "%u", i);
        cr_assert_eq(is_there(i), i % 3 != 1);
    }
    cr_assert_eq(seen.total, KEYS / 3 + 1);
}

Test(gone, gets_during_a_sweep_do_not_report_twice)
{
    for (unsigned i = 0; i < KEYS; i++) {
        put(i, SOON);
    }
    kv_arena_set_time(arena, SOON);
    for (unsigned i = 0; i < KEYS; i++) {
        (void)is_there(i);
        (void)kv_arena_work(arena, i % 16 == 0 ? 1 : 0);
    }
    for (unsigned i = 0; i < KEYS; i++) {
        cr_assert_eq(seen.expired[i], 1, "%u", i);
    }
    cr_assert_eq(seen.total, KEYS);
}

Test(gone, counting_a_small_table_reports_what_has_expired)
{
    for (unsigned i = 0; i < 100; i++) {
        put(i, i < 40 ? SOON : LATE);
    }
    kv_arena_set_time(arena, SOON);
    cr_assert_eq(kv_table_count_live(table), 60);
    cr_assert_eq(seen.total, 40);
    cr_assert_eq(seen.expired[0], 1);
}

/* ---- evicted ----------------------------------------------------------------------------------
 */

/* Each key that is no longer there was reported once, and no other key was. */
static void check_evicted(unsigned put_so_far)
{
    unsigned evicted = 0;
    for (unsigned i = 0; i < put_so_far; i++) {
        bool there = is_there(i);
        cr_assert_eq(seen.evicted[i], there ? 0 : 1, "%u", i);
        evicted += there ? 0 : 1;
    }
    cr_assert_gt(evicted, 100);
    cr_assert_eq(seen.total, evicted);
    cr_assert_eq(kv_table_count(table), put_so_far - evicted);
}

Test(gone_evicted, each_entry_that_makes_room_is_reported_once)
{
    begin(KV_EVICT_LRU, LIMIT);
    for (unsigned i = 0; i < KEYS; i++) {
        put(i, KV_NEVER);
    }
    check_evicted(KEYS);
}

Test(gone_evicted, an_entry_that_would_expire_and_makes_room_before_is_reported_as_evicted)
{
    begin(KV_EVICT_TTL, LIMIT);
    for (unsigned i = 0; i < KEYS; i++) {
        put(i, LATE + i);
    }
    check_evicted(KEYS);
}

Test(gone_evicted, an_entry_that_has_expired_and_makes_room_is_reported_as_expired)
{
    begin(KV_EVICT_LRU, LIMIT);
    unsigned count = 0;
    while (seen.total == 0) {
        put(count++, SOON);
    }
    unsigned evicted = seen.total;
    kv_arena_set_time(arena, SOON);
    for (unsigned i = 0; i < 100; i++) {
        put(count + i, KV_NEVER);
    }
    cr_assert_gt(seen.total, evicted + 50);
    unsigned expired = 0;
    for (unsigned i = 0; i < count + 100; i++) {
        expired += seen.expired[i];
        cr_assert_leq(seen.expired[i] + seen.evicted[i], 1);
    }
    cr_assert_eq(expired, seen.total - evicted);
}

Test(gone_evicted, the_value_that_a_put_has_just_stored_is_not_what_makes_room)
{
    begin(KV_EVICT_LRU, 1 << 14);
    for (unsigned i = 0; i < KEYS; i++) {
        put(i % 500, KV_NEVER);
        seen.evicted[i % 500] = 0;
        cr_assert(is_there(i % 500));
    }
}

/* ---- cleared ----------------------------------------------------------------------------------
 */

Test(gone, a_clear_is_reported_once_for_all_entries)
{
    for (unsigned i = 0; i < 3000; i++) {
        put(i, i % 2 == 0 ? KV_NEVER : SOON);
    }
    kv_arena_set_time(arena, SOON);
    kv_table_clear(table);
    while (kv_arena_work(arena, 1)) {
    }
    cr_assert_eq(seen.cleared, 1);
    cr_assert_eq(seen.length_when_cleared, 0);
    cr_assert_eq(seen.total, 1);
}

Test(gone, a_clear_of_an_empty_table_is_not_reported)
{
    kv_table_clear(table);
    put(1, KV_NEVER);
    cr_assert(kv_table_delete(table, key_of(1)));
    kv_table_clear(table);
    cr_assert_eq(seen.total, 0);
}

/* ---- nothing ----------------------------------------------------------------------------------
 */

Test(gone, a_delete_by_request_is_not_reported)
{
    struct kv_lookup lookup;
    put(1, LATE);
    put(2, KV_NEVER);
    cr_assert(kv_table_delete(table, key_of(1)));
    lookup.key = key_of(2);
    kv_table_look_ahead(table, &lookup, 1);
    cr_assert(kv_table_delete_at(table, &lookup));
    cr_assert_eq(seen.total, 0);
}

Test(gone, a_value_that_is_overwritten_is_not_reported)
{
    static const uint8_t large[KV_ENTRY_SMALL_MAX + 1];
    struct kv_item value = {.bytes = kv_bytes(large, sizeof large), .form = 1};
    put(1, KV_NEVER);
    put(1, KV_NEVER);
    put(1, LATE);
    cr_assert_eq(kv_table_put(table, key_of(1), value, KV_NEVER), KV_OK);
    put(1, KV_NEVER);
    cr_assert_eq(seen.total, 0);
}

Test(gone, a_table_that_is_freed_with_entries_reports_nothing) /* tear_down() checks */
{
    for (unsigned i = 0; i < 1000; i++) {
        put(i, i % 2 == 0 ? KV_NEVER : SOON);
    }
    kv_arena_set_time(arena, SOON);
}

Test(gone, a_put_that_fails_reports_nothing)
{
    put(1, SOON);
    kv_arena_set_time(arena, SOON);
    kv_arena_fail(arena, 1);

    static const uint8_t large[100];
    struct kv_item value = {.bytes = kv_bytes(large, sizeof large), .form = 1};
    cr_assert_eq(kv_table_put(table, key_of(1), value, KV_NEVER), KV_ENOMEM);
    kv_arena_fail(arena, 0);
    cr_assert_eq(seen.total, 0);
    cr_assert_not(is_there(1));
    cr_assert_eq(seen.expired[1], 1);
}
