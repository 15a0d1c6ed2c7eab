/* A backup: real folders on a file system of the machine, and in /dev/shm. Failures come from
 * system calls that a test replaces. */
#include "host/backup.h"
#include "host/disk_calls.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <kv/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BLOCK = KV_FOLDER_BLOCK,
    SEGMENT = 64 * BLOCK,
    ROOM = SEGMENT - BLOCK,
    CHECKPOINT = 2 * BLOCK, /* its LSN */
    SIZE = 5 * BLOCK,       /* and its bytes */
    END = ROOM + 3 * BLOCK, /* of the log */
    CALLS = 400,            /* more than a backup makes */
};

static char folder[64]; /* has the others */
static char data[96];
static char target[96];
static uv_loop_t loop;
static int from;
static struct kv_backup *backup;
static unsigned readies, dones;
static bool stops_when_ready;
static struct kv_backup_result result;
static char text[KV_BACKUP_TEXT];
static uint8_t content[SEGMENT];

/* ---- helpers -----------------------------------------------------------------------------------
 */

static int run_command(const char *script)
{
    char command[640];
    (void)snprintf(command, sizeof command, "cd %s && { %s; }", folder, script);
    return system(command);
}

static void write_file(const char *where, const char *name, size_t size, uint8_t fill)
{
    char path[160];
    (void)snprintf(path, sizeof path, "%s/%s", where, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert_geq(fd, 0);
    memset(content, fill, size);
    cr_assert_eq(write(fd, content, size), (ssize_t)size);
    (void)close(fd);
}

static void set_up(void)
{
    kv_disk_calls = kv_disk_calls_of_the_system();
    (void)snprintf(folder, sizeof folder, "/var/tmp/kv-backup-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(data, sizeof data, "%s/data", folder);
    (void)snprintf(target, sizeof target, "%s/backup", folder);
    cr_assert_eq(mkdir(data, 0700), 0);
    write_file(data, "store", BLOCK, 's');
    write_file(data, "log-0000000000000000", SEGMENT, 'a');
    write_file(data, "log-0000000000000001", SEGMENT, 'b');
    write_file(data, "log-0000000000000002", SEGMENT, 'c');
    write_file(data, "checkpoint-0000000000002000", SIZE, 'k');
    from = open(data, O_RDONLY | O_DIRECTORY);
    cr_assert_eq(uv_loop_init(&loop), 0);
    readies = dones = 0;
    stops_when_ready = false;
}

static void tear_down(void)
{
    kv_disk_calls = kv_disk_calls_of_the_system();
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0);
    (void)close(from);
    (void)run_command("rm -rf ../$(basename $PWD)");
}

TestSuite(backup, .init = set_up, .fini = tear_down, .timeout = 60);

static const struct kv_backup_range range = {
    .checkpoint = CHECKPOINT, .size = SIZE, .end = END, .segment_size = SEGMENT};

static void on_ready(void *context)
{
    (void)context;
    readies++;
    if (stops_when_ready) {
        kv_backup_stop(backup);
    } else {
        kv_backup_copy(backup, &range);
    }
}

static void on_done(void *context, const struct kv_backup_result *what)
{
    (void)context;
    dones++;
    result = *what;
    (void)snprintf(text, sizeof text, "%s", what->text);
}

static void begin(const char *path)
{
    dones = 0;
    backup = kv_backup_begin(&(struct kv_backup_settings){
        .loop = &loop, .from = from, .folder = path, .ready = on_ready, .done = on_done});
    cr_assert_not_null(backup);
}

static int make(const char *path)
{
    begin(path);
    while (dones == 0) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    return result.error;
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static bool is_unfinished(void)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s.tmp", target);
    return exists(path);
}

/* Returns how many of the first bytes are `fill`; all others must be zero, and `size` the size. */
static size_t filled(const char *where, const char *name, size_t size, uint8_t fill)
{
    char path[160];
    size_t count = 0;
    (void)snprintf(path, sizeof path, "%s/%s", where, name);
    int fd = open(path, O_RDONLY);
    cr_assert_geq(fd, 0, "%s", path);
    cr_assert_eq(read(fd, content, SEGMENT), (ssize_t)size);
    (void)close(fd);
    while (count < size && content[count] == fill) {
        count++;
    }
    for (size_t i = count; i < size; i++) {
        cr_assert_eq(content[i], 0);
    }
    return count;
}

static unsigned count_files(const char *where)
{
    DIR *names = opendir(where);
    unsigned count = 0;
    while (readdir(names) != NULL) {
        count++;
    }
    (void)closedir(names);
    return count - 2;
}

static void assert_whole(const char *where)
{
    cr_assert_eq(filled(where, "store", BLOCK, 's'), BLOCK);
    cr_assert_eq(filled(where, "checkpoint-0000000000002000", SIZE, 'k'), SIZE);
    cr_assert_eq(filled(where, "log-0000000000000000", SEGMENT, 'a'), SEGMENT);
    cr_assert_eq(filled(where, "log-0000000000000001", SEGMENT, 'b'), 4 * BLOCK);
    cr_assert_eq(count_files(where), 4);
}

static unsigned links_of(const char *where)
{
    char path[160];
    struct stat about;
    (void)snprintf(path, sizeof path, "%s/checkpoint-0000000000002000", where);
    cr_assert_eq(stat(path, &about), 0);
    return (unsigned)about.st_nlink;
}

/* ---- the files ---------------------------------------------------------------------------------
 */

Test(backup, has_the_log_up_to_one_place_and_zeros_behind)
{
    cr_assert_eq(make(target), KV_OK, "%s", text);
    assert_whole(target);
    cr_assert(!is_unfinished());
    cr_assert_eq(result.bytes, BLOCK + SIZE + 2 * SEGMENT);
}

Test(backup, has_a_second_name_of_the_checkpoint)
{
    cr_assert_eq(make(target), KV_OK, "%s", text);
    cr_assert_eq(links_of(target), 2);
    cr_assert_eq(result.written, BLOCK + 2 * SEGMENT);
}

Test(backup, on_another_file_system_has_a_copy_of_the_checkpoint)
{
    char path[96];
    (void)snprintf(path, sizeof path, "/dev/shm/kv-backup-%d", (int)getpid());
    cr_assert_eq(make(path), KV_OK, "%s", text);
    assert_whole(path);
    cr_assert_eq(links_of(path), 1);
    cr_assert_eq(result.written, result.bytes);
    char command[128];
    (void)snprintf(command, sizeof command, "rm -r %s", path);
    cr_assert_eq(system(command), 0);
}

Test(backup, of_a_folder_without_the_checkpoint_is_an_error)
{
    char path[160];
    (void)snprintf(path, sizeof path, "%s/checkpoint-0000000000002000", data);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(make(target), KV_EIO);
    cr_assert_not_null(strstr(text, "cannot copy the file checkpoint-"), "%s", text);
    cr_assert(!exists(target) && !is_unfinished());
}

Test(backup, takes_a_path_with_slashes_at_its_end)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s///", target);
    cr_assert_eq(make(path), KV_OK, "%s", text);
    assert_whole(target);
}

