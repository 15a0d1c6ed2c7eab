#include "host/disk_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int call_open(int folder, const char *name, int flags, mode_t mode)
{
    return openat(folder, name, flags | O_CLOEXEC, mode);
}

/* Where the file system cannot do this, zeros are written all the same. */
static int call_fallocate(int fd, off_t length)
{
#ifdef __linux__
    int result = fallocate(fd, 0, 0, length);
    return result != 0 && (errno == EOPNOTSUPP || errno == ENOSYS) ? 0 : result;
#else
    (void)fd;
    (void)length;
    return 0;
#endif
}

static int call_rename(int folder, const char *from, const char *to)
{
    return renameat(folder, from, folder, to);
}

static int call_unlink(int folder, const char *name)
{
    return unlinkat(folder, name, 0);
}

static int call_link(int folder, const char *name, int other)
{
    return linkat(folder, name, other, name, 0);
}

#define SYSTEM                                                                                     \
    {                                                                                              \
        call_open, pread, pwrite, fdatasync, fsync, call_fallocate, call_rename, call_unlink,      \
            mkdirat, call_link,                                                                    \
    }

struct kv_disk_calls kv_disk_calls = SYSTEM;

struct kv_disk_calls kv_disk_calls_of_the_system(void)
{
    return (struct kv_disk_calls)SYSTEM;
}

int kv_disk_pwrite_all(int fd, const void *from, size_t length, off_t offset)
{
    const uint8_t *bytes = from;
    while (length > 0) {
        ssize_t wrote = kv_disk_calls.pwrite(fd, bytes, length, offset);
        if (wrote < 0 && errno != EINTR) {
            return errno;
        }
        if (wrote == 0) {
            return EIO;
        }
        if (wrote > 0) {
            bytes += wrote;
            length -= (size_t)wrote;
            offset += wrote;
        }
    }
    return 0;
}

int kv_disk_sync_data(int fd)
{
    while (kv_disk_calls.fdatasync(fd) != 0) {
        if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

int kv_disk_pread_all(int fd, void *to, size_t length, off_t offset, size_t *got)
{
    *got = 0;
    while (*got < length) {
        ssize_t more =
            kv_disk_calls.pread(fd, (uint8_t *)to + *got, length - *got, offset + (off_t)*got);
        if (more < 0 && errno != EINTR) {
            return errno;
        }
        if (more == 0) {
            break;
        }
        *got += more > 0 ? (size_t)more : 0;
    }
    return 0;
}

void kv_disk_close_file(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
    *fd = -1;
}

uint8_t *kv_disk_aligned(void *memory, size_t block)
{
    const size_t within = (uintptr_t)memory % block;
    return (uint8_t *)memory + (within == 0 ? 0 : block - within);
}
