/* A transaction does what its operations do one by one, or nothing. */
#include "support/fixture.h"

#include "kv/kv.h"

#include <criterion/criterion.h>

enum { PROGRAMS = 300, OPERATIONS_MAX = 12, KEYS = 5, TOO_MANY = 1001 };

static struct fixture *f;
static uint32_t seed;

static void set_up(void)
{
    f = fixture_with_services();
    seed = 1;
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(transactions, .init = set_up, .fini = tear_down, .timeout = 60);

static unsigned below(unsigned limit)
{
    seed = seed * 1664525U + 1013904223U;
    return (seed >> 16) % limit;
}

static struct kv_pid bucket_with(struct kv_bytes options)
{
    struct kv_pid pid = feed_spawn(f, f->a, "kv_bucket", term_list(NONE, NONE, NONE), options);
    pid.node = kv_bytes_text(FIXTURE_NODE);
    return pid;
}

static struct kv_pid new_bucket(void)
{
    return bucket_with(term_list(NONE, NONE, NONE));
}

static struct kv_bytes pair(struct kv_bytes one, struct kv_bytes two)
{
    return term_tuple(one, two, NONE, NONE);
}

/* A canonical copy, since entries may lie in any order. */
static struct kv_buffer state_of(const struct kv_pid *bucket)
{
    struct kv_buffer state = KV_BUFFER_INIT;
    kv_term_canonical(call(f, bucket, term_atom("to_map")), KV_ZEROS_DIFFER, &state);
    forget(f);
    return state;
}

static void assert_state(const struct kv_pid *bucket, const struct kv_buffer *expected)
{
    struct kv_buffer state = state_of(bucket);
    assert_term(kv_buffer_bytes(&state), kv_buffer_bytes(expected));
    kv_buffer_free(&state);
}

static struct kv_bytes any_operation(void)
{
    const struct kv_bytes key = term_integer(below(KEYS));
    const struct kv_bytes value = below(2) == 0 ? term_integer(below(3)) : term_binary("some text");
    switch (below(9)) {
    case 0:
        return pair(term_atom("fetch"), key);
    case 1:
        return pair(term_atom("delete"), key);
    case 2:
        return term_tuple(term_atom("put_new"), key, value, NONE);
    case 3:
        return term_tuple(term_atom("put"), key, value, term_integer(below(40) + 1));
    case 4:
        return term_tuple(term_atom("put"), key, value, term_integer(below(8)));
    case 5:
        return pair(term_atom("has_key"), key);
    case 6:
        return term_tuple(term_atom("get"), key, value, NONE);
    default:
        return term_tuple(term_atom("put"), key, value, NONE);
    }
}

static bool is_error(struct kv_bytes answer, struct kv_bytes *reason)
{
    struct kv_reader reader = kv_reader(answer);
    return kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_this_atom(&reader, "error") == KV_OK &&
           kv_read_any(&reader, reason) == KV_OK;
}

/* Runs the requests one by one, and writes the answer that the transaction should have. Returns
 * false if one of them fails. */
static bool one_by_one(const struct kv_pid *bucket, struct kv_bytes *requests, unsigned count,
                       struct kv_buffer *expected)
{
    kv_write_tuple(expected, 2);
    kv_write_atom_text(expected, "ok");
    kv_write_list(expected, count);
    for (unsigned i = 0; i < count; i++) {
        struct kv_bytes reason;
        const struct kv_bytes answer = call(f, bucket, requests[i]);
        if (is_error(answer, &reason)) {
            kv_buffer_clear(expected);
            kv_write_term(expected, pair(term_atom("error"), pair(term_integer(i), reason)));
            return false;
        }
        kv_write_term(expected, answer);
    }
    kv_write_nil(expected);
    return true;
}

static void write_transaction(struct kv_buffer *to, const struct kv_bytes *requests, unsigned count)
{
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "transaction");
    kv_write_list(to, count);
    for (unsigned i = 0; i < count; i++) {
        kv_write_term(to, requests[i]);
    }
    kv_write_nil(to);
}

static void fill(const struct kv_pid *one, const struct kv_pid *other)
{
    for (unsigned i = below(6); i > 0; i--) {
        const struct kv_bytes put =
            term_tuple(term_atom("put"), term_integer(below(KEYS)), term_integer(below(3)),
                       term_integer(10 + below(30)));
        (void)call(f, one, put);
        (void)call(f, other, put);
    }
    kv_arena_set_time(f->arena, kv_arena_time(f->arena) + below(30));
}

