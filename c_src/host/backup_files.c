#include "host/backup_files.h"

#include "base/alloc.h"
#include "host/disk_calls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <kv/error.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <uv.h>

#define TMP   ".tmp"
#define STORE "store"

enum {
    BLOCK = KV_FOLDER_BLOCK,
    FOLDER_MODE = 0700,
    FILE_MODE = 0600,
    SYNC = 8 * 1024 * 1024,    /* bytes between two syncs, */
    SYNC_CACHED = 1024 * 1024, /* and where the page cache cannot be passed by */
    DOING = 128,
};

/* ---- sentences ---------------------------------------------------------------------------------
 */

/* `error` is an errno. */
static int say(struct kv_backup_files *files, const char *doing, int error)
{
    (void)snprintf(files->text, sizeof files->text, "backup %.*s: %s: %s%s", KV_FOLDER_PATH,
                   files->path, doing, strerror(error), kv_folder_advice(error));
    return kv_folder_error(error);
}

static int say_file(struct kv_backup_files *files, const char *doing, const char *name, int error)
{
    char text[DOING];
    (void)snprintf(text, sizeof text, "cannot %s the file %s", doing, name);
    return say(files, text, error);
}

static int refuse(struct kv_backup_files *files, const char *why)
{
    (void)snprintf(files->text, sizeof files->text, "backup %.*s: %s", KV_FOLDER_PATH, files->path,
                   why);
    return KV_EEXIST;
}

/* ---- the path ----------------------------------------------------------------------------------
 */

void kv_backup_files_init(struct kv_backup_files *files, const char *path)
{
    *files = (struct kv_backup_files){.from = -1, .above = -1, .folder = -1};
    (void)snprintf(files->path, sizeof files->path, "%s", path);
    files->memory = kv_zalloc(KV_BACKUP_PIECE + BLOCK);
    files->piece = kv_disk_aligned(files->memory, BLOCK);
}

void kv_backup_files_close(struct kv_backup_files *files)
{
    kv_disk_close_file(&files->folder);
    kv_disk_close_file(&files->above);
    kv_free(files->memory);
    files->memory = files->piece = NULL;
}

/* Cuts the path at its last slash. A name that ends in .tmp could be the unfinished folder of
 * another backup. */
static int split(struct kv_backup_files *files, char above[KV_BACKUP_PATH + 1])
{
    memcpy(above, files->path, sizeof files->path);
    size_t length = strlen(above);
    while (length > 1 && above[length - 1] == '/') {
        above[--length] = '\0';
    }
    char *slash = strrchr(above, '/');
    const char *name = slash == NULL ? above : slash + 1;
    const size_t bytes = strlen(name);
    if (bytes == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return refuse(files, "it is there already: name a new folder");
    }
    if (bytes + strlen(TMP) >= sizeof files->name) {
        return refuse(files, "its name is too long: name a folder with a shorter one");
    }
    if (bytes > strlen(TMP) && strcmp(name + bytes - strlen(TMP), TMP) == 0) {
        return refuse(files, "its name ends in " TMP ", as that of a backup that is not finished: "
                             "name another folder");
    }
    (void)snprintf(files->name, sizeof files->name, "%.*s", KV_BACKUP_NAME - 1, name);
    (void)snprintf(files->tmp, sizeof files->tmp, "%.*s" TMP, (int)bytes, name);
    if (slash == NULL) {
        memcpy(above, ".", sizeof ".");
    } else {
        slash[slash == above ? 1 : 0] = '\0';
    }
    return KV_OK;
}

/* ---- the place ---------------------------------------------------------------------------------
 */

static bool is_same(const struct stat *one, const struct stat *other)
{
    return one->st_dev == other->st_dev && one->st_ino == other->st_ino;
}

/* Goes up from the folder above. Sets *within to true if that comes by the data folder. Returns 0
 * or an errno. */
