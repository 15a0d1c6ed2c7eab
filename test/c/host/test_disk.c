/* The disk: a real folder on a file system of the machine, and in /dev/shm. Failures come from
 * system calls that a test replaces. */
#include "host/disk.h"
#include "host/disk_calls.h"
#include "host/folder.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <kv/error.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCK = KV_DISK_BLOCK, SEGMENT = 16 * BLOCK, ROOM = SEGMENT - BLOCK, MARK = 'h' };

static char folder[64];
static char text[KV_FOLDER_TEXT];
static struct kv_disk *disk;
static uv_loop_t loop;
static uint8_t *blocks; /* aligned, more than two segments */
static uint64_t done, synced, number;
static int done_error, room;
static unsigned dones, rooms, pieces;
static int piece_error;

/* ---- helpers -----------------------------------------------------------------------------------
 */

static void make_folder(const char *where)
{
    (void)snprintf(folder, sizeof folder, "%s/kv-disk-XXXXXX", where);
    cr_assert_not_null(mkdtemp(folder));
}

static void remove_folder(void)
{
    DIR *names = opendir(folder);
    struct dirent *entry;
    while (names != NULL && (entry = readdir(names)) != NULL) {
        (void)unlinkat(dirfd(names), entry->d_name, 0);
    }
    if (names != NULL) {
        (void)closedir(names);
    }
    (void)rmdir(folder);
}

static void set_up(void)
{
    kv_disk_calls = kv_disk_calls_of_the_system();
    make_folder("/var/tmp");
    cr_assert_eq(uv_loop_init(&loop), 0);
    blocks = aligned_alloc(BLOCK, 3 * SEGMENT);
    done = synced = number = 0;
    dones = rooms = pieces = 0;
    done_error = room = KV_OK;
    disk = NULL;
}

static void stop(void)
{
    kv_disk_calls = kv_disk_calls_of_the_system();
    kv_disk_close(disk);
    disk = NULL;
    (void)uv_run(&loop, UV_RUN_DEFAULT);
}

static void tear_down(void)
{
    stop();
    cr_assert_eq(uv_loop_close(&loop), 0);
    free(blocks);
    remove_folder();
}

TestSuite(disk, .init = set_up, .fini = tear_down, .timeout = 30);

static void on_header(void *context, uint64_t segment, uint8_t block[BLOCK])
{
    (void)context;
    block[0] = MARK;
    block[1] = (uint8_t)segment;
}

static void on_done(void *context, uint64_t which, int error)
{
    (void)context;
    dones++;
    done = which;
    done_error = error;
}

static void on_synced(void *context, uint64_t which)
{
    (void)context;
    synced = which;
}

static void on_room(void *context, int error)
{
    (void)context;
    rooms++;
    room = error;
}

static struct kv_disk_settings settings(uint64_t lsn)
{
    return (struct kv_disk_settings){
        .segment_size = SEGMENT,
        .lsn = lsn,
        .interval_ms = 1,
        .segments_end = UINT64_MAX,
        .events = {.header = on_header, .done = on_done, .synced = on_synced, .room = on_room}};
}

static void open_disk(void)
{
    cr_assert_eq(kv_disk_open(&disk, folder, text, sizeof text), KV_OK, "%s", text);
}

static void start(uint64_t lsn)
{
    struct kv_disk_settings wanted = settings(lsn);
    open_disk();
    cr_assert_eq(kv_disk_start(disk, &loop, &wanted), KV_OK, "%s", kv_disk_text(disk));
}

#define RUN_UNTIL(condition)                                                                       \
    while (!(condition)) {                                                                         \
        (void)uv_run(&loop, UV_RUN_ONCE);                                                          \
    }

static void begin_write(uint64_t lsn, size_t length, uint8_t fill, bool sync)
{
    memset(blocks, fill, length);
    struct kv_disk_write write = {
        .number = ++number, .lsn = lsn, .bytes = kv_bytes(blocks, length), .sync = sync};
    kv_disk_write(disk, &write);
}

static void write_blocks(uint64_t lsn, size_t length, uint8_t fill, bool sync)
{
    unsigned before = dones;
    begin_write(lsn, length, fill, sync);
    RUN_UNTIL(dones > before);
    cr_assert_eq(done, number);
    cr_assert_eq(done_error, KV_OK, "%s", kv_disk_text(disk));
}

