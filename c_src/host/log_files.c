#include "host/log_files.h"

#include "base/alloc.h"
#include "host/disk_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

enum {
    BLOCK = KV_FOLDER_BLOCK,
    FILE_MODE = 0600,
    LOOK_APART_NS = 100000000 /* between looks for the file and the folder */
};

void kv_log_files_init(struct kv_log_files *files, const struct kv_folder *folder, uint64_t size,
                       uint64_t first, uint64_t end)
{
    *files = (struct kv_log_files){.folder = folder,
                                   .size = size,
                                   .first = first,
                                   .end = end,
                                   .direct = true,
                                   .plain = -1,
                                   .past = -1,
                                   .making = -1};
    files->memory = kv_zalloc(KV_LOG_FILES_STEP + 2 * BLOCK);
    files->zeros = kv_disk_aligned(files->memory, BLOCK);
    files->block = files->zeros + KV_LOG_FILES_STEP;
}

static void close_segment(struct kv_log_files *files)
{
    kv_disk_close_file(&files->plain);
    kv_disk_close_file(&files->past);
}

void kv_log_files_close(struct kv_log_files *files)
{
    kv_log_files_give_up(files);
    close_segment(files);
    kv_free(files->memory);
    files->memory = NULL;
}

static void doing(struct kv_log_files *files, const char *what, uint64_t segment)
{
    char name[KV_FOLDER_NAME];
    kv_folder_name(segment, name);
    (void)snprintf(files->doing, sizeof files->doing, "cannot %s the file %s", what, name);
}

static int open_file(const struct kv_log_files *files, const char *name, int flags)
{
    return kv_disk_calls.open(files->folder->fd, name, flags, FILE_MODE);
}

static bool is_aligned(const void *pointer)
{
    return ((uintptr_t)pointer & (BLOCK - 1)) == 0;
}

/* ---- making a file -----------------------------------------------------------------------------
 */

void kv_log_files_give_up(struct kv_log_files *files)
{
    if (files->making >= 0) {
        kv_disk_close_file(&files->making);
        (void)kv_disk_calls.unlink(files->folder->fd, KV_FOLDER_AHEAD);
    }
}

/* Opens for O_DIRECT where that is possible: the page cache is for others. */
static int open_making(struct kv_log_files *files, int flags)
{
    files->making_direct = files->direct;
    if (files->direct) {
        files->making = open_file(files, KV_FOLDER_AHEAD, O_WRONLY | O_DIRECT | flags);
        if (files->making >= 0 || errno != EINVAL) {
            return files->making >= 0 ? 0 : errno;
        }
        files->direct = files->making_direct = false;
    }
    files->making = open_file(files, KV_FOLDER_AHEAD, O_WRONLY | flags);
    return files->making >= 0 ? 0 : errno;
}

/* Writes to the file that is being made; through the page cache after all if it must be. */
static int write_making(struct kv_log_files *files, const uint8_t *from, size_t length,
                        uint64_t offset)
{
    int error = kv_disk_pwrite_all(files->making, from, length, (off_t)offset);
    if (error == EINVAL && files->making_direct) {
        files->direct = false;
        kv_disk_close_file(&files->making);
        error = open_making(files, 0);
        if (error == 0) {
            error = kv_disk_pwrite_all(files->making, from, length, (off_t)offset);
        }
    }
    return error;
}

/* A file that is not needed becomes the new one: its space is there. */
static int begin_recycled(struct kv_log_files *files)
{
    char name[KV_FOLDER_NAME];
    kv_folder_name(files->first, name);
    if (kv_disk_calls.rename(files->folder->fd, name, KV_FOLDER_AHEAD) != 0) {
        return errno;
    }
    files->first++;
    files->recycled++;
    files->made = files->size;
    return open_making(files, 0);
}

static int begin_new(struct kv_log_files *files)
{
    files->made = 0;
    int error = open_making(files, O_CREAT | O_TRUNC);
    if (error == 0 && kv_disk_calls.fallocate(files->making, (off_t)files->size) != 0) {
        error = errno;
    }
    return error;
}