static int look_above(const struct kv_backup_files *files, bool *within)
{
    struct stat data = {0};
    struct stat here = {0};
    struct stat last = {0};
    int error = fstat(files->from, &data) != 0 ? errno : 0;
    int at = error == 0 ? kv_disk_calls.open(files->above, ".", O_PATH | O_DIRECTORY, 0) : -1;
    error = error == 0 && at < 0 ? errno : error;
    bool is_top = false;
    while (error == 0 && !is_top && !*within) {
        int next = kv_disk_calls.open(at, "..", O_PATH | O_DIRECTORY, 0);
        error = next < 0 || fstat(at, &here) != 0 || fstat(next, &last) != 0 ? errno : 0;
        *within = error == 0 && is_same(&here, &data);
        is_top = error == 0 && is_same(&here, &last);
        kv_disk_close_file(&at);
        at = next;
    }
    kv_disk_close_file(&at);
    return error;
}

static int check_place(struct kv_backup_files *files)
{
    struct stat data = {0};
    struct stat there = {0};
    bool within = false;
    int error = look_above(files, &within);
    if (error != 0) {
        return say(files, "cannot look at the folders above", error);
    }
    if (within) {
        return refuse(files, "it is in the data folder of the node: name a folder elsewhere");
    }
    if (fstatat(files->above, files->name, &there, AT_SYMLINK_NOFOLLOW) == 0) {
        bool is_data = fstat(files->from, &data) == 0 && is_same(&data, &there);
        return refuse(files, is_data ? "it is the data folder of the node: name a new folder"
                                     : "it is there already: name a new folder");
    }
    return errno == ENOENT ? KV_OK : say(files, "cannot look for it", errno);
}

static int open_above(struct kv_backup_files *files)
{
    char above[KV_BACKUP_PATH + 1];
    int error = split(files, above);
    if (error != KV_OK) {
        return error;
    }
    files->above = kv_disk_calls.open(AT_FDCWD, above, O_RDONLY | O_DIRECTORY, 0);
    if (files->above < 0) {
        error = errno;
        (void)say(files, "cannot open the folder above", error);
        return kv_folder_error(error) == KV_ENOSPC ? KV_ENOSPC : KV_EEXIST;
    }
    return KV_OK;
}

/* ---- the unfinished folder ---------------------------------------------------------------------
 */

