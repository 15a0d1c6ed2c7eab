#include "durable/checkpoint_reader.h"

#include "base/alloc.h"

#include <kv/buffer.h>
#include <kv/error.h>
#include <stdarg.h>
#include <stdio.h>

enum { TEXT_SIZE = 400 };

struct kv_checkpoint_reader {
    struct kv_checkpoint_source source;
    uint32_t seed;
    struct kv_checkpoint_head head;
    struct kv_checkpoint_tail tail;
    struct kv_checkpoint_tail seen; /* the numbers of what was read */
    uint64_t at;                    /* in the file */
    uint64_t table;                 /* of the last TABLE record: entries follow it */
    struct kv_buffer rest;          /* records that were read, of which the last may not be whole */
    uint32_t record;                /* where the next chunk has its first record; 0: as usual */
    bool is_behind_damage;          /* the next record may be of any table */
    bool is_partial;                /* something was skipped */
    uint8_t *chunk;                 /* KV_CHUNK_MAX bytes */
    char text[TEXT_SIZE];
};

struct kv_checkpoint_reader *kv_checkpoint_reader_new(const struct kv_checkpoint_source *source)
{
    struct kv_checkpoint_reader *r = kv_zalloc(sizeof *r);
    r->source = *source;
    r->seed = kv_checkpoint_seed(&source->store, source->lsn);
    r->chunk = kv_zalloc(KV_CHUNK_MAX);
    return r;
}

void kv_checkpoint_reader_free(struct kv_checkpoint_reader *r)
{
    if (r != NULL) {
        kv_buffer_free(&r->rest);
        kv_free(r->chunk);
        kv_free(r);
    }
}

/* Returns `error`, and keeps a sentence that begins with the file and an offset in it. */
__attribute__((format(printf, 4, 5))) static int fail(struct kv_checkpoint_reader *r, int error,
                                                      uint64_t offset, const char *format, ...)
{
    char name[KV_CHECKPOINT_NAME_SIZE];
    va_list arguments;
    kv_checkpoint_name(r->source.lsn, name);
    const int length =
        snprintf(r->text, sizeof r->text, "%s, byte %llu: ", name, (unsigned long long)offset);
    va_start(arguments, format);
    (void)vsnprintf(r->text + length, sizeof r->text - (size_t)length, format, arguments);
    va_end(arguments);
    return error;
}

/* Reads up to `wanted` bytes at the present offset, less only at the end of the file. */
static int read_some(struct kv_checkpoint_reader *r, uint64_t wanted, size_t *got)
{
    const struct kv_disk_view *disk = &r->source.disk;
    const uint64_t left = r->source.size - r->at;
    const size_t length = (size_t)(wanted < left ? wanted : left);
    const int error =
        disk->read_checkpoint(disk->context, r->source.lsn, r->at, r->chunk, length, got);
    if (error != KV_OK) {
        return fail(r, error, r->at, "%s", kv_error_text(error));
    }
    return *got == length ? KV_OK
                          : fail(r, KV_ECORRUPT, r->at + *got,
                                 "the checkpoint is damaged: it ends here, and not at its end");
}

static int read_head(struct kv_checkpoint_reader *r)
{
    size_t got = 0;
    int error = read_some(r, KV_BLOCK, &got);
    if (error != KV_OK) {
        return error;
    }
    error = got < KV_BLOCK
                ? KV_ECORRUPT
                : kv_checkpoint_read_head(r->chunk, r->source.lsn, &r->source.store, &r->head);
    r->at += error == KV_OK ? KV_BLOCK : 0;
    if (error == KV_EVERSION) {
        return fail(r, error, 0, "a newer version of this program wrote the checkpoint");
    }
    return error == KV_OK ? KV_OK : fail(r, error, 0, "the head of the checkpoint is damaged");
}

/* ---- chunks ------------------------------------------------------------------------------------
 */

static int settle(struct kv_checkpoint_reader *r)
{
    const struct kv_recovery_sink *sink = &r->source.sink;
    const int error = sink->settle == NULL ? KV_OK : sink->settle(sink->context);
    return error == KV_OK ? KV_OK : fail(r, error, r->at, "%s", kv_error_text(error));
}

static int hand_out(struct kv_checkpoint_reader *r, const struct kv_record *record)
{
    const struct kv_recovery_sink *sink = &r->source.sink;
    const bool is_table = record->kind == KV_RECORD_TABLE;
    const bool follows = record->table == r->table || r->is_behind_damage;
    if (!is_table && (record->kind != KV_RECORD_PUT || !follows)) {
        return fail(r, KV_ECORRUPT, r->at, "a record that a checkpoint cannot have");
    }
    r->table = record->table;
    r->is_behind_damage = false;
    r->seen.tables += is_table;
    r->seen.entries += !is_table;
    r->seen.table = r->table > r->seen.table ? r->table : r->seen.table;
    const int error = sink->record(sink->context, record);
    return error == KV_OK ? KV_OK : fail(r, error, r->at, "%s", kv_error_text(error));
}

