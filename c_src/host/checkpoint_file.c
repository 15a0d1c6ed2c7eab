#include "host/checkpoint_file.h"

#include "host/disk_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { FILE_MODE = 0600 };

void kv_checkpoint_file_init(struct kv_checkpoint_file *file, const struct kv_folder *folder)
{
    *file = (struct kv_checkpoint_file){.folder = folder, .fd = -1};
}

bool kv_checkpoint_file_is_open(const struct kv_checkpoint_file *file)
{
    return file->fd >= 0;
}

static int given_up(struct kv_checkpoint_file *file, int error)
{
    if (error != 0) {
        kv_disk_close_file(&file->fd);
        (void)kv_disk_calls.unlink(file->folder->fd, KV_FOLDER_CHECKPOINT);
    }
    return error;
}

void kv_checkpoint_file_give_up(struct kv_checkpoint_file *file)
{
    if (kv_checkpoint_file_is_open(file)) {
        (void)given_up(file, ECANCELED);
    }
}

static int open_file(const struct kv_checkpoint_file *file, int flags)
{
    return kv_disk_calls.open(file->folder->fd, KV_FOLDER_CHECKPOINT, O_WRONLY | flags, FILE_MODE);
}

int kv_checkpoint_file_begin(struct kv_checkpoint_file *file)
{
    kv_checkpoint_file_give_up(file);
    file->unsynced = 0;
    file->direct = true;
    file->fd = open_file(file, O_DIRECT | O_CREAT | O_TRUNC);
    if (file->fd < 0 && errno == EINVAL) {
        file->direct = false;
        file->fd = open_file(file, O_CREAT | O_TRUNC);
    }
    return file->fd < 0 ? errno : 0;
}

/* A file system may take O_DIRECT, and refuse to write so. */
static int write_cached(struct kv_checkpoint_file *file, struct kv_bytes bytes, uint64_t offset)
{
    kv_disk_close_file(&file->fd);
    file->direct = false;
    file->fd = open_file(file, 0);
    return file->fd < 0 ? errno
                        : kv_disk_pwrite_all(file->fd, bytes.data, bytes.length, (off_t)offset);
}

static int sync_some(struct kv_checkpoint_file *file)
{
    const uint64_t most = file->direct ? KV_CHECKPOINT_SYNC : KV_CHECKPOINT_SYNC_CACHED;
    if (file->unsynced < most) {
        return 0;
    }
    file->unsynced = 0;
    return kv_disk_sync_data(file->fd);
}

int kv_checkpoint_file_write(struct kv_checkpoint_file *file, struct kv_bytes bytes,
                             uint64_t offset)
{
    int error = kv_disk_pwrite_all(file->fd, bytes.data, bytes.length, (off_t)offset);
    if (error == EINVAL && file->direct) {
        error = write_cached(file, bytes, offset);
    }
    if (error == 0) {
        file->unsynced += bytes.length;
        file->written += bytes.length;
        error = sync_some(file);
    }
    return given_up(file, error);
}

int kv_checkpoint_file_end(struct kv_checkpoint_file *file, uint64_t lsn)
{
    char name[KV_FOLDER_NAME];
    kv_folder_checkpoint_name(lsn, name);
    int error = kv_disk_sync_data(file->fd);
    if (error == 0 && kv_disk_calls.rename(file->folder->fd, KV_FOLDER_CHECKPOINT, name) != 0) {
        error = errno;
    }
    if (error != 0) {
        return given_up(file, error);
    }
    kv_disk_close_file(&file->fd);
    error = kv_folder_sync(file->folder);
    file->failed_sync = error != 0;
    return error;
}
