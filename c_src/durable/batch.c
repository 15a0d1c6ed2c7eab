#include "durable/batch.h"

#include "base/assert.h"
#include "base/endian.h"
#include "durable/crc32c.h"

#include <kv/error.h>

/* Offsets in the header. */
enum {
    AT_CHECKSUM = 4,
    AT_LSN = 8,
    AT_LENGTH = 16,
    AT_EPOCH = 24,
    AT_PREVIOUS = 28,
    AT_RECORDS = 32,
    AT_ZERO = 36,
    AT_TIME = 40,
    AT_DURABLE = 48,
    AT_ZERO_TOO = 56,
    AT_HEADER_CHECKSUM = 60,
    SUMMED = AT_LSN, /* checksums leave out what is before */
};

static const uint8_t magic[AT_CHECKSUM] = {'k', 'v', 'b', '1'};

uint32_t kv_batch_seed(const struct kv_store_id *store)
{
    return kv_crc32c(0, kv_bytes(store->bytes, KV_STORE_ID_SIZE));
}

static uint32_t header_checksum(const uint8_t *header, uint32_t seed)
{
    return kv_crc32c(seed, kv_bytes(header + SUMMED, AT_HEADER_CHECKSUM - SUMMED));
}

void kv_batch_seal(struct kv_batch *batch, uint32_t seed, uint8_t *bytes)
{
    kv_assert(batch->length >= KV_BATCH_HEADER && batch->lsn % KV_BLOCK == 0);
    memset(bytes, 0, KV_BATCH_HEADER);
    memcpy(bytes, magic, sizeof magic);
    kv_set64(bytes + AT_LSN, batch->lsn);
    kv_set64(bytes + AT_LENGTH, batch->length);
    kv_set32(bytes + AT_EPOCH, batch->epoch);
    kv_set32(bytes + AT_PREVIOUS, batch->previous);
    kv_set32(bytes + AT_RECORDS, batch->records);
    kv_set64(bytes + AT_TIME, batch->time);
    kv_set64(bytes + AT_DURABLE, batch->durable);
    kv_set32(bytes + AT_HEADER_CHECKSUM, header_checksum(bytes, seed));
    batch->checksum = kv_crc32c(seed, kv_bytes(bytes + SUMMED, (size_t)batch->length - SUMMED));
    kv_set32(bytes + AT_CHECKSUM, batch->checksum);
}

int kv_batch_read(const uint8_t header[KV_BATCH_HEADER], uint32_t seed, uint64_t lsn,
                  struct kv_batch *batch)
{
    if (memcmp(header, magic, sizeof magic) != 0 || kv_get64(header + AT_LSN) != lsn ||
        kv_get32(header + AT_HEADER_CHECKSUM) != header_checksum(header, seed)) {
        return KV_ECORRUPT;
    }
    *batch = (struct kv_batch){
        .lsn = lsn,
        .length = kv_get64(header + AT_LENGTH),
        .epoch = kv_get32(header + AT_EPOCH),
        .previous = kv_get32(header + AT_PREVIOUS),
        .records = kv_get32(header + AT_RECORDS),
        .time = kv_get64(header + AT_TIME),
        .durable = kv_get64(header + AT_DURABLE),
        .checksum = kv_get32(header + AT_CHECKSUM),
    };
    return batch->length >= KV_BATCH_HEADER && batch->epoch > 0 && batch->durable <= lsn &&
                   kv_get32(header + AT_ZERO) == 0 && kv_get32(header + AT_ZERO_TOO) == 0
               ? KV_OK
               : KV_ECORRUPT;
}

uint32_t kv_batch_sum(const struct kv_batch *batch, uint32_t sum, uint64_t from,
                      struct kv_bytes piece)
{
    const uint64_t skipped = from < SUMMED ? SUMMED - from : 0;
    const uint64_t left = batch->length > from ? batch->length - from : 0;
    const uint64_t end = left < piece.length ? left : piece.length;
    return skipped < end ? kv_crc32c(sum, kv_bytes(piece.data + skipped, (size_t)(end - skipped)))
                         : sum;
}