static void run_program(void)
{
    const struct kv_pid whole = new_bucket();
    const struct kv_pid single = new_bucket();
    struct kv_bytes requests[OPERATIONS_MAX];
    const unsigned count = 1 + below(OPERATIONS_MAX);
    struct kv_buffer expected = KV_BUFFER_INIT;
    struct kv_buffer transaction = KV_BUFFER_INIT;
    fill(&whole, &single);
    struct kv_buffer state = state_of(&whole);
    for (unsigned i = 0; i < count; i++) {
        requests[i] = any_operation();
    }
    write_transaction(&transaction, requests, count);
    if (one_by_one(&single, requests, count, &expected)) {
        kv_buffer_free(&state);
        state = state_of(&single);
    }
    assert_term(call(f, &whole, kv_buffer_bytes(&transaction)), kv_buffer_bytes(&expected));
    assert_state(&whole, &state);
    kv_arena_set_time(f->arena, kv_arena_time(f->arena) + below(40));
    kv_buffer_free(&state);
    kv_buffer_free(&expected);
    kv_buffer_free(&transaction);
    forget(f);
}

Test(transactions, random_programs_do_what_their_operations_do_one_by_one_or_nothing)
{
    for (unsigned i = 0; i < PROGRAMS; i++) {
        run_program();
    }
}

Test(transactions, more_than_a_thousand_operations_are_refused)
{
    static struct kv_bytes requests[TOO_MANY];
    const struct kv_pid bucket = new_bucket();
    struct kv_buffer transaction = KV_BUFFER_INIT;
    requests[0] = pair(term_atom("delete"), term_atom("a"));
    for (unsigned i = 1; i < TOO_MANY; i++) {
        requests[i] = requests[0];
    }
    write_transaction(&transaction, requests, TOO_MANY);
    assert_term(
        call(f, &bucket, kv_buffer_bytes(&transaction)),
        pair(term_atom("error"), pair(term_atom("too_many_operations"), term_integer(TOO_MANY))));
    kv_buffer_free(&transaction);
}

Test(transactions, an_improper_list_does_nothing)
{
    const struct kv_pid bucket = new_bucket();
    struct kv_buffer transaction = KV_BUFFER_INIT;
    const struct kv_bytes put = term_tuple(term_atom("put"), term_atom("a"), term_integer(1), NONE);
    struct kv_bytes reason;
    write_transaction(&transaction, &put, 1);
    transaction.length--;
    kv_write_atom_text(&transaction, "tail");
    cr_assert(is_error(call(f, &bucket, kv_buffer_bytes(&transaction)), &reason));
    assert_term(call(f, &bucket, term_atom("size")), term_integer(0));
    kv_buffer_free(&transaction);
}

/* ---- room --------------------------------------------------------------------------------------
 */

enum { LIMIT = 40 };

static struct kv_bytes put_of(unsigned key, size_t length)
{
    static const char text[] = "a value of many bytes, a value of many bytes, a value of many";
    return term_tuple(term_atom("put"), term_integer(key),
                      term_binary(text + sizeof text - 1 - length), NONE);
}

static struct kv_bytes delete_of(unsigned key)
{
    return pair(term_atom("delete"), term_integer(key));
}

/* A bucket with so many entries as it may hold: the keys from 0 on. */
static struct kv_pid full_bucket(const char *limit, unsigned most, const char *evict)
{
    const struct kv_pid bucket =
        bucket_with(term_list(pair(term_atom(limit), term_integer(most)),
                              pair(term_atom("evict"), term_atom(evict)), NONE));
    for (unsigned i = 0; i < LIMIT; i++) {
        (void)call(f, &bucket, put_of(i, 50));
        forget(f);
    }
    return bucket;
}

static struct kv_bytes transact(const struct kv_pid *bucket, const struct kv_bytes *requests,
                                unsigned count)
{
    struct kv_buffer transaction = KV_BUFFER_INIT;
    write_transaction(&transaction, requests, count);
    const struct kv_bytes answer = call(f, bucket, kv_buffer_bytes(&transaction));
    kv_buffer_free(&transaction);
    return answer;
}

static bool is_ok(struct kv_bytes answer)
{
    struct kv_reader reader = kv_reader(answer);
    return kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_this_atom(&reader, "ok") == KV_OK;
}

Test(transactions, a_full_bucket_takes_a_new_key_for_one_that_is_deleted)
{
    const struct kv_pid bucket = full_bucket("max_entries", LIMIT, "none");
    const struct kv_bytes requests[] = {put_of(LIMIT, 50), delete_of(1), delete_of(2),
                                        put_of(LIMIT + 1, 50)};
    cr_assert(is_ok(transact(&bucket, requests, 4)));
    assert_term(call(f, &bucket, term_atom("size")), term_integer(LIMIT));
}

Test(transactions, a_full_bucket_takes_no_more_than_is_deleted)
{
    const struct kv_pid bucket = full_bucket("max_entries", LIMIT, "none");
    const struct kv_bytes requests[] = {delete_of(1), delete_of(LIMIT + 9), put_of(LIMIT, 50),
                                        put_of(LIMIT + 1, 50)};
    assert_term(transact(&bucket, requests, 4),
                pair(term_atom("error"), pair(term_integer(3), term_atom("full"))));
    assert_term(call(f, &bucket, term_atom("size")), term_integer(LIMIT));
}

