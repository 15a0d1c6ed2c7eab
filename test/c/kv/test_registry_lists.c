/* Lists of a registry with many names, which go on over several turns. */
#include "support/fixture.h"

#include "kv/going.h"
#include "kv/kv.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct fixture *f;
static struct kv_pid native; /* a registry that makes its own buckets */

static void set_up(void)
{
    f = fixture_with_services();
    native = feed_registry(f, NONE);
    forget(f);
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(registry_lists, .init = set_up, .fini = tear_down, .timeout = 60);

static struct kv_bytes pair(const char *name, struct kv_bytes term)
{
    return term_tuple(term_atom(name), term, NONE, NONE);
}

static struct kv_pid create(const char *name)
{
    return pid_in(call(f, &native, pair("create", term_binary(name))));
}

/* ---- many names --------------------------------------------------------------------------------
 * Half of the names begin with "user:", the others with "guest:". */

enum { MANY = 50000, TURNS_MIN = MANY / KV_PIECE_KEYS };

static struct kv_pid first; /* the bucket of the first name, */
static struct kv_pid last;  /* and of the last one */

static const char *many_name(size_t i)
{
    static char name[32];
    (void)snprintf(name, sizeof name, "%s:%zu", i % 2 == 0 ? "user" : "guest", i);
    return name;
}

static void create_many(void)
{
    for (size_t i = 0; i < MANY; i++) {
        last = create(many_name(i));
        first = i == 0 ? last : first;
        forget(f);
    }
    f->stepwise = true;
}

/* Asserts that a list has each of the names with the number `from`, `from + step` and so on once:
 * as {Name, Pid} if `pids` is true. */
static void assert_lists(struct kv_bytes list, size_t from, size_t step, bool pids)
{
    static bool seen[MANY];
    uint32_t count = 0;
    struct kv_reader reader = kv_reader(list);
    cr_assert_eq(kv_read_list(&reader, &count), KV_OK);
    cr_assert_eq(count, (MANY - from + step - 1) / step);
    memset(seen, 0, sizeof seen);
    for (uint32_t i = 0; i < count; i++) {
        struct kv_bytes name = NONE;
        struct kv_pid pid;
        cr_assert(!pids || kv_read_tuple_of(&reader, 2) == KV_OK);
        cr_assert_eq(kv_read_binary(&reader, &name), KV_OK);
        cr_assert(!pids || kv_read_pid(&reader, &pid) == KV_OK);
        const char *digits = memchr(name.data, ':', name.length);
        const size_t number = strtoul(digits + 1, NULL, 10);
        cr_assert(number < MANY && number % step == from && !seen[number]);
        cr_assert(kv_bytes_equal(name, kv_bytes_text(many_name(number))));
        seen[number] = true;
    }
    cr_assert_eq(kv_read_nil(&reader), KV_OK);
    cr_assert(kv_reader_at_end(&reader));
}

static void kill_bucket(const struct kv_pid *bucket)
{
    const struct kv_pid killer = pid_a(1);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &killer, bucket, term_atom("kill"));
}

Test(registry_lists, many_names_are_listed_over_many_turns)
{
    create_many();
    feed_call(f, &native, "$gen_call", 1, term_atom("names"));
    cr_assert_gt(run_to_the_end(f), TURNS_MIN);
    assert_lists(answer_at(f, 1), 0, 1, false);
    feed_call(f, &native, "$gen_call", 2, term_atom("list"));
    cr_assert_gt(run_to_the_end(f), TURNS_MIN);
    assert_lists(answer_at(f, 2), 0, 1, true);
}

Test(registry_lists, many_names_with_a_prefix_are_listed_and_counted_over_many_turns)
{
    create_many();
    feed_call(f, &native, "$gen_call", 1, pair("names", term_binary("user:")));
    cr_assert_gt(run_to_the_end(f), TURNS_MIN);
    assert_lists(answer_at(f, 1), 0, 2, false);
    feed_call(f, &native, "$gen_call", 2, pair("list", term_binary("guest:")));
    cr_assert_gt(run_to_the_end(f), TURNS_MIN);
    assert_lists(answer_at(f, 2), 1, 2, true);
    feed_call(f, &native, "$gen_call", 3, pair("count", term_binary("guest:")));
    cr_assert_gt(run_to_the_end(f), TURNS_MIN);
    assert_term(answer_at(f, 3), term_integer(MANY / 2));
    feed_call(f, &native, "$gen_call", 4, pair("names", term_binary("nobody")));
    (void)run_to_the_end(f);
    assert_term(answer_at(f, 4), term_list(NONE, NONE, NONE));
}

