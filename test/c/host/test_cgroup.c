/* The memory limits of control groups, read from faked files. */
#include "host/cgroup.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char root[] = "/tmp/kv_cgroup_XXXXXX";
static struct kv_cgroup_limit limit;

static void set_up(void)
{
    cr_assert_not_null(mkdtemp(root));
}

static int delete (const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

static void tear_down(void)
{
    (void)nftw(root, delete, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(cgroup, .init = set_up, .fini = tear_down);

/* Writes a file below the root, with the directories above it. */
static void file(const char *path, const char *content)
{
    char whole[1024];
    (void)snprintf(whole, sizeof whole, "%s%s", root, path);
    for (char *at = whole + strlen(root) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        (void)mkdir(whole, 0700);
        *at = '/';
    }
    FILE *to = fopen(whole, "w");
    cr_assert_not_null(to);
    cr_assert(fputs(content, to) >= 0);
    cr_assert_eq(fclose(to), 0);
}

static void version_2(const char *group, const char *mount_root)
{
    char line[512];
    (void)snprintf(line, sizeof line, "0::%s\n", group);
    file("/proc/self/cgroup", line);
    (void)snprintf(
        line, sizeof line,
        "25 30 0:5 / /proc rw - proc proc rw\n"
        "31 23 0:26 %s /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
        mount_root);
    file("/proc/self/mountinfo", line);
}

static void version_1(const char *group, const char *mount_root)
{
    char line[512];
    (void)snprintf(line, sizeof line, "5:cpu,cpuacct:/other\n4:memory:%s\n0::/\n", group);
    file("/proc/self/cgroup", line);
    (void)snprintf(line, sizeof line,
                   "33 32 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
                   "34 32 0:30 %s /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
                   mount_root);
    file("/proc/self/mountinfo", line);
}

static uint64_t found(void)
{
    kv_cgroup_find_limit(root, &limit);
    return limit.bytes;
}

Test(cgroup, without_files_there_is_no_limit)
{
    cr_assert_eq(found(), UINT64_MAX);
    version_2("/a.slice", "/");
    cr_assert_eq(found(), UINT64_MAX);
    cr_assert_str_empty(limit.file);
}

Test(cgroup, memory_max_of_the_own_group_counts_and_its_file_is_named)
{
    version_2("/a.slice/b.service", "/");
    file("/sys/fs/cgroup/a.slice/b.service/memory.max", "268435456\n");
    cr_assert_eq(found(), 268435456);
    cr_assert_str_eq(limit.file + strlen(root), "/sys/fs/cgroup/a.slice/b.service/memory.max");
}

Test(cgroup, the_least_limit_of_all_groups_above_counts)
{
    version_2("/a.slice/b.service/c", "/");
    file("/sys/fs/cgroup/a.slice/b.service/c/memory.max", "max\n");
    file("/sys/fs/cgroup/a.slice/b.service/memory.max", "300\n");
    file("/sys/fs/cgroup/a.slice/memory.max", "200\n");
    file("/sys/fs/cgroup/memory.max", "400\n");
    cr_assert_eq(found(), 200);
}

Test(cgroup, memory_high_counts_too)
{
    version_2("/a", "/");
    file("/sys/fs/cgroup/a/memory.max", "300\n");
    file("/sys/fs/cgroup/a/memory.high", "250\n");
    cr_assert_eq(found(), 250);
}

Test(cgroup, max_is_no_limit)
{
    version_2("/a", "/");
    file("/sys/fs/cgroup/a/memory.max", "max\n");
    file("/sys/fs/cgroup/a/memory.high", "max\n");
    cr_assert_eq(found(), UINT64_MAX);
}

Test(cgroup, a_group_above_counts_if_the_own_one_cannot_be_seen)
{
    version_2("/a/gone", "/");
    file("/sys/fs/cgroup/a/memory.max", "300\n");
    cr_assert_eq(found(), 300);
}

/* docker run, with and without a namespace for control groups. */
Test(cgroup, in_a_container_the_mounted_group_is_that_of_the_container)
{
    version_2("/", "/");
    file("/sys/fs/cgroup/memory.max", "500\n");
    cr_assert_eq(found(), 500);
    version_2("/docker/123/app", "/docker/123");
    file("/sys/fs/cgroup/app/memory.max", "400\n");
    cr_assert_eq(found(), 400);
    version_2("/../../elsewhere", "/");
    cr_assert_eq(found(), 500);
    version_2("/docker/1234", "/docker/123");
    cr_assert_eq(found(), 500);
}

Test(cgroup, version_1_is_honoured)
{
    version_1("/docker/123", "/");
    file("/sys/fs/cgroup/memory/docker/123/memory.limit_in_bytes", "700\n");
    file("/sys/fs/cgroup/memory/docker/memory.limit_in_bytes", "600\n");
    file("/sys/fs/cgroup/cpu/docker/memory.limit_in_bytes", "1\n");
    cr_assert_eq(found(), 600);
    version_1("/docker/123", "/docker/123");
    file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "650\n");
    cr_assert_eq(found(), 650);
}

Test(cgroup, the_huge_numbers_of_version_1_are_no_limit)
{
    version_1("/", "/");
    file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    cr_assert_eq(found(), UINT64_MAX);
    file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "-1\n");
    cr_assert_eq(found(), UINT64_MAX);
    file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "nonsense\n");
    cr_assert_eq(found(), UINT64_MAX);
    file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "");
    cr_assert_eq(found(), UINT64_MAX);
}

Test(cgroup, both_versions_at_once_count)
{
    version_1("/a", "/");
    file("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "700\n");
    file("/proc/self/mountinfo", "34 32 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
                                 "35 32 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    file("/sys/fs/cgroup/unified/memory.max", "650\n");
    cr_assert_eq(found(), 650);
}

Test(cgroup, a_mount_point_with_a_space_is_found)
{
    version_2("/a", "/");
    file("/proc/self/mountinfo", "31 23 0:26 / /my\\040groups rw - cgroup2 cgroup2 rw\n");
    file("/my groups/a/memory.max", "300\n");
    cr_assert_eq(found(), 300);
}

Test(cgroup, misshapen_lines_are_skipped)
{
    file("/proc/self/cgroup", "\n:\n0:\n0::/a\nnonsense");
    file("/proc/self/mountinfo",
         "\n - \n31 23 - cgroup2\n1 2 3 / /x rw - cgroup2 cgroup2 rw\n1 2 - cgroup2 c r\n");
    file("/x/a/memory.max", "300\n");
    cr_assert_eq(found(), 300);
}
