/* A bucket does what its book says (support/book.h): random programs of all operations, with
 * expiry, limits, eviction, suspension and reads without a call.
 *
 * KV_MODEL_PROGRAMS is the number of programs, KV_MODEL_SEED the number of the first one. A program
 * that fails is shrunk and printed with its number. */
#include "support/program.h"

#include "kv/bucket.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct fixture *f;

static uint64_t unix_time(void)
{
    return BOOK_UNIX_TIME;
}

static void set_up(void)
{
    f = fixture_with_services();
    f->store.unix_time = unix_time;
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(model, .init = set_up, .fini = tear_down, .timeout = 600);

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

static bool is_among(const struct kv_operation *operation, const struct kv_operation *rows)
{
    for (const struct kv_operation *row = rows; row->run != NULL; row++) {
        if (row == operation) {
            return true;
        }
    }
    return false;
}

/* Those of Agent, those of a bucket as data on disk (the model is of volatile buckets), and those
 * of snapshots, which test/c/store/test_snapshot.c compares with a model. */
static bool is_outside(const struct kv_operation *operation)
{
    return is_among(operation, kv_agent_operations) || is_among(operation, kv_durable_operations) ||
           is_among(operation, kv_snapshot_operations);
}

Test(model, every_operation_of_a_bucket_is_in_the_book)
{
    for (size_t i = 0; i < KV_DISPATCH_SLOTS; i++) {
        const struct kv_operation *operation = f->store.bucket.slots[i];
        cr_assert(operation == NULL || is_outside(operation) ||
                      book_find_row(operation->name, operation->arity) != NULL,
                  "%.*s/%u has no row in `book_rows`", (int)operation->name.length,
                  (const char *)operation->name.data, operation->arity);
    }
}

Test(model, a_transaction_takes_the_operations_that_the_book_says)
{
    for (size_t i = 0; i < KV_DISPATCH_SLOTS; i++) {
        const struct kv_operation *operation = f->store.bucket.slots[i];
        if (operation == NULL || is_outside(operation)) {
            continue;
        }
        const struct book_row *row = book_find_row(operation->name, operation->arity);
        cr_assert(row == NULL || ((row->facts & BOOK_SINGLE) != 0) ==
                                     ((operation->doors & KV_BY_TRANSACTION) != 0),
                  "%s/%u", row->name, row->arity);
    }
}

Test(model, each_key_of_the_book_is_one_key_in_several_encodings)
{
    const struct kv_term_limits limits = KV_TERM_LIMITS_DEFAULT;
    book_forget();
    for (unsigned i = 0; i < BOOK_KEYS; i++) {
        for (unsigned encoding = 0; encoding < BOOK_ENCODINGS; encoding++) {
            const struct kv_bytes key = book_key(i, encoding);
            cr_assert_eq(kv_term_validate(key, &limits, NULL), KV_OK);
            cr_assert_eq(book_find_key(key), i);
        }
    }
}

static void report(struct program *program, uint64_t number)
{
    program_shrink(f, program);
    (void)fprintf(stderr, "\nprogram %llu, shrunk to %u steps:\n", (unsigned long long)number,
                  program->count);
    const char *reason = program_run(f, program, stderr);
    cr_assert_fail("program %llu: %s", (unsigned long long)number, reason);
}

Test(model, a_bucket_does_what_its_book_says)
{
    const uint64_t first = setting("KV_MODEL_SEED", 1);
    const uint64_t count = setting("KV_MODEL_PROGRAMS", 2000);
    for (uint64_t i = first; i < first + count; i++) {
        struct program program = program_of(i);
        if (getenv("KV_MODEL_TRACE") != NULL) {
            (void)fprintf(stderr, "program %llu\n", (unsigned long long)i);
            (void)program_run(f, &program, stderr);
        }
        if (program_run(f, &program, NULL) != NULL) {
            report(&program, i);
        }
    }
}
