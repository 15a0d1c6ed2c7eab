/* The questions of a recovery to a disk, and its results for the layer above. */
#ifndef KV_DURABLE_DISK_VIEW_H
#define KV_DURABLE_DISK_VIEW_H

#include "durable/record.h"

/* The questions of a recovery to a disk. */
struct kv_disk_view {
    void *context;
    /* Finds the numbers of the first and the last segment file. Returns KV_OK; KV_ENOENT: there is
     * none; or another error. */
    int (*segments)(void *context, uint64_t *first, uint64_t *last);
    /* Reads up to `length` bytes at an offset of a segment file, and sets *got. Less than `length`
     * only where the file ends. Returns KV_OK; KV_ENOENT: no such file; or another error. */
    int (*read)(void *context, uint64_t segment, uint64_t offset, void *to, size_t length,
                size_t *got);
    /* Finds the LSN and the size of the newest checkpoint. Returns KV_OK; KV_ENOENT: there is none;
     * or another error. NULL: there is none. */
    int (*checkpoint)(void *context, uint64_t *lsn, uint64_t *size);
    /* Reads from the checkpoint with this LSN; otherwise as `read`. */
    int (*read_checkpoint)(void *context, uint64_t lsn, uint64_t offset, void *to, size_t length,
                           size_t *got);
};

/* The receiver of the records. */
struct kv_recovery_sink {
    void *context;
    /* Called for each record, in order: those of a checkpoint, then those of each whole batch.
     * After a checkpoint the log may tell of a table or an entry that is not there: it has been
     * removed since, and a later record says so. The record is valid during the call, and its
     * bytes until the next settle(). Returns KV_OK, or an error, with which the recovery ends. */
    int (*record)(void *context, const struct kv_record *record);
    /* The bytes of all records so far become invalid. Called in time, and before a step ends; not
     * after an error. Returns as `record`. NULL: not called. */
    int (*settle)(void *context);
};

#endif