/* Puts entries until there is no room. Returns their number. */
static unsigned fill_up(const struct kv_pid *bucket)
{
    unsigned key = LIMIT;
    while (kv_term_is_atom(call(f, bucket, put_of(key, 50)), "ok")) {
        forget(f);
        key++;
    }
    forget(f);
    return key;
}

Test(transactions, bytes_that_a_transaction_frees_are_room_for_its_puts)
{
    const struct kv_pid bucket = full_bucket("max_memory", 8192, "none");
    const unsigned count = fill_up(&bucket);
    const struct kv_bytes one_for_one[] = {put_of(count, 50), delete_of(1)};
    const struct kv_bytes less_for_more[] = {put_of(2, 60), put_of(count + 1, 20), put_of(3, 0),
                                             put_of(4, 0)};
    cr_assert(is_ok(transact(&bucket, one_for_one, 2)));
    forget(f);
    cr_assert(is_ok(transact(&bucket, less_for_more, 4)));
    forget(f);
    assert_term(call(f, &bucket, term_atom("size")), term_integer(count + 1));
}

/* Reads half of the old keys but two, puts the other half, and puts so many new keys. The terms
 * last for some 200 more. */
static unsigned naming(struct kv_bytes *requests, unsigned new)
{
    unsigned count = 0;
    for (unsigned i = 0; i < new; i++) {
        requests[count++] = put_of(LIMIT + i, 50);
    }
    for (unsigned i = 0; i < LIMIT - 2; i++) {
        requests[count++] =
            i % 2 == 0 ? pair(term_atom("has_key"), term_integer(i)) : put_of(i, 40);
    }
    return count;
}

static void assert_keys(const struct kv_pid *bucket, unsigned first, unsigned behind, bool there)
{
    for (unsigned i = first; i < behind; i++) {
        const struct kv_bytes answer = call(f, bucket, pair(term_atom("has_key"), term_integer(i)));
        cr_assert_eq(kv_term_is_atom(answer, "true"), there, "key %u", i);
        forget(f);
    }
}

Test(transactions, a_transaction_never_evicts_a_key_that_it_names)
{
    struct kv_bytes requests[LIMIT + 1];
    for (unsigned round = 0; round < 20; round++) {
        const struct kv_pid bucket = full_bucket("max_entries", LIMIT, "lru");
        cr_assert(is_ok(transact(&bucket, requests, naming(requests, 2))));
        forget(f);
        assert_keys(&bucket, 0, LIMIT - 2, true);
        assert_keys(&bucket, LIMIT - 2, LIMIT, false);
        assert_keys(&bucket, LIMIT, LIMIT + 2, true);
    }
}

Test(transactions, a_transaction_of_more_new_keys_than_the_limit_evicts_nothing)
{
    struct kv_bytes requests[LIMIT + 1];
    const struct kv_pid bucket = full_bucket("max_entries", LIMIT, "lru");
    for (unsigned i = 0; i < LIMIT + 1; i++) {
        requests[i] = put_of(LIMIT + i, 50);
    }
    assert_term(transact(&bucket, requests, LIMIT + 1),
                pair(term_atom("error"), pair(term_integer(LIMIT), term_atom("full"))));
    assert_term(call(f, &bucket, term_atom("size")), term_integer(LIMIT));
    cr_assert(is_ok(transact(&bucket, requests, LIMIT)));
}

Test(transactions, a_transaction_of_more_bytes_than_the_limit_evicts_nothing)
{
    enum { NEW = 20, LARGE = 500 };
    char text[LARGE + 1] = "";
    struct kv_bytes requests[NEW];
    const struct kv_pid bucket = full_bucket("max_memory", 8192, "lru");
    memset(text, 'x', LARGE);
    for (unsigned i = 0; i < NEW; i++) {
        requests[i] =
            term_tuple(term_atom("put"), term_integer(LIMIT + i), term_binary(text), NONE);
    }
    const struct kv_bytes before = call(f, &bucket, term_atom("size"));
    struct kv_reader reader = kv_reader(transact(&bucket, requests, NEW));
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "error"), KV_OK);
    assert_term(call(f, &bucket, term_atom("size")), before);
}

Test(transactions, a_transaction_that_names_more_keys_than_the_limit_changes_none)
{
    struct kv_bytes requests[LIMIT + 1];
    const struct kv_pid bucket = full_bucket("max_entries", LIMIT, "lru");
    assert_term(transact(&bucket, requests, naming(requests, 3)),
                pair(term_atom("error"), pair(term_integer(2), term_atom("full"))));
    forget(f);
    assert_keys(&bucket, 0, LIMIT - 2, true);
    assert_keys(&bucket, LIMIT, LIMIT + 3, false);
}
