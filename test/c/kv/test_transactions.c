/* A transaction does what its operations do one by one, or nothing. */
#include "support/fixture.h"

#include "kv/kv.h"

#include <criterion/criterion.h>

enum { PROGRAMS = 300, OPERATIONS_MAX = 12, KEYS = 5, TOO_MANY = 1001 };

static struct fixture *f;
static uint32_t seed;

static void set_up(void)
{
    f = fixture_new();
    seed = 1;
    cr_assert_eq(kv_services_start(f->runtime, &f->store), KV_OK);
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

static struct kv_pid new_bucket(void)
{
    struct kv_pid pid =
        feed_spawn(f, f->a, "kv_bucket", term_list(NONE, NONE, NONE), term_list(NONE, NONE, NONE));
    pid.node = kv_bytes_text(FIXTURE_NODE);
    return pid;
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
