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
static unsigned dones, rooms;

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
    dones = rooms = 0;
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
