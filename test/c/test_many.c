/* Requests about many keys in one message. */
#include "fixture.h"

#include "kv/kv.h"

#include <criterion/criterion.h>

static struct fixture *f;
static struct kv_pid bucket;

static void set_up(void)
{
    f = fixture_new();
    cr_assert_eq(kv_services_start(f->runtime), KV_OK);
    bucket =
        feed_spawn(f, f->a, "kv_bucket", term_list(NONE, NONE, NONE), term_list(NONE, NONE, NONE));
    bucket.node = kv_bytes_text(FIXTURE_NODE);
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(many, .init = set_up, .fini = tear_down, .timeout = 20);

static struct kv_bytes ask(const char *name, struct kv_bytes one, struct kv_bytes two)
{
    return call(f, &bucket, term_tuple(term_atom(name), one, two, NONE));
}

static struct kv_bytes pair(struct kv_bytes key, struct kv_bytes value)
{
    return term_tuple(key, value, NONE, NONE);
}

static struct kv_bytes bad(const char *kind, struct kv_bytes term)
{
    return pair(term_atom("error"), pair(term_atom(kind), term));
}

/* A list of bytes, as a BEAM sends it. */
static struct kv_bytes term_string(const char *text)
{
    struct kv_buffer *term = term_buffer();
    kv_write_string(term, text);
    return kv_buffer_bytes(term);
}

/* [a, b | tail] */
static struct kv_bytes improper(void)
{
    struct kv_buffer *term = term_buffer();
    kv_write_list(term, 2);
    kv_write_term(term, pair(term_atom("a"), term_integer(1)));
    kv_write_term(term, pair(term_atom("b"), term_integer(2)));
    kv_write_atom_text(term, "tail");
    return kv_buffer_bytes(term);
}

static void put_two(void)
{
    assert_term(ask("put_many",
                    term_list(pair(term_atom("a"), term_integer(1)),
                              pair(term_atom("b"), term_binary("two")), NONE),
                    NONE),
                term_atom("ok"));
}

Test(many, values_come_in_the_order_of_their_keys_with_nil_for_those_absent)
{
    put_two();
    assert_term(ask("get_many", term_list(term_atom("b"), term_atom("x"), term_atom("a")), NONE),
                term_list(term_binary("two"), term_atom("nil"), term_integer(1)));
}

Test(many, a_default_stands_for_those_absent)
{
    put_two();
    assert_term(ask("get_many", term_list(term_atom("x"), term_atom("a"), NONE), term_integer(0)),
                term_list(term_integer(0), term_integer(1), NONE));
}

Test(many, a_key_may_be_asked_for_twice)
{
    put_two();
    assert_term(ask("get_many", term_list(term_atom("a"), term_atom("a"), NONE), NONE),
                term_list(term_integer(1), term_integer(1), NONE));
}

Test(many, no_keys_are_no_values)
{
    assert_term(ask("get_many", term_list(NONE, NONE, NONE), NONE), term_list(NONE, NONE, NONE));
    assert_term(ask("put_many", term_list(NONE, NONE, NONE), NONE), term_atom("ok"));
    assert_term(ask("delete_many", term_list(NONE, NONE, NONE), NONE), term_integer(0));
    assert_term(call(f, &bucket, term_atom("size")), term_integer(0));
}

Test(many, keys_that_are_bytes_come_as_a_string_and_are_integers)
{
    (void)ask("put", term_integer('x'), term_atom("ex"));
    (void)ask("put", term_integer('z'), term_atom("zed"));
    assert_term(ask("get_many", term_string("zyx"), NONE),
                term_list(term_atom("zed"), term_atom("nil"), term_atom("ex")));
    assert_term(ask("delete_many", term_string("zyx"), NONE), term_integer(2));
    assert_term(call(f, &bucket, term_atom("size")), term_integer(0));
}

Test(many, entries_may_be_a_map)
{
    struct kv_buffer *map = term_buffer();
    kv_write_map(map, 2);
    kv_write_atom_text(map, "a");
    kv_write_u64(map, 1);
    kv_write_atom_text(map, "b");
    kv_write_binary_text(map, "two");
    assert_term(ask("put_many", kv_buffer_bytes(map), NONE), term_atom("ok"));
    assert_term(ask("get_many", term_list(term_atom("a"), term_atom("b"), NONE), NONE),
                term_list(term_integer(1), term_binary("two"), NONE));
}

Test(many, of_two_entries_with_one_key_the_later_counts)
{
    assert_term(ask("put_many",
                    term_list(pair(term_atom("a"), term_integer(1)),
                              pair(term_atom("a"), term_integer(2)), NONE),
                    NONE),
                term_atom("ok"));
    assert_term(ask("get", term_atom("a"), term_atom("nil")), term_integer(2));
}

Test(many, keys_are_counted_as_they_are_deleted)
{
    put_two();
    assert_term(ask("delete_many", term_list(term_atom("a"), term_atom("x"), term_atom("a")), NONE),
                term_integer(1));
    assert_term(call(f, &bucket, term_atom("size")), term_integer(1));
}

Test(many, malformed_keys_are_answered_so_and_delete_nothing)
{
    put_two();
    struct kv_bytes wrong[] = {term_atom("a"), term_integer(1), term_binary("a"), improper(),
                               pair(term_atom("a"), term_atom("b"))};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_term(ask("get_many", wrong[i], NONE), bad("bad_keys", wrong[i]));
        assert_term(ask("get_many", wrong[i], term_integer(0)), bad("bad_keys", wrong[i]));
        assert_term(ask("delete_many", wrong[i], NONE), bad("bad_keys", wrong[i]));
    }
    assert_term(call(f, &bucket, term_atom("size")), term_integer(2));
}