/* The byte of the stream at this LSN, as a node that starts reads it. */
static int byte_at(uint64_t lsn)
{
    uint8_t byte = 0;
    size_t got = 0;
    int error = kv_disk_read(disk, lsn / ROOM, BLOCK + lsn % ROOM, &byte, 1, &got);
    return error == KV_OK && got == 1 ? byte : -1;
}

static void open_again(void)
{
    stop();
    open_disk();
}

/* ---- the log -----------------------------------------------------------------------------------
 */

static void check_write_and_read(void)
{
    start(0);
    write_blocks(0, BLOCK, 'a', true);
    write_blocks(BLOCK, 2 * BLOCK, 'b', true);
    open_again();
    cr_assert_eq(byte_at(0), 'a');
    cr_assert_eq(byte_at(BLOCK), 'b');
    cr_assert_eq(byte_at(3 * BLOCK - 1), 'b');
    cr_assert_eq(byte_at(3 * BLOCK), 0);
}

Test(disk, a_write_with_sync_is_read_again)
{
    check_write_and_read();
}

Test(disk, a_write_with_sync_is_read_again_in_shared_memory)
{
    remove_folder();
    make_folder("/dev/shm");
    check_write_and_read();
}

Test(disk, a_write_spans_segments)
{
    start(0);
    write_blocks(0, 2 * ROOM + BLOCK, 'a', true);
    write_blocks(2 * ROOM + BLOCK, BLOCK, 'b', true);
    open_again();
    uint64_t first = 1, last = 0;
    cr_assert_eq(kv_disk_segments(disk, &first, &last), KV_OK);
    cr_assert_eq(first, 0);
    cr_assert_geq(last, 2);
    cr_assert_eq(byte_at(0), 'a');
    cr_assert_eq(byte_at(ROOM), 'a');
    cr_assert_eq(byte_at(2 * ROOM + BLOCK - 1), 'a');
    cr_assert_eq(byte_at(2 * ROOM + BLOCK), 'b');
    uint8_t header[2];
    size_t got = 0;
    cr_assert_eq(kv_disk_read(disk, 2, 0, header, sizeof header, &got), KV_OK);
    cr_assert_eq(header[0], MARK);
    cr_assert_eq(header[1], 2);
}

Test(disk, a_write_without_sync_is_synced_soon_after)
{
    start(0);
    write_blocks(0, BLOCK, 'a', false);
    RUN_UNTIL(synced == number);
    open_again();
    cr_assert_eq(byte_at(0), 'a');
}

Test(disk, a_write_with_sync_makes_the_writes_before_durable)
{
    struct kv_disk_settings wanted = settings(0);
    wanted.interval_ms = 1000000;
    open_disk();
    cr_assert_eq(kv_disk_start(disk, &loop, &wanted), KV_OK);
    write_blocks(0, BLOCK, 'a', false);
    cr_assert_eq(kv_disk_figures(disk).syncs, 0);
    write_blocks(BLOCK, BLOCK, 'b', true);
    cr_assert_eq(kv_disk_figures(disk).syncs, 1);
}

Test(disk, memory_that_is_not_aligned_is_written_all_the_same)
{
    start(0);
    memset(blocks, 'a', 2 * BLOCK);
    struct kv_disk_write write = {.number = 1, .bytes = kv_bytes(blocks + 1, BLOCK), .sync = true};
    kv_disk_write(disk, &write);
    RUN_UNTIL(dones > 0);
    open_again();
    cr_assert_eq(byte_at(BLOCK - 1), 'a');
}

Test(disk, segments_that_are_not_needed_become_later_ones)
{
    start(0);
    uint64_t lsn = 0;
    for (; lsn < 4 * (uint64_t)ROOM; lsn += ROOM) {
        write_blocks(lsn, ROOM, 'a', true);
    }
    kv_disk_recycle(disk, 3);
    uint64_t zeroed = kv_disk_figures(disk).zeroed;
    for (; lsn < 8 * (uint64_t)ROOM; lsn += ROOM) {
        write_blocks(lsn, ROOM, 'b', true);
    }
    cr_assert_gt(kv_disk_figures(disk).recycled, 0);
    cr_assert_leq(kv_disk_figures(disk).zeroed, zeroed + 4);
    open_again();
    uint64_t first = 0, last = 0;
    cr_assert_eq(kv_disk_segments(disk, &first, &last), KV_OK);
    cr_assert_geq(first, 1);
    cr_assert_eq(byte_at(3 * (uint64_t)ROOM), 'a');
    cr_assert_eq(byte_at(lsn - 1), 'b');
}

