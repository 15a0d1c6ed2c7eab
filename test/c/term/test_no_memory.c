/* Out of memory in term/: each request that may fail does so once. The caller gets the error, and
 * no memory is left behind. */
#include "base/alloc.h"
#include "term/order.h"

#include "support/terms.h"

TestSuite(term_no_memory, .timeout = 60);

/* Sizes for which the levels and frames on the stack do not suffice. */
enum { NESTED = 200, PAIRS = 300 };

static struct kv_buffer nested_lists(void)
{
    struct kv_buffer term = KV_BUFFER_INIT;
    append_repeated(&term, "6c 00000001", NESTED);
    append_repeated(&term, "6a", NESTED + 1);
    return term;
}

/* PAIRS pairs {i, #{1 => i, 2 => i}} => nil: maps inside the keys of a map. */
static struct kv_buffer map_of_maps(void)
{
    struct kv_buffer term = KV_BUFFER_INIT;
    kv_write_map(&term, PAIRS);
    for (uint32_t i = 0; i < PAIRS; i++) {
        kv_write_tuple(&term, 2);
        kv_write_u64(&term, i);
        kv_write_map(&term, 2);
        kv_write_u64(&term, 1);
        kv_write_u64(&term, i);
        kv_write_u64(&term, 2);
        kv_write_u64(&term, i);
        kv_write_nil(&term);
    }
    return term;
}

/* Returns true if the failure happened. */
static bool validate_without(size_t n, struct kv_bytes term, int *error)
{
    size_t length = 0;
    size_t blocks = kv_alloc_outstanding();
    (void)kv_try_realloc_fail(n);
    *error = kv_term_validate(term, &default_limits, &length);
    bool failed = kv_try_realloc_fail(0) == 0;
    cr_assert_eq(kv_alloc_outstanding(), blocks, "request %zu", n);
    return failed;
}

static void assert_validate_reports_every_failure(struct kv_bytes term)
{
    int error = KV_OK;
    size_t n = 1;
    for (; validate_without(n, term, &error); n++) {
        cr_assert_eq(error, KV_ENOMEM, "request %zu", n);
    }
    cr_assert_eq(error, KV_OK);
    cr_assert_gt(n, 1, "the term needs no memory");
}

Test(term_no_memory, validating_nested_lists_reports_every_failure)
{
    struct kv_buffer term = nested_lists();
    assert_validate_reports_every_failure(kv_buffer_bytes(&term));
    kv_buffer_free(&term);
}

Test(term_no_memory, validating_maps_in_the_keys_of_a_map_reports_every_failure)
{
    struct kv_buffer term = map_of_maps();
    assert_validate_reports_every_failure(kv_buffer_bytes(&term));
    kv_buffer_free(&term);
}

Test(term_no_memory, ordering_maps_reports_every_failure_and_frees_what_it_has)
{
    struct kv_buffer term = map_of_maps();
    size_t blocks = kv_alloc_outstanding();
    int error = KV_ENOMEM;
    size_t n = 1;
    for (; error != KV_OK; n++) {
        struct kv_orders orders = {0};
        (void)kv_try_realloc_fail(n);
        error = kv_order_maps(kv_buffer_bytes(&term), KV_ZEROS_DIFFER, &orders);
        bool failed = kv_try_realloc_fail(0) == 0;
        cr_assert_eq(error, failed ? KV_ENOMEM : KV_OK, "request %zu", n);
        kv_orders_free(&orders);
        cr_assert_eq(kv_alloc_outstanding(), blocks, "request %zu", n);
    }
    cr_assert_gt(n, 2, "the term needs no memory");
    kv_buffer_free(&term);
}
