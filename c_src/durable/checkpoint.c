#include "durable/checkpoint.h"

#include "base/assert.h"
#include "base/endian.h"
#include "durable/crc32c.h"

#include <kv/error.h>
#include <stdio.h>

/* Offsets in the head. */
enum {
    AT_VERSION = 8,
    AT_LSN = 16,
    AT_STORE = 24,
    AT_EPOCH = 40,
    AT_PREVIOUS = 44,
    AT_TIME = 48,
    AT_HEAD_CRC = 56,
};

/* Offsets in a chunk. */
enum { AT_CHECKSUM = 4, AT_NUMBER = 8, AT_LENGTH = 16, AT_RECORD = 20 };

/* Offsets in the tail. */
enum {
    AT_CHUNKS = 8,
    AT_TABLES = 16,
    AT_ENTRIES = 24,
    AT_TABLE = 32,
    AT_END = 40,
    AT_TAIL_CRC = 48,
};

static const uint8_t head_magic[AT_VERSION] = "kvchkpt";
static const uint8_t chunk_magic[AT_CHECKSUM] = {'k', 'v', 'c', '1'};
static const uint8_t tail_magic[AT_CHUNKS] = "kvchend";

void kv_checkpoint_name(uint64_t lsn, char name[KV_CHECKPOINT_NAME_SIZE])
{
    (void)snprintf(name, KV_CHECKPOINT_NAME_SIZE, "checkpoint-%016llx", (unsigned long long)lsn);
}

uint32_t kv_checkpoint_seed(const struct kv_store_id *store, uint64_t lsn)
{
    uint8_t bytes[KV_STORE_ID_SIZE + 8];
    memcpy(bytes, store->bytes, KV_STORE_ID_SIZE);
    kv_set64(bytes + KV_STORE_ID_SIZE, lsn);
    return kv_crc32c(0, kv_bytes(bytes, sizeof bytes));
}

/* ---- head --------------------------------------------------------------------------------------
 */

void kv_checkpoint_write_head(const struct kv_checkpoint_head *head,
                              const struct kv_store_id *store, uint8_t block[KV_BLOCK])
{
    memset(block, 0, KV_BLOCK);
    memcpy(block, head_magic, sizeof head_magic);
    kv_set32(block + AT_VERSION, KV_DURABLE_VERSION);
    kv_set64(block + AT_LSN, head->place.lsn);
    memcpy(block + AT_STORE, store->bytes, KV_STORE_ID_SIZE);
    kv_set32(block + AT_EPOCH, head->place.epoch);
    kv_set32(block + AT_PREVIOUS, head->place.previous);
    kv_set64(block + AT_TIME, head->time);
    kv_set32(block + AT_HEAD_CRC, kv_crc32c(0, kv_bytes(block, AT_HEAD_CRC)));
}

int kv_checkpoint_read_head(const uint8_t block[KV_BLOCK], uint64_t lsn,
                            const struct kv_store_id *store, struct kv_checkpoint_head *head)
{
    if (memcmp(block, head_magic, sizeof head_magic) != 0 ||
        kv_get32(block + AT_HEAD_CRC) != kv_crc32c(0, kv_bytes(block, AT_HEAD_CRC))) {
        return KV_ECORRUPT;
    }
    if (kv_get32(block + AT_VERSION) > KV_DURABLE_VERSION) {
        return KV_EVERSION;
    }
    *head = (struct kv_checkpoint_head){
        .place = {.lsn = kv_get64(block + AT_LSN),
                  .epoch = kv_get32(block + AT_EPOCH),
                  .previous = kv_get32(block + AT_PREVIOUS)},
        .time = kv_get64(block + AT_TIME),
    };
    return head->place.lsn == lsn && lsn % KV_BLOCK == 0 && head->place.epoch > 0 &&
                   memcmp(block + AT_STORE, store->bytes, KV_STORE_ID_SIZE) == 0
               ? KV_OK
               : KV_ECORRUPT;
}

/* ---- chunks ------------------------------------------------------------------------------------
 */

static uint32_t chunk_checksum(const uint8_t *chunk, uint32_t length, uint32_t seed)
{
    return kv_crc32c(seed, kv_bytes(chunk + AT_NUMBER, length - AT_NUMBER));
}

void kv_chunk_seal(const struct kv_chunk *chunk, uint32_t seed, uint8_t *bytes)
{
    kv_assert(chunk->length >= KV_CHUNK_HEADER && chunk->length <= KV_CHUNK_MAX);
    memcpy(bytes, chunk_magic, sizeof chunk_magic);
    kv_set64(bytes + AT_NUMBER, chunk->number);
    kv_set32(bytes + AT_LENGTH, chunk->length);
    kv_set32(bytes + AT_RECORD, chunk->record);
    kv_set32(bytes + AT_CHECKSUM, chunk_checksum(bytes, chunk->length, seed));
}

bool kv_chunk_is_likely(const uint8_t header[KV_CHUNK_HEADER])
{
    return memcmp(header, chunk_magic, sizeof chunk_magic) == 0;
}

int kv_chunk_read(struct kv_bytes bytes, uint32_t seed, struct kv_chunk *chunk)
{
    if (bytes.length < KV_CHUNK_HEADER || !kv_chunk_is_likely(bytes.data)) {
        return KV_ECORRUPT;
    }
    *chunk = (struct kv_chunk){
        .number = kv_get64(bytes.data + AT_NUMBER),
        .length = kv_get32(bytes.data + AT_LENGTH),
        .record = kv_get32(bytes.data + AT_RECORD),
    };
    return chunk->length >= KV_CHUNK_HEADER && chunk->length <= KV_CHUNK_MAX &&
                   chunk->length <= bytes.length && chunk->record < chunk->length &&
                   (chunk->record == 0 || chunk->record >= KV_CHUNK_HEADER) &&
                   kv_get32(bytes.data + AT_CHECKSUM) ==
                       chunk_checksum(bytes.data, chunk->length, seed)
               ? KV_OK
               : KV_ECORRUPT;
}

/* ---- tail --------------------------------------------------------------------------------------
 */

void kv_checkpoint_write_tail(const struct kv_checkpoint_tail *tail, uint32_t seed,
                              uint8_t block[KV_BLOCK])
{
    memset(block, 0, KV_BLOCK);
    memcpy(block, tail_magic, sizeof tail_magic);
    kv_set64(block + AT_CHUNKS, tail->chunks);
    kv_set64(block + AT_TABLES, tail->tables);
    kv_set64(block + AT_ENTRIES, tail->entries);
    kv_set64(block + AT_TABLE, tail->table);
    kv_set64(block + AT_END, tail->end);
    kv_set32(block + AT_TAIL_CRC, kv_crc32c(seed, kv_bytes(block, AT_TAIL_CRC)));
}

int kv_checkpoint_read_tail(const uint8_t block[KV_BLOCK], uint32_t seed,
                            struct kv_checkpoint_tail *tail)
{
    if (memcmp(block, tail_magic, sizeof tail_magic) != 0 ||
        kv_get32(block + AT_TAIL_CRC) != kv_crc32c(seed, kv_bytes(block, AT_TAIL_CRC))) {
        return KV_ECORRUPT;
    }
    *tail = (struct kv_checkpoint_tail){
        .chunks = kv_get64(block + AT_CHUNKS),
        .tables = kv_get64(block + AT_TABLES),
        .entries = kv_get64(block + AT_ENTRIES),
        .table = kv_get64(block + AT_TABLE),
        .end = kv_get64(block + AT_END),
    };
    return KV_OK;
}
