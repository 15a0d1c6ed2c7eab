/* The end of memory: requests that may fail do, and the others end the program. */
#include "base/alloc.h"
#include "base/assert.h"

#include <criterion/criterion.h>
#include <kv/buffer.h>
#include <kv/error.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(alloc, .timeout = 10);

enum { OUTPUT_MAX = 256 };

/* Runs a function in a child whose standard output and error are read. Returns the child's status,
 * as wait(2) has it. */
static int run(void (*function)(void), char output[OUTPUT_MAX])
{
    int ends[2];
    int status = 0;
    cr_assert_eq(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)dup2(ends[1], STDERR_FILENO);
        function();
        _Exit(0);
    }
    (void)close(ends[1]);
    size_t length = 0;
    ssize_t got = 0;
    while (length < OUTPUT_MAX - 1 &&
           (got = read(ends[0], output + length, OUTPUT_MAX - 1 - length)) > 0) {
        length += (size_t)got;
    }
    output[length] = '\0';
    (void)close(ends[0]);
    cr_assert_eq(waitpid(child, &status, 0), child);
    return status;
}

/* ---- requests that must not fail ------------------------------------------------------------- */

static void take(void)
{
    (void)kv_alloc_fail(2);
    void *first = kv_alloc(10);
    void *second = kv_alloc(1234);
    printf("went on with %p and %p\n", first, second);
}

static void take_zeros(void)
{
    (void)kv_alloc_fail(1);
    printf("went on with %p\n", kv_zalloc(1234));
}

static void grow(void)
{
    struct kv_buffer buffer = KV_BUFFER_INIT;
    (void)kv_alloc_fail(1);
    kv_buffer_append(&buffer, kv_bytes_text("hello"));
}

#define ADVICE_OF(limits)                                                                          \
    "lower --max-memory, or raise the limit of memory (" limits ", or that of the container)\n"
#define ADVICE ADVICE_OF("ulimit -v")

static void assert_ends(void (*function)(void), const char *line)
{
    char output[OUTPUT_MAX];
    int status = run(function, output);
    cr_expect(WIFEXITED(status));
    cr_expect_eq(WEXITSTATUS(status), KV_EXIT_OUT_OF_MEMORY);
    cr_expect_str_eq(output, line);
}

Test(alloc, a_program_without_memory_says_so_and_ends_with_status_71)
{
    cr_expect_eq(KV_EXIT_OUT_OF_MEMORY, 71);
    assert_ends(take, "fatal out_of_memory no memory for 1234 bytes: " ADVICE);
    assert_ends(take_zeros, "fatal out_of_memory no memory for 1234 bytes: " ADVICE);
    assert_ends(grow, "fatal out_of_memory no memory for 64 bytes: " ADVICE);
}

static void limit(int which)
{
    enum { MUCH = 1 << 30 };
    struct rlimit limit;
    (void)getrlimit(which, &limit);
    limit.rlim_cur = MUCH;
    (void)setrlimit(which, &limit);
}

static void take_with_a_limit_of_addresses(void)
{
    limit(RLIMIT_AS);
    take();
}

static void take_with_a_limit_of_data(void)
{
    limit(RLIMIT_DATA);
    take();
}

static void take_with_both_limits(void)
{
    limit(RLIMIT_AS);
    take_with_a_limit_of_data();
}

Test(alloc, a_program_without_memory_names_the_limits_that_are_set)
{
    static const char start[] = "fatal out_of_memory no memory for 1234 bytes: ";
    static const struct {
        void (*take)(void);
        const char *advice;
    } rows[] = {
        {take_with_a_limit_of_addresses, ADVICE_OF("ulimit -v")},
        {take_with_a_limit_of_data, ADVICE_OF("ulimit -d")},
        {take_with_both_limits, ADVICE_OF("ulimit -v and -d")},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char line[OUTPUT_MAX];
        (void)snprintf(line, sizeof(line), "%s%s", start, rows[i].advice);
        assert_ends(rows[i].take, line);
    }
}

/* ---- requests that may fail ------------------------------------------------------------------ */

Test(alloc, a_request_that_fails_leaves_the_block_as_it_is)
{
    char *block = kv_alloc(10);
    memcpy(block, "remember", 9);
    (void)kv_try_realloc_fail(1);
    cr_expect_null(kv_try_realloc(block, 100000));
    cr_expect_str_eq(block, "remember");
    block = kv_try_realloc(block, 100000);
    cr_assert_not_null(block, "only one request fails");
    cr_expect_str_eq(block, "remember");
    kv_free(block);
    cr_expect_eq(kv_alloc_outstanding(), 0);
}

Test(alloc, only_the_request_of_that_number_fails)
{
    (void)kv_try_realloc_fail(3);
    void *first = kv_try_realloc(NULL, 1);
    void *certain = kv_alloc(1);
    void *second = kv_try_realloc(NULL, 1);
    cr_expect_not_null(first);
    cr_expect_not_null(second);
    cr_expect_eq(kv_try_realloc_fail(1), 1, "one more request would have failed");
    cr_expect_null(kv_try_realloc(NULL, 1));
    cr_expect_eq(kv_try_realloc_fail(0), 0, "it has");
    kv_free(first);
    kv_free(second);
    kv_free(certain);
}

Test(alloc, a_buffer_that_cannot_grow_stays_as_it_is)
{
    struct kv_buffer buffer = KV_BUFFER_INIT;
    kv_buffer_append(&buffer, kv_bytes_text("hello"));
    (void)kv_try_realloc_fail(1);
    cr_expect_eq(kv_buffer_try_reserve(&buffer, 100000), KV_ENOMEM);
    cr_expect(kv_bytes_is(kv_buffer_bytes(&buffer), "hello"));
    cr_expect_eq(kv_buffer_try_reserve(&buffer, 100000), KV_OK);
    kv_buffer_free(&buffer);
    cr_expect_eq(kv_alloc_outstanding(), 0);
}

/* ---- promises -------------------------------------------------------------------------------- */

static void keep_promise(void)
{
    int one = 1;
    kv_assert(one == 1);
}

static void break_promise(void)
{
    int one = 1;
    kv_assert(one == 2);
}

Test(alloc, a_promise_that_is_kept_is_silent)
{
    char output[OUTPUT_MAX];
    cr_expect_eq(run(keep_promise, output), 0);
    cr_expect_str_eq(output, "");
}

Test(alloc, a_broken_promise_is_named_and_aborts)
{
    char output[OUTPUT_MAX];
    int status = run(break_promise, output);
    cr_expect(WIFSIGNALED(status));
    cr_expect_eq(WTERMSIG(status), SIGABRT);
    cr_expect_not_null(strstr(output, "test_alloc.c:"), "%s", output);
    cr_expect_not_null(strstr(output, "broken promise: one == 2\n"), "%s", output);
}
