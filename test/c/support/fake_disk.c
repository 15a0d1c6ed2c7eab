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

struct checkpoint {
    bool used;    /* there is a file, as far as the disk knows */
    bool sure;    /* and its name is synced */
    bool removed; /* but not for sure */
    bool torn;    /* not all of it was synced when it was named */
    uint64_t lsn;
    struct kv_buffer bytes;
};

struct fake_disk {
    uint64_t segment_size;
    struct file files[FAKE_SEGMENTS];
    struct kv_buffer writes;  /* struct unsynced */
    struct kv_buffer written; /* their bytes */
    struct checkpoint checkpoints[FAKE_CHECKPOINTS];
    struct kv_buffer under_way; /* the checkpoint, */
    bool is_synced;             /* and all of it is synced */
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
    for (unsigned i = 0; i < FAKE_CHECKPOINTS; i++) {
        kv_buffer_free(&disk->checkpoints[i].bytes);
    }
    kv_buffer_free(&disk->under_way);
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

/* ---- checkpoints -------------------------------------------------------------------------------
 */

static void forget_checkpoint(struct checkpoint *one)
{
    kv_buffer_free(&one->bytes);
    *one = (struct checkpoint){.used = false};
}

void fake_checkpoint_write(struct fake_disk *disk, uint64_t offset, struct kv_bytes bytes)
{
    demand(bytes.length % KV_BLOCK == 0);
    if (offset == 0) {
        kv_buffer_clear(&disk->under_way);
    }
    demand(disk->under_way.length == offset);
    kv_buffer_append(&disk->under_way, bytes);
    disk->is_synced = false;
}

/* As rename does: what had the name is gone. */
void fake_checkpoint_name(struct fake_disk *disk, uint64_t lsn)
{
    struct checkpoint *free_one = NULL;
    for (unsigned i = 0; i < FAKE_CHECKPOINTS; i++) {
        struct checkpoint *one = &disk->checkpoints[i];
        if (one->used && one->lsn == lsn) {
            one->removed = true;
        }
        free_one = one->used ? free_one : one;
    }
    demand(free_one != NULL);
    *free_one = (struct checkpoint){
        .used = true, .torn = !disk->is_synced, .lsn = lsn, .bytes = disk->under_way};
    disk->under_way = (struct kv_buffer)KV_BUFFER_INIT;
}

void fake_checkpoint_keep(struct fake_disk *disk, uint64_t lsn)
{
    for (unsigned i = 0; i < FAKE_CHECKPOINTS; i++) {
        disk->checkpoints[i].removed |= disk->checkpoints[i].lsn != lsn;
    }
}

static void sync_checkpoints(struct fake_disk *disk)
{
    disk->is_synced = true;
    for (unsigned i = 0; i < FAKE_CHECKPOINTS; i++) {
        struct checkpoint *one = &disk->checkpoints[i];
        if (one->used && one->removed) {
            forget_checkpoint(one);
        }
        one->sure = one->used;
        one->torn = false;
    }
}

static bool has_name(const struct fake_disk *disk, uint64_t lsn)
{
    bool has = false;
    for (unsigned i = 0; i < FAKE_CHECKPOINTS; i++) {
        const struct checkpoint *one = &disk->checkpoints[i];
        has = has || (one->used && !one->removed && one->lsn == lsn);
    }
    return has;
}

/* New names first: one that is kept replaces an older file of that name. */
static void crash_checkpoints(struct fake_disk *disk, struct draw *draw)
{
    kv_buffer_clear(&disk->under_way);
    for (unsigned i = 0; i < FAKE_CHECKPOINTS; i++) {
        struct checkpoint *one = &disk->checkpoints[i];
        if (one->used && !one->sure && draw_once_in(draw, 2)) {
            forget_checkpoint(one);
        }
        for (size_t at = 0; one->torn && at < one->bytes.length; at += FAKE_SECTOR) {
            memset(one->bytes.data + at, 0, draw_once_in(draw, 2) ? FAKE_SECTOR : 0);
        }
    }
    for (unsigned i = 0; i < FAKE_CHECKPOINTS; i++) {
        struct checkpoint *one = &disk->checkpoints[i];
        if (one->used && one->removed && (has_name(disk, one->lsn) || draw_once_in(draw, 2))) {
            forget_checkpoint(one);
        }
        one->removed = false;
    }
    sync_checkpoints(disk);
}

static struct checkpoint *newest(struct fake_disk *disk)
{
    struct checkpoint *found = NULL;
    for (unsigned i = 0; i < FAKE_CHECKPOINTS; i++) {
        struct checkpoint *one = &disk->checkpoints[i];
        if (one->used && !one->removed && (found == NULL || one->lsn > found->lsn)) {
            found = one;
        }
    }
    return found;
}

struct kv_buffer *fake_checkpoint_bytes(struct fake_disk *disk)
{
    struct checkpoint *found = newest(disk);
    return found == NULL ? NULL : &found->bytes;
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
    sync_checkpoints(disk);
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
    crash_checkpoints(disk, draw);
}

/* ---- recovery's view ---------------------------------------------------------------------------
 */

static int segments(void *context, uint64_t *first, uint64_t *last)
{
    const struct fake_disk *disk = context;
    bool any = false;
    for (unsigned i = 0; i < FAKE_SEGMENTS; i++) {
        if (disk->files[i].visible != NULL) {
            *first = any && *last + 1 == i ? *first : i;
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

static int find_checkpoint(void *context, uint64_t *lsn, uint64_t *size)
{
    const struct checkpoint *found = newest(context);
    if (found != NULL) {
        *lsn = found->lsn;
        *size = found->bytes.length;
    }
    return found != NULL ? KV_OK : KV_ENOENT;
}

static int read_checkpoint(void *context, uint64_t lsn, uint64_t offset, void *to, size_t length,
                           size_t *got)
{
    struct fake_disk *disk = context;
    const struct checkpoint *found = newest(disk);
    if (disk->error != KV_OK) {
        return disk->error;
    }
    demand(found != NULL && found->lsn == lsn);
    const uint64_t left = offset < found->bytes.length ? found->bytes.length - offset : 0;
    *got = left < length ? (size_t)left : length;
    if (*got > 0) {
        memcpy(to, found->bytes.data + offset, *got);
    }
    return KV_OK;
}

struct kv_disk_view fake_disk_view(struct fake_disk *disk)
{
    return (struct kv_disk_view){.context = disk,
                                 .segments = segments,
                                 .read = read_some,
                                 .checkpoint = find_checkpoint,
                                 .read_checkpoint = read_checkpoint};
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
