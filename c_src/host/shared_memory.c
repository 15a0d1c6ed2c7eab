#include "host/shared_memory.h"

#include "base/clock.h"
#include "host/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#define RESERVE_FACTOR 4
#define RESERVE_LEAST  (UINT64_C(16) << 30)
#define RESERVE_UNIT   (UINT64_C(1) << 20)
#define MEMORY_PART    3 /* of */
#define MEMORY_PARTS   4
#define LEFT_SHARE     8  /* part of the memory that a loan leaves to others, */
#define LOAN_SHARE     16 /* but so much of the limit is always lent, */
#define LOAN_LEAST     (UINT64_C(4) << 20)
#define MS_PER_SECOND  1000
#define NS_PER_MS      1000000

#define POPULATE_STEP 65536

#if defined(__linux__) && !defined(MADV_POPULATE_WRITE)
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3 */
#endif

/* ---- how much ---------------------------------------------------------------------------------
 */

/* The memory of the machine, or of the control groups. Sets *of as kv_mapping_default_limit(). */
static uint64_t memory_there(char *of, size_t size)
{
    uint64_t memory = uv_get_total_memory();
    struct kv_cgroup_limit allowed;
    kv_cgroup_find_limit("", &allowed);
    if (allowed.bytes < memory) {
        memory = allowed.bytes;
        (void)snprintf(of, size, "%s", allowed.file);
    } else {
        (void)snprintf(of, size, "the machine's memory");
    }
    return memory;
}

uint64_t kv_mapping_default_limit(char *of, size_t size)
{
    return memory_there(of, size) / MEMORY_PARTS * MEMORY_PART;
}

static uint64_t greater(uint64_t one, uint64_t other)
{
    return one > other ? one : other;
}

uint64_t kv_mapping_loan(uint64_t max_memory)
{
    char of[1];
    const uint64_t memory = memory_there(of, sizeof of);
    const uint64_t most = memory - memory / LEFT_SHARE;
    const uint64_t left = most > max_memory ? most - max_memory : 0;
    const uint64_t least = greater(max_memory / LOAN_SHARE, LOAN_LEAST);
    return greater(left < max_memory ? left : max_memory, least);
}

uint64_t kv_mapping_reserve(uint64_t max_memory, uint64_t most)
{
    uint64_t wanted = max_memory < most / RESERVE_FACTOR ? max_memory * RESERVE_FACTOR : most;
    wanted = wanted > RESERVE_LEAST ? wanted : RESERVE_LEAST;
    return wanted / RESERVE_UNIT * RESERVE_UNIT;
}

/* The most that ftruncate() allows: halving until ftruncate() succeeds would waste up to half of
 * it. */
static uint64_t file_size_limit(uint64_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        limit.rlim_cur < wanted) {
        return limit.rlim_cur / RESERVE_UNIT * RESERVE_UNIT;
    }
    return wanted;
}

/* ---- mapping ----------------------------------------------------------------------------------
 */

static bool map(struct kv_mapping *mapping, uint64_t size, int flags)
{
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, mapping->fd, 0);
    mapping->base = base == MAP_FAILED ? NULL : base;
    mapping->size = size;
    return base != MAP_FAILED;
}

static bool flawed(struct kv_mapping *mapping, const char *what)
{
    mapping->flaw = what;
    mapping->error = errno;
    if (mapping->base != NULL) {
        (void)munmap(mapping->base, mapping->size);
        mapping->base = NULL;
    }
    if (mapping->fd >= 0) {
        (void)close(mapping->fd);
        mapping->fd = -1;
    }
    return false;
}

/* After this no process, this one included, can change the size. F_SEAL_FUTURE_WRITE is not set: no
 * hole can be punched into a file that has it (Linux: mm/shmem.c, shmem_fallocate()). */
static bool seal(int fd)
{
    return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0;
}

static bool open_shared(struct kv_mapping *mapping, const char *name, uint64_t size)
{
    mapping->fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (mapping->fd < 0) {
        mapping->fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    }
    if (mapping->fd < 0) {
        return flawed(mapping, "memfd_create");
    }
    if (ftruncate(mapping->fd, (off_t)size) != 0) {
        return flawed(mapping, "ftruncate");
    }
    if (!map(mapping, size, MAP_SHARED)) {
        return flawed(mapping, "mmap");
    }
    return seal(mapping->fd) || flawed(mapping, "fcntl(F_ADD_SEALS)");
}

