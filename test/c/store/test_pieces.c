/* Pieces of a walk in hash order: each key that stays comes exactly once, whatever else changes. */
#include "support/store_model.h"

#include "base/alloc.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { RESERVE = 1 << 27, KEYS = 60000, STAY = 3, FIRST = 1000, LATER = 2000 };

static struct kv_arena_memory memory;
static struct kv_arena *arena;
static struct kv_table *table;
static size_t outstanding;
static uint64_t random_state;
static uint8_t seen[KEYS];

static void set_up(void)
{
    const struct kv_arena_options options = {.hash_key = {.k0 = 5, .k1 = 6}};
    outstanding = kv_alloc_outstanding();
    memset(seen, 0, sizeof seen);
    random_state = 1;
    memory = model_memory(RESERVE);
    arena = kv_arena_new(&memory, &options);
    kv_arena_set_time(arena, FIRST);
    table = kv_table_new(arena, NULL);
}

static void tear_down(void)
{
    model_check(arena);
    kv_table_free(table);
    while (kv_arena_work(arena, 1)) {
    }
    kv_arena_free(arena);
    model_memory_free(&memory);
    if (kv_alloc_outstanding() != outstanding) {
        abort(); /* an assertion in a tear-down does not fail the test */
    }
}

TestSuite(pieces, .init = set_up, .fini = tear_down, .timeout = 120);

static unsigned random_below(unsigned most)
{
    random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407U;
    return (unsigned)(random_state >> 33) % most;
}

/* Borrowed until the next call. */
static struct kv_item key_of(unsigned i)
{
    static unsigned key;
    key = i;
    return (struct kv_item){.bytes = kv_bytes(&key, sizeof key), .form = 1};
}

static void put(unsigned i, uint64_t expiry)
{
    cr_assert_eq(kv_table_put(table, key_of(i), key_of(i), expiry), KV_OK);
}

struct limits {
    unsigned most; /* entries; 0: no limit */
    unsigned count;
};

static bool visit(void *context, const struct kv_table_entry *entry, bool may_end)
{
    struct limits *limits = context;
    unsigned i = 0;
    memcpy(&i, entry->key.bytes.data, sizeof i);
    cr_assert(limits->count > 0 || !may_end);
    if (may_end && limits->most > 0 && limits->count >= limits->most) {
        return false;
    }
    cr_assert_lt(i, KEYS);
    limits->count++;
    seen[i]++;
    return true;
}

static bool piece(uint64_t *cursor, unsigned most, unsigned *count)
{
    struct limits limits = {.most = most};
    bool more = kv_table_piece(table, cursor, visit, &limits);
    *count = limits.count;
    cr_assert(most == 0 || limits.count <= most);
    cr_assert_leq(limits.count, KV_PIECE_ENTRIES);
    return more;
}

/* A third of the keys stay; `change` may do to the others what it likes between two pieces. */
static void walk_while(void (*change)(void), unsigned most)
{
    uint64_t cursor = 0;
    unsigned count;
    for (unsigned i = 0; i < KEYS; i++) {
        put(i, KV_NEVER);
    }
    memset(seen, 0, sizeof seen);
    while (piece(&cursor, most, &count)) {
        change();
    }
    for (unsigned i = 0; i < KEYS; i++) {
        cr_assert_leq(seen[i], 1);
        cr_assert(i % STAY != 0 || seen[i] == 1);
    }
}

static unsigned other(void)
{
    return random_below(KEYS / STAY) * STAY + 1 + random_below(STAY - 1);
}

static void change_nothing(void)
{
}

static void delete_some(void)
{
    for (unsigned i = 0; i < KEYS / 8; i++) {
        (void)kv_table_delete(table, key_of(other()));
    }
}

