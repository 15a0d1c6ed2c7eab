#include "durable/checkpoint_writer.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "durable/blocks.h"

#include <kv/error.h>

/* Room for the record that goes beyond a chunk: most do not go further. */
enum { BEYOND = 16 * KV_BLOCK };

enum stage { HEAD, CHUNKS, TAIL, DONE };

struct kv_checkpoint {
    struct kv_wal *wal;
    struct kv_store_id store;
    uint64_t chunk_max;
    uint32_t seed;
    struct kv_checkpoint_head head;
    struct kv_checkpoint_tail tail; /* what was added until now */

    struct kv_blocks open; /* a chunk that gathers, and perhaps more than one; or nothing */
    uint64_t record;       /* the offset in it of the first record that begins; 0: none does */
    bool ended;
    uint64_t batch; /* that must be durable before the tail is written, */
    bool handed;    /* ... and was handed out */

    enum stage stage;         /* of the next piece */
    struct kv_blocks writing; /* not empty while a piece is under way */
    struct kv_chunk sealing;  /* the chunk in it; length 0: it is complete */
    uint64_t size;
};

struct kv_checkpoint *kv_checkpoint_new(struct kv_wal *wal,
                                        const struct kv_checkpoint_options *options)
{
    struct kv_checkpoint *c = kv_zalloc(sizeof *c);
    c->wal = wal;
    c->store = options->store;
    c->chunk_max = options->chunk_max > 0 ? options->chunk_max : KV_CHUNK_MAX;
    c->head = (struct kv_checkpoint_head){.place = kv_wal_place(wal), .time = options->time};
    c->seed = kv_checkpoint_seed(&options->store, c->head.place.lsn);
    return c;
}

void kv_checkpoint_free(struct kv_checkpoint *c)
{
    if (c != NULL) {
        kv_blocks_clear(&c->open, 0);
        kv_blocks_clear(&c->writing, 0);
        kv_free(c);
    }
}

uint64_t kv_checkpoint_lsn(const struct kv_checkpoint *c)
{
    return c->head.place.lsn;
}

uint64_t kv_checkpoint_size(const struct kv_checkpoint *c)
{
    return c->size;
}

/* ---- records -----------------------------------------------------------------------------------
 */

bool kv_checkpoint_wants(const struct kv_checkpoint *c)
{
    return c->open.length < c->chunk_max;
}

/* Room behind what has gathered: the header of a chunk comes first. NULL: no memory. At first for a
 * whole chunk, since a buffer that grows is copied, which takes long for one turn. */
static uint8_t *room_for(struct kv_checkpoint *c, uint64_t bytes)
{
    const uint64_t header = c->open.length == 0 ? KV_CHUNK_HEADER : 0;
    const uint64_t whole = c->chunk_max + BEYOND;
    const uint64_t least = c->open.capacity < whole ? whole - c->open.length : 0;
    kv_assert(!c->ended);
    if (kv_blocks_reserve(&c->open, header + bytes > least ? header + bytes : least) != KV_OK) {
        return NULL;
    }
    c->open.length += header;
    return c->open.data + c->open.length;
}

/* Room for the front of a record: as room_for(). */
static uint8_t *begin_record(struct kv_checkpoint *c, uint64_t bytes)
{
    uint8_t *to = room_for(c, bytes);
    if (to != NULL && c->record == 0) {
        c->record = c->open.length;
    }
    return to;
}

static int add(struct kv_checkpoint *c, const struct kv_record *record)
{
    uint8_t *to = begin_record(c, kv_record_bound(record));
    if (to == NULL) {
        return KV_ENOMEM;
    }
    c->open.length += kv_record_write(record, to);
    return KV_OK;
}

int kv_checkpoint_table(struct kv_checkpoint *c, uint64_t table,
                        const struct kv_record_table *about)
{
    c->tail.tables++;
    return add(c, &(struct kv_record){.kind = KV_RECORD_TABLE, .table = table, .about = *about});
}

int kv_checkpoint_put(struct kv_checkpoint *c, uint64_t table, const struct kv_table_entry *entry)
{
    c->tail.entries++;
    return add(c, &(struct kv_record){.kind = KV_RECORD_PUT, .table = table, .entry = *entry});
}

int kv_checkpoint_begin_put(struct kv_checkpoint *c, uint64_t table,
                            const struct kv_table_entry *entry)
{
    const struct kv_record record = {.kind = KV_RECORD_PUT, .table = table, .entry = *entry};
    uint8_t *to = begin_record(c, kv_record_bound(&record) - entry->value.bytes.length);
    if (to == NULL) {
        return KV_ENOMEM;
    }
    c->tail.entries++;
    c->open.length += kv_record_write_put(&record, to);
    return KV_OK;
}

