/* The system calls behind the log on disk, in one table: a test replaces some of them, and so sees
 * a disk that is full, fails, or writes less than was asked for. */
#ifndef KV_HOST_DISK_CALLS_H
#define KV_HOST_DISK_CALLS_H

#include <stdint.h>
#include <sys/types.h>

/* Each is as its namesake in the manual, with errno. Names are relative to the folder. */
struct kv_disk_calls {
    int (*open)(int folder, const char *name, int flags, mode_t mode);
    ssize_t (*pread)(int fd, void *to, size_t length, off_t offset);
    ssize_t (*pwrite)(int fd, const void *from, size_t length, off_t offset);
    int (*fdatasync)(int fd);
    int (*fsync)(int fd);
    int (*fallocate)(int fd, off_t length); /* finds room for the whole file, which is empty */
    int (*rename)(int folder, const char *from, const char *to);
    int (*unlink)(int folder, const char *name);
    int (*mkdir)(int folder, const char *name, mode_t mode);
    int (*link)(int folder, const char *name, int other); /* the same name in another folder */
};

/* May be changed only while no disk is open. */
extern struct kv_disk_calls kv_disk_calls;

/* The calls of the system. */
struct kv_disk_calls kv_disk_calls_of_the_system(void);

/* Writes all of the bytes, whatever the number of calls it takes. Returns 0, or an errno. */
int kv_disk_pwrite_all(int fd, const void *from, size_t length, off_t offset);

/* Waits until what was written to a file is on the disk. Returns 0, or an errno. */
int kv_disk_sync_data(int fd);

/* Reads until the file ends or `length` bytes are there, and sets *got. Returns 0, or an errno. */
int kv_disk_pread_all(int fd, void *to, size_t length, off_t offset, size_t *got);

/* Closes a file, unless it is -1, and sets it to -1. */
void kv_disk_close_file(int *fd);

/* Returns the first address in the memory that is a multiple of `block`, as O_DIRECT wants it. */
uint8_t *kv_disk_aligned(void *memory, size_t block);

#endif
