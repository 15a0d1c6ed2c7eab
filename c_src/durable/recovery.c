#include "durable/recovery.h"

#include "base/alloc.h"
#include "base/least.h"
#include "durable/checkpoint_reader.h"

#include <kv/buffer.h>
#include <kv/error.h>
#include <stdarg.h>
#include <stdio.h>

enum { TEXT_SIZE = 400 };

/* A checkpoint comes first, if there is one. Then each batch goes from HEADER over BODY, where its
 * checksum is computed, to RECORDS. At the first place without a valid next batch, LOOK_OUT reads
 * the headers behind it. */
enum state { BEGIN, CHECKPOINT, HEADER, BODY, RECORDS, LOOK_OUT, DONE };

struct kv_recovery {
    struct kv_recovery_options options;
    uint32_t seed;
    enum state state;
    struct kv_checkpoint_reader *checkpoint; /* or NULL */
    uint64_t durable;                        /* what it says: the log has to be valid up to here */
    uint64_t begin;                          /* of the stream that is read */
    uint64_t end;                            /* of the last segment */
    uint64_t last;                           /* segment */

    struct kv_buffer window; /* bytes of the stream, */
    uint64_t window_lsn;     /* from here on */
    uint64_t checked;        /* the segments below have had their header checked */
    uint64_t bad;            /* the first of them without a valid one; else UINT64_MAX */

    uint64_t at; /* the next batch, or the present one */
    uint32_t epoch;
    uint32_t previous;
    struct kv_batch batch;
    uint64_t summed; /* bytes of the batch */
    uint32_t sum;
    uint64_t read;       /* bytes of the batch whose records were handed out */
    uint32_t handed;     /* records of the batch */
    uint64_t look;       /* where the look-out is */
    uint32_t epoch_seen; /* the greatest */
    uint64_t spent;      /* bytes, in this step */
    struct kv_recovery_result result;
    char text[TEXT_SIZE];
};

struct kv_recovery *kv_recovery_new(const struct kv_recovery_options *options)
{
    struct kv_recovery *r = kv_zalloc(sizeof *r);
    r->options = *options;
    if (r->options.segment_size == 0) {
        r->options.segment_size = KV_SEGMENT_SIZE;
    }
    r->seed = kv_batch_seed(&options->store);
    r->bad = UINT64_MAX;
    return r;
}

void kv_recovery_free(struct kv_recovery *r)
{
    if (r != NULL) {
        kv_buffer_free(&r->window);
        kv_checkpoint_reader_free(r->checkpoint);
        kv_free(r);
    }
}

/* ---- errors ------------------------------------------------------------------------------------
 */

/* Returns `error`, and keeps a sentence that begins with the file and the offset of `lsn`. */
__attribute__((format(printf, 4, 5))) static int fail(struct kv_recovery *r, int error,
                                                      uint64_t lsn, const char *format, ...)
{
    const uint64_t size = r->options.segment_size;
    char name[KV_SEGMENT_NAME_SIZE];
    kv_segment_name(kv_segment_of(lsn, size), name);
    const int length = snprintf(r->text, sizeof r->text, "%s, byte %llu: ", name,
                                (unsigned long long)kv_segment_offset(lsn, size));
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(r->text + length, sizeof r->text - (size_t)length, format, arguments);
    va_end(arguments);
    return error;
}

static int fail_file(struct kv_recovery *r, int error, uint64_t segment, const char *reason)
{
    char name[KV_SEGMENT_NAME_SIZE];
    kv_segment_name(segment, name);
    (void)snprintf(r->text, sizeof r->text, "%s %s", name, reason);
    return error;
}

static int missing(struct kv_recovery *r, uint64_t segment)
{
    return fail_file(r, KV_ECORRUPT, segment, "is missing, but a part of the log lies there");
}

/* ---- bytes of the stream -----------------------------------------------------------------------
 */

static int read_file(struct kv_recovery *r, uint64_t segment, uint64_t offset, uint8_t *to,
                     size_t length)
{
    const struct kv_disk_view *disk = &r->options.disk;
    size_t got = 0;
    const int error = disk->read(disk->context, segment, offset, to, length, &got);
    if (error == KV_ENOENT) {
        return missing(r, segment);
    }
    if (error != KV_OK) {
        return fail_file(r, error, segment, kv_error_text(error));
    }
    if (got == length) {
        return KV_OK;
    }
    memset(to + got, 0, length - got);
    /* The header is written when the file has its full size. */
    return segment < r->checked && segment < r->bad
               ? fail_file(r, KV_ECORRUPT, segment, "is shorter than it was made")
               : KV_OK;
}