/* Of two segments, those from `end` on. */
static void make_anew(uint64_t end)
{
    start(0);
    write_blocks(0, 2 * ROOM, 'a', true);
    stop();
    struct kv_disk_settings wanted = settings(end * BLOCK);
    wanted.segments_end = end;
    open_disk();
    cr_assert_eq(kv_disk_start(disk, &loop, &wanted), KV_OK);
    kv_disk_reserve(disk, 2 * ROOM);
    RUN_UNTIL(kv_disk_ready(disk) >= 2 * ROOM);
    open_again();
}

Test(disk, segments_behind_the_end_are_made_anew_if_told_so)
{
    make_anew(1);
    cr_assert_eq(byte_at(0), 'a');
    cr_assert_eq(byte_at(ROOM), 0);
}

Test(disk, all_segments_are_made_anew_if_told_so)
{
    make_anew(0);
    cr_assert_eq(byte_at(0), 0);
    cr_assert_eq(byte_at(ROOM), 0);
}

Test(disk, the_block_of_the_store_is_read_again)
{
    uint8_t block[BLOCK];
    open_disk();
    cr_assert_eq(kv_disk_read_store(disk, block), KV_ENOENT);
    memset(block, 's', sizeof block);
    cr_assert_eq(kv_disk_write_store(disk, block), KV_OK);
    open_again();
    memset(block, 0, sizeof block);
    cr_assert_eq(kv_disk_read_store(disk, block), KV_OK);
    cr_assert_eq(block[BLOCK - 1], 's');
}

/* ---- folders that will not do ------------------------------------------------------------------
 */

static void check_refused(const char *path, int error, const char *words)
{
    struct kv_disk *refused = NULL;
    cr_assert_eq(kv_disk_open(&refused, path, text, sizeof text), error);
    cr_assert_null(refused);
    cr_assert_not_null(strstr(text, words), "%s", text);
}

Test(disk, a_folder_that_another_node_uses_is_refused_with_its_process)
{
    char pid[32];
    (void)snprintf(pid, sizeof pid, "which is process %d:", (int)getpid());
    open_disk();
    check_refused(folder, KV_ELOCKED, pid);
}

/* The file `lock` has the process of a node that has ended. */
Test(disk, a_folder_that_is_being_checked_is_refused_without_a_process)
{
    struct kv_folder reader;
    open_disk();
    stop();
    cr_assert_eq(kv_folder_open_to_read(&reader, folder), KV_OK);
    check_refused(folder, KV_ELOCKED, "kv_node --check or --salvage reads it");
    kv_folder_close(&reader);
}

Test(disk, a_file_is_no_folder)
{
    check_refused("/etc/passwd", KV_EIO, "name a folder");
}

Test(disk, a_folder_below_one_that_is_missing_is_refused)
{
    check_refused("/var/tmp/kv-no-such/folder", KV_EIO, "make the folder above");
}

Test(disk, a_path_that_is_too_long_is_refused)
{
    char path[5000];
    memset(path, 'a', sizeof path - 1);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    check_refused(path, KV_EIO, "shorter path");
}

/* Runs a check in a process of its own, which becomes user 65534. */
static void check_apart(bool (*check)(void))
{
    if (geteuid() != 0) {
        cr_skip_test("needs root to become another user");
    }
    pid_t child = fork();
    if (child == 0) {
        _exit(check() ? 0 : 1);
    }
    int status = 1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
}

static bool is_refused_the_folder(void)
{
    struct kv_disk *refused = NULL;
    return setuid(65534) == 0 && kv_disk_open(&refused, folder, text, sizeof text) == KV_EIO &&
           strstr(text, "it belongs to user 0") != NULL;
}

Test(disk, a_folder_of_another_user_is_refused)
{
    check_apart(is_refused_the_folder);
}

/* Of a user that may have no process. */
static bool is_refused_a_thread(void)
{
    const struct rlimit none = {0, 0};
    const struct kv_disk_settings wanted = settings(0);
    uv_loop_t own;
    return chown(folder, 65534, 65534) == 0 && setrlimit(RLIMIT_NPROC, &none) == 0 &&
           setuid(65534) == 0 && uv_loop_init(&own) == 0 &&
           kv_disk_open(&disk, folder, text, sizeof text) == KV_OK &&
           kv_disk_start(disk, &own, &wanted) == KV_ENOMEM &&
           strstr(kv_disk_text(disk), "ulimit -u") != NULL;
}

Test(disk, a_system_without_a_thread_for_it_is_told_in_words)
{
    check_apart(is_refused_a_thread);
}

