/* Requests about many keys in one message. */
#include "support/fixture.h"

#include "base/endian.h"
#include "kv/kv.h"

#include <criterion/criterion.h>
#include <stdio.h>

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

/* ---- requests that never fit in ----------------------------------------------------------------
 */

enum { LIMIT = 10, LARGE = 1000 };

static void open_evicting(const char *limit, int64_t most)
{
    bucket = feed_spawn(f, f->a, "kv_bucket", term_list(NONE, NONE, NONE),
                        term_list(pair(term_atom(limit), term_integer(most)),
                                  pair(term_atom("evict"), term_atom("lru")), NONE));
    bucket.node = kv_bytes_text(FIXTURE_NODE);
    for (int64_t i = 0; i < LIMIT; i++) {
        assert_term(
            ask("put_many", term_list(pair(term_integer(i), term_integer(0)), NONE, NONE), NONE),
            term_atom("ok"));
    }
}

/* {Name, [{First, Value}, ...]} with values of so many bytes; the keys are `first` to
 * `first + keys - 1`, over and over. */
static struct kv_bytes put_all(const char *name, int64_t first, unsigned count, unsigned keys,
                               size_t bytes)
{
    static const uint8_t zeros[LARGE];
    struct kv_buffer entries = KV_BUFFER_INIT;
    kv_write_list(&entries, count);
    for (unsigned i = 0; i < count; i++) {
        kv_write_tuple(&entries, 2);
        kv_write_i64(&entries, first + i % keys);
        kv_write_binary(&entries, kv_bytes(zeros, bytes));
    }
    kv_write_nil(&entries);
    const struct kv_bytes answer = ask(name, kv_buffer_bytes(&entries), NONE);
    kv_buffer_free(&entries);
    return answer;
}

static struct kv_bytes error_of(const char *reason)
{
    return pair(term_atom("error"), term_atom(reason));
}

static struct kv_bytes size(void)
{
    return call(f, &bucket, term_atom("size"));
}

Test(many, more_new_keys_than_the_limit_evict_nothing)
{
    open_evicting("max_entries", LIMIT);
    assert_term(put_all("put_many", 100, LIMIT + 1, LIMIT + 1, 1), error_of("full"));
    assert_term(put_all("put_new_many", 100, LIMIT + 1, LIMIT + 1, 1), error_of("full"));
    assert_term(size(), term_integer(LIMIT));
    assert_term(put_all("put_many", 100, LIMIT, LIMIT, 1), term_atom("ok"));
    assert_term(size(), term_integer(LIMIT));
}

Test(many, a_long_request_with_more_new_keys_than_the_limit_evicts_nothing)
{
    open_evicting("max_entries", LIMIT);
    assert_term(put_all("put_many", 100, 5000, 5000, 1), error_of("full"));
    assert_term(put_all("put_new_many", 100, 5000, 5000, 1), error_of("full"));
    assert_term(size(), term_integer(LIMIT));
}

Test(many, a_key_that_comes_often_counts_once)
{
    open_evicting("max_entries", LIMIT);
    assert_term(put_all("put_many", 100, 100, LIMIT, 1), term_atom("ok"));
    assert_term(put_all("put_new_many", 200, 5000, LIMIT, 1), term_atom("true"));
    assert_term(size(), term_integer(LIMIT));
}

