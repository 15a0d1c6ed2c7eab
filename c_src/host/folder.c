#include "host/folder.h"

#include "host/disk_calls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <kv/error.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define STORE      "store"
#define STORE_TMP  "store.tmp"
#define LOCK       "lock"
#define SEGMENT    "log-"
#define CHECKPOINT "checkpoint-"

enum { DIGITS = 16, FOLDER_MODE = 0700, FILE_MODE = 0600, PID_DIGITS = 24, STAT_BLOCK = 512 };

/* ---- sentences ---------------------------------------------------------------------------------
 */

int kv_folder_error(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return KV_ENOSPC;
    default:
        return KV_EIO;
    }
}

const char *kv_folder_advice(int error)
{
    switch (error) {
    case EACCES:
    case EPERM:
        return ": let the user of this program read, write and search the folder, or name another";
    case EROFS:
        return ": mount the file system for writing, or name another folder";
    case ENOTDIR:
        return ": name a folder";
    case ENAMETOOLONG:
        return ": name a folder with a shorter path";
    case ENOENT:
        return ": make the folder above, or mount it";
    case ENOSPC:
        return ": free space on this file system";
    case EDQUOT:
        return ": free space, or raise the quota of this user";
    case EFBIG:
        return ": raise the limit of the size of files (ulimit -f)";
    case EMFILE:
        return ": raise the limit of open files (ulimit -n)";
    default:
        return "";
    }
}

void kv_folder_sentence(const struct kv_folder *folder, char text[KV_FOLDER_TEXT],
                        const char *doing, int error)
{
    (void)snprintf(text, KV_FOLDER_TEXT, "data folder %s: %s: %s%s", folder->path, doing,
                   strerror(error), kv_folder_advice(error));
}

void kv_folder_gone_sentence(const struct kv_folder *folder, char text[KV_FOLDER_TEXT],
                             const char *file)
{
    if (file != NULL) {
        (void)snprintf(text, KV_FOLDER_TEXT,
                       "data folder %s: the file %s was removed while the node used it: restore a "
                       "backup, and leave the files of a node alone while it runs",
                       folder->path, file);
    } else {
        (void)snprintf(text, KV_FOLDER_TEXT,
                       "data folder %s: it was removed, moved or unmounted while the node used it, "
                       "and the next start would not find what is written: put it back, or restore "
                       "a backup",
                       folder->path);
    }
}

static int say(struct kv_folder *folder, const char *doing, int error)
{
    kv_folder_sentence(folder, folder->text, doing, error);
    return kv_folder_error(error);
}

/* ---- opening -----------------------------------------------------------------------------------
 */

/* A folder that was made a moment ago must be there after a crash, too. */
static int sync_above(const struct kv_folder *folder)
{
    int above = kv_disk_calls.open(folder->fd, "..", O_RDONLY | O_DIRECTORY, 0);
    int error = above < 0 || kv_disk_calls.fsync(above) != 0 ? errno : 0;
    if (above >= 0) {
        (void)close(above);
    }
    return error == EACCES ? 0 : error; /* the folder above may be closed to readers */
}

/* Without permission, the owner is what a person needs to know. */
static int no_permission(struct kv_folder *folder, const char *path, int error)
{
    struct stat about;
    if (error == EACCES && stat(path, &about) == 0 && about.st_uid != geteuid()) {
        (void)snprintf(folder->text, sizeof folder->text,
                       "data folder %s: it belongs to user %ju, and this program runs as user %ju, "
                       "who may not use it: change the owner, or name another folder",
                       folder->path, (uintmax_t)about.st_uid, (uintmax_t)geteuid());
        return KV_EIO;
    }
    return say(folder, "cannot use it", error);
}

static int open_folder(struct kv_folder *folder, const char *path)
{
    bool made = mkdir(path, FOLDER_MODE) == 0;
    if (!made && errno != EEXIST) {
        return say(folder, "cannot make it", errno);
    }
    folder->fd = kv_disk_calls.open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    if (folder->fd < 0) {
        return no_permission(folder, path, errno);
    }
    int error = made ? sync_above(folder) : 0;
    return error == 0 ? KV_OK : say(folder, "cannot sync the folder above", error);
}

/* ---- the lock ----------------------------------------------------------------------------------
 */