Test(backup, gives_way_to_a_log_that_is_written)
{
    begin(target);
    while (dones == 0) {
        kv_backup_give_way(backup);
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    }
    cr_assert_eq(result.error, KV_OK, "%s", text);
    assert_whole(target);
}

/* ---- refusals ----------------------------------------------------------------------------------
 */

static void assert_refused(const char *path, const char *why)
{
    cr_assert_eq(make(path), KV_EEXIST, "%s", path);
    cr_assert_not_null(strstr(text, why), "%s", text);
    cr_assert_eq(readies, 0);
}

Test(backup, is_refused_for_a_folder_that_will_not_do)
{
    char path[400];
    assert_refused(folder, "it is there already");
    assert_refused(data, "it is the data folder of the node");
    (void)snprintf(path, sizeof path, "%s/below", data);
    assert_refused(path, "it is in the data folder of the node");
    cr_assert_eq(run_command("mkdir data/sub && ln -s data/sub link"), 0);
    (void)snprintf(path, sizeof path, "%s/link/below", folder);
    assert_refused(path, "it is in the data folder of the node");
    (void)snprintf(path, sizeof path, "%s/no/below", folder);
    assert_refused(path, "make the folder above, or mount it");
    (void)snprintf(path, sizeof path, "%s/a.tmp", folder);
    assert_refused(path, "its name ends in .tmp");
    (void)snprintf(path, sizeof path, "%s/%0300d", folder, 0);
    assert_refused(path, "its name is too long");
    assert_refused("/", "it is there already");
    assert_refused("..", "it is there already");
    cr_assert_eq(count_files(folder), 2);
}