bool kv_mapping_open(struct kv_mapping *mapping, uint64_t wanted)
{
    *mapping =
        (struct kv_mapping){.fd = -1, .flaw = "the limit of files, ulimit -f", .error = EFBIG};
    for (uint64_t size = file_size_limit(wanted); size >= RESERVE_UNIT; size /= 2) {
        if (open_shared(mapping, "kv_arena", size / RESERVE_UNIT * RESERVE_UNIT)) {
            mapping->flaw = NULL;
            return true;
        }
    }
    for (uint64_t size = wanted; size >= RESERVE_UNIT; size /= 2) {
        if (map(mapping, size / RESERVE_UNIT * RESERVE_UNIT, MAP_PRIVATE | MAP_ANONYMOUS)) {
            return true;
        }
    }
    return false;
}

void kv_mapping_close(struct kv_mapping *mapping)
{
    if (mapping->base != NULL) {
        (void)munmap(mapping->base, mapping->size);
        mapping->base = NULL;
        if (mapping->fd >= 0) {
            (void)close(mapping->fd);
        }
    }
}

uint64_t kv_mapping_resident(const struct kv_mapping *mapping)
{
    enum { BLOCK = 512 }; /* of st_blocks */
    struct stat file;
    if (mapping->base == NULL || mapping->fd < 0 || fstat(mapping->fd, &file) != 0) {
        return 0;
    }
    return (uint64_t)file.st_blocks * BLOCK;
}

/* ---- for the arena ----------------------------------------------------------------------------
 */

void kv_mapping_release(void *mapping, uint64_t offset, uint64_t length)
{
    const struct kv_mapping *of = mapping;
    (void)madvise(of->base + offset, length, of->fd >= 0 ? MADV_REMOVE : MADV_DONTNEED);
}

/* Writes to each page, and changes nothing, also if another thread writes there. Where a hypervisor
 * has page tables of its own, the first access fills them: that takes longer than the rest. For
 * ThreadSanitizer that is a write like any other, and clang-tidy does not see that the builtin
 * writes. */
/* NOLINTNEXTLINE(readability-non-const-parameter) */
__attribute__((no_sanitize("thread"))) static void touch(uint8_t *at, size_t length)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < length; i += page) {
        (void)__atomic_fetch_or(at + i, 0, __ATOMIC_RELAXED);
    }
}

/* In steps: another thread of this process that maps memory waits until a step ends. */
bool kv_mapping_populate(void *start, size_t length)
{
    uint8_t *end = (uint8_t *)start + length;
    uint8_t *at = (uint8_t *)start - (uintptr_t)start % (size_t)sysconf(_SC_PAGESIZE);
    bool done = true;
    for (; done && at < end; at += POPULATE_STEP) {
        size_t left = (size_t)(end - at);
#ifdef MADV_POPULATE_WRITE
        size_t step = left < POPULATE_STEP ? left : POPULATE_STEP;
        done = madvise(at, step, MADV_POPULATE_WRITE) == 0;
        touch(at, done ? step : 0);
#else
        done = false;
#endif
    }
    return done;
}

uint64_t kv_mapping_clock(void)
{
    struct timespec now = {0};
    (void)clock_gettime(KV_EXPIRY_CLOCK, &now);
    return (uint64_t)now.tv_sec * MS_PER_SECOND + (uint64_t)now.tv_nsec / NS_PER_MS;
}

/* ---- for a lane ------------------------------------------------------------------------------
 */

bool kv_mapping_open_file(struct kv_mapping *mapping, const char *name, uint64_t size)
{
    *mapping = (struct kv_mapping){.fd = -1};
    if (!open_shared(mapping, name, size)) {
        return false;
    }
    (void)madvise(mapping->base, size, MADV_DONTFORK);
    (void)madvise(mapping->base, size, MADV_DONTDUMP);
    if (!kv_mapping_populate(mapping->base, size)) {
        touch(mapping->base, size);
    }
    return true;
}
