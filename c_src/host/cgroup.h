/* The memory that the control groups of this process allow: cgroup v1 and v2.
 *
 * Linux: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst; proc_pid_cgroup(5) and
 * proc_pid_mountinfo(5). */
#ifndef KV_HOST_CGROUP_H
#define KV_HOST_CGROUP_H

#include <stdint.h>

enum { KV_CGROUP_PATH_MAX = 4096 };

struct kv_cgroup_limit {
    uint64_t bytes;                /* UINT64_MAX: no group has a limit */
    char file[KV_CGROUP_PATH_MAX]; /* the file that has it; empty: none */
};

/* Finds the least limit among the groups of this process and all groups above them, as far as they
 * are mounted: memory.max and memory.high (v2), memory.limit_in_bytes (v1). Files that are missing
 * or cannot be read, "max", and the huge numbers that mean "no limit" in v1 are no limit. `root` is
 * put before every path: "" for the system itself, a directory in tests. */
void kv_cgroup_find_limit(const char *root, struct kv_cgroup_limit *limit);

#endif