Test(backup, is_refused_while_another_program_makes_it)
{
    cr_assert_eq(run_command("mkdir backup.tmp"), 0);
    char path[128];
    (void)snprintf(path, sizeof path, "%s.tmp", target);
    int other = open(path, O_RDONLY | O_DIRECTORY);
    cr_assert_eq(flock(other, LOCK_EX), 0);
    assert_refused(target, "another program is making it");
    cr_assert(is_unfinished());
    (void)close(other);
    cr_assert_eq(make(target), KV_OK, "%s", text);
}

Test(backup, takes_no_folder_of_others_for_an_unfinished_backup)
{
    cr_assert_eq(run_command("mkdir backup.tmp && touch backup.tmp/store"), 0);
    assert_refused(target, "backup.tmp is in the way");
    cr_assert_eq(run_command("touch backup.tmp/backup.tmp backup.tmp/lock"), 0);
    assert_refused(target, "backup.tmp is in the way");
    cr_assert_eq(run_command("test -f backup.tmp/store -a -f backup.tmp/lock"), 0);
}

Test(backup, replaces_what_a_crash_has_left)
{
    cr_assert_eq(run_command("mkdir backup.tmp && cd backup.tmp && touch backup.tmp store "
                             "log-0000000000000009 checkpoint-0000000000000000"),
                 0);
    cr_assert_eq(make(target), KV_OK, "%s", text);
    assert_whole(target);
}

/* ---- the end -----------------------------------------------------------------------------------
 */

Test(backup, that_is_stopped_leaves_nothing_behind)
{
    stops_when_ready = true;
    cr_assert_eq(make(target), KV_EIO);
    cr_assert(!exists(target) && !is_unfinished());
}

Test(backup, that_is_closed_at_any_time_leaves_nothing_unfinished)
{
    for (unsigned turns = 0; turns < 30; turns++) {
        begin(target);
        for (unsigned turn = 0; turn < turns && dones == 0; turn++) {
            (void)uv_run(&loop, UV_RUN_NOWAIT);
            (void)usleep(100 * turns);
        }
        if (dones == 0) {
            kv_backup_close(backup);
        }
        (void)uv_run(&loop, UV_RUN_DEFAULT);
        cr_assert(!is_unfinished());
        if (exists(target)) {
            assert_whole(target);
            cr_assert_eq(run_command("rm -r backup"), 0);
        }
    }
}

/* ---- failures ----------------------------------------------------------------------------------
 */

static struct kv_disk_calls usual;
static _Atomic int countdown; /* the call that fails */
static _Atomic int failing;   /* its errno */

static bool fails(void)
{
    if (countdown == 0 || --countdown > 0) {
        return false;
    }
    errno = failing;
    return true;
}

static int fail_open(int at, const char *name, int flags, mode_t mode)
{
    return fails() ? -1 : usual.open(at, name, flags, mode);
}

static ssize_t fail_pread(int fd, void *to, size_t length, off_t offset)
{
    return fails() ? -1 : usual.pread(fd, to, length, offset);
}

static ssize_t fail_pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
    return fails() ? -1 : usual.pwrite(fd, bytes, length, offset);
}

static int fail_fdatasync(int fd)
{
    return fails() ? -1 : usual.fdatasync(fd);
}

static int fail_fsync(int fd)
{
    return fails() ? -1 : usual.fsync(fd);
}

static int fail_fallocate(int fd, off_t length)
{
    return fails() ? -1 : usual.fallocate(fd, length);
}

