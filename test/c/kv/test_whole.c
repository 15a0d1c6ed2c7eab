/* Questions about the whole bucket: how many keys it has, and how large a list of them may be. */
#include "support/fixture.h"

#include "kv/bucket.h"
#include "kv/kv.h"
#include "process/inspect.h"

#include <criterion/criterion.h>

static struct fixture *f;
static struct kv_pid bucket;

static void set_up(void)
{
    f = bucket_fixture(&bucket);
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(whole, .init = set_up, .fini = tear_down, .timeout = 120);

static struct kv_bytes by_agent(const char *module, const char *function)
{
    struct kv_bytes mfa =
        term_tuple(term_atom(module), term_atom(function), term_list(NONE, NONE, NONE), NONE);
    return call(f, &bucket, term_tuple(term_atom("get"), mfa, NONE, NONE));
}

static void put_for(int key, struct kv_bytes ttl)
{
    struct kv_bytes put = term_tuple(term_atom("put"), term_integer(key), term_integer(key), ttl);
    assert_term(call(f, &bucket, put), term_atom("ok"));
}

/* ---- one way to count --------------------------------------------------------------------------
 */

static size_t seen_by_tools(void)
{
    return kv_bucket_behaviour.view->count(kv_process_at(f->runtime, &bucket));
}

/* The tools ask first: they remove nothing. */
static void assert_count(size_t count)
{
    const struct kv_bytes number = term_integer((int64_t)count);
    cr_assert_eq(seen_by_tools(), count);
    assert_term(by_agent("maps", "size"), number);
    assert_term(by_agent("erlang", "map_size"), number);
    assert_term(by_agent("Elixir.Kernel", "map_size"), number);
    assert_term(call(f, &bucket, term_atom("size")), number);
    cr_assert_eq(seen_by_tools(), count);
}

Test(whole, up_to_1000_keys_no_door_counts_what_has_expired)
{
    kv_arena_set_time(f->arena, 1000);
    for (int i = 0; i < 1000; i++) {
        put_for(i, i % 2 == 0 ? term_integer(30) : term_atom("infinity"));
    }
    assert_count(1000);
    kv_arena_set_time(f->arena, 1030);
    assert_count(500);
    put_for(1001, term_integer(1));
    kv_arena_set_time(f->arena, 1031); /* the sweep of the table rests */
    assert_count(500);
}

Test(whole, above_1000_keys_every_door_counts_what_has_expired_until_it_is_removed)
{
    enum { LARGE = 1200, LEFT = 900 };
    kv_arena_set_time(f->arena, 1000);
    for (int i = 0; i < LARGE; i++) {
        put_for(i, i < LEFT ? term_atom("infinity") : term_integer(30));
    }
    kv_arena_set_time(f->arena, 1030);
    assert_count(LARGE);
    for (int i = LEFT; i < LARGE - 100; i++) {
        (void)call(f, &bucket, term_tuple(term_atom("delete"), term_integer(i), NONE, NONE));
    }
    assert_count(LEFT);
}

/* ---- too large ---------------------------------------------------------------------------------
 */

/* Casts {put, Key, Value} with binaries of these sizes. */
static void put_large(uint8_t number, size_t key_bytes, size_t value_bytes)
{
    struct kv_buffer message = KV_BUFFER_INIT;
    uint8_t *bytes = calloc(1, key_bytes > value_bytes ? key_bytes : value_bytes);
    bytes[0] = number;
    kv_write_tuple(&message, 2);
    kv_write_atom_text(&message, "$gen_cast");
    kv_write_tuple(&message, 3);
    kv_write_atom_text(&message, "put");
    kv_write_binary(&message, kv_bytes(bytes, key_bytes));
    kv_write_binary(&message, kv_bytes(bytes, value_bytes));
    feed_message(f, f->a, &bucket, kv_buffer_bytes(&message));
    kv_buffer_free(&message);
    free(bytes);
}

static bool is_too_large(struct kv_bytes answer)
{
    struct kv_reader reader = kv_reader(answer);
    return kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_this_atom(&reader, "error") == KV_OK &&
           kv_read_tuple_of(&reader, 2) == KV_OK &&
           kv_read_this_atom(&reader, "too_large") == KV_OK;
}

static uint32_t length_of(struct kv_bytes answer)
{
    struct kv_reader reader = kv_reader(answer);
    uint32_t length = 0;
    return kv_read_list(&reader, &length) == KV_OK ? length : 0;
}

enum { COUNT = 3, SMALL_SIDE = 10, LARGE_SIDE = 86 << 20 };

Test(whole, keys_are_bounded_by_the_size_of_keys_alone)
{
    for (uint8_t i = 0; i < COUNT; i++) {
        put_large(i, SMALL_SIDE, LARGE_SIDE);
    }
    cr_assert_eq(length_of(call(f, &bucket, term_atom("keys"))), (uint32_t)COUNT);
    cr_assert_eq(length_of(by_agent("maps", "keys")), (uint32_t)COUNT);
    cr_assert(is_too_large(by_agent("maps", "values")));
    cr_assert(is_too_large(by_agent("maps", "to_list")));
    cr_assert(is_too_large(call(f, &bucket, term_atom("to_map"))));
}

Test(whole, values_are_bounded_by_the_size_of_values_alone)
{
    for (uint8_t i = 0; i < COUNT; i++) {
        put_large(i, LARGE_SIDE, SMALL_SIDE);
    }
    cr_assert(is_too_large(call(f, &bucket, term_atom("keys"))));
    cr_assert_eq(length_of(by_agent("maps", "values")), (uint32_t)COUNT);
    cr_assert(is_too_large(call(f, &bucket, term_atom("to_map"))));
}