/* Hands out the records that are whole. */
static int hand_out_rest(struct kv_checkpoint_reader *r)
{
    struct kv_bytes left = kv_buffer_bytes(&r->rest);
    struct kv_record record;
    int error = KV_OK;
    while (error == KV_OK && left.length > 0) {
        error = kv_record_read(&left, &record);
        if (error == KV_EMALFORMED) {
            error = fail(r, KV_ECORRUPT, r->at, "no record that this program can read");
        } else if (error == KV_OK) {
            error = hand_out(r, &record);
        }
    }
    error = error == KV_OK || error == KV_ETRUNCATED ? settle(r) : error;
    kv_buffer_consume(&r->rest, r->rest.length - left.length);
    return error;
}

static int read_chunk(struct kv_checkpoint_reader *r, size_t got)
{
    struct kv_chunk chunk;
    if (kv_chunk_read(kv_bytes(r->chunk, got), r->seed, &chunk) != KV_OK ||
        chunk.number != r->seen.chunks) {
        return fail(r, KV_ECORRUPT, r->at, "the checkpoint is damaged");
    }
    const uint32_t begin = r->record > 0 ? r->record : KV_CHUNK_HEADER;
    const struct kv_bytes content = kv_bytes(r->chunk + begin, chunk.length - (size_t)begin);
    r->seen.chunks++;
    r->record = 0;
    if (kv_buffer_try_reserve(&r->rest, content.length) != KV_OK) {
        return fail(r, KV_ENOMEM, r->at, "no memory for a record of more than %zu bytes",
                    r->rest.length);
    }
    kv_buffer_append(&r->rest, content);
    const int error = hand_out_rest(r);
    r->at += error == KV_OK ? kv_padded(chunk.length) : 0;
    return error;
}

/* ---- the end -----------------------------------------------------------------------------------
 */

static int check_tail(struct kv_checkpoint_reader *r)
{
    const struct kv_checkpoint_tail *tail = &r->tail;
    const struct kv_checkpoint_tail *seen = &r->seen;
    const bool is_whole = r->rest.length == 0 && tail->chunks == seen->chunks &&
                          tail->tables == seen->tables && tail->entries == seen->entries &&
                          tail->table >= seen->table && tail->end >= r->source.lsn;
    if (!is_whole && !r->is_partial) {
        return fail(r, KV_ECORRUPT, r->at, "the checkpoint holds something else than its end says");
    }
    r->at += KV_BLOCK;
    return KV_OK;
}

/* ---- damage ------------------------------------------------------------------------------------
 */

/* Returns true if a chunk that is whole begins here, and a record in it. */
static bool finds_record(struct kv_checkpoint_reader *r)
{
    struct kv_chunk chunk;
    size_t got = 0;
    if (read_some(r, KV_BLOCK, &got) != KV_OK || !kv_chunk_is_likely(r->chunk) ||
        read_some(r, KV_CHUNK_MAX, &got) != KV_OK ||
        kv_chunk_read(kv_bytes(r->chunk, got), r->seed, &chunk) != KV_OK ||
        chunk.number < r->seen.chunks || chunk.record == 0) {
        return false;
    }
    r->seen.chunks = chunk.number;
    r->record = chunk.record;
    return true;
}

/* Chunks begin at blocks, and the tail is the last block. */
int kv_checkpoint_reader_skip(struct kv_checkpoint_reader *r, uint64_t *end)
{
    const uint64_t tail = r->source.size < KV_BLOCK ? 0 : r->source.size - KV_BLOCK;
    kv_buffer_clear(&r->rest);
    r->is_behind_damage = r->is_partial = true;
    r->record = 0;
    do {
        r->at += KV_BLOCK;
    } while (r->at < tail && !finds_record(r));
    *end = r->at;
    return r->at <= tail ? KV_OK : KV_ENOENT;
}

int kv_checkpoint_reader_step(struct kv_checkpoint_reader *r, bool *more)
{
    const uint64_t end = r->source.size < KV_BLOCK ? 0 : r->source.size - KV_BLOCK;
    size_t got = 0;
    *more = true;
    if (r->at == 0) {
        return read_head(r);
    }
    const int error = read_some(r, r->at < end ? KV_CHUNK_MAX : KV_BLOCK, &got);
    if (error != KV_OK) {
        return error;
    }
    if (r->at < end) {
        return read_chunk(r, got);
    }
    if (r->at > end || kv_checkpoint_read_tail(r->chunk, r->seed, &r->tail) != KV_OK) {
        return fail(r, KV_ECORRUPT, r->at, "the end of the checkpoint is damaged");
    }
    *more = false;
    return check_tail(r);
}

const char *kv_checkpoint_reader_text(const struct kv_checkpoint_reader *r)
{
    return r->text;
}

uint64_t kv_checkpoint_reader_done(const struct kv_checkpoint_reader *r)
{
    return r->at;
}

const struct kv_checkpoint_head *kv_checkpoint_reader_head(const struct kv_checkpoint_reader *r)
{
    return &r->head;
}

const struct kv_checkpoint_tail *kv_checkpoint_reader_tail(const struct kv_checkpoint_reader *r)
{
    return &r->tail;
}
