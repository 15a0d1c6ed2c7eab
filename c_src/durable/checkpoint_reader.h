/* The reader of a checkpoint: reads the file from its head to its tail, and hands out its records.
 * The reader finds every damage to the file: a checkpoint has its name only when it is whole, so
 * nothing of it can be missing. */
#ifndef KV_DURABLE_CHECKPOINT_READER_H
#define KV_DURABLE_CHECKPOINT_READER_H

#include "durable/checkpoint.h"
#include "durable/disk_view.h"

struct kv_checkpoint_source {
    struct kv_disk_view disk; /* read_checkpoint() */
    struct kv_recovery_sink sink;
    struct kv_store_id store;
    uint64_t lsn;  /* the name of the checkpoint, */
    uint64_t size; /* and its bytes */
};

struct kv_checkpoint_reader;

/* Never returns NULL. The caller frees it with kv_checkpoint_reader_free(), which takes NULL, too.
 */
struct kv_checkpoint_reader *kv_checkpoint_reader_new(const struct kv_checkpoint_source *source);
void kv_checkpoint_reader_free(struct kv_checkpoint_reader *reader);

/* Goes on: reads at most KV_CHUNK_MAX bytes, and hands out the records that end in them. Sets
 * *more: false at the end. Returns KV_OK; KV_ECORRUPT: the file is damaged; KV_EVERSION: a newer
 * program wrote it; KV_ENOMEM: a record is larger than the memory; or an error of the disk or the
 * sink. After an error nothing but kv_checkpoint_reader_skip(), kv_checkpoint_reader_done(),
 * kv_checkpoint_reader_text() and kv_checkpoint_reader_free() may be called. */
int kv_checkpoint_reader_step(struct kv_checkpoint_reader *reader, bool *more);

/* Goes on behind damage, for those who want what is left: after an error other than KV_EVERSION and
 * KV_ENOMEM, and other than one of the sink. Reads up to the next place from which records can be
 * read, sets *end to it, and returns KV_OK: the next step begins there. The tail is not compared
 * with the records then. Returns KV_ENOENT if there is no such place. */
int kv_checkpoint_reader_skip(struct kv_checkpoint_reader *reader, uint64_t *end);

/* The sentence about an error: it begins with the file and the offset. Valid until
 * kv_checkpoint_reader_free(). */
const char *kv_checkpoint_reader_text(const struct kv_checkpoint_reader *reader);

/* The bytes of the file that were read. After an error: where the damaged part begins. */
uint64_t kv_checkpoint_reader_done(const struct kv_checkpoint_reader *reader);

/* After the last step. */
const struct kv_checkpoint_head *
kv_checkpoint_reader_head(const struct kv_checkpoint_reader *reader);
const struct kv_checkpoint_tail *
kv_checkpoint_reader_tail(const struct kv_checkpoint_reader *reader);

#endif