/* Where O_DIRECT is not possible, the sync at the end would take long. */
static int write_zeros(struct kv_log_files *files)
{
    uint64_t left = files->size - files->made;
    size_t length = left < KV_LOG_FILES_STEP ? (size_t)left : KV_LOG_FILES_STEP;
    int error = write_making(files, files->zeros, length, files->made);
    if (error == 0 && !files->making_direct) {
        error = kv_disk_sync_data(files->making);
    }
    if (error == 0) {
        files->made += length;
        files->zeroed += files->made == files->size;
    }
    return error;
}

/* The header, the name, and both on the disk. */
static int finish(struct kv_log_files *files)
{
    char name[KV_FOLDER_NAME];
    kv_folder_name(files->end, name);
    memset(files->block, 0, BLOCK);
    files->header(files->context, files->end, files->block);
    int error = write_making(files, files->block, BLOCK, 0);
    if (error == 0) {
        error = kv_disk_sync_data(files->making);
    }
    if (error == 0 && kv_disk_calls.rename(files->folder->fd, KV_FOLDER_AHEAD, name) != 0) {
        error = errno;
    }
    if (error == 0) {
        kv_disk_close_file(&files->making);
        error = kv_folder_sync(files->folder);
    }
    files->end += error == 0;
    return error;
}

int kv_log_files_make(struct kv_log_files *files)
{
    int error = 0;
    if (files->making < 0) {
        bool is_spare = files->first < files->needed && files->first + 1 < files->end;
        error = is_spare ? begin_recycled(files) : begin_new(files);
    } else if (files->made < files->size) {
        error = write_zeros(files);
    } else {
        error = finish(files);
    }
    if (error != 0) {
        doing(files, "make", files->end);
        kv_log_files_give_up(files);
    }
    return error;
}

/* ---- writing -----------------------------------------------------------------------------------
 */

int kv_log_files_sync(struct kv_log_files *files)
{
    int error = files->dirty ? kv_disk_sync_data(files->plain) : 0;
    if (error != 0) {
        doing(files, "sync", files->segment);
        files->failed_sync = true;
    } else {
        files->dirty = false;
    }
    return error;
}

static int open_past(struct kv_log_files *files, const char *name)
{
    if (files->direct) {
        files->past = open_file(files, name, O_WRONLY | O_DIRECT | O_DSYNC);
        if (files->past < 0 && errno != EINVAL) {
            return errno;
        }
        files->direct = files->past >= 0;
    }
    return 0;
}

/* A file without a name is gone when the program closes it. */
static bool has_name(const struct kv_log_files *files)
{
    struct stat about;
    return fstat(files->plain, &about) == 0 && about.st_nlink > 0;
}

bool kv_log_files_are_there(struct kv_log_files *files)
{
    const uint64_t now = uv_hrtime();
    if (now - files->looked < LOOK_APART_NS) {
        return true;
    }
    files->looked = now;
    files->nameless = files->plain >= 0 && files->linked && !has_name(files);
    return !files->nameless && kv_folder_is_there(files->folder);
}

/* The one before is synced when it is left. So only the open one can be dirty. */
static int open_segment(struct kv_log_files *files, uint64_t segment)
{
    if (files->plain >= 0 && files->segment == segment) {
        return 0;
    }
    int error = kv_log_files_sync(files);
    if (error != 0) {
        return error;
    }
    char name[KV_FOLDER_NAME];
    kv_folder_name(segment, name);
    close_segment(files);
    files->segment = segment;
    files->plain = open_file(files, name, O_WRONLY);
    error = files->plain < 0 ? errno : open_past(files, name);
    if (error != 0) {
        close_segment(files);
        doing(files, "open", segment);
    } else {
        files->linked = has_name(files);
    }
    return error;
}