static int is_taken(struct kv_folder *folder, const char *advice_of_it)
{
    char holder[PID_DIGITS] = "";
    size_t got = 0;
    (void)kv_disk_pread_all(folder->lock, holder, sizeof holder - 1, 0, &got);
    holder[strspn(holder, "0123456789")] = '\0';
    (void)snprintf(folder->text, sizeof folder->text,
                   "data folder %s: another node uses it%s%s: stop that node, or %s", folder->path,
                   holder[0] == '\0' ? "" : ", which is process ", holder, advice_of_it);
    return KV_ELOCKED;
}

/* By a program that shares the lock with others of its kind. The file `lock` has the process of the
 * last node. */
static int is_read(struct kv_folder *folder)
{
    (void)snprintf(folder->text, sizeof folder->text,
                   "data folder %s: kv_node --check or --salvage reads it: wait until that has "
                   "ended, or name another folder for this node",
                   folder->path);
    return KV_ELOCKED;
}

/* Tries for a while: a node that was killed may not have ended yet. */
static int lock_within(int lock, int how, unsigned milliseconds)
{
    const struct timespec step = {.tv_nsec = KV_FOLDER_LOCK_STEP_MS * 1000000L};
    for (unsigned waited = 0;; waited += KV_FOLDER_LOCK_STEP_MS) {
        if (flock(lock, how | LOCK_NB) == 0) {
            return 0;
        }
        if ((errno != EWOULDBLOCK && errno != EINTR) || waited >= milliseconds) {
            return errno;
        }
        (void)nanosleep(&step, NULL);
    }
}

static int lock_folder(struct kv_folder *folder, const char *path)
{
    folder->lock = kv_disk_calls.open(folder->fd, LOCK, O_RDWR | O_CREAT, FILE_MODE);
    if (folder->lock < 0) {
        return no_permission(folder, path, errno);
    }
    int error = lock_within(folder->lock, LOCK_EX, KV_FOLDER_LOCK_MS);
    if (error == EWOULDBLOCK || error == EINTR) {
        return flock(folder->lock, LOCK_SH | LOCK_NB) == 0
                   ? is_read(folder)
                   : is_taken(folder, "name another folder for this one");
    }
    if (error != 0) {
        return say(folder, "cannot lock it", error);
    }
    char own[PID_DIGITS];
    int length = snprintf(own, sizeof own, "%jd\n", (intmax_t)getpid());
    if (ftruncate(folder->lock, 0) == 0) { /* of use to people only */
        (void)kv_disk_pwrite_all(folder->lock, own, (size_t)length, 0);
    }
    return KV_OK;
}

/* Only once the folder has a file of its own: an overlay may give it another inode then. */
static void remember(struct kv_folder *folder, const char *path)
{
    struct stat about;
    folder->is_known = strlen(path) < sizeof folder->path && stat(path, &about) == 0;
    if (folder->is_known) {
        folder->device = about.st_dev;
        folder->inode = about.st_ino;
    }
}

bool kv_folder_is_there(const struct kv_folder *folder)
{
    struct stat about;
    if (!folder->is_known) {
        return true;
    }
    if (stat(folder->path, &about) != 0) {
        return errno != ENOENT && errno != ENOTDIR;
    }
    return about.st_dev == folder->device && about.st_ino == folder->inode;
}

int kv_folder_open(struct kv_folder *folder, const char *path)
{
    *folder = (struct kv_folder){.fd = -1, .lock = -1, .reading = -1};
    (void)snprintf(folder->path, sizeof folder->path, "%s", path);
    (void)signal(SIGXFSZ, SIG_IGN);
    int error = open_folder(folder, path);
    if (error == KV_OK) {
        error = lock_folder(folder, path);
    }
    if (error == KV_OK) {
        (void)kv_disk_calls.unlink(folder->fd, KV_FOLDER_AHEAD);
        (void)kv_disk_calls.unlink(folder->fd, KV_FOLDER_CHECKPOINT);
        (void)kv_disk_calls.unlink(folder->fd, STORE_TMP);
        remember(folder, path);
    }
    return error;
}

