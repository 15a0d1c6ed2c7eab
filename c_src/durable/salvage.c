#include "durable/salvage.h"

#include "base/alloc.h"

#include <kv/buffer.h>
#include <kv/error.h>

enum { PIECE = 1 << 20 };

struct salvage {
    struct kv_salvage_options options;
    struct kv_salvage_result *result;
    uint32_t seed;
    uint64_t at;
    uint64_t end;
    uint32_t epoch;
    uint32_t previous;
    bool chained; /* `previous` is known */
    bool open;    /* a gap is, at `gap` */
    struct kv_salvage_gap gap;
    struct kv_batch batch;
    struct kv_buffer piece; /* bytes of the stream, */
    uint64_t piece_lsn;     /* from here on */
};

/* ---- bytes of the stream -----------------------------------------------------------------------
 */

/* Zeros stand for what cannot be read. */
static void read_blocks(const struct salvage *s, uint64_t segment, uint64_t offset, uint8_t *to,
                        size_t length)
{
    const struct kv_disk_view *disk = &s->options.disk;
    size_t got = 0;
    int error = disk->read(disk->context, segment, offset, to, length, &got);
    if (error == KV_OK || error == KV_ENOENT) {
        got = error == KV_OK ? got : 0;
        memset(to + got, 0, length - got);
        return;
    }
    if (length <= KV_BLOCK) {
        memset(to, 0, length);
        return;
    }
    for (size_t at = 0; at < length; at += KV_BLOCK) { /* one block of them is bad */
        read_blocks(s, segment, offset + at, to + at,
                    length - at < KV_BLOCK ? length - at : KV_BLOCK);
    }
}

static void read_stream(const struct salvage *s, uint64_t lsn, uint8_t *to, uint64_t length)
{
    const uint64_t size = s->options.segment_size;
    while (length > 0) {
        const uint64_t segment = kv_segment_of(lsn, size);
        const uint64_t left = kv_segment_begin(segment + 1, size) - lsn;
        uint64_t part = length < left ? length : left;
        part = part < PIECE ? part : PIECE;
        read_blocks(s, segment, kv_segment_offset(lsn, size), to, (size_t)part);
        lsn += part;
        to += part;
        length -= part;
    }
}

/* The bytes from s->at on: `length` of them, which lie before the end. */
static int bytes_here(struct salvage *s, uint64_t length, const uint8_t **bytes)
{
    const uint64_t left = s->end - s->at;
    const uint64_t passed = s->at - s->piece_lsn;
    if (passed > s->piece.length || length > s->piece.length - passed) {
        uint64_t wanted = length > PIECE ? length : PIECE;
        wanted = wanted < left ? wanted : left;
        kv_buffer_clear(&s->piece);
        if (kv_buffer_try_reserve(&s->piece, (size_t)wanted) != KV_OK) {
            return KV_ENOMEM;
        }
        read_stream(s, s->at, s->piece.data, wanted);
        s->piece.length = (size_t)wanted;
        s->piece_lsn = s->at;
    }
    *bytes = s->piece.data + (s->at - s->piece_lsn);
    return KV_OK;
}

/* ---- batches -----------------------------------------------------------------------------------
 */

/* Sets *good if a batch lies here that is whole. One with a header alone is counted as lost. */
static int look(struct salvage *s, bool *good)
{
    const uint8_t *bytes = NULL;
    struct kv_batch *batch = &s->batch;
    int error = bytes_here(s, KV_BLOCK, &bytes);
    *good = false;
    if (error != KV_OK || kv_batch_read(bytes, s->seed, s->at, batch) != KV_OK ||
        batch->epoch < s->epoch) {
        return error;
    }
    if (batch->length <= s->end - s->at) {
        error = bytes_here(s, batch->length, &bytes);
        *good = error == KV_OK &&
                kv_batch_sum(batch, s->seed, 0, kv_bytes(bytes, (size_t)batch->length)) ==
                    batch->checksum;
    }
    if (!*good) {
        s->gap.batches++;
        s->gap.records += batch->records;
    }
    return error;
}