Test(disk, the_segments_before_one_that_is_missing_do_not_count)
{
    char path[128];
    start(0);
    write_blocks(0, 3 * ROOM, 'a', true);
    open_again();
    (void)snprintf(path, sizeof path, "%s/log-0000000000000001", folder);
    cr_assert_eq(unlink(path), 0);
    uint64_t first = 0, last = 0;
    cr_assert_eq(kv_disk_segments(disk, &first, &last), KV_OK);
    cr_assert(first == 2 && last >= 2);
}

/* ---- checkpoints -------------------------------------------------------------------------------
 */

static void on_piece(void *context, int error)
{
    (void)context;
    pieces++;
    piece_error = error;
}

static void start_with_pieces(uint64_t lsn)
{
    struct kv_disk_settings wanted = settings(lsn);
    wanted.events.piece = on_piece;
    open_disk();
    cr_assert_eq(kv_disk_start(disk, &loop, &wanted), KV_OK, "%s", kv_disk_text(disk));
}

static void begin_piece(uint64_t checkpoint, uint64_t offset, size_t length, uint8_t fill,
                        bool last)
{
    memset(blocks + SEGMENT, fill, length);
    kv_disk_write_piece(disk, &(struct kv_disk_piece){.checkpoint = checkpoint,
                                                      .offset = offset,
                                                      .bytes = kv_bytes(blocks + SEGMENT, length),
                                                      .last = last});
}

static int write_piece(uint64_t checkpoint, uint64_t offset, size_t length, uint8_t fill, bool last)
{
    unsigned before = pieces;
    begin_piece(checkpoint, offset, length, fill, last);
    RUN_UNTIL(pieces > before);
    return piece_error;
}

static void write_checkpoint(uint64_t checkpoint, uint8_t fill)
{
    cr_assert_eq(write_piece(checkpoint, 0, BLOCK, fill, false), KV_OK);
    cr_assert_eq(write_piece(checkpoint, BLOCK, 2 * SEGMENT, fill, false), KV_OK);
    cr_assert_eq(write_piece(checkpoint, 2 * SEGMENT + BLOCK, BLOCK, fill + 1, true), KV_OK);
}

static bool has_file(const char *name)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

Test(disk, a_checkpoint_is_found_and_read_again_once_its_last_piece_is_written)
{
    uint64_t lsn = 0, size = 0;
    uint8_t byte = 0;
    size_t got = 0;
    start_with_pieces(0);
    write_checkpoint(0xabc000, 'c');
    cr_assert_geq(kv_disk_figures(disk).pieces, 2 * SEGMENT);
    cr_assert_eq(write_piece(0xabd000, 0, BLOCK, 'd', false), KV_OK);
    open_again();
    cr_assert(has_file("checkpoint-0000000000abc000") && !has_file("checkpoint.tmp"));
    cr_assert_eq(kv_disk_checkpoint(disk, &lsn, &size), KV_OK);
    cr_assert(lsn == 0xabc000 && size == 2 * SEGMENT + 2 * BLOCK);
    cr_assert_eq(kv_disk_read_checkpoint(disk, lsn, size - 1, &byte, 1, &got), KV_OK);
    cr_assert(got == 1 && byte == 'd');
    cr_assert_eq(kv_disk_read_checkpoint(disk, lsn + 1, 0, &byte, 1, &got), KV_ENOENT);
}

Test(disk, a_folder_without_a_checkpoint_says_so)
{
    uint64_t lsn = 0, size = 0;
    start_with_pieces(0);
    cr_assert_eq(write_piece(BLOCK, 0, BLOCK, 'c', false), KV_OK);
    open_again();
    cr_assert_eq(kv_disk_checkpoint(disk, &lsn, &size), KV_ENOENT);
}

Test(disk, keeps_one_checkpoint_and_no_segment_that_a_crash_left_behind)
{
    uint64_t lsn = 0, size = 0;
    char path[128];
    start_with_pieces(0);
    write_blocks(0, 2 * ROOM, 'a', true);
    write_checkpoint(BLOCK, 'c');
    write_checkpoint(2 * BLOCK, 'd');
    open_again();
    cr_assert(kv_disk_checkpoint(disk, &lsn, &size) == KV_OK && lsn == 2 * BLOCK);
    (void)snprintf(path, sizeof path, "%s/log-0000000000000001", folder);
    cr_assert_eq(unlink(path), 0);
    stop();
    start_with_pieces(2 * (uint64_t)ROOM);
    kv_disk_keep_checkpoint(disk, lsn);
    write_blocks(2 * (uint64_t)ROOM, BLOCK, 'a', true);
    cr_assert_eq(write_piece(3 * BLOCK, 0, BLOCK, 'e', false), KV_OK);
    cr_assert(!has_file("checkpoint-0000000000001000") && has_file("checkpoint-0000000000002000"));
    cr_assert(!has_file("log-0000000000000000") && has_file("log-0000000000000002"));
}

