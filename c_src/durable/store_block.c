#include "durable/store_block.h"

#include "base/endian.h"
#include "durable/crc32c.h"

#include <kv/error.h>

/* Offsets in the block. All other bytes of the block are zero. */
enum {
    AT_VERSION = 8,
    AT_ID = 16,
    AT_CREATED = 32,
    AT_SEGMENT_SIZE = 40,
    AT_ZEROS = 48,
    AT_CRC = 52,
};

static const uint8_t magic[AT_VERSION] = "kvstore";

void kv_store_block_write(const struct kv_store_block *store, uint8_t block[KV_BLOCK])
{
    memset(block, 0, KV_BLOCK);
    memcpy(block, magic, sizeof magic);
    kv_set32(block + AT_VERSION, KV_DURABLE_VERSION);
    memcpy(block + AT_ID, store->id.bytes, KV_STORE_ID_SIZE);
    kv_set64(block + AT_CREATED, store->created);
    kv_set64(block + AT_SEGMENT_SIZE, store->segment_size);
    block[AT_ZEROS] = store->zeros;
    kv_set32(block + AT_CRC, kv_crc32c(0, kv_bytes(block, AT_CRC)));
}

static bool is_segment_size(uint64_t size)
{
    return size % KV_BLOCK == 0 && size >= 2 * (uint64_t)KV_BLOCK && size <= INT64_MAX;
}

int kv_store_block_read(const uint8_t block[KV_BLOCK], struct kv_store_block *store)
{
    if (memcmp(block, magic, sizeof magic) != 0 ||
        kv_get32(block + AT_CRC) != kv_crc32c(0, kv_bytes(block, AT_CRC))) {
        return KV_ECORRUPT;
    }
    *store = (struct kv_store_block){.version = kv_get32(block + AT_VERSION)};
    if (store->version > KV_DURABLE_VERSION) {
        return KV_EVERSION;
    }
    memcpy(store->id.bytes, block + AT_ID, KV_STORE_ID_SIZE);
    store->created = kv_get64(block + AT_CREATED);
    store->segment_size = kv_get64(block + AT_SEGMENT_SIZE);
    store->zeros = block[AT_ZEROS];
    return is_segment_size(store->segment_size) ? KV_OK : KV_ECORRUPT;
}

static struct kv_hash_key secret_of(const struct kv_store_id *id)
{
    return (struct kv_hash_key){kv_get64(id->bytes), kv_get64(id->bytes + 8)};
}

uint64_t kv_store_fingerprint(const struct kv_store_id *id)
{
    const struct kv_hash_key secret = secret_of(id);
    return kv_siphash(&secret, kv_bytes_text("fingerprint"));
}

struct kv_hash_key kv_store_hash_key(const struct kv_store_id *id)
{
    const struct kv_hash_key secret = secret_of(id);
    return (struct kv_hash_key){kv_siphash(&secret, kv_bytes_text("hash key 0")),
                                kv_siphash(&secret, kv_bytes_text("hash key 1"))};
}
