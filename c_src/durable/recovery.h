/* Recovery: reads the log of a store and hands out its records, batch by batch, up to its end.
 *
 * The end is where no valid next batch is: behind the last one, or where the last writes were torn
 * by a crash. Nobody was told that those changes are there, and they are cut off. But if a valid
 * batch behind that place says that everything there was durable, acknowledged data is damaged.
 * Then recovery fails with KV_ECORRUPT and names the file and the offset.
 *
 * Recovery writes nothing. So a crash during a recovery changes nothing. Before the first write of
 * the new life, all segments must be synced: recovery may have read what the system had not yet
 * written to the disk. */
#ifndef KV_DURABLE_RECOVERY_H
#define KV_DURABLE_RECOVERY_H

#include "durable/batch.h"
#include "durable/record.h"

/* What recovery asks of a disk. */
struct kv_disk_view {
    void *context;
    /* Finds the numbers of the first and the last segment file. Returns KV_OK; KV_ENOENT: there is
     * none; or another error. */
    int (*segments)(void *context, uint64_t *first, uint64_t *last);
    /* Reads up to `length` bytes at an offset of a segment file, and sets *got. Less than `length`
     * only where the file ends. Returns KV_OK; KV_ENOENT: no such file; or another error. */
    int (*read)(void *context, uint64_t segment, uint64_t offset, void *to, size_t length,
                size_t *got);
};

/* Who gets the records. */
struct kv_recovery_sink {
    void *context;
    /* Called for each record of each whole batch, in order. The record is valid during the call.
     * Returns KV_OK, or an error, with which the recovery ends. */
    int (*record)(void *context, const struct kv_record *record);
};

struct kv_recovery_options {
    struct kv_disk_view disk;
    struct kv_recovery_sink sink;
    struct kv_store_id store;
    uint64_t segment_size; /* 0: KV_SEGMENT_SIZE */
    /* Where to begin: after a checkpoint, its LSN and the checksum of the batch before. Zeros: at
     * the beginning of the log. */
    uint64_t lsn;
    uint32_t epoch;
    uint32_t previous;
};

/* What the next life of the store goes on with. */
struct kv_recovery_result {
    uint64_t lsn;          /* the end of the log: the next batch goes there */
    uint32_t epoch;        /* of the next life: greater than any that was seen */
    uint32_t previous;     /* the checksum of the last batch */
    uint64_t time;         /* the latest time of a batch, milliseconds since 1970; 0: no batch */
    uint64_t table;        /* the greatest number of a table; 0: none */
    uint64_t batches;      /* how many there were from the begin on, */
    uint64_t records;      /* and records in them */
    uint64_t segments_end; /* segments from this number on are to be written ahead anew. If there
                            * is a file, it has no valid header: write over it. To remove it first
                            * could leave a store without any segment, which is refused */
};

struct kv_recovery;

/* Never returns NULL. The caller frees it with kv_recovery_free(), which takes NULL, too. */
struct kv_recovery *kv_recovery_new(const struct kv_recovery_options *options);
void kv_recovery_free(struct kv_recovery *recovery);

/* Goes on. Each step reads at most KV_RECOVERY_STEP bytes and hands out the records of at most as
 * many, and one record more. Sets *more: false at the end. Returns KV_OK; KV_ECORRUPT: acknowledged
 * data is damaged; KV_EVERSION: a newer program wrote the log; KV_ENOMEM: a batch is larger than
 * the memory; or an error of the disk or the sink. After an error nothing but kv_recovery_text()
 * and kv_recovery_free() may be called. */
enum { KV_RECOVERY_STEP = 1 << 20 };
int kv_recovery_step(struct kv_recovery *recovery, bool *more);

/* The sentence about an error of kv_recovery_step(). Valid until kv_recovery_free(). */
const char *kv_recovery_text(const struct kv_recovery *recovery);

/* How far it is: bytes of the stream that were read, and at most will be. */
void kv_recovery_progress(const struct kv_recovery *recovery, uint64_t *done, uint64_t *all);

/* After the last step. */
const struct kv_recovery_result *kv_recovery_result(const struct kv_recovery *recovery);

#endif