static int check_header(struct kv_recovery *r, uint64_t segment)
{
    uint8_t block[KV_BLOCK];
    if (segment < r->checked) {
        return KV_OK;
    }
    int error = read_file(r, segment, 0, block, sizeof block);
    if (error != KV_OK) {
        return error;
    }
    r->checked = segment + 1;
    error = kv_segment_check(block, segment, &r->options.store);
    if (error == KV_EVERSION) {
        return fail_file(r, error, segment, "was written by a newer version of this program");
    }
    if (error != KV_OK && r->bad == UINT64_MAX) {
        r->bad = segment;
    }
    return KV_OK;
}

/* Reads the next bytes of the stream into the window, which has room; not beyond a segment. */
static int read_piece(struct kv_recovery *r, uint64_t room)
{
    const uint64_t size = r->options.segment_size;
    const uint64_t lsn = r->window_lsn + r->window.length;
    const uint64_t segment = kv_segment_of(lsn, size);
    const uint64_t left = kv_segment_begin(segment + 1, size) - lsn;
    const size_t length = (size_t)kv_least(kv_least(room, left), KV_RECOVERY_STEP);
    int error = check_header(r, segment);
    if (error == KV_OK) {
        error = read_file(r, segment, kv_segment_offset(lsn, size),
                          r->window.data + r->window.length, length);
    }
    if (error == KV_OK) {
        r->window.length += length;
        r->spent += length;
    }
    return error;
}

static int settle(struct kv_recovery *r)
{
    const struct kv_recovery_sink *sink = &r->options.sink;
    const int error = sink->settle == NULL ? KV_OK : sink->settle(sink->context);
    return error == KV_OK ? KV_OK : fail(r, error, r->at, "%s", kv_error_text(error));
}

/* Forgets what is in the window before `lsn`, and makes room for `bytes` from there on. */
static int move_window(struct kv_recovery *r, uint64_t lsn, uint64_t bytes)
{
    const uint64_t passed = lsn - r->window_lsn;
    const int error = settle(r);
    if (error != KV_OK) {
        return error;
    }
    kv_buffer_consume(&r->window, (size_t)kv_least(passed, r->window.length));
    r->window_lsn = lsn;
    if (bytes <= r->window.length) {
        return KV_OK;
    }
    return kv_buffer_try_reserve(&r->window, (size_t)(bytes - r->window.length)) == KV_OK
               ? KV_OK
               : fail(r, KV_ENOMEM, lsn, "no memory for a batch of %llu bytes",
                      (unsigned long long)bytes);
}

static bool has(const struct kv_recovery *r, uint64_t lsn, uint64_t bytes)
{
    return lsn - r->window_lsn <= r->window.length &&
           bytes <= r->window.length - (lsn - r->window_lsn);
}

static const uint8_t *bytes_at(const struct kv_recovery *r, uint64_t lsn)
{
    return r->window.data + (lsn - r->window_lsn);
}

/* Reads the header at `lsn`, which is less than the end. Sets *valid if there is one. */
static int read_header(struct kv_recovery *r, uint64_t lsn, struct kv_batch *batch, bool *valid)
{
    if (!has(r, lsn, KV_BLOCK)) {
        int error = move_window(r, lsn, kv_least(KV_RECOVERY_STEP, r->end - lsn));
        error = error != KV_OK ? error : read_piece(r, r->end - lsn);
        if (error != KV_OK) {
            return error;
        }
    }
    *valid =
        kv_batch_read(bytes_at(r, lsn), r->seed, lsn, batch) == KV_OK && batch->epoch >= r->epoch;
    return KV_OK;
}

/* ---- the states --------------------------------------------------------------------------------
 */

/* No file name has more digits than a position of the stream. */
static bool is_segment(const struct kv_recovery *r, uint64_t segment)
{
    return segment < INT64_MAX / r->options.segment_size;
}

/* Finds the checkpoint. */
static int begin_checkpoint(struct kv_recovery *r)
{
    const struct kv_disk_view *disk = &r->options.disk;
    struct kv_checkpoint_source source = {
        .disk = *disk, .sink = r->options.sink, .store = r->options.store};
    const int error = disk->checkpoint == NULL
                          ? KV_ENOENT
                          : disk->checkpoint(disk->context, &source.lsn, &source.size);
    if (error == KV_OK) {
        r->checkpoint = kv_checkpoint_reader_new(&source);
        r->begin = r->at = r->window_lsn = r->result.begin = source.lsn;
        r->result.checkpoint = source.size;
    }
    return error == KV_ENOENT ? KV_OK : error;
}

