/* The time to live of a key, by a clock of the test. */
#include "support/bucket.h"

#include "kv/kv.h"

#include <criterion/criterion.h>

enum { LIFE = 100, UNIX_TIME = 1000 };

TestSuite(time_to_live, .init = set_up, .fini = tear_down, .timeout = 20);

static uint64_t unix_time(void)
{
    return UNIX_TIME;
}

static void open_mortal(bool touch)
{
    open_bucket(pair(term_atom("ttl"), term_integer(LIFE)),
                pair(term_atom("touch_on_read"), term_atom(touch ? "true" : "false")));
}

static void assert_life(const char *key, int64_t ms)
{
    assert_term(ask("ttl", term_atom(key), NONE, NONE), pair(term_atom("ok"), term_integer(ms)));
}

static struct kv_bytes endless(void)
{
    return pair(term_atom("ok"), term_atom("infinity"));
}

Test(time_to_live, ttl_tells_what_is_left_and_an_absent_key_from_an_endless_one)
{
    assert_term(ask("ttl", term_atom("a"), NONE, NONE), term_atom("error"));
    put("a", 1, 0);
    assert_term(ask("ttl", term_atom("a"), NONE, NONE), endless());
    put("a", 1, 10);
    pass(9);
    assert_life("a", 1);
    pass(1);
    assert_term(ask("ttl", term_atom("a"), NONE, NONE), term_atom("error"));
}

Test(time_to_live, expire_ends_an_entry_at_its_millisecond)
{
    assert_term(ask("expire", term_atom("a"), term_integer(10), NONE), term_atom("false"));
    put("a", 1, 0);
    assert_term(ask("expire", term_atom("a"), term_integer(10), NONE), term_atom("true"));
    pass(9);
    assert_term(get("a"), term_integer(1));
    pass(1);
    assert_term(get("a"), term_atom("nil"));
    assert_term(ask("expire", term_atom("a"), term_integer(10), NONE), term_atom("false"));
}

Test(time_to_live, a_wrong_time_changes_nothing)
{
    const struct kv_bytes wrong[] = {term_integer(0), term_integer(-1), term_atom("keep"),
                                     term_integer((INT64_C(1) << 46) + 1)};
    put("a", 1, 0);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_term(ask("expire", term_atom("a"), wrong[i], NONE),
                    pair(term_atom("error"), pair(term_atom("bad_ttl"), wrong[i])));
    }
    assert_term(ask("ttl", term_atom("a"), NONE, NONE), endless());
}

Test(time_to_live, expire_at_counts_from_the_wall_clock_and_a_time_that_has_passed_deletes)
{
    f->store.unix_time = unix_time;
    put("a", 1, 0);
    assert_term(ask("expire_at", term_atom("a"), term_integer(UNIX_TIME + 10), NONE),
                term_atom("true"));
    assert_life("a", 10);
    assert_term(ask("expire_at", term_atom("a"), term_integer(UNIX_TIME), NONE), term_atom("true"));
    assert_term(get("a"), term_atom("nil"));
    assert_term(ask("expire_at", term_atom("a"), term_integer(-1), NONE), term_atom("false"));
}

Test(time_to_live, persist_lets_an_entry_live)
{
    put("a", 1, 10);
    assert_term(ask("persist", term_atom("a"), NONE, NONE), term_atom("true"));
    pass(1000);
    assert_term(get("a"), term_integer(1));
    assert_term(ask("persist", term_atom("b"), NONE, NONE), term_atom("false"));
}

