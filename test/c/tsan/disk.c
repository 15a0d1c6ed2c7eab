/* The thread of the disk, while the loop writes, asks for files and gives files back, and writes
 * one checkpoint after the other. */
#include "host/disk.h"
#include "tsan/races.h"

#include <dirent.h>
#include <kv/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    BLOCK = KV_DISK_BLOCK,
    SEGMENT = 16 * BLOCK,
    ROOM = SEGMENT - BLOCK,
    WRITES = 200,
    PIECE = 3 * BLOCK,
    PIECES = 4, /* of a checkpoint */
    CHECKPOINTS = 5,
};

struct writer {
    struct kv_disk *disk;
    uint64_t number;
    uint64_t lsn;
    uint8_t *block;
    uint8_t *piece;
    struct kv_disk_piece next;
    unsigned pieces;      /* of this checkpoint */
    unsigned checkpoints; /* that are whole */
};

/* As sealing does: the thread reads and changes what the loop has filled. */
static void seal(const void *sealed)
{
    uint8_t *block = *(uint8_t *const *)sealed;
    block[0] = (uint8_t)(block[1] + 1);
}

static void write_next(struct writer *writer)
{
    memset(writer->block, (int)writer->number, BLOCK);
    struct kv_disk_write write = {.number = ++writer->number,
                                  .lsn = writer->lsn,
                                  .bytes = kv_bytes(writer->block, BLOCK),
                                  .sync = writer->number % 3 == 0,
                                  .seal = seal,
                                  .sealed = &writer->block};
    writer->lsn += BLOCK;
    kv_disk_reserve(writer->disk, writer->lsn + ROOM);
    kv_disk_write(writer->disk, &write);
}

static void on_done(void *context, uint64_t number, int error)
{
    struct writer *writer = context;
    REQUIRE(error == KV_OK && number == writer->number);
    REQUIRE(writer->block[0] == (uint8_t)(writer->block[1] + 1));
    if (number < WRITES) {
        write_next(writer);
    }
}

/* The log before a checkpoint goes once the checkpoint is whole. */
static void keep_checkpoint(struct writer *writer)
{
    kv_disk_keep_checkpoint(writer->disk, writer->next.checkpoint);
    kv_disk_recycle(writer->disk, writer->next.checkpoint / ROOM);
    writer->pieces = 0;
    writer->checkpoints++;
}

static void write_piece(struct writer *writer)
{
    memset(writer->piece, (int)writer->pieces + 1, PIECE);
    writer->next = (struct kv_disk_piece){
        .checkpoint = writer->pieces == 0 ? writer->lsn : writer->next.checkpoint,
        .offset = (uint64_t)writer->pieces * PIECE,
        .bytes = kv_bytes(writer->piece, PIECE),
        .last = writer->pieces + 1 == PIECES,
        .seal = seal,
        .sealed = &writer->piece};
    kv_disk_write_piece(writer->disk, &writer->next);
}

static void on_piece(void *context, int error)
{
    struct writer *writer = context;
    REQUIRE(error == KV_OK);
    REQUIRE(writer->piece[0] == (uint8_t)(writer->piece[1] + 1));
    writer->pieces++;
    if (writer->next.last) {
        keep_checkpoint(writer);
    }
    if (writer->checkpoints < CHECKPOINTS) {
        write_piece(writer);
    }
}

static void on_synced(void *context, uint64_t number)
{
    REQUIRE(number <= ((struct writer *)context)->number);
}

static void on_header(void *context, uint64_t segment, uint8_t block[BLOCK])
{
    (void)context;
    block[0] = (uint8_t)segment;
}

static void remove_folder(const char *folder)
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

void race_disk(void)
{
    char folder[] = "/tmp/kv-races-XXXXXX";
    char text[256];
    uv_loop_t loop;
    struct writer writer = {.block = aligned_alloc(BLOCK, BLOCK),
                            .piece = aligned_alloc(BLOCK, PIECE)};
    REQUIRE(mkdtemp(folder) != NULL && uv_loop_init(&loop) == 0);
    REQUIRE(kv_disk_open(&writer.disk, folder, text, sizeof text) == KV_OK);
    struct kv_disk_settings settings = {.segment_size = SEGMENT,
                                        .interval_ms = 1,
                                        .events = {.context = &writer,
                                                   .header = on_header,
                                                   .done = on_done,
                                                   .synced = on_synced,
                                                   .piece = on_piece}};
    REQUIRE(kv_disk_start(writer.disk, &loop, &settings) == KV_OK);
    write_next(&writer);
    write_piece(&writer);
    while (writer.number < WRITES || writer.checkpoints < CHECKPOINTS) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    REQUIRE(kv_disk_figures(writer.disk).pieces == (uint64_t)CHECKPOINTS * PIECES * PIECE);
    kv_disk_close(writer.disk);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    REQUIRE(uv_loop_close(&loop) == 0);
    free(writer.block);
    free(writer.piece);
    remove_folder(folder);
}
