/* Operations that depend on the value that is there. */
#include "support/bucket.h"

#include "kv/kv.h"

#include <criterion/criterion.h>

TestSuite(conditional, .init = set_up, .fini = tear_down, .timeout = 20);

static struct kv_bytes ok(int64_t value)
{
    return pair(term_atom("ok"), term_integer(value));
}

static struct kv_bytes refused(const char *reason)
{
    return pair(term_atom("error"), term_atom(reason));
}

Test(conditional, pop_returns_the_value_once)
{
    put("a", 1, 0);
    assert_term(ask("pop", term_atom("a"), NONE, NONE), ok(1));
    assert_term(ask("pop", term_atom("a"), NONE, NONE), term_atom("error"));
}

Test(conditional, swap_returns_the_old_value_and_puts_in_either_case)
{
    assert_term(ask("swap", term_atom("a"), term_integer(1), NONE), term_atom("error"));
    assert_term(ask("swap", term_atom("a"), term_integer(2), NONE), ok(1));
    assert_term(get("a"), term_integer(2));
}

Test(conditional, replace_puts_only_over_a_value)
{
    assert_term(ask("replace", term_atom("a"), term_integer(1), NONE), term_atom("false"));
    assert_term(get("a"), term_atom("nil"));
    put("a", 1, 0);
    assert_term(ask("replace", term_atom("a"), term_integer(2), NONE), term_atom("true"));
    assert_term(get("a"), term_integer(2));
}

Test(conditional, a_value_is_there_until_the_millisecond_of_its_end)
{
    put("a", 1, 10);
    pass(9);
    assert_term(ask("replace", term_atom("a"), term_integer(2), term_atom("keep")),
                term_atom("true"));
    assert_term(ask("compare_and_put", term_atom("a"), term_integer(2), term_integer(3)),
                term_atom("true"));
    put("b", 1, 10);
    pass(9);
    assert_term(ask("swap", term_atom("b"), term_integer(2), term_integer(1)), ok(1));
    pass(1);
    assert_term(ask("swap", term_atom("b"), term_integer(3), term_integer(1)), term_atom("error"));
    pass(1);
    assert_term(ask("pop", term_atom("b"), NONE, NONE), term_atom("error"));
    assert_term(ask("replace", term_atom("b"), term_integer(4), NONE), term_atom("false"));
    assert_term(ask("compare_and_delete", term_atom("b"), term_integer(3), NONE),
                term_atom("false"));
}

Test(conditional, a_comparison_is_by_value_however_the_terms_were_encoded)
{
    static const uint8_t one_as_big[] = {110, 2, 0, 1, 0};
    static const uint8_t one_as_float[] = {70, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0};
    put("a", 1, 0);
    assert_term(ask("compare_and_delete", term_atom("a"),
                    kv_bytes(one_as_float, sizeof one_as_float), NONE),
                term_atom("false"));
    assert_term(ask("compare_and_put", term_atom("a"), kv_bytes(one_as_big, sizeof one_as_big),
                    term_integer(2)),
                term_atom("true"));
    assert_term(ask("compare_and_delete", term_atom("a"), term_integer(2), NONE),
                term_atom("true"));
    assert_term(get("a"), term_atom("nil"));
}

Test(conditional, a_wrong_time_to_live_changes_nothing)
{
    put("a", 1, 0);
    const struct kv_bytes wrong =
        pair(term_atom("error"), pair(term_atom("bad_ttl"), term_integer(0)));
    assert_term(ask("swap", term_atom("a"), term_integer(2), term_integer(0)), wrong);
    assert_term(ask("replace", term_atom("a"), term_integer(2), term_integer(0)), wrong);
    assert_term(get("a"), term_integer(1));
}

Test(conditional, a_bucket_with_all_its_entries_takes_new_values_but_no_new_key)
{
    open_bucket(pair(term_atom("max_entries"), term_integer(1)), NONE);
    put("a", 1, 0);
    assert_term(ask("swap", term_atom("b"), term_integer(1), NONE), refused("full"));
    assert_term(ask("swap", term_atom("a"), term_integer(2), NONE), ok(1));
    assert_term(get("b"), term_atom("nil"));
}

Test(conditional, a_value_without_room_leaves_the_old_one)
{
    static char text[4096];
    memset(text, 'x', sizeof text - 1);
    open_bucket(pair(term_atom("max_memory"), term_integer(4096)), NONE);
    put("a", 1, 0);
    assert_term(ask("swap", term_atom("a"), term_binary(text), NONE), refused("enomem"));
    assert_term(ask("replace", term_atom("a"), term_binary(text), NONE), refused("enomem"));
    assert_term(ask("compare_and_put", term_atom("a"), term_integer(1), term_binary(text)),
                refused("enomem"));
    assert_term(get("a"), term_integer(1));
}

Test(conditional, a_large_value_is_returned_though_its_entry_is_gone)
{
    enum { LARGE = 70 * 1024 };
    static char text[LARGE];
    memset(text, 'x', sizeof text - 1);
    struct kv_buffer large = KV_BUFFER_INIT;
    struct kv_buffer request = KV_BUFFER_INIT;
    kv_write_binary_text(&large, text);
    kv_write_tuple(&request, 3);
    kv_write_atom_text(&request, "put");
    kv_write_atom_text(&request, "a");
    kv_buffer_append(&request, kv_buffer_bytes(&large));
    assert_term(call(f, &bucket, kv_buffer_bytes(&request)), term_atom("ok"));
    struct kv_bytes value;
    struct kv_reader reader = kv_reader(ask("swap", term_atom("a"), term_integer(1), NONE));
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "ok"), KV_OK);
    cr_assert_eq(kv_read_any(&reader, &value), KV_OK);
    assert_term(value, kv_buffer_bytes(&large));
    assert_term(ask("pop", term_atom("a"), NONE, NONE), ok(1));
    kv_buffer_free(&large);
    kv_buffer_free(&request);
}