/* The order was given before the last piece of the later one was done. */
Test(disk, a_later_checkpoint_outlives_the_order_to_keep_an_earlier_one)
{
    uint64_t lsn = 0, size = 0;
    start_with_pieces(0);
    write_checkpoint(BLOCK, 'c');
    write_checkpoint(2 * BLOCK, 'd');
    write_checkpoint(3 * BLOCK, 'e');
    kv_disk_keep_checkpoint(disk, 2 * BLOCK);
    cr_assert_eq(write_piece(4 * BLOCK, 0, BLOCK, 'f', false), KV_OK);
    cr_assert(!has_file("checkpoint-0000000000001000") && has_file("checkpoint-0000000000002000"));
    open_again();
    cr_assert(kv_disk_checkpoint(disk, &lsn, &size) == KV_OK && lsn == 3 * BLOCK);
}

Test(disk, writes_the_log_while_a_checkpoint_is_written)
{
    start_with_pieces(0);
    begin_piece(BLOCK, 0, 2 * SEGMENT, 'c', false);
    for (uint64_t lsn = 0; lsn < 20 * (uint64_t)BLOCK; lsn += BLOCK) {
        write_blocks(lsn, BLOCK, 'a', true);
    }
    RUN_UNTIL(pieces > 0);
    cr_assert_eq(piece_error, KV_OK);
}

/* ---- failures ----------------------------------------------------------------------------------
 */

static struct kv_disk_calls usual;
static _Atomic int failing; /* an errno; 0: none */
static _Atomic unsigned syncs_after_failure;

static ssize_t short_pwrite(int fd, const void *from, size_t length, off_t offset)
{
    static unsigned calls;
    if (++calls % 2 == 0) {
        errno = EINTR;
        return -1;
    }
    return usual.pwrite(fd, from, length > BLOCK ? BLOCK : length, offset);
}

static ssize_t failing_pwrite(int fd, const void *from, size_t length, off_t offset)
{
    if (failing != 0) {
        errno = failing;
        return -1;
    }
    return usual.pwrite(fd, from, length, offset);
}

static int failing_fdatasync(int fd)
{
    if (failing != 0) {
        syncs_after_failure++;
        errno = failing;
        return -1;
    }
    return usual.fdatasync(fd);
}

static int failing_fallocate(int fd, off_t length)
{
    if (failing != 0) {
        errno = failing;
        return -1;
    }
    return usual.fallocate(fd, length);
}

static int failing_rename(int at, const char *from, const char *to)
{
    if (failing != 0) {
        errno = failing;
        return -1;
    }
    return usual.rename(at, from, to);
}

static int failing_fsync(int fd)
{
    if (failing != 0) {
        syncs_after_failure++;
        errno = failing;
        return -1;
    }
    return usual.fsync(fd);
}

static int failing_unlink(int at, const char *name)
{
    if (failing != 0) {
        errno = failing;
        return -1;
    }
    return usual.unlink(at, name);
}

static int open_without_direct(int at, const char *name, int flags, mode_t mode)
{
    if ((flags & O_DIRECT) != 0) {
        errno = EINVAL;
        return -1;
    }
    return usual.open(at, name, flags, mode);
}

static _Atomic bool synced_store, synced_checkpoint;

static int noted_fdatasync(int fd)
{
    char link[32];
    char path[128] = "";
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, path, sizeof path - 1) > 0) {
        synced_store = synced_store || strstr(path, "/store") != NULL;
        synced_checkpoint = synced_checkpoint || strstr(path, "/checkpoint-") != NULL;
    }
    return usual.fdatasync(fd);
}

static void replace(void)
{
    usual = kv_disk_calls_of_the_system();
    failing = 0;
    syncs_after_failure = 0;
}

Test(disk, short_and_interrupted_writes_are_gone_on_with)
{
    replace();
    kv_disk_calls.pwrite = short_pwrite;
    check_write_and_read();
}