int kv_folder_open_to_read(struct kv_folder *folder, const char *path)
{
    *folder = (struct kv_folder){.fd = -1, .lock = -1, .reading = -1};
    (void)snprintf(folder->path, sizeof folder->path, "%s", path);
    folder->fd = kv_disk_calls.open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    if (folder->fd < 0 && errno == ENOENT) {
        (void)snprintf(folder->text, sizeof folder->text, "data folder %s: there is no such folder",
                       folder->path);
        return KV_EIO;
    }
    if (folder->fd < 0) {
        return no_permission(folder, path, errno);
    }
    folder->lock = kv_disk_calls.open(folder->fd, LOCK, O_RDONLY, 0);
    if (folder->lock < 0) {
        return errno == ENOENT ? KV_OK : no_permission(folder, path, errno);
    }
    int error = lock_within(folder->lock, LOCK_SH, KV_FOLDER_LOCK_MS);
    if (error == EWOULDBLOCK || error == EINTR) {
        return is_taken(folder, "make a backup, and look into that");
    }
    return error == 0 ? KV_OK : say(folder, "cannot lock it", error);
}

int kv_folder_move(struct kv_folder *folder, const char *from, const char *to)
{
    int error = rename(from, to) != 0 ? errno : sync_above(folder);
    return error == 0 ? KV_OK : say(folder, "cannot give it its name", error);
}

void kv_folder_close(struct kv_folder *folder)
{
    kv_disk_close_file(&folder->reading);
    kv_disk_close_file(&folder->lock);
    kv_disk_close_file(&folder->fd);
}

int kv_folder_sync(const struct kv_folder *folder)
{
    return kv_disk_calls.fsync(folder->fd) == 0 ? 0 : errno;
}

static uint64_t space_of(const struct kv_folder *folder, const char *name)
{
    struct stat about;
    return fstatat(folder->fd, name, &about, 0) == 0 ? (uint64_t)about.st_blocks * STAT_BLOCK : 0;
}

bool kv_folder_space(const struct kv_folder *folder, uint64_t *space)
{
    struct statvfs system;
    if (fstatvfs(folder->fd, &system) != 0) {
        return false;
    }
    *space = (uint64_t)system.f_bavail * system.f_frsize + space_of(folder, KV_FOLDER_AHEAD) +
             space_of(folder, KV_FOLDER_CHECKPOINT);
    return true;
}

/* ---- the block of the store --------------------------------------------------------------------
 */

int kv_folder_read_store(struct kv_folder *folder, uint8_t block[KV_FOLDER_BLOCK])
{
    int fd = kv_disk_calls.open(folder->fd, STORE, O_RDONLY, 0);
    if (fd < 0) {
        return errno == ENOENT ? KV_ENOENT : say(folder, "cannot open the file " STORE, errno);
    }
    struct stat about;
    size_t got = 0;
    int error =
        fstat(fd, &about) != 0 ? errno : kv_disk_pread_all(fd, block, KV_FOLDER_BLOCK, 0, &got);
    (void)close(fd);
    if (error != 0) {
        (void)say(folder, "cannot read the file " STORE, error);
        return KV_EIO;
    }
    if (got != KV_FOLDER_BLOCK || about.st_size != KV_FOLDER_BLOCK) {
        (void)snprintf(folder->text, sizeof folder->text,
                       "data folder %s: the file " STORE " has %jd bytes and not %d: it is damaged",
                       folder->path, (intmax_t)about.st_size, KV_FOLDER_BLOCK);
        return KV_ECORRUPT;
    }
    return KV_OK;
}

/* Returns 0, or an errno. */
static int write_new_store(const struct kv_folder *folder, const uint8_t block[KV_FOLDER_BLOCK])
{
    int fd = kv_disk_calls.open(folder->fd, STORE_TMP, O_WRONLY | O_CREAT | O_TRUNC, FILE_MODE);
    if (fd < 0) {
        return errno;
    }
    int error = kv_disk_pwrite_all(fd, block, KV_FOLDER_BLOCK, 0);
    if (error == 0 && kv_disk_calls.fsync(fd) != 0) {
        error = errno;
    }
    (void)close(fd);
    return error;
}

int kv_folder_write_store(struct kv_folder *folder, const uint8_t block[KV_FOLDER_BLOCK])
{
    int error = write_new_store(folder, block);
    if (error == 0 && kv_disk_calls.rename(folder->fd, STORE_TMP, STORE) != 0) {
        error = errno;
    }
    if (error == 0) {
        error = kv_folder_sync(folder);
    } else {
        (void)kv_disk_calls.unlink(folder->fd, STORE_TMP);
    }
    return error == 0 ? KV_OK : say(folder, "cannot write the file " STORE, error);
}