/* Reads all records, and hands them out if there is a sink. */
static int go_through(const struct salvage *s, const uint8_t *bytes,
                      const struct kv_salvage_sink *sink)
{
    struct kv_bytes rest =
        kv_bytes(bytes + KV_BATCH_HEADER, (size_t)s->batch.length - KV_BATCH_HEADER);
    struct kv_record record;
    uint32_t count = 0;
    int error = KV_OK;
    while (error == KV_OK && rest.length > 0) {
        error = kv_record_read(&rest, &record) == KV_OK ? KV_OK : KV_ECORRUPT;
        if (error == KV_OK && sink != NULL) {
            error = sink->record(sink->context, &record);
        }
        count++;
    }
    return error == KV_OK && count != s->batch.records ? KV_ECORRUPT : error;
}

static void close_gap(struct salvage *s)
{
    const struct kv_salvage_sink *sink = &s->options.sink;
    s->gap.end = s->at;
    s->result->gaps++;
    sink->gap(sink->context, &s->gap);
    s->open = false;
    s->gap = (struct kv_salvage_gap){.lsn = s->at};
}

static int take(struct salvage *s, const uint8_t *bytes)
{
    const struct kv_salvage_sink *sink = &s->options.sink;
    if (s->open || (s->chained && s->batch.previous != s->previous)) {
        close_gap(s);
    }
    int error = go_through(s, bytes, sink);
    if (error == KV_OK) {
        error = sink->batch(sink->context, &s->batch);
    }
    s->epoch = s->batch.epoch;
    s->previous = s->batch.checksum;
    s->chained = true;
    s->at += kv_padded(s->batch.length);
    s->gap = (struct kv_salvage_gap){.lsn = s->at};
    s->result->lsn = s->at;
    s->result->batches++;
    s->result->records += s->batch.records;
    s->result->time = s->batch.time > s->result->time ? s->batch.time : s->result->time;
    return error;
}

static void skip_block(struct salvage *s)
{
    s->open = true;
    s->at += KV_BLOCK;
}

static int step(struct salvage *s)
{
    const uint8_t *bytes = NULL;
    bool good = false;
    int error = look(s, &good);
    if (error != KV_OK || !good) {
        skip_block(s);
        return error;
    }
    error = bytes_here(s, s->batch.length, &bytes);
    if (error == KV_OK && go_through(s, bytes, NULL) != KV_OK) { /* all of it counts, or none */
        s->gap.batches++;
        s->gap.records += s->batch.records;
        skip_block(s);
        return KV_OK;
    }
    return error != KV_OK ? error : take(s, bytes);
}

static uint64_t greatest(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static int begin(struct salvage *s)
{
    const struct kv_disk_view *disk = &s->options.disk;
    const uint64_t size = s->options.segment_size;
    uint64_t first = 0;
    uint64_t last = 0;
    int error = disk->segments(disk->context, &first, &last);
    if (error != KV_OK) {
        return error;
    }
    if (last >= INT64_MAX / size) {
        return KV_ECORRUPT;
    }
    s->at = greatest(s->options.lsn, kv_segment_begin(first, size));
    s->end = greatest(s->at, kv_segment_begin(last + 1, size));
    s->chained = s->at == s->options.lsn;
    s->open = !s->chained;
    s->piece_lsn = s->at;
    s->gap = (struct kv_salvage_gap){.lsn = s->options.lsn};
    s->result->lsn = s->at;
    return KV_OK;
}

int kv_salvage(const struct kv_salvage_options *options, struct kv_salvage_result *result)
{
    struct salvage s = {
        .options = *options,
        .result = result,
        .seed = kv_batch_seed(&options->store),
        .epoch = options->epoch,
        .previous = options->previous,
    };
    *result = (struct kv_salvage_result){.lsn = options->lsn};
    int error = begin(&s);
    while (error == KV_OK && s.at < s.end) {
        error = step(&s);
    }
    s.gap.end = s.end;
    result->tail = s.gap;
    kv_buffer_free(&s.piece);
    return error;
}
