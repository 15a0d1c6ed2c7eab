#include "durable/wal.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "durable/blocks.h"

#include <kv/error.h>

enum {
    KEPT_MAX = 8 << 20, /* the memory of a buffer that stays when it is empty */
    ENDS_KEPT = 64,     /* the ends of the last writes */
};

struct kv_wal {
    uint32_t epoch;
    uint32_t seed;
    uint64_t open_max;

    /* The batch that gathers. */
    struct kv_blocks open;
    uint64_t number;
    uint32_t records;
    bool sync;
    bool mark;

    /* The write under way, and those before. */
    struct kv_blocks writing; /* not empty while a write is under way */
    struct kv_batch batch;
    bool syncs;
    uint64_t lsn;             /* behind the last batch that was handed out */
    uint32_t previous;        /* its checksum, unless its write is under way */
    uint64_t written;         /* the number of the last batch that is written */
    uint64_t durable;         /* ... and durable */
    uint64_t durable_lsn;     /* everything below is durable, and perhaps more */
    uint64_t ends[ENDS_KEPT]; /* the LSN behind batch `number`, at number % ENDS_KEPT */
};

struct kv_wal *kv_wal_new(const struct kv_wal_options *options)
{
    struct kv_wal *wal = kv_zalloc(sizeof *wal);
    kv_assert(options->lsn % KV_BLOCK == 0 && options->epoch > 0);
    wal->epoch = options->epoch;
    wal->seed = kv_batch_seed(&options->store);
    wal->open_max = options->open_max > 0 ? options->open_max : KV_WAL_OPEN_MAX;
    wal->number = 1;
    wal->lsn = options->lsn;
    wal->previous = options->previous;
    wal->durable_lsn = options->lsn;
    return wal;
}

void kv_wal_free(struct kv_wal *wal)
{
    if (wal != NULL) {
        kv_blocks_clear(&wal->open, 0);
        kv_blocks_clear(&wal->writing, 0);
        kv_free(wal);
    }
}

/* ---- gathering ---------------------------------------------------------------------------------
 */

/* The header of the batch is written last: here is room for it, behind which records begin. */
static int make_room(struct kv_wal *wal, uint64_t bytes)
{
    if (bytes > INT64_MAX - KV_BATCH_HEADER) {
        return KV_ENOMEM;
    }
    const bool is_empty = wal->open.length == 0;
    const int error = kv_blocks_reserve(&wal->open, bytes + (is_empty ? KV_BATCH_HEADER : 0));
    if (error == KV_OK && is_empty) {
        wal->open.length = KV_BATCH_HEADER;
    }
    return error;
}

uint64_t kv_wal_open_bytes(const struct kv_wal *wal)
{
    return wal->records == 0 ? 0 : wal->open.length;
}

int kv_wal_reserve(struct kv_wal *wal, uint64_t bytes)
{
    const uint64_t open = kv_wal_open_bytes(wal);
    if (open > 0 && (open > wal->open_max || bytes > wal->open_max - open)) {
        return KV_EBUSY;
    }
    return make_room(wal, bytes);
}

static void add(struct kv_wal *wal, const struct kv_record *record)
{
    const size_t bound = kv_record_bound(record);
    if (make_room(wal, bound) != KV_OK) {
        kv_out_of_memory(bound);
    }
    wal->open.length += kv_record_write(record, wal->open.data + wal->open.length);
    wal->records++;
}

void kv_wal_put(struct kv_wal *wal, uint64_t table, const struct kv_table_entry *entry)
{
    add(wal, &(struct kv_record){.kind = KV_RECORD_PUT, .table = table, .entry = *entry});
}

void kv_wal_delete(struct kv_wal *wal, uint64_t table, struct kv_item key)
{
    add(wal, &(struct kv_record){.kind = KV_RECORD_DELETE, .table = table, .entry.key = key});
}

void kv_wal_expiry(struct kv_wal *wal, uint64_t table, struct kv_item key, uint64_t expiry)
{
    add(wal, &(struct kv_record){.kind = KV_RECORD_EXPIRY,
                                 .table = table,
                                 .entry = {.key = key, .expiry = expiry}});
}