/* ---- names -------------------------------------------------------------------------------------
 */

void kv_folder_name(uint64_t segment, char name[KV_FOLDER_NAME])
{
    (void)snprintf(name, KV_FOLDER_NAME, SEGMENT "%016" PRIx64, segment);
}

void kv_folder_checkpoint_name(uint64_t lsn, char name[KV_FOLDER_NAME])
{
    (void)snprintf(name, KV_FOLDER_NAME, CHECKPOINT "%016" PRIx64, lsn);
}

/* Returns false for the name of any other file. */
static bool number_of(const char *name, const char *prefix, uint64_t *number)
{
    const size_t before = strlen(prefix);
    if (strncmp(name, prefix, before) != 0 || strlen(name) != before + DIGITS ||
        strspn(name + before, "0123456789abcdef") != DIGITS) {
        return false;
    }
    *number = strtoull(name + before, NULL, 16);
    return true;
}

/* Calls `visit` with the number of each file of this kind, until it returns an errno. */
static int each_number(const struct kv_folder *folder, const char *prefix,
                       int (*visit)(void *context, uint64_t number), void *context)
{
    int fd = kv_disk_calls.open(folder->fd, ".", O_RDONLY | O_DIRECTORY, 0);
    DIR *names = fd < 0 ? NULL : fdopendir(fd);
    if (names == NULL) {
        int error = errno;
        kv_disk_close_file(&fd);
        return error;
    }
    const struct dirent *entry = NULL;
    uint64_t number = 0;
    int error = 0;
    errno = 0;
    while (error == 0 && (entry = readdir(names)) != NULL) {
        error = number_of(entry->d_name, prefix, &number) ? visit(context, number) : 0;
        errno = 0;
    }
    error = error != 0 ? error : errno;
    (void)closedir(names);
    return error;
}

struct range {
    uint64_t first;
    uint64_t last;
    uint64_t count;
};

static int widen(void *context, uint64_t number)
{
    struct range *range = context;
    range->first = number < range->first ? number : range->first;
    range->last = number > range->last ? number : range->last;
    range->count++;
    return 0;
}

/* Returns KV_OK; KV_ENOENT: there is none; or KV_EIO. */
static int find_range(struct kv_folder *folder, const char *prefix, struct range *range)
{
    *range = (struct range){.first = UINT64_MAX};
    int error = each_number(folder, prefix, widen, range);
    if (error != 0) {
        (void)say(folder, "cannot list it", error);
        return KV_EIO;
    }
    return range->count == 0 ? KV_ENOENT : KV_OK;
}

/* ---- segments and checkpoints ------------------------------------------------------------------
 */

static bool has_segment(const struct kv_folder *folder, uint64_t segment)
{
    char name[KV_FOLDER_NAME];
    struct stat about;
    kv_folder_name(segment, name);
    return fstatat(folder->fd, name, &about, 0) == 0;
}

int kv_folder_last_segments(struct kv_folder *folder, uint64_t *first, uint64_t *last)
{
    struct range range;
    int error = find_range(folder, SEGMENT, &range);
    if (error != KV_OK) {
        return error;
    }
    if (range.last - range.first != range.count - 1) {
        range.first = range.last;
        while (has_segment(folder, range.first - 1)) {
            range.first--;
        }
    }
    *first = range.first;
    *last = range.last;
    return KV_OK;
}

int kv_folder_segments(struct kv_folder *folder, uint64_t *first, uint64_t *last)
{
    char name[KV_FOLDER_NAME];
    struct range range;
    int error = find_range(folder, SEGMENT, &range);
    if (error != KV_OK) {
        return error;
    }
    *first = range.first;
    *last = range.last;
    if (range.last - range.first == range.count - 1) {
        return KV_OK;
    }
    do { /* there is one, since the range has more numbers than files */
        range.first++;
    } while (range.first < range.last && has_segment(folder, range.first));
    kv_folder_name(range.first, name);
    (void)snprintf(folder->text, sizeof folder->text,
                   "data folder %s: the file %s is missing between others of the log", folder->path,
                   name);
    return KV_ECORRUPT;
}

