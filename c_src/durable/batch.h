/* A batch: what changed between two commits, as the log holds it. All of it counts after a crash,
 * or none. It begins with a header and at a block, and is padded with zeros to a block.
 *
 * Batches are chained: each holds the checksum of the one before, its own position, and its epoch,
 * which counts the lives of the store. So what an earlier life left behind the end of the log is
 * never taken for the next batch. All checksums begin with the id of the store: so no batch of
 * another store is valid here, and no bytes that a peer puts into a value. */
#ifndef KV_DURABLE_BATCH_H
#define KV_DURABLE_BATCH_H

#include "durable/segment.h"

enum { KV_BATCH_HEADER = 64 };

struct kv_batch {
    uint64_t lsn;      /* its own position: a multiple of KV_BLOCK */
    uint64_t length;   /* of header and records, without the padding */
    uint32_t epoch;    /* never goes down in the log, and is at least 1 */
    uint32_t previous; /* the checksum of the batch before; of the first one of all: 0 */
    uint32_t records;  /* their number */
    uint64_t time;     /* wall clock when it was made, milliseconds since 1970 */
    uint64_t durable;  /* when it was made, everything below this LSN was on disk */
    uint32_t checksum; /* of all bytes of the batch but the first eight */
};

/* The checksum that all checksums of a store begin with. */
uint32_t kv_batch_seed(const struct kv_store_id *store);

/* Writes the header of `batch`, whose records lie behind it, and sets its checksum, for which all
 * of them are read: 0.15 ms for each MB or less. */
void kv_batch_seal(struct kv_batch *batch, uint32_t seed, uint8_t *bytes);

/* Reads and checks the header alone: magic, its own checksum, and the position. Returns KV_OK; or
 * KV_ECORRUPT: no header of a batch at this LSN. */
int kv_batch_read(const uint8_t header[KV_BATCH_HEADER], uint32_t seed, uint64_t lsn,
                  struct kv_batch *batch);

/* The checksum of the bytes behind the first eight, piece by piece: begin with the seed. Compare
 * the result with batch->checksum. `from` is where the piece begins in the batch. */
uint32_t kv_batch_sum(const struct kv_batch *batch, uint32_t sum, uint64_t from,
                      struct kv_bytes piece);

#endif
