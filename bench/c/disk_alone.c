/* Measures the disk without a node: commits a second and their times, through kv_disk, and beside
 * it by a bare pwrite to a file written ahead, with O_DIRECT and O_DSYNC.
 *
 *     disk_alone [FOLDER [MILLISECONDS [BYTES]]]
 *
 * /var/tmp, 2,000 for each row, and three sizes by default.
 *
 * Both alternate in rounds, so that what else the machine does is in both. */
#include "host/disk.h"

#include <kv/error.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

enum { BLOCK = KV_DISK_BLOCK, SEGMENT = 64 << 20, MOST = 1 << 20, ROUNDS = 8, SAMPLES = 1 << 18 };

struct row {
    uint64_t times[SAMPLES]; /* nanoseconds */
    size_t count;
    uint64_t spent;
};

static struct row through;
static struct row bare;
static bool is_done;
static uint64_t number;
static uint64_t lsn;

static void fail(const char *what)
{
    (void)fprintf(stderr, "disk_alone: %s\n", what);
    exit(1);
}

static void note(struct row *row, uint64_t began)
{
    uint64_t time = uv_hrtime() - began;
    row->spent += time;
    if (row->count < SAMPLES) {
        row->times[row->count++] = time;
    }
}

/* The disk alone needs nothing there but the size. */
static void on_header(void *context, uint64_t segment, uint8_t block[BLOCK])
{
    (void)context;
    (void)segment;
    block[0] = 0;
}

static void on_done(void *context, uint64_t which, int error)
{
    (void)which;
    if (error != KV_OK) {
        fail(kv_disk_text(*(struct kv_disk **)context));
    }
    is_done = true;
}

static void on_synced(void *context, uint64_t which)
{
    (void)context;
    (void)which;
}

static void commit(struct kv_disk *disk, uv_loop_t *loop, const uint8_t *bytes, size_t length)
{
    struct kv_disk_write write = {
        .number = ++number, .lsn = lsn, .bytes = kv_bytes(bytes, length), .sync = true};
    is_done = false;
    kv_disk_recycle(disk, lsn / (SEGMENT - BLOCK));
    kv_disk_write(disk, &write);
    while (!is_done) {
        (void)uv_run(loop, UV_RUN_ONCE);
    }
    lsn += length;
}

static void write_bare(int fd, const uint8_t *bytes, size_t length, off_t *offset)
{
    if (*offset + (off_t)length > SEGMENT) {
        *offset = 0;
    }
    if (pwrite(fd, bytes, length, *offset) != (ssize_t)length) {
        fail("cannot write");
    }
    *offset += (off_t)length;
}

/* A file written ahead, as a segment is. */
static int open_bare(const char *folder, const uint8_t *zeros)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/bare", folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_DIRECT | O_DSYNC, 0600);
    if (fd < 0) {
        fail("no O_DIRECT in this folder");
    }
    for (off_t at = 0; at < SEGMENT; at += MOST) {
        if (pwrite(fd, zeros, MOST, at) != MOST) {
            fail("cannot write ahead");
        }
    }
    return fd;
}

static int by_time(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void print(const char *title, size_t length, struct row *row)
{
    const size_t half = row->count / 2;
    const size_t most = row->count * 99 / 100;
    qsort(row->times, row->count, sizeof row->times[0], by_time);
    (void)printf("%7zu B  %-8s %8.0f commits/s   p50 %7.3f ms   p99 %7.3f ms\n", length, title,
                 (double)row->count * 1e9 / (double)row->spent, (double)row->times[half] / 1e6,
                 (double)row->times[most] / 1e6);
    (void)fflush(stdout);
    row->count = 0;
    row->spent = 0;
}

static void remove_folder(const char *folder)
{
    DIR *names = opendir(folder);
    const struct dirent *entry = NULL;
    while (names != NULL && (entry = readdir(names)) != NULL) {
        (void)unlinkat(dirfd(names), entry->d_name, 0);
    }
    if (names != NULL) {
        (void)closedir(names);
    }
    (void)rmdir(folder);
}

int main(int argc, char **argv)
{
    size_t lengths[] = {BLOCK, 64 << 10, MOST};
    size_t count = sizeof lengths / sizeof lengths[0];
    char folder[480];
    char text[512];
    struct kv_disk *disk = NULL;
    uv_loop_t loop;
    off_t offset = 0;
    uint8_t *bytes = aligned_alloc(BLOCK, MOST);
    uint64_t each = (argc > 2 ? strtoull(argv[2], NULL, 10) : 2000) * 1000000 / ROUNDS;
    if (argc > 3) {
        count = 1;
        lengths[0] = strtoull(argv[3], NULL, 10) / BLOCK * BLOCK;
        if (lengths[0] == 0 || lengths[0] > MOST) {
            fail("BYTES must be a block of 4096 to a MiB");
        }
    }
    (void)snprintf(folder, sizeof folder, "%s/disk-alone-XXXXXX", argc > 1 ? argv[1] : "/var/tmp");
    if (bytes == NULL || mkdtemp(folder) == NULL || uv_loop_init(&loop) != 0) {
        fail("cannot begin");
    }
    memset(bytes, 'x', MOST);
    if (kv_disk_open(&disk, folder, text, sizeof text) != KV_OK) {
        fail(text);
    }
    struct kv_disk_settings settings = {
        .segment_size = SEGMENT,
        .events = {.context = &disk, .header = on_header, .done = on_done, .synced = on_synced}};
    if (kv_disk_start(disk, &loop, &settings) != KV_OK) {
        fail(kv_disk_text(disk));
    }
    int fd = open_bare(folder, bytes);
    for (size_t i = 0; i < count; i++) {
        for (unsigned round = 0; round < ROUNDS; round++) {
            for (uint64_t end = uv_hrtime() + each; uv_hrtime() < end;) {
                uint64_t began = uv_hrtime();
                commit(disk, &loop, bytes, lengths[i]);
                note(&through, began);
            }
            for (uint64_t end = uv_hrtime() + each; uv_hrtime() < end;) {
                uint64_t began = uv_hrtime();
                write_bare(fd, bytes, lengths[i], &offset);
                note(&bare, began);
            }
        }
        print("kv_disk", lengths[i], &through);
        print("bare", lengths[i], &bare);
    }
    struct kv_disk_figures figures = kv_disk_figures(disk);
    (void)printf("segments written ahead %ju, used again %ju; O_DIRECT: %s\n",
                 (uintmax_t)figures.zeroed, (uintmax_t)figures.recycled,
                 figures.direct ? "yes" : "no");
    (void)close(fd);
    kv_disk_close(disk);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&loop);
    free(bytes);
    remove_folder(folder);
    return 0;
}