void kv_wal_clear(struct kv_wal *wal, uint64_t table)
{
    add(wal, &(struct kv_record){.kind = KV_RECORD_CLEAR, .table = table});
}

void kv_wal_table(struct kv_wal *wal, uint64_t table, const struct kv_record_table *about)
{
    add(wal, &(struct kv_record){.kind = KV_RECORD_TABLE, .table = table, .about = *about});
}

void kv_wal_drop(struct kv_wal *wal, uint64_t table)
{
    add(wal, &(struct kv_record){.kind = KV_RECORD_DROP, .table = table});
}

void kv_wal_drop_registry(struct kv_wal *wal, uint64_t table, struct kv_bytes name)
{
    add(wal, &(struct kv_record){
                 .kind = KV_RECORD_DROP_REGISTRY, .table = table, .about = {.name = name}});
}

void kv_wal_sync(struct kv_wal *wal)
{
    wal->sync = true;
}

bool kv_wal_syncs(const struct kv_wal *wal)
{
    return wal->sync;
}

void kv_wal_mark(struct kv_wal *wal)
{
    wal->mark = true;
    wal->sync = true;
}

uint64_t kv_wal_batch(const struct kv_wal *wal)
{
    return wal->number;
}

/* ---- writing -----------------------------------------------------------------------------------
 */

bool kv_wal_is_writing(const struct kv_wal *wal)
{
    return wal->writing.length > 0;
}

/* The gathered changes are the batch that will be written, and the other buffer gathers. */
static void swap(struct kv_wal *wal, uint64_t time)
{
    const struct kv_blocks empty = wal->writing;
    wal->writing = wal->open;
    wal->open = empty;
    wal->batch = (struct kv_batch){
        .lsn = wal->lsn,
        .length = wal->writing.length,
        .epoch = wal->epoch,
        .previous = wal->previous,
        .records = wal->records,
        .time = time,
        .durable = wal->durable_lsn,
    };
    wal->syncs = wal->sync;
    kv_blocks_pad(&wal->writing);
    wal->lsn += wal->writing.length;
    wal->ends[wal->number % ENDS_KEPT] = wal->lsn;
    wal->number++;
    wal->records = 0;
    wal->sync = false;
    wal->mark = false;
}

bool kv_wal_take(struct kv_wal *wal, uint64_t time, struct kv_wal_write *write)
{
    if (kv_wal_is_writing(wal) || (wal->records == 0 && !wal->mark)) {
        return false;
    }
    if (make_room(wal, 0) != KV_OK) {
        kv_out_of_memory(KV_BATCH_HEADER);
    }
    swap(wal, time);
    *write = (struct kv_wal_write){
        .number = wal->number - 1,
        .lsn = wal->batch.lsn,
        .bytes = kv_bytes(wal->writing.data, (size_t)wal->writing.length),
        .sync = wal->syncs,
        .wal = wal,
    };
    return true;
}

void kv_wal_seal(const struct kv_wal_write *write)
{
    kv_batch_seal(&write->wal->batch, write->wal->seed, write->wal->writing.data);
}

void kv_wal_written(struct kv_wal *wal)
{
    kv_assert(kv_wal_is_writing(wal));
    wal->previous = wal->batch.checksum;
    wal->written = wal->number - 1;
    kv_blocks_clear(&wal->writing, KEPT_MAX);
    if (wal->syncs) {
        kv_wal_synced(wal, wal->written);
    }
}

void kv_wal_synced(struct kv_wal *wal, uint64_t number)
{
    kv_assert(number <= wal->written);
    if (number <= wal->durable) {
        return;
    }
    wal->durable = number;
    if (wal->number - number <= ENDS_KEPT) {
        wal->durable_lsn = wal->ends[number % ENDS_KEPT];
    }
}

uint64_t kv_wal_done(const struct kv_wal *wal)
{
    return wal->written;
}

uint64_t kv_wal_durable(const struct kv_wal *wal)
{
    return wal->durable;
}

uint64_t kv_wal_end(const struct kv_wal *wal)
{
    return wal->lsn;
}

struct kv_wal_place kv_wal_place(const struct kv_wal *wal)
{
    return (struct kv_wal_place){
        .lsn = wal->lsn - wal->writing.length,
        .epoch = wal->epoch,
        .previous = wal->previous,
    };
}
