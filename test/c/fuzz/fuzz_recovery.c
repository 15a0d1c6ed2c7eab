/* Fuzzes recovery. The input makes a log of three small segments out of pieces, each with its kind,
 * an argument and its length in front: a batch whose records are the bytes of the piece, with right
 * checksums and perhaps a wrong field; bytes as they are; or a change of bytes that are there.
 *
 * Recovery ends in a bounded number of steps, with a known error or with a result within the log.
 * It hands out only whole batches, finds the same when it runs again, and leaves no memory behind.
 */
#include "base/alloc.h"
#include "durable/recovery.h"

#include <kv/buffer.h>
#include <kv/error.h>
#include <stdlib.h>

enum { SEGMENTS = 3, SIZE = 3 * KV_BLOCK, CONTENT = SIZE - KV_BLOCK, LOG = SEGMENTS * CONTENT };

static const struct kv_store_id STORE = {{1, 2, 3}};

struct log {
    uint8_t stream[LOG];
    uint8_t headers[SEGMENTS][KV_BLOCK];
    uint64_t at; /* the next piece */
    uint32_t epoch, previous;
    uint64_t handed; /* records */
};

static void demand(bool condition)
{
    if (!condition) {
        abort();
    }
}

static int segments(void *context, uint64_t *first, uint64_t *last)
{
    (void)context;
    *first = 0;
    *last = SEGMENTS - 1;
    return KV_OK;
}

static int read_some(void *context, uint64_t segment, uint64_t offset, void *to, size_t length,
                     size_t *got)
{
    const struct log *log = context;
    demand(segment < SEGMENTS && offset + length <= SIZE);
    const uint8_t *from = offset < KV_BLOCK ? log->headers[segment] + offset
                                            : log->stream + segment * CONTENT + offset - KV_BLOCK;
    demand(offset >= KV_BLOCK || offset + length <= KV_BLOCK);
    memcpy(to, from, length);
    *got = length;
    return KV_OK;
}

static int count(void *context, const struct kv_record *record)
{
    struct log *log = context;
    uint8_t copy[KV_BATCH_HEADER + LOG];
    demand(kv_record_bound(record) <= sizeof copy);
    (void)kv_record_write(record, copy); /* reads all that the record borrows */
    log->handed++;
    return KV_OK;
}

static uint32_t count_records(struct kv_bytes bytes)
{
    struct kv_record record;
    uint32_t records = 0;
    while (bytes.length > 0 && kv_record_read(&bytes, &record) == KV_OK) {
        records++;
    }
    return records;
}

/* One field may be wrong. */
static void add_batch(struct log *log, uint8_t argument, struct kv_bytes records)
{
    uint8_t bytes[KV_BATCH_HEADER + 256] = {0};
    const uint8_t wrong = argument >> 4;
    struct kv_batch batch = {
        .lsn = log->at + (wrong == 1 ? KV_BLOCK : 0),
        .length = KV_BATCH_HEADER + records.length,
        .epoch = log->epoch + (wrong == 2) - (wrong == 3) + (wrong == 4 ? UINT32_MAX - 2 : 0),
        .previous = log->previous + (wrong == 5),
        .records = count_records(records) + (wrong == 6),
        .time = argument,
        .durable = wrong == 7   ? log->at
                   : wrong == 8 ? log->at + KV_BLOCK
                                : 0,
    };
    if (records.length > 0) {
        memcpy(bytes + KV_BATCH_HEADER, records.data, records.length);
    }
    kv_batch_seal(&batch, kv_batch_seed(&STORE), bytes);
    memcpy(log->stream + log->at, bytes, (size_t)batch.length);
    log->at += KV_BLOCK;
    log->epoch = wrong == 2 ? batch.epoch : log->epoch;
    log->previous = wrong == 9 ? log->previous : batch.checksum;
}

static void add(struct log *log, uint8_t kind, uint8_t argument, struct kv_bytes bytes)
{
    if (log->at + KV_BLOCK > LOG) {
        return;
    }
    if (kind % 4 < 2) {
        add_batch(log, argument, bytes);
    } else if (kind % 4 == 2) {
        if (bytes.length > 0) {
            memcpy(log->stream + log->at, bytes.data, bytes.length);
        }
        log->at += KV_BLOCK;
    } else if (bytes.length > 0) {
        log->stream[(log->at + argument * (uint64_t)79) % LOG] ^= bytes.data[0];
        log->headers[argument % SEGMENTS][argument % 48] ^= bytes.length > 1 ? bytes.data[1] : 0;
    }
}

static int recover(struct log *log, struct kv_recovery_result *result)
{
    struct kv_recovery *recovery = kv_recovery_new(&(struct kv_recovery_options){
        .disk = {.context = log, .segments = segments, .read = read_some},
        .sink = {.context = log, .record = count},
        .store = STORE,
        .segment_size = SIZE,
    });
    bool more = true;
    int error = KV_OK;
    log->handed = 0;
    for (unsigned steps = 0; more && error == KV_OK; steps++) {
        demand(steps < 100);
        error = kv_recovery_step(recovery, &more);
    }
    *result = *kv_recovery_result(recovery);
    demand((error == KV_OK) == (kv_recovery_text(recovery)[0] == '\0'));
    kv_recovery_free(recovery);
    return error;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct log log;
    const size_t outstanding = kv_alloc_outstanding();
    struct kv_recovery_result result;
    struct kv_recovery_result again;
    memset(&log, 0, sizeof log);
    log.epoch = 1;
    for (unsigned i = 0; i < SEGMENTS; i++) {
        kv_segment_header(i, &STORE, log.headers[i]);
    }
    for (size_t at = 0; at + 3 <= size;) {
        const size_t left = size - at - 3;
        const size_t length = data[at + 2] < left ? data[at + 2] : left;
        add(&log, data[at], data[at + 1], kv_bytes(data + at + 3, length));
        at += 3 + length;
    }
    const int error = recover(&log, &result);
    demand(error == KV_OK || error == KV_ECORRUPT || error == KV_EVERSION);
    if (error == KV_OK) {
        demand(result.lsn <= LOG && result.lsn % KV_BLOCK == 0 && result.epoch > 0);
        demand(result.records == log.handed && result.segments_end <= SEGMENTS);
    }
    demand(recover(&log, &again) == error && memcmp(&result, &again, sizeof again) == 0);
    demand(kv_alloc_outstanding() == outstanding);
    return 0;
}