int kv_checkpoint_value(struct kv_checkpoint *c, struct kv_bytes piece)
{
    uint8_t *to = room_for(c, piece.length);
    if (to == NULL) {
        return KV_ENOMEM;
    }
    if (piece.length > 0) {
        memcpy(to, piece.data, piece.length);
    }
    c->open.length += piece.length;
    return KV_OK;
}

void kv_checkpoint_end(struct kv_checkpoint *c, uint64_t table)
{
    c->ended = true;
    c->tail.table = table;
    kv_wal_mark(c->wal);
    c->batch = kv_wal_batch(c->wal);
}

/* ---- pieces ------------------------------------------------------------------------------------
 */

static bool take_head(struct kv_checkpoint *c)
{
    if (kv_blocks_reserve(&c->writing, KV_BLOCK) != KV_OK) {
        return false; /* the next call tries again */
    }
    kv_checkpoint_write_head(&c->head, &c->store, c->writing.data);
    c->writing.length = KV_BLOCK;
    c->stage = CHUNKS;
    return true;
}

/* A reader finds a record again behind a damaged chunk. */
static struct kv_chunk next_chunk(struct kv_checkpoint *c, uint64_t length)
{
    const bool is_here = c->record < length;
    const struct kv_chunk chunk = {
        .number = c->tail.chunks++,
        .length = (uint32_t)length,
        .record = is_here ? (uint32_t)c->record : 0,
    };
    c->record = is_here ? 0 : c->record - length + KV_CHUNK_HEADER;
    return chunk;
}

/* The gathered records are written, and the other buffer gathers; it begins with those too many for
 * one chunk. */
static bool take_chunk(struct kv_checkpoint *c)
{
    const uint64_t length = kv_checkpoint_wants(c) ? c->open.length : c->chunk_max;
    const uint64_t rest = c->open.length - length;
    struct kv_blocks next = c->writing;
    if (rest > 0 && kv_blocks_reserve(&next, KV_CHUNK_HEADER + rest) != KV_OK) {
        return false;
    }
    if (rest > 0) {
        memcpy(next.data + KV_CHUNK_HEADER, c->open.data + length, (size_t)rest);
        next.length = KV_CHUNK_HEADER + rest;
    }
    c->writing = c->open;
    c->writing.length = length;
    c->open = next;
    kv_blocks_pad(&c->writing);
    c->sealing = next_chunk(c, length);
    return true;
}

static bool is_durable(struct kv_checkpoint *c)
{
    if (!c->handed && kv_wal_batch(c->wal) > c->batch) {
        c->handed = true;
        c->batch = kv_wal_batch(c->wal) - 1;
        c->tail.end = kv_wal_end(c->wal);
    }
    return c->handed && kv_wal_durable(c->wal) >= c->batch;
}

static bool take_tail(struct kv_checkpoint *c)
{
    if (!is_durable(c) || kv_blocks_reserve(&c->writing, KV_BLOCK) != KV_OK) {
        return false;
    }
    kv_checkpoint_write_tail(&c->tail, c->seed, c->writing.data);
    c->writing.length = KV_BLOCK;
    c->stage = DONE;
    return true;
}

static bool take_next(struct kv_checkpoint *c)
{
    if (c->stage == HEAD) {
        return take_head(c);
    }
    if (c->stage == CHUNKS && c->ended && c->open.length == 0) {
        c->stage = TAIL;
    }
    if (c->stage == CHUNKS) {
        return (c->ended || !kv_checkpoint_wants(c)) && take_chunk(c);
    }
    return c->stage == TAIL && take_tail(c);
}

bool kv_checkpoint_take(struct kv_checkpoint *c, struct kv_checkpoint_piece *piece)
{
    if (c->writing.length > 0 || !take_next(c)) {
        return false;
    }
    *piece = (struct kv_checkpoint_piece){
        .offset = c->size,
        .bytes = kv_bytes(c->writing.data, (size_t)c->writing.length),
        .last = c->stage == DONE,
        .checkpoint = c,
    };
    return true;
}

void kv_checkpoint_seal(const struct kv_checkpoint_piece *piece)
{
    const struct kv_checkpoint *c = piece->checkpoint;
    if (c->sealing.length > 0) {
        kv_chunk_seal(&c->sealing, c->seed, c->writing.data);
    }
}

void kv_checkpoint_written(struct kv_checkpoint *c)
{
    kv_assert(c->writing.length > 0);
    c->size += c->writing.length;
    c->sealing.length = 0;
    kv_blocks_clear(&c->writing, UINT64_MAX);
}
