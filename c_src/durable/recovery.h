/* Recovery: reads the newest checkpoint of a store, if there is one, and then the log from there
 * on; hands out the records of the checkpoint, and those of the log, batch by batch, up to its end.
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
#include "durable/disk_view.h"

struct kv_recovery_options {
    struct kv_disk_view disk;
    struct kv_recovery_sink sink;
    struct kv_store_id store;
    uint64_t segment_size; /* 0: KV_SEGMENT_SIZE */
};

/* The place and numbers with which the next life of the store goes on. */
struct kv_recovery_result {
    uint64_t lsn;          /* the end of the log: the next batch goes there */
    uint32_t epoch;        /* of the next life: greater than any that was seen */
    uint32_t previous;     /* the checksum of the last batch */
    uint64_t time;         /* the latest that was seen, milliseconds since 1970; 0: none */
    uint64_t table;        /* the greatest number of a table that was seen; 0: none */
    uint64_t batches;      /* how many there were in the log from `begin` on, */
    uint64_t records;      /* and records in them */
    uint64_t begin;        /* where in the log recovery began: the LSN of the checkpoint, or 0 */
    uint64_t checkpoint;   /* the size of the checkpoint in bytes; 0: there was none */
    uint64_t entries;      /* that were in it, */
    uint64_t began;        /* and when it was begun, milliseconds since 1970 */
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
enum { KV_RECOVERY_STEP = 256 << 10 };
int kv_recovery_step(struct kv_recovery *recovery, bool *more);

/* The sentence about an error of kv_recovery_step(). Valid until kv_recovery_free(). */
const char *kv_recovery_text(const struct kv_recovery *recovery);

/* How far it is: bytes of the checkpoint and the log that were read, and at most will be, as far as
 * is known. */
void kv_recovery_progress(const struct kv_recovery *recovery, uint64_t *done, uint64_t *all);

/* Returns true if the tables are now what they were when the next records were written. While it
 * reads a checkpoint, and the log that was written during that checkpoint, they may have entries of
 * later times, too. */
bool kv_recovery_is_exact(const struct kv_recovery *recovery);

/* After the last step; `time` and `began` after each one: as far as it has read. */
const struct kv_recovery_result *kv_recovery_result(const struct kv_recovery *recovery);

#endif