Test(time_to_live, an_expiry_without_room_for_it_leaves_the_entry)
{
    open_bucket(pair(term_atom("max_memory"), term_integer(4096)), NONE);
    struct kv_bytes answer = term_atom("ok");
    int64_t key = 0;
    while (kv_term_is_atom(answer, "ok")) {
        answer =
            ask("put", term_integer(key++), term_binary("thirty-two bytes of some value.."), NONE);
    }
    assert_term(answer, pair(term_atom("error"), term_atom("enomem")));
    answer = ask("expire", term_integer(0), term_integer(10), NONE);
    if (kv_bytes_equal(answer, term_atom("true"))) {
        assert_term(ask("ttl", term_integer(0), NONE, NONE),
                    pair(term_atom("ok"), term_integer(10)));
    } else {
        assert_term(answer, pair(term_atom("error"), term_atom("enomem")));
        assert_term(ask("ttl", term_integer(0), NONE, NONE), endless());
    }
    assert_term(call(f, &bucket, term_atom("size")), term_integer(key - 1));
}

Test(time_to_live, touch_starts_the_default_again_for_what_expires)
{
    open_mortal(false);
    put("a", 1, 10);
    assert_term(ask("touch", term_atom("a"), NONE, NONE), term_atom("true"));
    assert_life("a", LIFE);
    (void)ask("persist", term_atom("a"), NONE, NONE);
    assert_term(ask("touch", term_atom("a"), NONE, NONE), term_atom("true"));
    assert_term(ask("ttl", term_atom("a"), NONE, NONE), endless());
    assert_term(ask("touch", term_atom("b"), NONE, NONE), term_atom("false"));
}

Test(time_to_live, keep_keeps_what_is_there_and_gives_the_default_to_a_new_entry)
{
    open_mortal(false);
    put("a", 1, 10);
    (void)ask("put", term_atom("a"), term_integer(2), term_atom("keep"));
    (void)ask("put", term_atom("b"), term_integer(2), term_atom("keep"));
    assert_life("a", 10);
    assert_life("b", LIFE);
}

Test(time_to_live, only_a_read_of_a_value_starts_the_life_again)
{
    open_mortal(true);
    put("a", 1, 10);
    (void)ask("has_key", term_atom("a"), NONE, NONE);
    (void)ask("put_new", term_atom("a"), term_integer(2), NONE);
    (void)ask("put_new_many", term_list(pair(term_atom("a"), term_integer(2)), NONE, NONE), NONE,
              NONE);
    (void)ask("put_tagged", term_atom("a"), term_integer(1), term_integer(2));
    assert_life("a", 10);
    (void)get("a");
    assert_life("a", LIFE);
}

Test(time_to_live, fetch_and_get_many_start_the_life_again)
{
    open_mortal(true);
    put("a", 1, 10);
    put("b", 1, 10);
    (void)ask("fetch", term_atom("a"), NONE, NONE);
    (void)ask("get_many", term_list(term_atom("b"), NONE, NONE), NONE, NONE);
    assert_life("a", LIFE);
    assert_life("b", LIFE);
}

static void transact(struct kv_bytes one, struct kv_bytes two)
{
    (void)call(f, &bucket, pair(term_atom("transaction"), term_list(one, two, NONE)));
}

Test(time_to_live, a_transaction_that_fails_or_only_checks_has_read_nothing)
{
    open_mortal(true);
    put("a", 1, 10);
    const struct kv_bytes read = pair(term_atom("get"), term_atom("a"));
    const struct kv_bytes check =
        term_tuple(term_atom("check"), term_atom("a"), term_integer(1), NONE);
    transact(read, pair(term_atom("check_absent"), term_atom("a")));
    assert_life("a", 10);
    transact(check, NONE);
    assert_life("a", 10);
    transact(read, check);
    assert_life("a", LIFE);
    assert_term(get("a"), term_integer(1));
}

Test(time_to_live, a_transaction_reads_its_own_puts_as_one_by_one)
{
    open_mortal(true);
    const struct kv_bytes read = pair(term_atom("get"), term_atom("a"));
    transact(term_tuple(term_atom("put"), term_atom("a"), term_integer(1), term_integer(10)), read);
    assert_life("a", LIFE);
    transact(read, pair(term_atom("delete"), term_atom("a")));
    assert_term(get("a"), term_atom("nil"));
    put("a", 1, 10);
    transact(read, term_tuple(term_atom("expire"), term_atom("a"), term_integer(7), NONE));
    assert_life("a", 7);
}