static void put_and_delete(void)
{
    for (unsigned i = 0; i < KEYS / 16; i++) {
        if (random_below(2) == 0) {
            (void)kv_table_delete(table, key_of(other()));
        } else {
            put(other(), random_below(2) == 0 ? KV_NEVER : kv_arena_time(arena) + 10);
        }
    }
    kv_arena_set_time(arena, kv_arena_time(arena) + 5);
    (void)kv_arena_work(arena, 50);
}

static void delete_all_then_put_all(void)
{
    static bool are_there;
    for (unsigned i = 0; i < KEYS; i++) {
        if (i % STAY != 0 && are_there) {
            (void)kv_table_delete(table, key_of(i));
        } else if (i % STAY != 0) {
            put(i, KV_NEVER);
        }
    }
    are_there = !are_there;
}

static void overwrite_all(void)
{
    for (unsigned i = 0; i < KEYS; i += random_below(64) + 1) {
        put(i, i % STAY == 0 ? KV_NEVER : kv_arena_time(arena) + 1);
    }
}

Test(pieces, a_table_at_rest_is_visited_once)
{
    walk_while(change_nothing, 0);
}

Test(pieces, a_piece_may_end_within_a_segment)
{
    walk_while(change_nothing, 7);
}

Test(pieces, keys_that_stay_come_once_while_segments_merge)
{
    walk_while(delete_some, 0);
    walk_while(delete_some, 100);
}

Test(pieces, keys_that_stay_come_once_while_others_come_go_and_expire)
{
    walk_while(put_and_delete, 0);
    walk_while(put_and_delete, 333);
}

Test(pieces, keys_that_stay_come_once_while_segments_merge_and_split_in_turn)
{
    walk_while(delete_all_then_put_all, 1000);
}

Test(pieces, keys_that_stay_come_once_while_values_are_replaced)
{
    walk_while(overwrite_all, 900);
}

Test(pieces, an_empty_table_has_one_empty_piece)
{
    uint64_t cursor = 0;
    unsigned count;
    cr_assert_not(piece(&cursor, 0, &count));
    cr_assert_eq(count, 0);
}

Test(pieces, a_walk_of_one_entry_a_piece_ends)
{
    uint64_t cursor = 0;
    unsigned count;
    unsigned total = 0;
    for (unsigned i = 0; i < 2000; i++) {
        put(i, KV_NEVER);
    }
    while (piece(&cursor, 1, &count)) {
        cr_assert_eq(count, 1);
        total += count;
    }
    cr_assert_eq(total + count, 2000);
}

Test(pieces, an_expired_entry_is_not_visited)
{
    uint64_t cursor = 0;
    unsigned count;
    put(1, LATER);
    put(2, KV_NEVER);
    kv_arena_set_time(arena, LATER);
    cr_assert_not(piece(&cursor, 0, &count));
    cr_assert_eq(count, 1);
    cr_assert_eq(seen[1], 0);
}

Test(pieces, any_cursor_is_safe)
{
    unsigned count;
    for (unsigned i = 0; i < 5000; i++) {
        put(i, KV_NEVER);
    }
    for (unsigned i = 0; i < 64; i++) {
        uint64_t cursor = UINT64_MAX >> i;
        (void)piece(&cursor, 0, &count);
        cursor = UINT64_C(1) << i;
        (void)piece(&cursor, 10, &count);
    }
    uint64_t last = UINT64_MAX;
    cr_assert_not(piece(&last, 0, &count));
}

Test(pieces, no_two_tables_have_the_same_identity)
{
    uint8_t before[KV_TABLE_IDENTITY_SIZE];
    uint8_t after[KV_TABLE_IDENTITY_SIZE];
    kv_table_identity(table, before);
    put(1, KV_NEVER);
    kv_table_clear(table);
    kv_table_identity(table, after);
    cr_assert_arr_eq(before, after, sizeof before);
    kv_table_free(table);
    table = kv_table_new(arena, NULL);
    kv_table_identity(table, after);
    cr_assert_neq(memcmp(before, after, sizeof before), 0);
}
