/* The writer of a checkpoint: records in, pieces of the file out.
 *
 *     kv_checkpoint_new(wal, ...)           the log before here will not be needed
 *     while there is more to tell:
 *         if (kv_checkpoint_wants(...))     else wait until pieces are written
 *             kv_checkpoint_table(...), kv_checkpoint_put(...)
 *         ... kv_checkpoint_take(...), write the piece, kv_checkpoint_written(...)
 *     kv_checkpoint_end(...)
 *     ... kv_checkpoint_take(...) until the last piece
 *
 * The last piece comes once the log is durable up to what the records may tell of: so the log has
 * to be written meanwhile. When that piece is written, sync the file, rename it to its name, sync
 * the folder. Only then is it a checkpoint; kv_segment_of() its LSN is the first segment that is
 * needed. A checkpoint that is given up at any time harms nothing. */
#ifndef KV_DURABLE_CHECKPOINT_WRITER_H
#define KV_DURABLE_CHECKPOINT_WRITER_H

#include "durable/checkpoint.h"

struct kv_checkpoint;

struct kv_checkpoint_options {
    struct kv_store_id store;
    uint64_t time;      /* wall clock, milliseconds since 1970 */
    uint64_t chunk_max; /* KV_CHUNK_MAX or less, a multiple of KV_BLOCK; 0: KV_CHUNK_MAX */
};

/* Begins a checkpoint. All changes that the log was told of must be in the tables. The log is
 * borrowed until kv_checkpoint_free(), which takes NULL, too. Never returns NULL. */
struct kv_checkpoint *kv_checkpoint_new(struct kv_wal *wal,
                                        const struct kv_checkpoint_options *options);
void kv_checkpoint_free(struct kv_checkpoint *checkpoint);

/* The LSN where it begins, which is its name. */
uint64_t kv_checkpoint_lsn(const struct kv_checkpoint *checkpoint);

/* ---- records -----------------------------------------------------------------------------------
 * Each returns KV_OK, or KV_ENOMEM: then give the checkpoint up. All bytes are copied. */

/* Returns false while enough has gathered. */
bool kv_checkpoint_wants(const struct kv_checkpoint *checkpoint);

/* A table, and then each entry of it. */
int kv_checkpoint_table(struct kv_checkpoint *checkpoint, uint64_t table,
                        const struct kv_record_table *about);
int kv_checkpoint_put(struct kv_checkpoint *checkpoint, uint64_t table,
                      const struct kv_table_entry *entry);

/* The same without the bytes of the value. They must follow, in pieces of any size. */
int kv_checkpoint_begin_put(struct kv_checkpoint *checkpoint, uint64_t table,
                            const struct kv_table_entry *entry);
int kv_checkpoint_value(struct kv_checkpoint *checkpoint, struct kv_bytes piece);

/* All tables have been told of. `table` is the greatest number of a table that there ever was. Lets
 * the log write a mark. */
void kv_checkpoint_end(struct kv_checkpoint *checkpoint, uint64_t table);

/* ---- pieces of the file ------------------------------------------------------------------------
 */

struct kv_checkpoint_piece {
    uint64_t offset;       /* in the file: where the piece before has ended */
    struct kv_bytes bytes; /* whole blocks, in memory at a multiple of KV_BLOCK; valid until
                            * kv_checkpoint_written() */
    bool last;
    const struct kv_checkpoint *checkpoint;
};

/* Hands out the next piece, if there is one and none is under way; returns false otherwise. The
 * bytes are complete after kv_checkpoint_seal(). */
bool kv_checkpoint_take(struct kv_checkpoint *checkpoint, struct kv_checkpoint_piece *piece);

/* Completes the bytes of a piece that was handed out. Any thread may call it, while another one
 * adds records. */
void kv_checkpoint_seal(const struct kv_checkpoint_piece *piece);

/* The piece under way is written. */
void kv_checkpoint_written(struct kv_checkpoint *checkpoint);

/* The bytes of the pieces that were written. */
uint64_t kv_checkpoint_size(const struct kv_checkpoint *checkpoint);

#endif