static int fail_rename(int at, const char *name, const char *to)
{
    return fails() ? -1 : usual.rename(at, name, to);
}

static int fail_mkdir(int at, const char *name, mode_t mode)
{
    return fails() ? -1 : usual.mkdir(at, name, mode);
}

static int fail_link(int at, const char *name, int other)
{
    return fails() ? -1 : usual.link(at, name, other);
}

static void replace(void)
{
    usual = kv_disk_calls_of_the_system();
    kv_disk_calls = (struct kv_disk_calls){.open = fail_open,
                                           .pread = fail_pread,
                                           .pwrite = fail_pwrite,
                                           .fdatasync = fail_fdatasync,
                                           .fsync = fail_fsync,
                                           .fallocate = fail_fallocate,
                                           .rename = fail_rename,
                                           .unlink = usual.unlink,
                                           .mkdir = fail_mkdir,
                                           .link = fail_link};
}

/* Every call fails once, until a backup makes fewer. A link that is refused becomes a copy, so some
 * backups are made all the same. */
static void fail_each_call(int error)
{
    int call = 0;
    replace();
    do {
        countdown = ++call;
        failing = error;
        readies = 0;
        if (make(target) == KV_OK) {
            assert_whole(target);
            cr_assert_eq(run_command("rm -r backup"), 0);
        } else {
            cr_assert(!exists(target) && !is_unfinished(), "call %d: %s", call, text);
            cr_assert_not_null(strstr(text, "backup "), "call %d", call);
        }
    } while (countdown == 0 && call < CALLS);
    cr_assert(call > 20 && call < CALLS, "%d calls", call);
}

Test(backup, ends_cleanly_whatever_call_fails)
{
    fail_each_call(EIO);
}

Test(backup, ends_cleanly_wherever_the_disk_is_full)
{
    fail_each_call(ENOSPC);
}

static int without_direct(int at, const char *name, int flags, mode_t mode)
{
    if ((flags & O_DIRECT) != 0) {
        errno = EINVAL;
        return -1;
    }
    return usual.open(at, name, flags, mode);
}

Test(backup, does_without_o_direct)
{
    usual = kv_disk_calls_of_the_system();
    kv_disk_calls.open = without_direct;
    cr_assert_eq(make(target), KV_OK, "%s", text);
    assert_whole(target);
}

static ssize_t refuse_direct(int fd, const void *bytes, size_t length, off_t offset)
{
    if ((fcntl(fd, F_GETFL) & O_DIRECT) != 0) {
        errno = EINVAL;
        return -1;
    }
    return usual.pwrite(fd, bytes, length, offset);
}

Test(backup, does_without_o_direct_where_only_a_write_refuses_it)
{
    usual = kv_disk_calls_of_the_system();
    kv_disk_calls.pwrite = refuse_direct;
    cr_assert_eq(make(target), KV_OK, "%s", text);
    assert_whole(target);
}

Test(backup, of_a_log_that_is_too_short_is_an_error)
{
    char path[160];
    (void)snprintf(path, sizeof path, "%s/log-0000000000000001", data);
    cr_assert_eq(truncate(path, 2 * BLOCK), 0);
    cr_assert_eq(make(target), KV_EIO);
    cr_assert_not_null(strstr(text, "cannot copy the file log-0000000000000001"), "%s", text);
    cr_assert(!exists(target) && !is_unfinished());
}

static const struct kv_backup_range huge = {.checkpoint = CHECKPOINT,
                                            .size = SIZE,
                                            .end = (uint64_t)1 << 50,
                                            .segment_size = (uint64_t)1 << 46};

static void ready_for_more(void *context)
{
    (void)context;
    kv_backup_copy(backup, &huge);
}

Test(backup, that_does_not_fit_is_refused_with_the_bytes)
{
    backup = kv_backup_begin(&(struct kv_backup_settings){
        .loop = &loop, .from = from, .folder = target, .ready = ready_for_more, .done = on_done});
    while (dones == 0) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    cr_assert_eq(result.error, KV_ENOSPC);
    cr_assert_not_null(strstr(text, "it needs "), "%s", text);
    cr_assert(!exists(target) && !is_unfinished());
}