Test(disk, a_file_system_without_o_direct_is_written_through_the_page_cache)
{
    replace();
    kv_disk_calls.open = open_without_direct;
    start(0);
    write_blocks(0, BLOCK, 'a', true);
    cr_assert(!kv_disk_figures(disk).direct);
    open_again();
    cr_assert_eq(byte_at(0), 'a');
}

Test(disk, a_failed_write_is_reported_once_and_nothing_follows)
{
    replace();
    kv_disk_calls.pwrite = failing_pwrite;
    start(0);
    write_blocks(0, BLOCK, 'a', true);
    failing = EIO;
    begin_write(BLOCK, BLOCK, 'b', true);
    RUN_UNTIL(dones == 2);
    cr_assert_eq(done_error, KV_EIO);
    cr_assert_eq(done, 2);
    cr_assert_not_null(strstr(kv_disk_text(disk), "cannot "), "%s", kv_disk_text(disk));
    failing = 0;
    begin_write(2 * BLOCK, BLOCK, 'c', true);
    open_again();
    cr_assert_eq(dones, 2);
    cr_assert_eq(byte_at(2 * BLOCK), 0);
}

Test(disk, a_failed_sync_is_never_tried_again)
{
    replace();
    kv_disk_calls.fdatasync = failing_fdatasync;
    start(0);
    kv_disk_reserve(disk, 2 * ROOM);
    RUN_UNTIL(kv_disk_ready(disk) >= 2 * ROOM);
    failing = EIO;
    write_blocks(0, BLOCK, 'a', false);
    RUN_UNTIL(dones == 2);
    cr_assert_eq(done_error, KV_EIO);
    cr_assert_eq(synced, 0);
    stop();
    cr_assert_eq(syncs_after_failure, 1);
}

/* A restored backup, for example. */
Test(disk, files_that_were_copied_into_the_folder_are_on_the_disk_before_the_first_write)
{
    uint8_t block[BLOCK] = {0};
    start_with_pieces(0);
    cr_assert_eq(kv_disk_write_store(disk, block), KV_OK);
    write_checkpoint(BLOCK, 'c');
    stop();
    replace();
    kv_disk_calls.fdatasync = noted_fdatasync;
    start(0);
    RUN_UNTIL(kv_disk_ready(disk) > 0);
    cr_assert(synced_store && synced_checkpoint);
}

/* The sync of the first write is due before the disk is tried again. */
Test(disk, a_write_that_waits_for_space_is_not_reported_as_synced)
{
    struct kv_disk_settings wanted = settings(0);
    wanted.interval_ms = KV_DISK_RETRY_MS / 2;
    replace();
    kv_disk_calls.pwrite = failing_pwrite;
    open_disk();
    cr_assert_eq(kv_disk_start(disk, &loop, &wanted), KV_OK);
    kv_disk_reserve(disk, 2 * ROOM);
    RUN_UNTIL(kv_disk_ready(disk) >= 2 * ROOM);
    write_blocks(0, BLOCK, 'a', false);
    failing = ENOSPC;
    begin_write(BLOCK, BLOCK, 'b', true);
    RUN_UNTIL(synced > 0);
    cr_assert(synced == 1 && dones == 1);
    failing = 0;
    RUN_UNTIL(dones == 2);
    cr_assert_eq(done_error, KV_OK);
}

/* ---- a folder that goes away -------------------------------------------------------------------
 */

/* The thread looks ten times a second. The next write is not answered as done, and nothing follows.
 */
static void check_gone(const char *words)
{
    uv_sleep(150);
    begin_write(BLOCK, BLOCK, 2, true);
    RUN_UNTIL(dones == 2);
    cr_assert_eq(done_error, KV_EIO);
    cr_assert_not_null(strstr(kv_disk_text(disk), words), "%s", kv_disk_text(disk));
}

static void write_first(void)
{
    start(0);
    write_blocks(0, BLOCK, 1, true);
}

Test(disk, a_folder_that_is_removed_is_noticed_at_the_next_write)
{
    write_first();
    remove_folder();
    check_gone("it was removed, moved or unmounted while the node used it");
}

Test(disk, a_folder_that_is_moved_is_noticed_at_the_next_write)
{
    char moved[sizeof folder + sizeof ".moved"];
    (void)snprintf(moved, sizeof moved, "%s.moved", folder);
    write_first();
    cr_assert_eq(rename(folder, moved), 0);
    check_gone("put it back, or restore a backup");
    cr_assert_eq(rename(moved, folder), 0);
}

