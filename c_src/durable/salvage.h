/* Salvage: reads what can be read of a damaged log. Recovery stops at the first damage; this goes
 * on behind it, at the next batch that checks out.
 *
 * Such a batch is whole, and it was written at that place. Nothing tells whether a batch before it
 * was the last one of its life, and its changes were cut off by a recovery: where the damage hides
 * the proof, changes may come back that nobody was told of.
 *
 * Blocks that the disk cannot read count as damaged. Nothing is written. */
#ifndef KV_DURABLE_SALVAGE_H
#define KV_DURABLE_SALVAGE_H

#include "durable/recovery.h"

/* A part of the log without a batch that checks out. */
struct kv_salvage_gap {
    uint64_t lsn;     /* where it begins */
    uint64_t end;     /* where the next good batch begins; equal to lsn: no bytes are lost, but the
                       * batch behind says that another one came before it */
    uint64_t batches; /* at least so many, which have their header, */
    uint64_t records; /* and this many changes in them */
};

struct kv_salvage_sink {
    void *context;
    /* As that of a recovery; and then for each batch whose records were handed out. Return KV_OK,
     * or an error, with which the reading ends. */
    int (*record)(void *context, const struct kv_record *record);
    int (*batch)(void *context, const struct kv_batch *batch);
    /* Before the first record behind the gap. */
    void (*gap)(void *context, const struct kv_salvage_gap *gap);
};

struct kv_salvage_options {
    struct kv_disk_view disk; /* segments() may set a range that has gaps, and return KV_OK */
    struct kv_salvage_sink sink;
    struct kv_store_id store;
    uint64_t segment_size;
    /* Where to begin, as in struct kv_recovery_options. Zeros: at the first segment. */
    uint64_t lsn;
    uint32_t epoch;
    uint32_t previous;
};

struct kv_salvage_result {
    uint64_t lsn;               /* the end of the last good batch */
    struct kv_salvage_gap tail; /* behind it: with batches, they were written in part */
    uint64_t batches;           /* that are good */
    uint64_t records;           /* in them */
    uint64_t gaps;              /* between good batches, or before the first */
    uint64_t time;              /* the latest time of a batch; 0: none */
};

/* Reads the log in one go, which takes as long as a recovery. Returns KV_OK; KV_ENOENT: there is no
 * segment; KV_ENOMEM: a batch is larger than the memory; or an error of the sink or of
 * disk.segments(). */
int kv_salvage(const struct kv_salvage_options *options, struct kv_salvage_result *result);

#endif