int kv_folder_checkpoint(struct kv_folder *folder, uint64_t *lsn, uint64_t *size)
{
    char name[KV_FOLDER_NAME];
    struct range range;
    struct stat about;
    int error = find_range(folder, CHECKPOINT, &range);
    if (error != KV_OK) {
        return error;
    }
    kv_folder_checkpoint_name(range.last, name);
    if (fstatat(folder->fd, name, &about, 0) != 0) {
        (void)say(folder, "cannot look at the last checkpoint", errno);
        return KV_EIO;
    }
    *lsn = range.last;
    *size = (uint64_t)about.st_size;
    return KV_OK;
}

/* Keeps the last one open: recovery reads in small steps. */
static int open_reading(struct kv_folder *folder, const char *name)
{
    if (folder->reading >= 0 && strcmp(folder->reading_name, name) == 0) {
        return 0;
    }
    kv_disk_close_file(&folder->reading);
    folder->reading = kv_disk_calls.open(folder->fd, name, O_RDONLY, 0);
    (void)snprintf(folder->reading_name, sizeof folder->reading_name, "%s", name);
    return folder->reading < 0 ? errno : 0;
}

static int read_file(struct kv_folder *folder, const char *name, uint64_t offset, void *to,
                     size_t length, size_t *got)
{
    char doing[KV_FOLDER_NAME + 64];
    *got = 0;
    int error = open_reading(folder, name);
    if (error == ENOENT) {
        return KV_ENOENT;
    }
    if (error == 0) {
        error = kv_disk_pread_all(folder->reading, to, length, (off_t)offset, got);
    }
    if (error != 0) {
        (void)snprintf(doing, sizeof doing, "cannot read the file %s at %" PRIu64, name, offset);
        (void)say(folder, doing, error);
        return KV_EIO;
    }
    return KV_OK;
}

int kv_folder_read(struct kv_folder *folder, uint64_t segment, uint64_t offset, void *to,
                   size_t length, size_t *got)
{
    char name[KV_FOLDER_NAME];
    kv_folder_name(segment, name);
    return read_file(folder, name, offset, to, length, got);
}

int kv_folder_read_checkpoint(struct kv_folder *folder, uint64_t lsn, uint64_t offset, void *to,
                              size_t length, size_t *got)
{
    char name[KV_FOLDER_NAME];
    kv_folder_checkpoint_name(lsn, name);
    return read_file(folder, name, offset, to, length, got);
}

/* ---- files that somebody else may have made ----------------------------------------------------
 */

static int sync_file(const struct kv_folder *folder, const char *name)
{
    int fd = kv_disk_calls.open(folder->fd, name, O_RDONLY, 0);
    int error = fd < 0 ? errno : kv_disk_sync_data(fd);
    kv_disk_close_file(&fd);
    return error == ENOENT ? 0 : error;
}

static int sync_checkpoint(void *context, uint64_t lsn)
{
    const struct kv_folder *const *folder = context;
    char name[KV_FOLDER_NAME];
    kv_folder_checkpoint_name(lsn, name);
    return sync_file(*folder, name);
}

int kv_folder_sync_files(const struct kv_folder *folder)
{
    int error = sync_file(folder, STORE);
    return error != 0 ? error : each_number(folder, CHECKPOINT, sync_checkpoint, &folder);
}

/* ---- files that go -----------------------------------------------------------------------------
 */

struct tidying {
    const struct kv_folder *folder;
    uint64_t checkpoint; /* stays, and so does a later one */
    uint64_t first;      /* segment that stays */
};

static int remove_file(const struct kv_folder *folder, const char *name)
{
    return kv_disk_calls.unlink(folder->fd, name) == 0 || errno == ENOENT ? 0 : errno;
}

static int tidy_checkpoint(void *context, uint64_t lsn)
{
    const struct tidying *tidying = context;
    char name[KV_FOLDER_NAME];
    kv_folder_checkpoint_name(lsn, name);
    return lsn >= tidying->checkpoint ? 0 : remove_file(tidying->folder, name);
}

static int tidy_segment(void *context, uint64_t segment)
{
    const struct tidying *tidying = context;
    char name[KV_FOLDER_NAME];
    kv_folder_name(segment, name);
    return segment >= tidying->first ? 0 : remove_file(tidying->folder, name);
}

int kv_folder_tidy(const struct kv_folder *folder, uint64_t checkpoint, uint64_t first)
{
    struct tidying tidying = {folder, checkpoint, first};
    int error = each_number(folder, CHECKPOINT, tidy_checkpoint, &tidying);
    return error != 0 ? error : each_number(folder, SEGMENT, tidy_segment, &tidying);
}