Test(disk, a_folder_that_another_one_has_taken_the_place_of_is_noticed_at_the_next_write)
{
    char moved[sizeof folder + sizeof ".moved"];
    (void)snprintf(moved, sizeof moved, "%s.moved", folder);
    write_first();
    cr_assert_eq(rename(folder, moved), 0);
    cr_assert_eq(mkdir(folder, S_IRWXU), 0);
    check_gone("it was removed, moved or unmounted while the node used it");
    cr_assert_eq(rmdir(folder), 0);
    cr_assert_eq(rename(moved, folder), 0);
}

Test(disk, a_file_of_the_log_that_is_removed_is_noticed_at_the_next_write)
{
    char name[sizeof folder + KV_FOLDER_NAME];
    (void)snprintf(name, sizeof name, "%s/log-%016x", folder, 0);
    write_first();
    cr_assert_eq(unlink(name), 0);
    check_gone("the file log-0000000000000000 was removed while the node used it");
}

Test(disk, a_checkpoint_notices_that_the_folder_is_removed)
{
    start_with_pieces(0);
    write_blocks(0, BLOCK, 1, true);
    remove_folder();
    memset(blocks, 3, BLOCK);
    kv_disk_write_piece(
        disk, &(struct kv_disk_piece){.checkpoint = BLOCK, .bytes = kv_bytes(blocks, BLOCK)});
    RUN_UNTIL(dones == 2);
    cr_assert_eq(done_error, KV_EIO);
    cr_assert_eq(pieces, 0);
}

static void start_with_files(void)
{
    start_with_pieces(0);
    kv_disk_reserve(disk, 2 * ROOM);
    RUN_UNTIL(kv_disk_ready(disk) >= 2 * ROOM);
    cr_assert_eq(write_piece(0x5000, 0, BLOCK, 'c', false), KV_OK);
}

Test(disk, a_checkpoint_that_cannot_be_synced_or_named_is_given_up_and_the_log_goes_on)
{
    replace();
    kv_disk_calls.rename = failing_rename;
    kv_disk_calls.fdatasync = failing_fdatasync;
    start_with_files();
    failing = EIO;
    cr_assert_eq(write_piece(0x5000, BLOCK, BLOCK, 'c', true), KV_EIO);
    cr_assert_not_null(strstr(kv_disk_text(disk), "cannot write a checkpoint: Input/output error"),
                       "%s", kv_disk_text(disk));
    kv_disk_calls.fdatasync = usual.fdatasync;
    cr_assert_eq(write_piece(0x6000, 0, BLOCK, 'd', true), KV_EIO);
    failing = 0;
    cr_assert(!has_file("checkpoint-0000000000005000") && !has_file("checkpoint.tmp"));
    write_blocks(0, BLOCK, 'a', true);
    cr_assert_eq(done_error, KV_OK);
    write_checkpoint(0x7000, 'e');
}

Test(disk, a_folder_that_cannot_be_synced_for_a_checkpoint_is_a_failure_of_the_disk)
{
    replace();
    kv_disk_calls.fsync = failing_fsync;
    start_with_files();
    failing = EIO;
    begin_piece(0x5000, BLOCK, BLOCK, 'c', true);
    RUN_UNTIL(dones == 1);
    cr_assert_eq(done_error, KV_EIO);
    cr_assert_not_null(strstr(kv_disk_text(disk), "cannot sync the name of a checkpoint"), "%s",
                       kv_disk_text(disk));
    stop();
    cr_assert_eq(syncs_after_failure, 1);
}

Test(disk, a_file_that_cannot_be_removed_is_a_failure_of_the_disk)
{
    replace();
    kv_disk_calls.unlink = failing_unlink;
    start_with_files();
    write_checkpoint(0x6000, 'd');
    write_checkpoint(0x7000, 'e');
    failing = EIO;
    kv_disk_keep_checkpoint(disk, 0x7000);
    RUN_UNTIL(dones == 1);
    cr_assert_eq(done_error, KV_EIO);
    failing = 0;
}

Test(disk, a_full_disk_is_reported_and_the_write_goes_on_once_there_is_space)
{
    replace();
    kv_disk_calls.fallocate = failing_fallocate;
    failing = ENOSPC;
    start(0);
    begin_write(0, BLOCK, 'a', true);
    RUN_UNTIL(room == KV_ENOSPC);
    cr_assert_not_null(strstr(kv_disk_text(disk), "free space"), "%s", kv_disk_text(disk));
    cr_assert_eq(dones, 0);
    failing = 0;
    RUN_UNTIL(dones == 1 && room == KV_OK);
    cr_assert_eq(done_error, KV_OK);
    open_again();
    cr_assert_eq(byte_at(0), 'a');
}

