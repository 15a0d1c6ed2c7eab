/* The file `store`: one block that says which store a folder holds, and in which format. */
#ifndef KV_DURABLE_STORE_BLOCK_H
#define KV_DURABLE_STORE_BLOCK_H

#include "base/siphash.h"
#include "durable/segment.h"

struct kv_store_block {
    uint32_t version;      /* KV_DURABLE_VERSION, or older */
    struct kv_store_id id; /* random bytes */
    uint64_t created;      /* wall clock, milliseconds since 1970 */
    uint64_t segment_size; /* of all segments */
    uint8_t zeros;         /* how the store compares 0.0 and -0.0: a number of the layer above */
};

/* Writes the block. `version` is written as KV_DURABLE_VERSION. */
void kv_store_block_write(const struct kv_store_block *store, uint8_t block[KV_BLOCK]);

/* Reads and checks the block. Returns KV_OK; KV_EVERSION: a newer program wrote it, and only
 * `version` is set; or KV_ECORRUPT: it is no store block, or damaged. */
int kv_store_block_read(const uint8_t block[KV_BLOCK], struct kv_store_block *store);

/* The key of the hash that orders the entries of a checkpoint: the same in all lives of a store, so
 * that a start finds them in the order in which it puts them down. Nobody who sees it can tell the
 * id. */
struct kv_hash_key kv_store_hash_key(const struct kv_store_id *id);

/* A number that tells stores apart. Nobody who sees it can tell the id, which is a secret:
 * checksums and the hash of keys depend on it. */
uint64_t kv_store_fingerprint(const struct kv_store_id *id);

#endif