Test(many, more_bytes_than_the_limit_evict_nothing)
{
    open_evicting("max_memory", 65536);
    assert_term(put_all("put_many", 100, 70, 70, LARGE), error_of("enomem"));
    assert_term(put_all("put_many", 100, 2000, 2000, LARGE), error_of("enomem"));
    assert_term(size(), term_integer(LIMIT));
    assert_term(put_all("put_many", 100, 2000, 2, LARGE), term_atom("ok"));
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

enum { MANY = 300, LONG = 200 };

static void write_filler(struct kv_buffer *to, int byte, unsigned number)
{
    uint8_t bytes[LONG];
    memset(bytes, byte, sizeof bytes);
    memcpy(bytes, &number, sizeof number);
    kv_write_binary(to, kv_bytes(bytes, sizeof bytes));
}

/* So many keys, one behind the other, are of one kind, and so are values. */
static unsigned run = 1;

/* Keys of every kind, some of them equal. */
static void write_some_key(struct kv_buffer *to, unsigned i)
{
    char text[16];
    switch (i / run % 6) {
    case 0:
        kv_write_u64(to, i + 1000); /* must be made canonical */
        break;
    case 1:
        kv_write_u64(to, i % 32);
        break;
    case 2:
        kv_write_tuple(to, 2);
        kv_write_atom_text(to, "key");
        kv_write_u64(to, i);
        break;
    case 3:
        write_filler(to, 'k', i % 64);
        break;
    default:
        (void)snprintf(text, sizeof text, "key-%02u", i % 97);
        kv_write_binary_text(to, text);
    }
}

static void write_some_value(struct kv_buffer *to, unsigned i)
{
    switch (i / run % 4) {
    case 0:
        write_filler(to, 'v', i);
        break;
    case 1:
        kv_write_u64(to, i);
        break;
    default:
        kv_write_binary(to, kv_bytes("0123456789", i % 11));
    }
}

static void write_entries(struct kv_buffer *to, unsigned salt)
{
    kv_write_list(to, MANY);
    for (unsigned i = 0; i < MANY; i++) {
        kv_write_tuple(to, 2);
        write_some_key(to, i);
        write_some_value(to, i + salt);
    }
    kv_write_nil(to);
}

/* The value that was put last under key number i, once all entries are put. */
static void write_last_value(struct kv_buffer *to, unsigned i, unsigned salt)
{
    struct kv_buffer key = KV_BUFFER_INIT;
    unsigned last = i;
    write_some_key(&key, i);
    for (unsigned j = i + 1; j < MANY; j++) {
        struct kv_buffer other = KV_BUFFER_INIT;
        write_some_key(&other, j);
        last = kv_bytes_equal(kv_buffer_bytes(&key), kv_buffer_bytes(&other)) ? j : last;
        kv_buffer_free(&other);
    }
    write_some_value(to, last + salt);
    kv_buffer_free(&key);
}

static void expect_all(unsigned salt)
{
    struct kv_buffer keys = KV_BUFFER_INIT;
    struct kv_buffer values = KV_BUFFER_INIT;
    kv_write_list(&keys, MANY + 1);
    kv_write_list(&values, MANY + 1);
    for (unsigned i = 0; i < MANY; i++) {
        write_some_key(&keys, i);
        write_last_value(&values, i, salt);
    }
    kv_write_atom_text(&keys, "another");
    kv_write_atom_text(&values, "nil");
    kv_write_nil(&keys);
    kv_write_nil(&values);
    assert_term(ask("get_many", kv_buffer_bytes(&keys), NONE), kv_buffer_bytes(&values));
    kv_buffer_free(&keys);
    kv_buffer_free(&values);
}

static void put_and_find_all(void)
{
    for (unsigned salt = 0; salt < 12; salt++) { /* over values of the same length, and of others */
        struct kv_buffer entries = KV_BUFFER_INIT;
        write_entries(&entries, salt * salt);
        assert_term(ask("put_many", kv_buffer_bytes(&entries), NONE), term_atom("ok"));
        expect_all(salt * salt);
        kv_buffer_free(&entries);
    }
}

Test(many, keys_and_values_of_all_kinds_are_put_and_found_as_one_by_one)
{
    put_and_find_all();
}

Test(many, runs_of_keys_and_values_of_one_kind_are_put_and_found_as_one_by_one)
{
    run = 12;
    put_and_find_all();
}

Test(many, one_that_is_no_pair_at_the_end_of_many_is_seen_before_anything_is_put)
{
    struct kv_buffer entries = KV_BUFFER_INIT;
    write_entries(&entries, 0);
    entries.length--;
    kv_set32(entries.data + 1, MANY + 1);
    kv_write_tuple(&entries, 3);
    for (unsigned i = 0; i < 3; i++) {
        kv_write_u64(&entries, i);
    }
    kv_write_nil(&entries);
    assert_term(ask("put_many", kv_buffer_bytes(&entries), NONE),
                bad("bad_entries", kv_buffer_bytes(&entries)));
    assert_term(call(f, &bucket, term_atom("size")), term_integer(0));
    kv_buffer_free(&entries);
}

Test(many, pairs_and_lists_in_their_long_forms_are_taken_too)
{
    struct kv_buffer entries = KV_BUFFER_INIT;
    kv_write_list(&entries, 1);
    kv_buffer_u8(&entries, KV_TAG_LARGE_TUPLE);
    kv_buffer_u32(&entries, 2);
    kv_write_atom_text(&entries, "a");
    kv_write_u64(&entries, 1);
    kv_buffer_u8(&entries, KV_TAG_LIST); /* no elements, and the tail */
    kv_buffer_u32(&entries, 0);
    kv_write_nil(&entries);
    assert_term(ask("put_many", kv_buffer_bytes(&entries), NONE), term_atom("ok"));
    assert_term(ask("get", term_atom("a"), term_atom("nil")), term_integer(1));
    kv_buffer_free(&entries);
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