/* Finds the part of the log behind it. */
static int begin_log(struct kv_recovery *r)
{
    const uint64_t size = r->options.segment_size;
    const uint64_t segment = kv_segment_of(r->at, size);
    uint64_t first = 0;
    const int error = r->options.disk.segments(r->options.disk.context, &first, &r->last);
    if (error == KV_ENOENT && r->checkpoint == NULL) {
        r->state = DONE;
        return KV_OK;
    }
    if (error == KV_ENOENT) {
        return missing(r, segment);
    }
    if (error != KV_OK) {
        return error;
    }
    if (!is_segment(r, r->last)) {
        return fail_file(r, KV_ECORRUPT, r->last,
                         "is the name of no segment: its number is too large");
    }
    r->end = kv_segment_begin(r->last + 1, size);
    if (first > segment || r->at > r->end) {
        return missing(r, first > segment ? first - 1 : r->last + 1);
    }
    r->checked = segment;
    r->state = r->checkpoint != NULL ? CHECKPOINT : HEADER;
    return KV_OK;
}

static int begin(struct kv_recovery *r)
{
    int error = begin_checkpoint(r);
    error = error != KV_OK ? error : begin_log(r);
    if (error != KV_OK && r->text[0] == '\0') {
        (void)snprintf(r->text, sizeof r->text, "%s", kv_error_text(error));
    }
    return error;
}

/* The log goes on where the checkpoint began. */
static void end_checkpoint(struct kv_recovery *r)
{
    const struct kv_checkpoint_head *head = kv_checkpoint_reader_head(r->checkpoint);
    const struct kv_checkpoint_tail *tail = kv_checkpoint_reader_tail(r->checkpoint);
    r->epoch = r->epoch_seen = head->place.epoch;
    r->previous = head->place.previous;
    r->durable = tail->end;
    r->result.time = head->time;
    r->result.table = tail->table;
    r->result.entries = tail->entries;
    r->state = HEADER;
}

static int checkpoint(struct kv_recovery *r)
{
    bool more = false;
    const uint64_t before = kv_checkpoint_reader_done(r->checkpoint);
    const int error = kv_checkpoint_reader_step(r->checkpoint, &more);
    if (error != KV_OK) {
        (void)snprintf(r->text, sizeof r->text, "%s", kv_checkpoint_reader_text(r->checkpoint));
        return error;
    }
    r->spent += kv_checkpoint_reader_done(r->checkpoint) - before;
    r->result.began = kv_checkpoint_reader_head(r->checkpoint)->time;
    if (!more) {
        end_checkpoint(r);
    }
    return KV_OK;
}

static void look_out(struct kv_recovery *r)
{
    r->look = r->at;
    r->state = LOOK_OUT;
}

static int next_header(struct kv_recovery *r)
{
    bool valid = false;
    if (r->at == r->end) {
        look_out(r);
        return KV_OK;
    }
    const int error = read_header(r, r->at, &r->batch, &valid);
    if (error != KV_OK) {
        return error;
    }
    if (!valid || r->batch.previous != r->previous || r->batch.length > r->end - r->at) {
        look_out(r);
        return KV_OK;
    }
    r->summed = 0;
    r->sum = r->seed;
    r->state = BODY;
    return has(r, r->at, r->batch.length) ? KV_OK
                                          : move_window(r, r->at, kv_padded(r->batch.length));
}

static int end_body(struct kv_recovery *r)
{
    const uint64_t size = r->options.segment_size;
    if (r->sum != r->batch.checksum) {
        look_out(r);
        return KV_OK;
    }
    if (kv_segment_of(r->at + r->batch.length - 1, size) >= r->bad) {
        return fail_file(r, KV_ECORRUPT, r->bad, "has a damaged header: its first 4096 bytes");
    }
    r->read = KV_BATCH_HEADER;
    r->handed = 0;
    r->state = RECORDS;
    return KV_OK;
}

/* Sums up what is in the window; reads on where that is all. */
static int body(struct kv_recovery *r)
{
    const uint64_t length = r->batch.length;
    if (!has(r, r->at, r->summed + 1)) {
        return read_piece(r, kv_padded(length) - r->summed);
    }
    const uint64_t there = r->window.length - (r->at - r->window_lsn);
    const uint64_t piece = kv_least(kv_least(there, length) - r->summed, KV_RECOVERY_STEP);
    r->sum = kv_batch_sum(&r->batch, r->sum, r->summed,
                          kv_bytes(bytes_at(r, r->at + r->summed), (size_t)piece));
    r->summed += piece;
    return r->summed < length ? KV_OK : end_body(r);
}

static void end_batch(struct kv_recovery *r)
{
    const struct kv_batch *batch = &r->batch;
    r->at += kv_padded(batch->length);
    r->epoch = batch->epoch;
    r->previous = batch->checksum;
    r->result.batches++;
    r->result.records += batch->records;
    r->result.time = batch->time > r->result.time ? batch->time : r->result.time;
    r->epoch_seen = batch->epoch > r->epoch_seen ? batch->epoch : r->epoch_seen;
    r->state = HEADER;
}