Test(disk, a_full_disk_leaves_the_open_segment_usable)
{
    replace();
    kv_disk_calls.fallocate = failing_fallocate;
    start(0);
    kv_disk_reserve(disk, 2 * ROOM);
    RUN_UNTIL(kv_disk_ready(disk) >= 2 * ROOM);
    failing = ENOSPC;
    kv_disk_reserve(disk, 8 * ROOM);
    RUN_UNTIL(room == KV_ENOSPC);
    write_blocks(0, BLOCK, 'a', true);
    cr_assert_eq(room, KV_ENOSPC);
}

Test(disk, a_disk_that_is_full_can_be_closed)
{
    replace();
    kv_disk_calls.fallocate = failing_fallocate;
    failing = ENOSPC;
    start(0);
    begin_write(0, BLOCK, 'a', true);
    RUN_UNTIL(room == KV_ENOSPC);
    stop();
    cr_assert_eq(dones, 0);
}

Test(disk, a_limit_of_file_sizes_counts_as_a_full_disk)
{
    const struct rlimit small = {.rlim_cur = 2 * BLOCK, .rlim_max = RLIM_INFINITY};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    start(0);
    RUN_UNTIL(room == KV_ENOSPC);
    cr_assert_not_null(strstr(kv_disk_text(disk), "ulimit -f"), "%s", kv_disk_text(disk));
}

Test(disk, a_folder_that_may_only_be_read_is_refused)
{
    if (geteuid() != 0) {
        cr_skip_test("needs root to become another user");
    }
    cr_assert_eq(chown(folder, 65534, 65534), 0);
    cr_assert_eq(chmod(folder, 0500), 0);
    pid_t child = fork();
    if (child == 0) {
        struct kv_disk *refused = NULL;
        int error = setuid(65534) != 0 ? KV_OK : kv_disk_open(&refused, folder, text, sizeof text);
        _exit(error == KV_EIO && strstr(text, "read, write and search") != NULL ? 0 : 1);
    }
    int status = 1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
}

/* ---- a small file system of its own ------------------------------------------------------------
 */

static int run_command(const char *script)
{
    char command[640];
    (void)snprintf(command, sizeof command, "cd %s && { %s; }", folder, script);
    return system(command);
}

/* The disk is opened on a file system that is mounted for this process alone: so a test that fails
 * leaves nothing mounted. Returns its folder. */
static int open_small_file_system(void)
{
    if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 ||
        run_command("mount --make-rprivate / && truncate -s 8M image && "
                    "mkfs.ext4 -q -O ^has_journal image >/dev/null 2>&1 && mkdir small && "
                    "mount -o loop image small 2>/dev/null") != 0) {
        (void)run_command("rm -rf small");
        return -1;
    }
    char path[128];
    (void)snprintf(path, sizeof path, "%s/small", folder);
    int at = open(path, O_RDONLY | O_DIRECTORY);
    cr_assert_eq(kv_disk_open(&disk, path, text, sizeof text), KV_OK, "%s", text);
    return at;
}

static void fill(int at)
{
    int fd = openat(at, "filler", O_WRONLY | O_CREAT, 0600);
    cr_assert_geq(fd, 0);
    while (write(fd, blocks, BLOCK) == BLOCK) {
    }
    cr_assert_eq(errno, ENOSPC);
    (void)close(fd);
}

Test(disk, a_file_system_that_is_full_heals_by_itself)
{
    int at = open_small_file_system();
    if (at < 0) {
        cr_skip_test("needs root, mkfs.ext4 and a loop device");
    }
    struct kv_disk_settings wanted = settings(0);
    memset(blocks, 'f', BLOCK);
    fill(at);
    cr_assert_eq(kv_disk_start(disk, &loop, &wanted), KV_OK);
    begin_write(0, BLOCK, 'a', true);
    RUN_UNTIL(room == KV_ENOSPC);
    cr_assert_eq(dones, 0);
    cr_assert(!kv_disk_has_space(disk, ROOM));
    cr_assert_eq(unlinkat(at, "filler", 0), 0);
    cr_assert(kv_disk_has_space(disk, ROOM));
    cr_assert(!kv_disk_has_space(disk, 1 << 30));
    RUN_UNTIL(dones == 1);
    cr_assert_eq(done_error, KV_OK);
    (void)close(at);
    stop();
    cr_assert_eq(run_command("umount small && rmdir small"), 0);
}
