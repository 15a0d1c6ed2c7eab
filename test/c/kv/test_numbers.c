/* Counters. */
#include "support/bucket.h"

#include "kv/kv.h"

#include <criterion/criterion.h>

TestSuite(numbers, .init = set_up, .fini = tear_down, .timeout = 20);

static struct kv_bytes incr(struct kv_bytes by, struct kv_bytes options)
{
    return ask("incr", term_atom("n"), by, options);
}

static struct kv_bytes option(const char *name, int64_t value)
{
    return pair(term_atom(name), term_integer(value));
}

static struct kv_bytes limit(struct kv_bytes current)
{
    return pair(term_atom("error"), pair(term_atom("limit"), current));
}

Test(numbers, a_counter_begins_at_the_default_or_zero)
{
    assert_term(incr(term_integer(2), NONE), term_integer(2));
    assert_term(ask("decr", term_atom("n"), term_integer(5), NONE), term_integer(-3));
    assert_term(
        ask("incr", term_atom("m"), term_integer(1), term_list(option("default", 40), NONE, NONE)),
        term_integer(41));
}

Test(numbers, bounds_refuse_and_change_nothing)
{
    put("n", 5, 0);
    assert_term(incr(term_integer(1), term_list(option("max", 5), NONE, NONE)),
                limit(term_integer(5)));
    assert_term(
        ask("decr", term_atom("n"), term_integer(1), term_list(option("min", 5), NONE, NONE)),
        limit(term_integer(5)));
    assert_term(incr(term_integer(1), term_list(option("min", 9), option("max", 1), NONE)),
                limit(term_integer(5)));
    assert_term(get("n"), term_integer(5));
}

Test(numbers, a_time_to_live_is_for_a_new_counter_only)
{
    const struct kv_bytes options = term_list(option("ttl", 10), NONE, NONE);
    assert_term(incr(term_integer(1), options), term_integer(1));
    pass(9);
    assert_term(incr(term_integer(1), options), term_integer(2));
    pass(1);
    assert_term(get("n"), term_atom("nil"));
    assert_term(incr(term_integer(1), options), term_integer(1));
}

Test(numbers, of_two_options_with_one_name_the_first_counts)
{
    (void)ask("put", term_atom("n"), term_integer(5), NONE);
    assert_term(incr(term_integer(1), term_list(option("max", 5), option("max", 9), NONE)),
                limit(term_integer(5)));
    assert_term(incr(term_integer(1), term_list(option("max", 9), option("max", 5), NONE)),
                term_integer(6));
    assert_term(ask("incr", term_atom("m"), term_integer(1),
                    term_list(option("default", 1), option("min", 0), option("default", 7))),
                term_integer(2));
}

Test(numbers, of_two_options_of_a_scan_with_one_name_the_first_counts)
{
    const struct kv_bytes count = pair(term_atom("return"), term_atom("count"));
    const struct kv_bytes keys = pair(term_atom("return"), term_atom("keys"));
    (void)ask("put", term_atom("n"), term_integer(5), NONE);
    assert_term(ask("scan", term_atom("start"), term_list(count, keys, NONE), NONE),
                pair(term_integer(1), term_atom("done")));
    assert_term(ask("scan", term_atom("start"), term_list(keys, count, NONE), NONE),
                pair(term_list(term_atom("n"), NONE, NONE), term_atom("done")));
}

Test(numbers, a_value_that_is_no_integer_stays)
{
    (void)ask("put", term_atom("n"), term_binary("five"), NONE);
    assert_term(incr(term_integer(1), NONE), pair(term_atom("error"), term_atom("not_an_integer")));
    assert_term(get("n"), term_binary("five"));
}

static bool is_refused(struct kv_bytes answer, const char *kind)
{
    struct kv_reader reader = kv_reader(answer);
    return kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_this_atom(&reader, "error") == KV_OK &&
           kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_this_atom(&reader, kind) == KV_OK;
}