static int next_record(struct kv_recovery *r)
{
    const struct kv_recovery_sink *sink = &r->options.sink;
    struct kv_bytes rest =
        kv_bytes(bytes_at(r, r->at + r->read), (size_t)(r->batch.length - r->read));
    struct kv_record record;
    const size_t before = rest.length;
    if (kv_record_read(&rest, &record) != KV_OK) {
        return fail(r, KV_ECORRUPT, r->at + r->read, "no record that this program can read");
    }
    r->read += before - rest.length;
    r->spent += before - rest.length;
    r->handed++;
    r->result.table = record.table > r->result.table ? record.table : r->result.table;
    const int error = sink->record(sink->context, &record);
    return error == KV_OK ? KV_OK : fail(r, error, r->at + r->read, "%s", kv_error_text(error));
}

static int records(struct kv_recovery *r)
{
    while (r->read < r->batch.length) {
        const int error = next_record(r);
        if (error != KV_OK || r->spent >= KV_RECOVERY_STEP) {
            return error;
        }
    }
    if (r->handed != r->batch.records) {
        return fail(r, KV_ECORRUPT, r->at, "a batch of %u records holds %u",
                    (unsigned)r->batch.records, (unsigned)r->handed);
    }
    end_batch(r);
    return KV_OK;
}

static int finish(struct kv_recovery *r)
{
    if (r->at < r->durable) {
        char name[KV_CHECKPOINT_NAME_SIZE];
        kv_checkpoint_name(r->begin, name);
        return fail(r, KV_ECORRUPT, r->at,
                    "a batch begins here that is damaged or missing, and it was on disk: %s says "
                    "so",
                    name);
    }
    if (r->epoch_seen >= UINT32_MAX - 1) {
        return fail(r, KV_ECORRUPT, r->at, "the log counts more lives than it can");
    }
    r->result.segments_end = kv_least(r->bad, r->last + 1);
    r->state = DONE;
    return KV_OK;
}

/* A header is enough: what it says was true when the batch was made, even if the batch is torn. */
static int look_further(struct kv_recovery *r)
{
    struct kv_batch batch;
    bool valid = false;
    if (r->look == r->end) {
        return finish(r);
    }
    const int error = read_header(r, r->look, &batch, &valid);
    if (error != KV_OK) {
        return error;
    }
    if (valid && batch.durable > r->at) {
        char name[KV_SEGMENT_NAME_SIZE];
        kv_segment_name(kv_segment_of(r->look, r->options.segment_size), name);
        return fail(r, KV_ECORRUPT, r->at,
                    "a batch begins here that is damaged or missing, and it was on disk: the batch "
                    "in %s at byte %llu says so",
                    name, (unsigned long long)kv_segment_offset(r->look, r->options.segment_size));
    }
    r->epoch_seen = valid && batch.epoch > r->epoch_seen ? batch.epoch : r->epoch_seen;
    r->look += KV_BLOCK;
    return KV_OK;
}

static int advance(struct kv_recovery *r)
{
    switch (r->state) {
    case BEGIN:
        return begin(r);
    case CHECKPOINT:
        return checkpoint(r);
    case HEADER:
        return next_header(r);
    case BODY:
        return body(r);
    case RECORDS:
        return records(r);
    case LOOK_OUT:
        return look_further(r);
    case DONE:
        break;
    }
    return KV_OK;
}

int kv_recovery_step(struct kv_recovery *r, bool *more)
{
    int error = KV_OK;
    r->spent = 0;
    while (error == KV_OK && r->state != DONE && r->spent < KV_RECOVERY_STEP) {
        error = advance(r);
    }
    error = error == KV_OK ? settle(r) : error;
    *more = r->state != DONE;
    r->result.lsn = r->at;
    r->result.epoch = r->epoch_seen + 1;
    r->result.previous = r->previous;
    return error;
}

const char *kv_recovery_text(const struct kv_recovery *r)
{
    return r->text;
}

void kv_recovery_progress(const struct kv_recovery *r, uint64_t *done, uint64_t *all)
{
    const uint64_t checkpoint =
        r->checkpoint == NULL ? 0 : kv_checkpoint_reader_done(r->checkpoint);
    *done = checkpoint + r->window_lsn + r->window.length - r->begin;
    *all = r->result.checkpoint + (r->end > r->begin ? r->end - r->begin : 0);
}

bool kv_recovery_is_exact(const struct kv_recovery *r)
{
    return r->state > CHECKPOINT && r->at >= r->durable;
}

const struct kv_recovery_result *kv_recovery_result(const struct kv_recovery *r)
{
    return &r->result;
}
