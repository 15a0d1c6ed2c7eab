/* Fuzzes the reader of checkpoints. The input makes a file out of pieces, each with its kind, an
 * argument and its length in front: a chunk whose content are the bytes of the piece, with a right
 * checksum and perhaps a wrong number; a head or a tail, perhaps with a wrong field; bytes as they
 * are; or a change of bytes that are there.
 *
 * Reading ends in a bounded number of steps, with a known error or with what the tail says. It is
 * the same when it is done again, and leaves no memory behind. */
#include "base/alloc.h"
#include "durable/checkpoint_reader.h"

#include <kv/buffer.h>
#include <kv/error.h>
#include <stdlib.h>

enum { BLOCKS = 16, LSN = 3 * KV_BLOCK };

static const struct kv_store_id STORE = {{1, 2, 3}};

struct file {
    uint8_t bytes[BLOCKS * KV_BLOCK];
    size_t length;
    uint64_t chunks;
    struct kv_checkpoint_tail seen; /* tables and entries that were handed out */
};

static void demand(bool condition)
{
    if (!condition) {
        abort();
    }
}

static int read_some(void *context, uint64_t lsn, uint64_t offset, void *to, size_t length,
                     size_t *got)
{
    const struct file *file = context;
    demand(lsn == LSN && offset <= file->length && length <= file->length - offset);
    if (length > 0) {
        memcpy(to, file->bytes + offset, length);
    }
    *got = length;
    return KV_OK;
}

static int count(void *context, const struct kv_record *record)
{
    struct file *file = context;
    uint8_t copy[BLOCKS * KV_BLOCK];
    demand(kv_record_bound(record) <= sizeof copy);
    (void)kv_record_write(record, copy); /* reads all that the record borrows */
    file->seen.tables += record->kind == KV_RECORD_TABLE;
    file->seen.entries += record->kind == KV_RECORD_PUT;
    return KV_OK;
}

static void add_head(struct file *file, uint8_t argument)
{
    const struct kv_checkpoint_head head = {
        .place = {.lsn = LSN + (argument == 1 ? KV_BLOCK : 0), .epoch = argument != 2},
        .time = argument,
    };
    kv_checkpoint_write_head(&head, &STORE, file->bytes + file->length);
}

static void add_chunk(struct file *file, uint8_t argument, struct kv_bytes content)
{
    uint8_t *chunk = file->bytes + file->length;
    if (content.length > 0) {
        memcpy(chunk + KV_CHUNK_HEADER, content.data, content.length);
    }
    const struct kv_chunk header = {
        .number = file->chunks + (argument == 1),
        .length = KV_CHUNK_HEADER + (uint32_t)content.length,
        .record = argument == 2 ? KV_CHUNK_HEADER : 0,
    };
    kv_chunk_seal(&header, kv_checkpoint_seed(&STORE, LSN), chunk);
    file->chunks++;
}

static void add_tail(struct file *file, uint8_t argument, struct kv_bytes bytes)
{
    const struct kv_checkpoint_tail tail = {
        .chunks = file->chunks + (argument == 1),
        .tables = bytes.length > 0 ? bytes.data[0] : 0,
        .entries = bytes.length > 1 ? bytes.data[1] : 0,
        .table = bytes.length > 2 ? bytes.data[2] : 0,
        .end = argument == 2 ? LSN - 1 : LSN,
    };
    kv_checkpoint_write_tail(&tail, kv_checkpoint_seed(&STORE, LSN), file->bytes + file->length);
}

static void add(struct file *file, uint8_t kind, uint8_t argument, struct kv_bytes bytes)
{
    if (kind % 8 == 7) {
        if (bytes.length > 0 && file->length > 0) {
            file->bytes[(argument * (size_t)37) % file->length] ^= bytes.data[0];
        }
        return;
    }
    if (file->length + KV_BLOCK > sizeof file->bytes) {
        return;
    }
    if (kind % 8 == 0) {
        add_head(file, argument);
    } else if (kind % 8 == 1) {
        add_tail(file, argument, bytes);
    } else if (kind % 8 < 6) {
        add_chunk(file, argument, bytes);
    } else if (bytes.length > 0) {
        memcpy(file->bytes + file->length, bytes.data, bytes.length);
    }
    file->length += KV_BLOCK;
}

/* Goes on behind each damaged place, and always further. */
static void read_rest(const struct file *file, struct kv_checkpoint_reader *reader, int error)
{
    bool more = true;
    uint64_t end = 0;
    for (unsigned steps = 0; more && (error == KV_OK || error == KV_ECORRUPT); steps++) {
        const uint64_t begin = kv_checkpoint_reader_done(reader);
        demand(steps < 2 * BLOCKS + 6);
        if (error != KV_OK && kv_checkpoint_reader_skip(reader, &end) != KV_OK) {
            return;
        }
        demand(error == KV_OK || (end > begin && end <= file->length));
        error = kv_checkpoint_reader_step(reader, &more);
    }
}

static int read_all(struct file *file, struct kv_checkpoint_tail *tail)
{
    struct kv_checkpoint_reader *reader = kv_checkpoint_reader_new(&(struct kv_checkpoint_source){
        .disk = {.context = file, .read_checkpoint = read_some},
        .sink = {.context = file, .record = count},
        .store = STORE,
        .lsn = LSN,
        .size = file->length,
    });
    bool more = true;
    int error = KV_OK;
    memset(&file->seen, 0, sizeof file->seen);
    for (unsigned steps = 0; more && error == KV_OK; steps++) {
        demand(steps < BLOCKS + 3);
        error = kv_checkpoint_reader_step(reader, &more);
    }
    *tail = *kv_checkpoint_reader_tail(reader);
    const struct kv_checkpoint_tail seen = file->seen;
    demand((error == KV_OK) == (kv_checkpoint_reader_text(reader)[0] == '\0'));
    read_rest(file, reader, error);
    file->seen = seen;
    kv_checkpoint_reader_free(reader);
    return error;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct file file;
    const size_t outstanding = kv_alloc_outstanding();
    struct kv_checkpoint_tail tail;
    struct kv_checkpoint_tail again;
    memset(&file, 0, sizeof file);
    for (size_t at = 0; at + 3 <= size;) {
        const size_t left = size - at - 3;
        const size_t length = data[at + 2] < left ? data[at + 2] : left;
        add(&file, data[at], data[at + 1], kv_bytes(data + at + 3, length));
        at += 3 + length;
    }
    const int error = read_all(&file, &tail);
    demand(error == KV_OK || error == KV_ECORRUPT || error == KV_EVERSION);
    if (error == KV_OK) {
        demand(tail.tables == file.seen.tables && tail.entries == file.seen.entries);
    }
    demand(read_all(&file, &again) == error && memcmp(&tail, &again, sizeof tail) == 0);
    demand(kv_alloc_outstanding() == outstanding);
    return 0;
}
