/* The keys of batches that are not durable yet. */
#include "kv/fresh.h"

#include <criterion/criterion.h>

static struct kv_fresh fresh;

static void set_up(void)
{
    fresh = (struct kv_fresh){{{.batch = 0}}};
}

static void tear_down(void)
{
    kv_fresh_free(&fresh);
}

TestSuite(fresh, .init = set_up, .fini = tear_down);

static uint64_t mark(uint64_t key)
{
    return kv_fresh_mark(3, key * UINT64_C(0xD1342543DE82EF95));
}

Test(fresh, a_key_has_the_last_batch_that_changed_it)
{
    cr_assert(kv_fresh_add(&fresh, 4, mark(1), true));
    cr_assert(kv_fresh_add(&fresh, 4, mark(2), true));
    cr_assert(kv_fresh_add(&fresh, 5, mark(1), true));
    cr_assert_eq(kv_fresh_find(&fresh, mark(1)), (uint64_t)5);
    cr_assert_eq(kv_fresh_find(&fresh, mark(2)), (uint64_t)4);
    cr_assert_eq(kv_fresh_find(&fresh, mark(3)), (uint64_t)0);
}

Test(fresh, the_same_key_of_another_table_is_another_one)
{
    cr_assert(kv_fresh_add(&fresh, 4, kv_fresh_mark(1, 77), true));
    cr_assert_eq(kv_fresh_find(&fresh, kv_fresh_mark(2, 77)), (uint64_t)0);
}

Test(fresh, a_batch_that_commits_is_forgotten_once_it_is_durable)
{
    cr_assert(kv_fresh_add(&fresh, 4, mark(1), false));
    cr_assert(kv_fresh_add(&fresh, 4, mark(2), true));
    cr_assert_eq(kv_fresh_release(&fresh, 4, 3), 0U);
    cr_assert_eq(kv_fresh_find(&fresh, mark(1)), (uint64_t)4);
    cr_assert_eq(kv_fresh_release(&fresh, 4, 4), 1U << kv_fresh_set_of(4));
    cr_assert_eq(kv_fresh_find(&fresh, mark(1)), (uint64_t)0);
    cr_assert_eq(kv_fresh_release(&fresh, 4, 4), 0U);
}

Test(fresh, a_batch_that_does_not_is_forgotten_once_it_is_written)
{
    cr_assert(kv_fresh_add(&fresh, 5, mark(1), false));
    cr_assert_eq(kv_fresh_release(&fresh, 5, 0), 1U << kv_fresh_set_of(5));
    cr_assert_eq(kv_fresh_find(&fresh, mark(1)), (uint64_t)0);
}

Test(fresh, a_third_batch_finds_no_room_before_the_first_is_durable)
{
    cr_assert(kv_fresh_add(&fresh, 4, mark(1), true));
    cr_assert(kv_fresh_add(&fresh, 5, mark(1), true));
    cr_assert_not(kv_fresh_add(&fresh, 6, mark(1), true));
    (void)kv_fresh_release(&fresh, 4, 4);
    cr_assert(kv_fresh_add(&fresh, 6, mark(1), true));
}

Test(fresh, a_batch_has_so_many_keys_and_no_more)
{
    for (uint64_t i = 0; i < KV_FRESH_MOST; i++) {
        cr_assert(kv_fresh_add(&fresh, 4, mark(i), true));
    }
    cr_assert_not(kv_fresh_add(&fresh, 4, mark(KV_FRESH_MOST), true));
    cr_assert(kv_fresh_add(&fresh, 4, mark(7), true));
    for (uint64_t i = 0; i < KV_FRESH_MOST; i++) {
        cr_assert_eq(kv_fresh_find(&fresh, mark(i)), (uint64_t)4);
    }
    (void)kv_fresh_release(&fresh, 4, 4);
    cr_assert(kv_fresh_add(&fresh, 6, mark(1), true));
    (void)kv_fresh_release(&fresh, 6, 6); /* gives the memory back */
    cr_assert_eq(kv_fresh_find(&fresh, mark(1)), (uint64_t)0);
    cr_assert(kv_fresh_add(&fresh, 8, mark(1), true));
}
