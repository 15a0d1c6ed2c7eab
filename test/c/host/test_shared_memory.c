/* The clock by which entries expire, in a time namespace in which the machine has slept; loans; and
 * the file of a lane. */
#include "host/shared_memory.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

#define AN_HOUR_MS (UINT64_C(3600) * 1000)

enum { COUNTED, NOT_COUNTED, NOT_PERMITTED };

TestSuite(shared_memory, .timeout = 10);

static uint64_t monotonic_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Suspending the machine puts CLOCK_BOOTTIME ahead of CLOCK_MONOTONIC, and so does this, for the
 * processes that the caller forks from now on. */
static bool sleep_an_hour(void)
{
    static const char offset[] = "boottime 3600 0";
    if (unshare(CLONE_NEWTIME) != 0) {
        return false;
    }
    int fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, offset, strlen(offset)) == (ssize_t)strlen(offset);
    if (fd >= 0) {
        (void)close(fd);
    }
    return written;
}

static int exit_status_of(pid_t child)
{
    int status = 0;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status)
                                                                    : NOT_COUNTED;
}

static int count_in_a_child(uint64_t before)
{
    pid_t child = fork();
    if (child == 0) {
        _exit(kv_mapping_clock() - before >= AN_HOUR_MS ? COUNTED : NOT_COUNTED);
    }
    return exit_status_of(child);
}

static int count_the_sleep(void)
{
    uint64_t before = kv_mapping_clock();
    return sleep_an_hour() ? count_in_a_child(before) : NOT_PERMITTED;
}

Test(shared_memory, a_time_to_live_counts_the_time_in_which_the_machine_was_suspended)
{
    pid_t child = fork(); /* the test's own process keeps its clock */
    if (child == 0) {
        _exit(count_the_sleep());
    }
    int counted = exit_status_of(child);
    if (counted == NOT_PERMITTED) {
        cr_skip_test("the test may not make a time namespace");
    }
    cr_assert_eq(counted, COUNTED);
}

Test(shared_memory, the_clock_of_expiry_is_never_behind_the_one_of_the_loop)
{
    uint64_t loop = monotonic_ms();
    cr_assert_geq(kv_mapping_clock(), loop);
}

/* ---- the loan ----------------------------------------------------------------------------------
 */

Test(shared_memory, a_loan_is_as_much_again_where_there_is_memory)
{
    enum { LIMIT = 8 << 20 };
    cr_assert_eq(kv_mapping_loan(LIMIT), LIMIT);
}

Test(shared_memory, a_loan_leaves_an_eighth_of_the_memory_to_others)
{
    char of[1];
    const uint64_t limit = kv_mapping_default_limit(of, sizeof of);
    const uint64_t memory = limit / 3 * 4;
    cr_assert_leq(limit + kv_mapping_loan(limit), memory - memory / 8 + 8);
    cr_assert_geq(kv_mapping_loan(limit), limit / 7);
}

Test(shared_memory, a_loan_is_never_less_than_a_sixteenth_and_four_megabytes)
{
    cr_assert_eq(kv_mapping_loan(1 << 20), 4 << 20);
    cr_assert_eq(kv_mapping_loan(UINT64_C(1) << 42), UINT64_C(1) << 38);
}

/* ---- lanes
 * --------------------------------------------------------------------------------------- */

Test(shared_memory, the_file_of_a_lane_is_sealed_whole_and_for_this_process_alone)
{
    enum { SIZE = 1 << 20 };
    struct kv_mapping mapping;
    cr_assert(kv_mapping_open_file(&mapping, "kv_lane", SIZE));
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    cr_assert_eq(fcntl(mapping.fd, F_GET_SEALS) & seals, seals);
    cr_assert_neq(ftruncate(mapping.fd, SIZE / 2), 0);
    cr_assert_eq(fcntl(mapping.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    cr_assert_geq(kv_mapping_resident(&mapping), (uint64_t)SIZE);
    kv_mapping_close(&mapping);
    cr_assert_null(mapping.base);
}
