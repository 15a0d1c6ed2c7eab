/* The figures of `stats`. test_model.c compares them with what random programs have done. */
#include "support/bucket.h"

#include <criterion/criterion.h>

TestSuite(stats, .init = set_up, .fini = tear_down, .timeout = 20);

static uint64_t figure(const char *name)
{
    uint64_t value = 0;
    cr_assert(figure_in(call(f, &bucket, term_atom("stats")), name, &value));
    return value;
}

/* [{0, 0}, {1, 1}, ...] */
static struct kv_bytes entries(uint32_t count)
{
    struct kv_buffer *term = term_buffer();
    kv_write_list(term, count);
    for (uint32_t i = 0; i < count; i++) {
        kv_write_tuple(term, 2);
        kv_write_u64(term, i);
        kv_write_u64(term, i);
    }
    kv_write_nil(term);
    return kv_buffer_bytes(term);
}

Test(stats, a_put_many_that_finds_no_room_has_put_nothing)
{
    open_bucket(pair(term_atom("max_entries"), term_integer(3)), NONE);
    const struct kv_bytes full = pair(term_atom("error"), term_atom("full"));
    assert_term(ask("put_many", entries(4), NONE, NONE), full);
    cr_assert_eq(figure("puts"), 0);
    assert_term(ask("put_many", entries(1500), NONE, NONE), full);
    cr_assert_eq(figure("puts"), 0);
    assert_term(ask("put_many", entries(3), NONE, NONE), term_atom("ok"));
    cr_assert_eq(figure("puts"), 3);
}

static bool says(const char *name, const char *word)
{
    const struct kv_bytes wanted = pair(term_atom(name), term_atom(word));
    const struct kv_bytes figures = call(f, &bucket, term_atom("stats"));
    uint32_t count = 0;
    struct kv_bytes one = NONE;
    struct kv_reader reader = kv_reader(figures);
    cr_assert_eq(kv_read_list(&reader, &count), KV_OK);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_eq(kv_read_any(&reader, &one), KV_OK);
        if (kv_bytes_equal(one, wanted)) {
            return true;
        }
    }
    return false;
}

Test(stats, tell_how_a_bucket_is_kept_and_read)
{
    open_bucket(NONE, NONE);
    cr_assert(says("durable", "false") && says("reads", "durable"));
    open_bucket(pair(term_atom("reads"), term_atom("latest")), NONE);
    cr_assert(says("durable", "false") && says("reads", "latest"));
    open_bucket(pair(term_atom("reads"), term_atom("durable")),
                pair(term_atom("reads"), term_atom("latest")));
    cr_assert(says("reads", "durable")); /* of two the first counts */
}

static uint64_t unix_time(void)
{
    return 1000;
}

Test(stats, a_transaction_deletes_what_was_there_and_no_more)
{
    const struct kv_bytes past =
        term_tuple(term_atom("expire_at"), term_atom("k"), term_integer(1), NONE);
    f->store.unix_time = unix_time;
    put("k", 1, 0);
    (void)ask("transaction", term_list(past, past, NONE), NONE, NONE);
    cr_assert_eq(figure("deletes"), 1);
}