/* With O_DIRECT and O_DSYNC, one call is the commit. It syncs no other bytes than its own, so it
 * will not do if others are not synced. Returns EINVAL where the page cache must be used. */
static int write_past(struct kv_log_files *files, struct kv_bytes bytes, uint64_t offset)
{
    if (files->past < 0 || files->dirty || !is_aligned(bytes.data)) {
        return EINVAL;
    }
    int error = kv_disk_pwrite_all(files->past, bytes.data, bytes.length, (off_t)offset);
    if (error == EINVAL) {
        files->direct = false;
        kv_disk_close_file(&files->past);
    }
    return error;
}

static int write_part(struct kv_log_files *files, uint64_t segment, struct kv_bytes bytes,
                      uint64_t offset, bool sync)
{
    int error = sync ? write_past(files, bytes, offset) : EINVAL;
    if (error != EINVAL) {
        if (error != 0) {
            doing(files, "write to", segment);
        }
        return error;
    }
    error = kv_disk_pwrite_all(files->plain, bytes.data, bytes.length, (off_t)offset);
    if (error != 0) {
        doing(files, "write to", segment);
        return error;
    }
    files->dirty = true;
    return sync ? kv_log_files_sync(files) : 0;
}

int kv_log_files_write(struct kv_log_files *files, uint64_t lsn, struct kv_bytes bytes, bool sync)
{
    const uint64_t room = files->size - BLOCK;
    int error = 0;
    while (error == 0 && bytes.length > 0) {
        uint64_t segment = lsn / room;
        uint64_t within = lsn % room;
        size_t length = bytes.length < room - within ? bytes.length : (size_t)(room - within);
        while (error == 0 && segment >= files->end) {
            error = kv_log_files_make(files);
        }
        if (error == 0) {
            error = open_segment(files, segment);
        }
        if (error == 0) {
            error = write_part(files, segment, kv_bytes(bytes.data, length), BLOCK + within, sync);
        }
        lsn += length;
        bytes = kv_bytes(bytes.data + length, bytes.length - length);
    }
    return error;
}

/* ---- files that go -----------------------------------------------------------------------------
 */

static int remove_file(struct kv_log_files *files, uint64_t segment)
{
    char name[KV_FOLDER_NAME];
    kv_folder_name(segment, name);
    if (kv_disk_calls.unlink(files->folder->fd, name) != 0) {
        doing(files, "remove", segment);
        return errno;
    }
    files->removed++;
    return 0;
}

int kv_log_files_trim(struct kv_log_files *files, uint64_t spares)
{
    int error = 0;
    if (files->first + spares < files->needed && files->first + 1 < files->end) {
        error = remove_file(files, files->first);
        files->first += error == 0;
    }
    return error;
}

static int sync_file(struct kv_log_files *files, uint64_t segment)
{
    char name[KV_FOLDER_NAME];
    kv_folder_name(segment, name);
    int fd = open_file(files, name, O_WRONLY);
    int error = fd < 0 ? errno : kv_disk_sync_data(fd);
    kv_disk_close_file(&fd);
    if (error != 0) {
        doing(files, "sync", segment);
    }
    return error;
}

/* The files that were read are the ground of all answers. So they have to be on the disk, too,
 * though somebody may have copied them there a moment ago.
 *
 * The last ones go first, so that those that are there have no gap. */
int kv_log_files_begin(struct kv_log_files *files, uint64_t end)
{
    int error = 0;
    while (error == 0 && files->end > end && files->end > files->first) {
        error = remove_file(files, files->end - 1);
        files->end -= error == 0;
    }
    for (uint64_t segment = files->first; error == 0 && segment < files->end; segment++) {
        error = sync_file(files, segment);
    }
    if (error == 0) {
        error = kv_folder_sync_files(files->folder);
        error = error == 0 ? kv_folder_sync(files->folder) : error;
        if (error != 0) {
            (void)snprintf(files->doing, sizeof files->doing, "cannot sync it");
        }
    }
    return error;
}
