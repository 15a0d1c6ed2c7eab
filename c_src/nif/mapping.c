/* Opens the arena of another process, and the lane to it. */
#include "nif/nif.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Each access inside the mapping must succeed, or the VM dies of SIGBUS, whatever the writer or
 * anybody else does to the file. Therefore:
 * - nobody can cut or lengthen the file (F_SEAL_SHRINK, F_SEAL_GROW);
 * - the file is memory, not a disk, a network or a pool of huge pages that may run out;
 * - the system makes a new page if a late reader touches one that the writer gave back. That can
 *   fail only if overcommit_memory is 2, so arenas are not read on such a system. */

enum { SEALS = F_SEAL_SHRINK | F_SEAL_GROW };

static bool promises_are_strict(void)
{
    FILE *file = fopen("/proc/sys/vm/overcommit_memory", "re");
    if (file == NULL) {
        return true;
    }
    int mode = fgetc(file);
    (void)fclose(file);
    return mode != '0' && mode != '1';
}

/* KV_EXPIRY_CLOCK has an offset in each time namespace. */
static const char *clock_refusal(unsigned os_pid)
{
    char path[64];
    struct stat own;
    struct stat other;
    (void)snprintf(path, sizeof path, "/proc/%u/ns/time", os_pid);
    if (stat("/proc/self/ns/time", &own) != 0) {
        return NULL; /* a kernel without time namespaces */
    }
    if (stat(path, &other) != 0) {
        return "no_access";
    }
    return own.st_ino == other.st_ino && own.st_dev == other.st_dev ? NULL : "another_clock";
}

static const char *refusal(int fd, uint64_t size)
{
    struct stat status;
    struct statfs system;
    if (fstat(fd, &status) != 0 || fstatfs(fd, &system) != 0) {
        return "no_access";
    }
    if (!S_ISREG(status.st_mode) || (unsigned long)system.f_type != TMPFS_MAGIC) {
        return "not_memory";
    }
    if (status.st_uid != geteuid()) {
        return "another_user";
    }
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS) {
        return "not_sealed";
    }
    return size < KV_ARENA_PAGE || status.st_size < 0 || (uint64_t)status.st_size != size
               ? "another_size"
               : NULL;
}

/* If the path is a device or a pipe, opening must neither wait nor have an effect. */
static int open_place(const struct kv_nif_place *place, int access)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%u/fd/%u", place->os_pid, place->fd);
    return open(path, access | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

/* Neither a core dump of the VM nor a forked child has use for the memory. */
static void keep_from_others(void *base, size_t length)
{
    (void)madvise(base, length, MADV_DONTDUMP);
    (void)madvise(base, length, MADV_DONTFORK);
}

static const char *map(int fd, const struct kv_nif_place *place, struct kv_nif_arena *arena)
{
    const char *reason = refusal(fd, place->size);
    if (reason != NULL) {
        return reason;
    }
    size_t length = (size_t)place->size;
    void *base = mmap(NULL, length, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (base == MAP_FAILED) {
        return "no_address_space";
    }
    if (kv_mapped_open(&arena->mapped, base, length, place->id) != KV_OK) {
        (void)munmap(base, length);
        return "another_arena";
    }
    keep_from_others(base, length);
    arena->base = base;
    arena->length = length;
    return NULL;
}

const char *kv_nif_map(const struct kv_nif_place *place, struct kv_nif_arena *arena)
{
    if (promises_are_strict()) {
        return "strict_overcommit";
    }
    const char *reason = clock_refusal(place->os_pid);
    if (reason != NULL) {
        return reason;
    }
    int fd = open_place(place, O_RDONLY);
    if (fd < 0) {
        return "no_access";
    }
    reason = map(fd, place, arena);
    (void)close(fd);
    return reason;
}

void kv_nif_unmap(struct kv_nif_arena *arena)
{
    if (arena->base != NULL) {
        (void)munmap(arena->base, arena->length);
        arena->base = NULL;
    }
}

/* ---- the lane -------------------------------------------------------------------------------- */

static bool is_lane(const struct kv_lane_header *header, const struct kv_nif_place *place,
                    uint32_t groups)
{
    return header->magic == KV_LANE_MAGIC && header->version == KV_LANE_VERSION &&
           header->groups == groups && memcmp(header->id, place->id, KV_LANE_ID_SIZE) == 0;
}

/* All pages are there: the node has made them, and MAP_POPULATE spares the first calls the faults.
 */
static const char *map_lane(int fd, const struct kv_nif_place *place, uint32_t groups, void **base)
{
    const char *reason = refusal(fd, place->size);
    const size_t length = kv_lane_size(groups);
    if (reason == NULL && place->size != length) {
        reason = "another_size";
    }
    if (reason != NULL) {
        return reason;
    }
    *base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (*base == MAP_FAILED) {
        *base = NULL;
        return "no_address_space";
    }
    if (!is_lane(*base, place, groups)) {
        (void)munmap(*base, length);
        *base = NULL;
        return "another_lane";
    }
    keep_from_others(*base, length);
    return NULL;
}

const char *kv_nif_map_lane(const struct kv_nif_place *place, uint32_t groups, void **base)
{
    *base = NULL;
    int fd = open_place(place, O_RDWR);
    if (fd < 0) {
        return "no_access";
    }
    const char *reason = map_lane(fd, place, groups, base);
    (void)close(fd);
    return reason;
}