Test(numbers, wrong_arguments_change_nothing)
{
    const struct kv_bytes wrong[] = {
        term_atom("a"),
        term_list(term_atom("a"), NONE, NONE),
        term_list(option("frobnicate", 1), NONE, NONE),
        term_list(option("ttl", 0), NONE, NONE),
        term_list(pair(term_atom("max"), term_binary("x")), NONE, NONE),
        term_list(option("max", 5), pair(term_atom("max"), term_binary("x")), NONE),
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cr_assert(is_refused(incr(term_integer(1), wrong[i]), "bad_option"));
    }
    cr_assert(is_refused(incr(term_binary("x"), NONE), "bad_step"));
    assert_term(get("n"), term_atom("nil"));
}

Test(numbers, an_improper_list_of_options_changes_nothing)
{
    struct kv_buffer list = KV_BUFFER_INIT;
    kv_write_list(&list, 1);
    kv_write_term(&list, option("max", 5));
    kv_write_atom_text(&list, "tail");
    cr_assert(is_refused(incr(term_integer(1), kv_buffer_bytes(&list)), "bad_option"));
    assert_term(get("n"), term_atom("nil"));
    kv_buffer_free(&list);
}

/* Integers at the edges of 64 bits: -2^63, -2^63 - 1, 2^64 - 1 and 2^64. */
static const uint8_t least[] = {110, 8, 1, 0, 0, 0, 0, 0, 0, 0, 128};
static const uint8_t below_least[] = {110, 8, 1, 1, 0, 0, 0, 0, 0, 0, 128};
static const uint8_t most[] = {110, 8, 0, 255, 255, 255, 255, 255, 255, 255, 255};
static const uint8_t above_most[] = {110, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};

Test(numbers, a_counter_passes_the_edges_of_64_bits_and_comes_back)
{
    (void)ask("put", term_atom("n"), kv_bytes(least, sizeof least), NONE);
    assert_term(ask("decr", term_atom("n"), term_integer(1), NONE),
                kv_bytes(below_least, sizeof below_least));
    assert_term(incr(term_integer(1), NONE), kv_bytes(least, sizeof least));
    (void)ask("put", term_atom("n"), kv_bytes(most, sizeof most), NONE);
    assert_term(incr(term_integer(1), NONE), kv_bytes(above_most, sizeof above_most));
    assert_term(ask("decr", term_atom("n"), term_integer(1), NONE), kv_bytes(most, sizeof most));
}

Test(numbers, a_counter_has_at_most_1024_bits)
{
    uint8_t bits[3 + 128] = {110, 128, 0};
    uint8_t longer[3 + 129] = {110, 129, 0};
    memset(bits + 3, 255, 128);
    longer[3 + 128] = 1;
    const struct kv_bytes largest = kv_bytes(bits, sizeof bits);
    (void)ask("put", term_atom("n"), largest, NONE);
    assert_term(incr(term_integer(1), NONE), limit(largest));
    assert_term(get("n"), largest);
    (void)ask("put", term_atom("n"), kv_bytes(longer, sizeof longer), NONE);
    assert_term(incr(term_integer(1), NONE), limit(kv_bytes(longer, sizeof longer)));
    cr_assert(is_refused(incr(kv_bytes(longer, sizeof longer), NONE), "bad_step"));
    bits[2] = 1;
    (void)ask("put", term_atom("n"), largest, NONE);
    assert_term(ask("decr", term_atom("n"), term_integer(1), NONE), limit(largest));
}

Test(numbers, a_full_bucket_takes_no_new_counter)
{
    open_bucket(pair(term_atom("max_entries"), term_integer(1)), NONE);
    put("a", 1, 0);
    assert_term(incr(term_integer(1), NONE), pair(term_atom("error"), term_atom("full")));
    assert_term(ask("incr", term_atom("a"), term_integer(1), NONE), term_integer(2));
    assert_term(get("n"), term_atom("nil"));
}
