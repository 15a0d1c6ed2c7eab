#include "host/confine_calls.h"

#include <stddef.h>

/* Found by strace over the suites of tests, and by reading what libuv, OpenSSL, libmicrohttpd and
 * the C library may do in their place: by its release, a call goes by one of several names. Calls
 * with arguments that are looked at, socket and clone, are in confine.c. */
const char *const kv_confine_allowed[] = {
    /* memory, and that which other processes map */
    "brk", "mmap", "mmap2", "munmap", "mremap", "mprotect", "madvise", "mincore", "memfd_create",
    /* threads, and the end */
    "set_robust_list", "get_robust_list", "rseq", "set_tid_address", "futex", "futex_time64",
    "membarrier", "prctl", "arch_prctl", "gettid", "getpid", "sched_yield", "sched_getaffinity",
    "sched_setaffinity", "sched_setscheduler", "getcpu", "tgkill", "exit", "exit_group",
    "restart_syscall",
    /* signals */
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigreturn", "sigaltstack",
    /* time */
    "clock_gettime", "clock_gettime64", "clock_getres", "clock_getres_time64", "clock_nanosleep",
    "clock_nanosleep_time64", "nanosleep", "gettimeofday", "time", "timerfd_create",
    "timerfd_settime", "timerfd_settime64", "timerfd_gettime",
    /* the loop */
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2",
    "poll", "ppoll", "ppoll_time64", "select", "_newselect", "pselect6", "eventfd2", "pipe",
    "pipe2", "read", "readv", "write", "writev", "close", "close_range", "dup", "dup2", "dup3",
    "fcntl", "fcntl64", "ioctl",
    /* newer releases of libuv make a ring for changes of epoll with the loop, before there is a
       filter, and end the program if they may not use it; what goes by it no filter sees */
    "io_uring_enter",
    /* the network */
    "bind", "listen", "accept", "accept4", "connect", "shutdown", "getsockname", "getpeername",
    "getsockopt", "setsockopt", "sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg",
    "recvmmsg_time64", "send", "recv", "socketpair",
    /* files and folders */
    "open", "openat", "openat2", "stat", "stat64", "fstat", "fstat64", "lstat", "lstat64",
    "newfstatat", "fstatat64", "statx", "statfs", "statfs64", "fstatfs", "fstatfs64", "access",
    "faccessat", "faccessat2", "readlink", "readlinkat", "getcwd", "lseek", "_llseek", "pread64",
    "pwrite64", "preadv", "pwritev", "fsync", "fdatasync", "fallocate", "ftruncate", "ftruncate64",
    "fadvise64", "fadvise64_64", "flock", "getdents", "getdents64", "mkdir", "mkdirat", "rmdir",
    "rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "chmod", "fchmod",
    "fchmodat",
    /* about the process and its machine */
    "getrlimit", "ugetrlimit", "setrlimit", "prlimit64", "getrusage", "times", "sysinfo", "uname",
    "getuid", "getuid32", "geteuid", "geteuid32", "getgid", "getgid32", "getegid", "getegid32",
    "getrandom", NULL};

/* The flags of clone3 lie in memory, where no filter looks. glibc falls back to clone. */
const char *const kv_confine_absent[] = {"clone3", NULL};

/* There are no more rings than the one of the loop: libuv goes back to threads. */
const char *const kv_confine_refused[] = {"io_uring_setup", NULL};
