/* A block device for nbdkit that remembers each write and each flush, in order. The file `log` gets
 * records of a byte, 'w' or 'f'; of a write also offset (8 bytes) and length (4), big-endian, and
 * the bytes. A test makes of them what a disk may hold after a power cut. */
#define _GNU_SOURCE
#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define THREAD_MODEL NBDKIT_THREAD_MODEL_SERIALIZE_ALL_REQUESTS

enum { WRITE_HEADER = 1 + 8 + 4 };

static int image = -1;
static int record = -1;

static int device_config(const char *key, const char *value)
{
    if (strcmp(key, "image") == 0) {
        image = open(value, O_RDWR | O_CLOEXEC);
        return image < 0 ? -1 : 0;
    }
    if (strcmp(key, "log") == 0) {
        record = open(value, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        return record < 0 ? -1 : 0;
    }
    nbdkit_error("no such parameter: %s", key);
    return -1;
}

static int device_config_complete(void)
{
    return image < 0 || record < 0 ? -1 : 0;
}

static void *device_open(int readonly)
{
    (void)readonly;
    return NBDKIT_HANDLE_NOT_NEEDED;
}

static int64_t device_size(void *handle)
{
    struct stat about;
    (void)handle;
    return fstat(image, &about) == 0 ? about.st_size : -1;
}

static int device_read(void *handle, void *to, uint32_t count, uint64_t offset, uint32_t flags)
{
    (void)handle;
    (void)flags;
    return pread(image, to, count, (off_t)offset) == (ssize_t)count ? 0 : -1;
}

static int device_write(void *handle, const void *from, uint32_t count, uint64_t offset,
                        uint32_t flags)
{
    unsigned char header[WRITE_HEADER] = {'w'};
    (void)handle;
    (void)flags;
    for (int i = 0; i < 8; i++) {
        header[1 + i] = (unsigned char)(offset >> (8 * (7 - i)));
    }
    for (int i = 0; i < 4; i++) {
        header[9 + i] = (unsigned char)(count >> (8 * (3 - i)));
    }
    const struct iovec parts[] = {{header, sizeof header}, {(void *)from, count}};
    if (writev(record, parts, 2) != (ssize_t)(sizeof header + count)) {
        return -1;
    }
    return pwrite(image, from, count, (off_t)offset) == (ssize_t)count ? 0 : -1;
}

static int device_flush(void *handle, uint32_t flags)
{
    (void)handle;
    (void)flags;
    return write(record, "f", 1) == 1 ? 0 : -1;
}

static struct nbdkit_plugin plugin = {
    .name = "kvdevice",
    .config = device_config,
    .config_complete = device_config_complete,
    .open = device_open,
    .get_size = device_size,
    .pread = device_read,
    .pwrite = device_write,
    .flush = device_flush,
};

NBDKIT_REGISTER_PLUGIN(plugin)