Test(registry_lists, others_are_served_while_many_names_are_listed)
{
    create_many();
    feed_call(f, &native, "$gen_call", 1, term_atom("names"));
    cr_assert(kv_runtime_step(f->runtime));
    feed_call(f, &last, "$gen_call", 2, term_atom("size"));
    feed_call(f, &native, "$gen_call", 3, pair("create", term_binary("user:new")));
    assert_term(answer_at(f, 2), term_integer(0));
    cr_assert_eq(answer_at(f, 1).length, 0);
    (void)run_to_the_end(f);
    assert_lists(answer_at(f, 1), 0, 1, false);
    (void)pid_in(answer_at(f, 3));
    feed_call(f, &native, "$gen_call", 4, term_atom("count"));
    (void)run_to_the_end(f);
    assert_term(answer_at(f, 4), term_integer(MANY + 1));
}

Test(registry_lists, a_list_of_many_names_has_those_whose_buckets_end_meanwhile)
{
    const struct kv_pid *ends[] = {&first, &last};
    create_many();
    feed_call(f, &native, "$gen_call", 1, term_atom("list"));
    cr_assert(kv_runtime_step(f->runtime));
    for (size_t i = 0; i < 2; i++) {
        kill_bucket(ends[i]);
        cr_assert(kv_runtime_step(f->runtime));
        cr_assert_not(kv_is_alive(f->runtime, ends[i]));
    }
    cr_assert_eq(answer_at(f, 1).length, 0);
    (void)run_to_the_end(f);
    assert_lists(answer_at(f, 1), 0, 1, true);
    feed_call(f, &native, "$gen_call", 2, pair("lookup", term_binary(many_name(MANY - 1))));
    feed_call(f, &native, "$gen_call", 3, term_atom("names"));
    (void)run_to_the_end(f);
    assert_term(answer_at(f, 2), term_atom("error"));
    uint32_t count = 0;
    struct kv_reader reader = kv_reader(answer_at(f, 3));
    cr_assert_eq(kv_read_list(&reader, &count), KV_OK);
    cr_assert_eq(count, MANY - 2);
}

Test(registry_lists, a_list_goes_on_behind_a_name_that_ends_where_the_list_stopped)
{
    create_many();
    feed_call(f, &native, "$gen_call", 1, pair("lookup", term_binary(many_name(KV_PIECE_KEYS))));
    struct kv_bytes found = NONE;
    struct kv_reader reader = kv_reader(answer_at(f, 1));
    cr_assert(kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_this_atom(&reader, "ok") == KV_OK);
    cr_assert_eq(kv_read_any(&reader, &found), KV_OK);
    const struct kv_pid next = pid_in(found);
    feed_call(f, &native, "$gen_call", 2, term_atom("names"));
    cr_assert(kv_runtime_step(f->runtime));
    kill_bucket(&next);
    (void)run_to_the_end(f);
    assert_lists(answer_at(f, 2), 0, 1, false);
}

Test(registry_lists, a_registry_that_ends_tells_the_caller_of_a_list)
{
    const struct kv_pid caller = pid_a(1);
    const struct kv_ref alias = ref_a(77);
    struct kv_buffer message = KV_BUFFER_INIT;
    create_many();
    kv_write_tuple(&message, 3);
    kv_write_atom_text(&message, "$kv_call");
    kv_write_ref(&message, &alias);
    kv_write_term(&message, term_atom("list"));
    feed_message(f, f->a, &native, kv_buffer_bytes(&message));
    kv_buffer_free(&message);
    cr_assert(kv_runtime_step(f->runtime));
    forget(f);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &caller, &native, term_atom("kill"));
    struct kv_reader reader = kv_reader(payload_of(sent_of(f, KV_SIGNAL_MESSAGE_ALIAS, 0)));
    cr_assert_eq(kv_read_tuple_of(&reader, 3), KV_OK);
}
