/* A bucket without memory: a request is answered, or the program ends with its status for that. */
#include "support/fixture.h"

#include "base/alloc.h"
#include "kv/kv.h"
#include "store/arena.h"

#include <criterion/criterion.h>
#include <kv/term.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DEPTH = 200, NOT_REACHED = 2, FAILURES_MAX = 1000 };

static struct fixture *f;
static struct kv_pid bucket;

static void set_up(void)
{
    f = bucket_fixture(&bucket);
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(kv_out_of_memory, .init = set_up, .fini = tear_down, .timeout = 60);

static struct kv_bytes ask(const char *name, struct kv_bytes one, struct kv_bytes two)
{
    return call(f, &bucket, term_tuple(term_atom(name), one, two, NONE));
}

/* Lists in lists around a map whose keys are out of order: the canonical form of this key needs
 * memory for the levels, for the order of the map and for the form itself. */
static struct kv_bytes deep_key(void)
{
    struct kv_buffer *term = term_buffer();
    for (unsigned i = 0; i < DEPTH; i++) {
        kv_buffer_append(term, kv_bytes("\x6c\x00\x00\x00\x01", 5));
    }
    kv_buffer_append(term, kv_bytes("\x74\x00\x00\x00\x02\x61\x02\x61\x01\x61\x01\x61\x01", 13));
    for (unsigned i = 0; i < DEPTH; i++) {
        kv_buffer_u8(term, KV_TAG_NIL);
    }
    return kv_buffer_bytes(term);
}

/* ---- memory of the system -------------------------------------------------------------------- */

/* Makes a request in a child in which the n-th allocation fails. Returns the child's exit status.
 */
static int ask_without_memory(const char *name, struct kv_bytes key, struct kv_bytes value,
                              size_t n)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        (void)freopen("/dev/null", "w", stdout); /* where the program says why it ends */
        (void)kv_try_realloc_fail(n);
        (void)ask(name, key, value);
        bool reached = kv_try_realloc_fail(0) == 0;
        bool serves = kv_bytes_equal(ask("get", term_atom("other"), NONE), term_integer(1));
        _Exit(!serves ? 1 : reached ? 0 : NOT_REACHED);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status), "%s, failure %zu", name, n);
    return WEXITSTATUS(status);
}

static size_t fail_at_every_allocation(const char *name, struct kv_bytes value)
{
    size_t n = 1;
    int status;
    while ((status = ask_without_memory(name, deep_key(), value, n)) != NOT_REACHED) {
        cr_assert(status == 0 || status == KV_EXIT_OUT_OF_MEMORY, "%s, failure %zu: %d", name, n,
                  status);
        cr_assert_lt(++n, FAILURES_MAX);
    }
    return n - 1;
}

Test(kv_out_of_memory, an_allocation_that_fails_is_answered_or_ends_the_program)
{
    static const char *names[] = {"get", "fetch", "has_key", "delete", "put", "put_new"};
    (void)ask("put", term_atom("other"), term_integer(1));
    size_t failures = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        bool has_value = i >= 4;
        failures += fail_at_every_allocation(names[i], has_value ? term_integer(2) : NONE);
    }
    cr_expect_gt(failures, 0);
}

/* ---- memory of the arena --------------------------------------------------------------------- */

static bool is_no_memory(struct kv_bytes reply)
{
    return kv_bytes_equal(reply, term_tuple(term_atom("error"), term_atom("enomem"), NONE, NONE));
}

Test(kv_out_of_memory, a_put_without_room_in_the_arena_changes_nothing)
{
    size_t failures = 0;
    for (int64_t key = 0; key < 2000; key++) {
        kv_arena_fail(f->arena, 1);
        struct kv_bytes reply = ask("put", term_integer(key), term_binary("value"));
        kv_arena_fail(f->arena, 0);
        if (is_no_memory(reply)) {
            failures++;
            assert_term(ask("has_key", term_integer(key), NONE), term_atom("false"));
            assert_term(ask("put", term_integer(key), term_binary("value")), term_atom("ok"));
        } else {
            assert_term(reply, term_atom("ok"));
        }
    }
    cr_expect_gt(failures, 0);
    assert_term(call(f, &bucket, term_atom("size")), term_integer(2000));
}
