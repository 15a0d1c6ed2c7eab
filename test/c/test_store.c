/* The table behind a bucket. */
#include "store/table.h"

#include "base/alloc.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static const struct kv_hash_key hash_key = {.k0 = 11, .k1 = 22};
static struct kv_table *table;
static size_t outstanding;

static void set_up(void)
{
    outstanding = kv_alloc_outstanding();
    table = kv_table_new(&hash_key);
}

static void tear_down(void)
{
    kv_table_free(table);
    if (kv_alloc_outstanding() != outstanding) {
        abort(); /* an assertion in a tear-down does not fail the test */
    }
}

TestSuite(store, .init = set_up, .fini = tear_down, .timeout = 30);

static void put(const char *key, const char *value)
{
    kv_table_put(table, kv_bytes_text(key), kv_bytes_text(value));
}

static bool has(const char *key, const char *expected)
{
    struct kv_bytes value;
    return kv_table_get(table, kv_bytes_text(key), &value) && kv_bytes_is(value, expected);
}

Test(store, an_absent_key_is_not_found)
{
    struct kv_bytes value;
    cr_assert_not(kv_table_get(table, kv_bytes_text("a"), &value));
    cr_assert_not(kv_table_delete(table, kv_bytes_text("a")));
    cr_assert_eq(kv_table_count(table), 0);
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
    cr_assert_eq(kv_table_count(table), 1);
}

Test(store, keys_are_bytes_and_prefixes_of_each_other_are_different_keys)
{
    struct kv_bytes value;
    kv_table_put(table, kv_bytes("a\0b", 3), kv_bytes_text("long"));
    kv_table_put(table, kv_bytes("a", 1), kv_bytes_text("short"));
    kv_table_put(table, kv_bytes("", 0), kv_bytes_text("empty"));
    cr_assert(kv_table_get(table, kv_bytes("a\0b", 3), &value));
    cr_assert(kv_bytes_is(value, "long"));
    cr_assert(kv_table_get(table, kv_bytes("", 0), &value));
    cr_assert(kv_bytes_is(value, "empty"));
    cr_assert_eq(kv_table_count(table), 3);
}

Test(store, a_deleted_key_is_gone_and_the_others_stay)
{
    put("a", "1");
    put("b", "2");
    cr_assert(kv_table_delete(table, kv_bytes_text("a")));
    cr_assert_not(has("a", "1"));
    cr_assert(has("b", "2"));
}

Test(store, memory_grows_and_shrinks_with_what_is_kept)
{
    size_t before = kv_table_memory(table);
    char key[32];
    for (int i = 0; i < 10000; i++) {
        (void)snprintf(key, sizeof key, "key %d", i);
        put(key, "a value of thirty-two bytes here");
    }
    cr_assert_gt(kv_table_memory(table), before + 10000 * 32);
    kv_table_clear(table);
    cr_assert_eq(kv_table_memory(table), before);
}

Test(store, a_hundred_thousand_keys_come_and_go)
{
    char key[32];
    for (int i = 0; i < 100000; i++) {
        (void)snprintf(key, sizeof key, "%d", i);
        put(key, key);
    }
    cr_assert_eq(kv_table_count(table), 100000);
    for (int i = 0; i < 100000; i++) {
        (void)snprintf(key, sizeof key, "%d", i);
        cr_assert(has(key, key));
        if (i % 3 != 0) {
            cr_assert(kv_table_delete(table, kv_bytes_text(key)));
        }
    }
    cr_assert_eq(kv_table_count(table), 33334);
    cr_assert(has("99999", "99999"));
    cr_assert_not(has("99998", "99998"));
}

Test(store, a_walk_sees_every_entry_once)
{
    static bool seen[1000];
    char text[32];
    const void *cursor = NULL;
    size_t count = 0;
    struct kv_bytes key;
    struct kv_bytes value;
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(text, sizeof text, "%03d", i);
        put(text, text);
    }
    while (kv_table_next(table, &cursor, &key, &value)) {
        cr_assert(kv_bytes_equal(key, value));
        int i = (key.data[0] - '0') * 100 + (key.data[1] - '0') * 10 + (key.data[2] - '0');
        cr_assert_not(seen[i]);
        seen[i] = true;
        count++;
    }
    cr_assert_eq(count, 1000);
}

Test(store, a_walk_over_nothing_ends_at_once)
{
    const void *cursor = NULL;
    struct kv_bytes key;
    struct kv_bytes value;
    cr_assert_not(kv_table_next(table, &cursor, &key, &value));
}
