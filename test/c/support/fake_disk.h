/* A disk in memory that loses what was not synced, as SQLite's tests have one.
 *
 * A write is visible at once. A crash goes through all writes since the last sync, in order. Each
 * is kept, dropped, or torn: then each of its sectors is kept or dropped. A sector is atomic. */
#ifndef KV_TEST_FAKE_DISK_H
#define KV_TEST_FAKE_DISK_H

#include "durable/recovery.h"
#include "support/draw.h"

enum { FAKE_SECTOR = 512, FAKE_SEGMENTS = 256, FAKE_CHECKPOINTS = 8 };

struct fake_disk;

struct fake_disk *fake_disk_new(uint64_t segment_size);
void fake_disk_free(struct fake_disk *disk);

/* Makes a segment file of zeros. A crash before the next sync may take it away. */
void fake_disk_create(struct fake_disk *disk, uint64_t segment);
/* Gives a segment file another number; its bytes stay. */
void fake_disk_rename(struct fake_disk *disk, uint64_t from, uint64_t to);
void fake_disk_remove(struct fake_disk *disk, uint64_t segment);
bool fake_disk_has(const struct fake_disk *disk, uint64_t segment);

/* Writes whole sectors. */
void fake_disk_write(struct fake_disk *disk, uint64_t segment, uint64_t offset,
                     struct kv_bytes bytes);
void fake_disk_sync(struct fake_disk *disk);

/* Writes to the file of the checkpoint under way; at offset 0 it begins anew. It is gone after a
 * crash. */
void fake_checkpoint_write(struct fake_disk *disk, uint64_t offset, struct kv_bytes bytes);
/* That file gets the name of a checkpoint. A crash before the next sync may take the name away; and
 * bytes, too, if they were not synced before. */
void fake_checkpoint_name(struct fake_disk *disk, uint64_t lsn);
/* Removes all checkpoints but this one. A crash before the next sync may bring them back. */
void fake_checkpoint_keep(struct fake_disk *disk, uint64_t lsn);
/* The bytes of the newest checkpoint, to be damaged and cut; NULL: there is none. */
struct kv_buffer *fake_checkpoint_bytes(struct fake_disk *disk);

/* The power is cut. Afterwards everything that is left is as good as synced. */
void fake_disk_crash(struct fake_disk *disk, struct draw *draw);

/* The disk for a recovery. */
struct kv_disk_view fake_disk_view(struct fake_disk *disk);

/* The bytes of a segment file, to be damaged; and its length, to be cut. */
uint8_t *fake_disk_bytes(struct fake_disk *disk, uint64_t segment);
void fake_disk_set_length(struct fake_disk *disk, uint64_t segment, uint64_t length);

/* Lets every read from now on fail with this error; KV_OK: none. */
void fake_disk_fail(struct fake_disk *disk, int error);

#endif