Test(many, malformed_entries_are_answered_so_and_put_nothing)
{
    struct kv_bytes good = pair(term_atom("a"), term_integer(1));
    struct kv_bytes triple = term_tuple(term_atom("a"), term_atom("b"), term_atom("c"), NONE);
    struct kv_bytes wrong[] = {term_atom("a"),
                               term_integer(1),
                               good,
                               improper(),
                               term_list(good, term_atom("b"), NONE),
                               term_list(good, triple, NONE),
                               term_string("abc")};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_term(ask("put_many", wrong[i], NONE), bad("bad_entries", wrong[i]));
    }
    assert_term(call(f, &bucket, term_atom("size")), term_integer(0));
}

Test(many, they_are_casts_too)
{
    cast(f, &bucket,
         pair(term_atom("put_many"), term_list(pair(term_atom("a"), term_integer(1)),
                                               pair(term_atom("b"), term_integer(2)), NONE)));
    cast(f, &bucket, pair(term_atom("put_many"), improper()));
    cast(f, &bucket, pair(term_atom("delete_many"), improper()));
    assert_term(call(f, &bucket, term_atom("size")), term_integer(2));
    cast(f, &bucket, pair(term_atom("delete_many"), term_list(term_atom("a"), NONE, NONE)));
    assert_term(call(f, &bucket, term_atom("keys")), term_list(term_atom("b"), NONE, NONE));
}

/* 512 times a value of 1 MiB: more than one message holds. */
Test(many, an_answer_too_large_is_not_made)
{
    enum { VALUE = 1 << 20, TIMES = 512 };
    struct kv_buffer value = KV_BUFFER_INIT;
    struct kv_buffer keys = KV_BUFFER_INIT;
    struct kv_buffer message = KV_BUFFER_INIT;
    uint8_t *bytes = calloc(1, VALUE);
    kv_write_binary(&value, kv_bytes(bytes, VALUE));
    kv_write_tuple(&message, 2);
    kv_write_atom_text(&message, "$gen_cast");
    kv_write_tuple(&message, 3);
    kv_write_atom_text(&message, "put");
    kv_write_u64(&message, 7);
    kv_write_term(&message, kv_buffer_bytes(&value));
    feed_message(f, f->a, &bucket, kv_buffer_bytes(&message));
    kv_write_list(&keys, TIMES);
    for (int i = 0; i < TIMES; i++) {
        kv_write_u64(&keys, 7);
    }
    kv_write_nil(&keys);
    assert_term(ask("get_many", kv_buffer_bytes(&keys), NONE),
                bad("too_large", term_integer((int64_t)TIMES * (VALUE + 5))));
    assert_term(call(f, &bucket, term_atom("size")), term_integer(1));
    kv_buffer_free(&value);
    kv_buffer_free(&keys);
    kv_buffer_free(&message);
    free(bytes);
}
