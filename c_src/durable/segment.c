#include "durable/segment.h"

#include "base/endian.h"
#include "durable/crc32c.h"

#include <kv/error.h>
#include <stdio.h>

/* Offsets in the header block. All other bytes of the block are zero. */
enum {
    AT_VERSION = 8,
    AT_NUMBER = 16,
    AT_STORE = 24,
    AT_CRC = 40,
};

static const uint8_t magic[AT_VERSION] = "kvlog";

void kv_segment_name(uint64_t segment, char name[KV_SEGMENT_NAME_SIZE])
{
    (void)snprintf(name, KV_SEGMENT_NAME_SIZE, "log-%016llx", (unsigned long long)segment);
}

void kv_segment_header(uint64_t segment, const struct kv_store_id *store, uint8_t block[KV_BLOCK])
{
    memset(block, 0, KV_BLOCK);
    memcpy(block, magic, sizeof magic);
    kv_set32(block + AT_VERSION, KV_DURABLE_VERSION);
    kv_set64(block + AT_NUMBER, segment);
    memcpy(block + AT_STORE, store->bytes, KV_STORE_ID_SIZE);
    kv_set32(block + AT_CRC, kv_crc32c(0, kv_bytes(block, AT_CRC)));
}

int kv_segment_read(const uint8_t block[KV_BLOCK], uint64_t *segment, struct kv_store_id *store)
{
    if (memcmp(block, magic, sizeof magic) != 0 ||
        kv_get32(block + AT_CRC) != kv_crc32c(0, kv_bytes(block, AT_CRC))) {
        return KV_ECORRUPT;
    }
    if (kv_get32(block + AT_VERSION) > KV_DURABLE_VERSION) {
        return KV_EVERSION;
    }
    *segment = kv_get64(block + AT_NUMBER);
    memcpy(store->bytes, block + AT_STORE, KV_STORE_ID_SIZE);
    return KV_OK;
}

int kv_segment_check(const uint8_t block[KV_BLOCK], uint64_t segment,
                     const struct kv_store_id *store)
{
    uint64_t number = 0;
    struct kv_store_id id;
    const int error = kv_segment_read(block, &number, &id);
    if (error != KV_OK) {
        return error;
    }
    return number == segment && memcmp(id.bytes, store->bytes, KV_STORE_ID_SIZE) == 0 ? KV_OK
                                                                                      : KV_ECORRUPT;
}