static bool is_ours(const char *name)
{
    return strcmp(name, STORE) == 0 || strcmp(name, KV_BACKUP_MARK) == 0 ||
           strncmp(name, "log-", 4) == 0 || strncmp(name, "checkpoint-", 11) == 0;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Calls `visit` for each name in FOLDER.tmp, until it returns an errno. */
static int each_name(const struct kv_backup_files *files,
                     int (*visit)(const struct kv_backup_files *files, const char *name))
{
    int fd = kv_disk_calls.open(files->folder, ".", O_RDONLY | O_DIRECTORY, 0);
    DIR *names = fd < 0 ? NULL : fdopendir(fd);
    int error = 0;
    if (names == NULL) {
        error = errno;
        kv_disk_close_file(&fd);
        return error;
    }
    const struct dirent *entry = NULL;
    errno = 0;
    while (error == 0 && (entry = readdir(names)) != NULL) {
        error = is_dots(entry->d_name) ? 0 : visit(files, entry->d_name);
        errno = 0;
    }
    error = error != 0 ? error : errno;
    (void)closedir(names);
    return error;
}

static int check_name(const struct kv_backup_files *files, const char *name)
{
    (void)files;
    return is_ours(name) ? 0 : ENOTEMPTY;
}

static int count_name(const struct kv_backup_files *files, const char *name)
{
    (void)files;
    (void)name;
    return ENOTEMPTY;
}

/* The mark goes last, so that a crash in between is no harm. */
static int remove_name(const struct kv_backup_files *files, const char *name)
{
    if (strcmp(name, KV_BACKUP_MARK) == 0 || kv_disk_calls.unlink(files->folder, name) == 0) {
        return 0;
    }
    return errno;
}

static int remove_all(const struct kv_backup_files *files)
{
    int error = each_name(files, remove_name);
    if (error == 0 && kv_disk_calls.unlink(files->folder, KV_BACKUP_MARK) != 0 && errno != ENOENT) {
        error = errno;
    }
    return error;
}

/* Removes the rest of a backup that a crash has left: it has the mark, or nothing. */
static int clear_tmp(struct kv_backup_files *files)
{
    struct stat mark;
    bool has_mark = fstatat(files->folder, KV_BACKUP_MARK, &mark, AT_SYMLINK_NOFOLLOW) == 0;
    int error = each_name(files, has_mark ? check_name : count_name);
    if (error == ENOTEMPTY) {
        (void)snprintf(
            files->text, sizeof files->text,
            "backup %.*s: the folder %.*s is in the way, with files that are of no backup: "
            "move it, or name another folder",
            KV_FOLDER_PATH, files->path, KV_BACKUP_NAME, files->tmp);
        return KV_EEXIST;
    }
    error = error == 0 && has_mark ? remove_all(files) : error;
    return error == 0 ? KV_OK : say(files, "cannot remove what an earlier backup has left", error);
}

/* Another program that has just finished the same backup may have given the folder its name. */
static bool is_locked(const struct kv_backup_files *files)
{
    struct stat open = {0};
    struct stat there = {0};
    if (flock(files->folder, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        return false;
    }
    return fstat(files->folder, &open) == 0 &&
           fstatat(files->above, files->tmp, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
           is_same(&open, &there);
}

static int make_mark(struct kv_backup_files *files)
{
    int fd = kv_disk_calls.open(files->folder, KV_BACKUP_MARK, O_WRONLY | O_CREAT, FILE_MODE);
    if (fd < 0) {
        return say_file(files, "make", KV_BACKUP_MARK, errno);
    }
    (void)close(fd);
    return KV_OK;
}

static int open_tmp(struct kv_backup_files *files)
{
    bool made = kv_disk_calls.mkdir(files->above, files->tmp, FOLDER_MODE) == 0;
    if (!made && errno != EEXIST) {
        int error = errno;
        int result = say(files, "cannot make it", error);
        return result == KV_ENOSPC ? KV_ENOSPC : KV_EEXIST;
    }
    files->folder =
        kv_disk_calls.open(files->above, files->tmp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (files->folder < 0) {
        int error = errno;
        if (made) {
            (void)unlinkat(files->above, files->tmp, AT_REMOVEDIR);
        }
        return say(files, "cannot open the new folder", error);
    }
    if (!is_locked(files)) {
        return refuse(files, "another program is making it: wait for that one, or name another "
                             "folder");
    }
    int error = made ? KV_OK : clear_tmp(files);
    files->owned = error == KV_OK;
    return error;
}

static bool shares_space(const struct kv_backup_files *files)
{
    struct stat data = {0};
    struct stat here = {0};
    return fstat(files->from, &data) == 0 && fstat(files->folder, &here) == 0 &&
           data.st_dev == here.st_dev;
}

int kv_backup_files_prepare(struct kv_backup_files *files)
{
    int error = open_above(files);
    if (error == KV_OK) {
        error = check_place(files);
    }
    if (error == KV_OK) {
        error = open_tmp(files);
    }
    files->shares = error == KV_OK && shares_space(files);
    return error == KV_OK ? make_mark(files) : error;
}

void kv_backup_files_give_up(struct kv_backup_files *files)
{
    if (!files->owned) {
        return;
    }
    if (files->named) {
        (void)kv_disk_calls.rename(files->above, files->name, files->tmp);
    }
    if (remove_all(files) == 0) {
        (void)unlinkat(files->above, files->tmp, AT_REMOVEDIR);
    }
    files->owned = files->named = false;
}

/* ---- copying a file ----------------------------------------------------------------------------
 */

/* One file on its way. */
struct copy {
    struct kv_backup_files *files;
    const char *name;
    int from;
    int to;
    bool direct; /* both pass the page cache by: it is for others */
    uint64_t unsynced;
};

static void close_copy(struct copy *copy)
{
    kv_disk_close_file(&copy->from);
    kv_disk_close_file(&copy->to);
}

/* Returns 0 or an errno: EINVAL where O_DIRECT is not possible. */
static int open_both(struct copy *copy, int flags)
{
    const struct kv_backup_files *files = copy->files;
    close_copy(copy);
    copy->from = kv_disk_calls.open(files->from, copy->name, O_RDONLY | flags, 0);
    if (copy->from < 0) {
        return errno;
    }
    copy->to = kv_disk_calls.open(files->folder, copy->name, O_WRONLY | O_CREAT | flags, FILE_MODE);
    if (copy->to < 0) {
        return errno;
    }
    /* A page that is read ahead would be one that the log writes next. */
    (void)posix_fadvise(copy->from, 0, 0, POSIX_FADV_RANDOM);
    return 0;
}

static int open_copy(struct copy *copy)
{
    copy->direct = true;
    int error = open_both(copy, O_DIRECT);
    if (error == EINVAL) {
        copy->direct = false;
        error = open_both(copy, 0);
    }
    return error;
}

/* Reads a piece, or makes one of zeros, from `length` on. Returns 0 or an errno. */
static int read_piece(const struct copy *copy, uint64_t offset, size_t bytes, bool zeros)
{
    size_t got = 0;
    if (zeros) {
        memset(copy->files->piece, 0, bytes);
        return 0;
    }
    int error = kv_disk_pread_all(copy->from, copy->files->piece, bytes, (off_t)offset, &got);
    return error == 0 && got < bytes ? EIO : error;
}

static int move_piece(const struct copy *copy, uint64_t offset, size_t bytes, bool zeros)
{
    int error = read_piece(copy, offset, bytes, zeros);
    return error != 0 ? error
                      : kv_disk_pwrite_all(copy->to, copy->files->piece, bytes, (off_t)offset);
}

/* A file system may take O_DIRECT, and refuse to read or write so. */
static int copy_piece(struct copy *copy, uint64_t offset, size_t bytes, bool zeros)
{
    const uint64_t began = uv_hrtime();
    int error = move_piece(copy, offset, bytes, zeros);
    if (error == EINVAL && copy->direct) {
        copy->direct = false;
        error = open_both(copy, 0);
        error = error == 0 ? move_piece(copy, offset, bytes, zeros) : error;
    }
    copy->unsynced += bytes;
    if (error == 0 && copy->unsynced >= (uint64_t)(copy->direct ? SYNC : SYNC_CACHED)) {
        copy->unsynced = 0;
        error = kv_disk_sync_data(copy->to);
    }
    return error != 0 ? error : copy->files->rest(copy->files->context, uv_hrtime() - began);
}

static int copy_bytes(struct copy *copy, uint64_t length, uint64_t size)
{
    int error = 0;
    uint64_t offset = 0;
    while (error == 0 && offset < size) {
        const bool zeros = offset >= length;
        const uint64_t left = (zeros ? size : length) - offset;
        const size_t bytes = left < KV_BACKUP_PIECE ? (size_t)left : KV_BACKUP_PIECE;
        error = copy_piece(copy, offset, bytes, zeros);
        offset += bytes;
    }
    return error == 0 ? kv_disk_sync_data(copy->to) : error;
}

/* The first bytes of a file, and zeros up to its size. */
static int copy_file(struct kv_backup_files *files, const char *name, uint64_t length,
                     uint64_t size)
{
    struct copy copy = {.files = files, .name = name, .from = -1, .to = -1};
    int error = open_copy(&copy);
    if (error == 0 && kv_disk_calls.fallocate(copy.to, (off_t)size) != 0) {
        error = errno;
    }
    if (error == 0) {
        error = copy_bytes(&copy, length, size);
    }
    close_copy(&copy);
    if (error == ECANCELED) {
        (void)refuse(files, "it was given up, because the node ends");
        return KV_EIO;
    }
    if (error != 0) {
        return say_file(files, "copy", name, error);
    }
    files->bytes += size;
    files->written += size;
    return KV_OK;
}

/* ---- copying all of them -----------------------------------------------------------------------
 */

/* The numbers of the segments from `first` to `end`, exclusive. */
static void segments(const struct kv_backup_range *range, uint64_t *first, uint64_t *end)
{
    const uint64_t room = range->segment_size - BLOCK;
    *first = range->checkpoint / room;
    *end = range->end == 0 ? 1 : (range->end - 1) / room + 1;
}

static int copy_segments(struct kv_backup_files *files, const struct kv_backup_range *range)
{
    char name[KV_FOLDER_NAME];
    const uint64_t room = range->segment_size - BLOCK;
    uint64_t segment = 0;
    uint64_t end = 0;
    int error = KV_OK;
    segments(range, &segment, &end);
    for (; error == KV_OK && segment < end; segment++) {
        const uint64_t content = range->end - segment * room;
        kv_folder_name(segment, name);
        error =
            copy_file(files, name, BLOCK + (content < room ? content : room), range->segment_size);
    }
    return error;
}

/* The file of a checkpoint never changes, so a second name of it will do where the file system has
 * both folders. */
static int take_checkpoint(struct kv_backup_files *files, const struct kv_backup_range *range)
{
    char name[KV_FOLDER_NAME];
    kv_folder_checkpoint_name(range->checkpoint, name);
    if (kv_disk_calls.link(files->from, name, files->folder) != 0) {
        return copy_file(files, name, range->size, range->size);
    }
    files->bytes += range->size;
    return KV_OK;
}

/* The log must not find the disk full because of a backup. */
static int check_space(struct kv_backup_files *files, const struct kv_backup_range *range)
{
    struct statvfs system;
    uint64_t first = 0;
    uint64_t end = 0;
    segments(range, &first, &end);
    const uint64_t wanted =
        (end - first) * range->segment_size + (files->shares ? range->segment_size : range->size);
    if (fstatvfs(files->folder, &system) != 0) {
        return KV_OK;
    }
    const uint64_t space = (uint64_t)system.f_bavail * system.f_frsize;
    if (wanted <= space) {
        return KV_OK;
    }
    (void)snprintf(files->text, sizeof files->text,
                   "backup %.*s: it needs %" PRIu64 " bytes%s, and its file system has %" PRIu64
                   ": free space there, or name a folder elsewhere",
                   KV_FOLDER_PATH, files->path, wanted,
                   files->shares ? ", those that the log may need meanwhile included" : "", space);
    return KV_ENOSPC;
}

int kv_backup_files_copy(struct kv_backup_files *files, const struct kv_backup_range *range)
{
    int error = check_space(files, range);
    if (error == KV_OK && range->size > 0) {
        error = take_checkpoint(files, range);
    }
    if (error == KV_OK) {
        error = copy_file(files, STORE, BLOCK, BLOCK);
    }
    return error == KV_OK ? copy_segments(files, range) : error;
}

/* The mark goes once the folder has its name: it does no harm in a data folder. */
int kv_backup_files_finish(struct kv_backup_files *files)
{
    if (kv_disk_calls.fsync(files->folder) != 0) {
        return say(files, "cannot sync it", errno);
    }
    if (kv_disk_calls.rename(files->above, files->tmp, files->name) != 0) {
        return say(files, "cannot give it its name", errno);
    }
    files->named = true;
    if (kv_disk_calls.fsync(files->above) != 0) {
        return say(files, "cannot sync the folder above", errno);
    }
    (void)kv_disk_calls.unlink(files->folder, KV_BACKUP_MARK);
    files->owned = false;
    return KV_OK;
}
