#include "support/fake_disk.h"

#include "base/alloc.h"

#include <kv/error.h>
#include <stdlib.h>

struct file {
    uint8_t *visible; /* NULL: no such file */
    uint8_t *stable;  /* what the last sync has made durable; NULL: not even that there is a file */
    uint64_t length;
};

struct unsynced {
    uint64_t segment, offset;
    size_t from, length; /* of `written` */
};

struct fake_disk {
    uint64_t segment_size;
    struct file files[FAKE_SEGMENTS];
    struct kv_buffer writes;  /* struct unsynced */
    struct kv_buffer written; /* their bytes */
    int error;
};

static void demand(bool condition)
{
    if (!condition) {
        abort();
    }
}

struct fake_disk *fake_disk_new(uint64_t segment_size)
{
    struct fake_disk *disk = kv_zalloc(sizeof *disk);
    disk->segment_size = segment_size;
    return disk;
}

void fake_disk_remove(struct fake_disk *disk, uint64_t segment)
{
    struct file *file = &disk->files[segment];
    kv_free(file->visible);
    kv_free(file->stable);
    *file = (struct file){0};
}

void fake_disk_free(struct fake_disk *disk)
{
    for (unsigned i = 0; i < FAKE_SEGMENTS; i++) {
        fake_disk_remove(disk, i);
    }
    kv_buffer_free(&disk->writes);
    kv_buffer_free(&disk->written);
    kv_free(disk);
}

bool fake_disk_has(const struct fake_disk *disk, uint64_t segment)
{
    return segment < FAKE_SEGMENTS && disk->files[segment].visible != NULL;
}

void fake_disk_create(struct fake_disk *disk, uint64_t segment)
{
    demand(segment < FAKE_SEGMENTS && !fake_disk_has(disk, segment));
    disk->files[segment].visible = kv_zalloc(disk->segment_size);
    disk->files[segment].length = disk->segment_size;
}

void fake_disk_rename(struct fake_disk *disk, uint64_t from, uint64_t to)
{
    demand(fake_disk_has(disk, from) && to < FAKE_SEGMENTS && !fake_disk_has(disk, to));
    demand(disk->writes.length == 0);
    disk->files[to] = disk->files[from];
    disk->files[from] = (struct file){0};
}

void fake_disk_write(struct fake_disk *disk, uint64_t segment, uint64_t offset,
                     struct kv_bytes bytes)
{
    demand(fake_disk_has(disk, segment) && offset % FAKE_SECTOR == 0);
    demand(bytes.length % FAKE_SECTOR == 0 && offset + bytes.length <= disk->segment_size);
    memcpy(disk->files[segment].visible + offset, bytes.data, bytes.length);
    const struct unsynced write = {segment, offset, disk->written.length, bytes.length};
    kv_buffer_append(&disk->writes, kv_bytes(&write, sizeof write));
    kv_buffer_append(&disk->written, bytes);
}

static void forget_writes(struct fake_disk *disk)
{
    kv_buffer_clear(&disk->writes);
    kv_buffer_clear(&disk->written);
}

static void make_stable(const struct fake_disk *disk, struct file *file)
{
    if (file->stable == NULL) {
        file->stable = kv_zalloc(disk->segment_size);
    }
}

/* Does to the stable bytes what a write has done to those that are visible. */
static void keep(struct fake_disk *disk, const struct unsynced *write, size_t from, size_t length)
{
    struct file *file = &disk->files[write->segment];
    make_stable(disk, file);
    memcpy(file->stable + write->offset + from, disk->written.data + write->from + from, length);
}

void fake_disk_sync(struct fake_disk *disk)
{
    for (size_t at = 0; at < disk->writes.length; at += sizeof(struct unsynced)) {
        struct unsynced write;
        memcpy(&write, disk->writes.data + at, sizeof write);
        keep(disk, &write, 0, write.length);
    }
    for (unsigned i = 0; i < FAKE_SEGMENTS; i++) {
        if (disk->files[i].visible != NULL) {
            make_stable(disk, &disk->files[i]);
        }
    }
    forget_writes(disk);
}

static void tear(struct fake_disk *disk, const struct unsynced *write, struct draw *draw)
{
    const unsigned fate = draw_below(draw, 4);
    if (fate == 0) {
        return;
    }
    if (fate == 1) {
        keep(disk, write, 0, write->length);
        return;
    }
    for (size_t at = 0; at < write->length; at += FAKE_SECTOR) {
        if (draw_once_in(draw, fate == 2 ? 2 : 8) == (fate == 2)) {
            keep(disk, write, at, FAKE_SECTOR);
        }
    }
}

/* A file that was made since the last sync, and of which nothing was kept, may be there or not; as
 * files are made in order, none behind a missing one is there. */
static void crash_files(struct fake_disk *disk, struct draw *draw)
{
    bool is_lost = false;
    for (unsigned i = 0; i < FAKE_SEGMENTS; i++) {
        struct file *file = &disk->files[i];
        if (file->visible == NULL) {
            continue;
        }
        is_lost = is_lost || (file->stable == NULL && draw_once_in(draw, 2));
        if (is_lost) {
            fake_disk_remove(disk, i);
        } else {
            make_stable(disk, file);
            memcpy(file->visible, file->stable, disk->segment_size);
        }
    }
}

void fake_disk_crash(struct fake_disk *disk, struct draw *draw)
{
    for (size_t at = 0; at < disk->writes.length; at += sizeof(struct unsynced)) {
        struct unsynced write;
        memcpy(&write, disk->writes.data + at, sizeof write);
        tear(disk, &write, draw);
    }
    forget_writes(disk);
    crash_files(disk, draw);
}

/* ---- recovery's view ---------------------------------------------------------------------------
 */

static int segments(void *context, uint64_t *first, uint64_t *last)
{
    const struct fake_disk *disk = context;
    bool any = false;
    for (unsigned i = 0; i < FAKE_SEGMENTS; i++) {
        if (disk->files[i].visible != NULL) {
            *first = any ? *first : i;
            *last = i;
            any = true;
        }
    }
    return any ? KV_OK : KV_ENOENT;
}

static int read_some(void *context, uint64_t segment, uint64_t offset, void *to, size_t length,
                     size_t *got)
{
    const struct fake_disk *disk = context;
    if (disk->error != KV_OK) {
        return disk->error;
    }
    if (!fake_disk_has(disk, segment)) {
        return KV_ENOENT;
    }
    const struct file *file = &disk->files[segment];
    const uint64_t left = offset < file->length ? file->length - offset : 0;
    *got = left < length ? (size_t)left : length;
    if (*got > 0) {
        memcpy(to, file->visible + offset, *got);
    }
    return KV_OK;
}

struct kv_disk_view fake_disk_view(struct fake_disk *disk)
{
    return (struct kv_disk_view){.context = disk, .segments = segments, .read = read_some};
}

uint8_t *fake_disk_bytes(struct fake_disk *disk, uint64_t segment)
{
    demand(fake_disk_has(disk, segment));
    return disk->files[segment].visible;
}

void fake_disk_set_length(struct fake_disk *disk, uint64_t segment, uint64_t length)
{
    demand(fake_disk_has(disk, segment) && length <= disk->segment_size);
    disk->files[segment].length = length;
}

void fake_disk_fail(struct fake_disk *disk, int error)
{
    disk->error = error;
}
