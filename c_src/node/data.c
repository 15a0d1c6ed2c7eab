#include "node/data_parts.h"
#include "process/runtime.h"

#include <stdio.h>

enum {
    WAITING_MAX = 200 * 1000,     /* signals of durable buckets that wait for the disk, */
    WAITING_BYTES_MAX = 64 << 20, /* and the bytes of their payloads */
    DELAY_BYTES_MAX = 256 << 10,  /* that have gathered: with more, the commit begins at once */
    FULL_RESERVE = 8 << 20,       /* of a full log, for what frees room: 1,800 commits at least, */
    LAST_RESERVE = 1 << 20,       /* and the rest of these for what frees a whole table */
};

void kv_data_fail(struct kv_data *data, enum kv_fatal reason, const char *what, const char *text)
{
    char whole[2 * KV_DATA_TEXT_MAX];
    (void)snprintf(whole, sizeof whole, "%s%s", what, text);
    data->settings.failed(data->settings.context, reason, whole);
}

/* ---- the journal ------------------------------------------------------------------------------
 */

/* How far the log would reach with so many bytes more. */
static uint64_t reach(const struct kv_data *data, uint64_t bytes)
{
    return kv_wal_end(data->wal) +
           kv_padded(KV_BATCH_HEADER + kv_wal_open_bytes(data->wal) + bytes);
}

/* Returns KV_OK if there are files up to this LSN, or space for them; or KV_ENOSPC. */
static int make_room(struct kv_data *data, uint64_t wanted)
{
    if (data->disk == NULL || wanted <= kv_disk_ready(data->disk)) {
        return KV_OK;
    }
    if (data->room != KV_OK || !kv_disk_has_space(data->disk, wanted)) {
        return KV_ENOSPC;
    }
    kv_disk_reserve(data->disk, wanted);
    return KV_OK;
}

static int may_change(void *context, uint64_t bytes)
{
    struct kv_data *data = context;
    if (data->runtime != NULL && (kv_runtime_waiting(data->runtime) > WAITING_MAX ||
                                  kv_runtime_waiting_bytes(data->runtime) > WAITING_BYTES_MAX)) {
        return KV_EBUSY;
    }
    const int error = bytes > 0 ? make_room(data, reach(data, bytes) + FULL_RESERVE) : KV_OK;
    return error == KV_OK ? kv_wal_reserve(data->wal, bytes) : error;
}

static int may_free(void *context, uint64_t bytes, bool whole)
{
    struct kv_data *data = context;
    return make_room(data, reach(data, bytes) + (whole ? 0 : LAST_RESERVE));
}

static void put(void *context, uint64_t table, const struct kv_table_entry *entry)
{
    struct kv_data *data = context;
    struct kv_table_entry written = *entry;
    written.expiry = kv_data_to_wall(data, entry->expiry);
    kv_wal_put(data->wal, table, &written);
}

static void gone(void *context, uint64_t table, struct kv_item key)
{
    struct kv_data *data = context;
    kv_wal_delete(data->wal, table, key);
}

static void expiry(void *context, uint64_t table, struct kv_item key, uint64_t at)
{
    struct kv_data *data = context;
    kv_wal_expiry(data->wal, table, key, kv_data_to_wall(data, at));
}

static void clear(void *context, uint64_t table)
{
    struct kv_data *data = context;
    kv_wal_clear(data->wal, table);
}

static void about(void *context, const struct kv_journal_table *table)
{
    struct kv_data *data = context;
    const struct kv_record_table record = {.policy = (uint8_t)table->policy,
                                           .kind = table->kind,
                                           .registry = table->registry,
                                           .name = table->name,
                                           .options = table->options};
    kv_wal_table(data->wal, table->id, &record);
}

static void drop(void *context, uint64_t table)
{
    struct kv_data *data = context;
    kv_wal_drop(data->wal, table);
}

static void drop_registry(void *context, uint64_t table, struct kv_bytes name)
{
    struct kv_data *data = context;
    kv_wal_drop_registry(data->wal, table, name);
}

static void commit(void *context)
{
    struct kv_data *data = context;
    kv_wal_sync(data->wal);
}

static uint64_t batch(void *context)
{
    const struct kv_data *data = context;
    return kv_wal_batch(data->wal);
}

static uint64_t position(void *context)
{
    const struct kv_data *data = context;
    return kv_wal_end(data->wal);
}

const struct kv_journal kv_data_journal = {
    .may_change = may_change,
    .may_free = may_free,
    .put = put,
    .gone = gone,
    .expiry = expiry,
    .clear = clear,
    .table = about,
    .drop = drop,
    .drop_registry = drop_registry,
    .sync = commit,
    .batch = batch,
    .position = position,
};

/* ---- the disk ---------------------------------------------------------------------------------
 */

/* In the thread of the disk, as seal(). */
static void header(void *context, uint64_t segment, uint8_t block[KV_DISK_BLOCK])
{
    const struct kv_data *data = context;
    kv_segment_header(segment, &data->store.id, block);
}

static void seal(const void *sealed)
{
    kv_wal_seal(sealed);
}

static void done(void *context, uint64_t number, int error)
{
    struct kv_data *data = context;
    (void)number;
    if (error == KV_OK) {
        kv_wal_written(data->wal);
        kv_data_tend_checkpoint(data);
        kv_data_tend_backup(data);
    } else {
        kv_data_fail(data, KV_FATAL_LOG_FAILED, "", kv_disk_text(data->disk));
    }
}

static void synced(void *context, uint64_t number)
{
    struct kv_data *data = context;
    kv_wal_synced(data->wal, number);
    kv_data_tend_checkpoint(data);
    kv_data_tend_backup(data);
}

static void room(void *context, int error)
{
    struct kv_data *data = context;
    data->room = error;
    if (error != KV_OK) {
        kv_log(data->settings.log, KV_LOG_WARNING, "durable buckets take no more data: %s",
               kv_disk_text(data->disk));
    } else {
        kv_log(data->settings.log, KV_LOG_NOTICE, "durable buckets take data again");
    }
    kv_data_tend_checkpoint(data);
    kv_data_tend_backup(data);
}

static void piece(void *context, int error)
{
    kv_data_piece_done(context, error);
    kv_data_tend_backup(context); /* it may keep files that the new checkpoint does not need */
}

bool kv_data_open_log(struct kv_data *data, const struct kv_recovery_result *result)
{
    const struct kv_wal_options options = {.lsn = result->lsn,
                                           .epoch = result->epoch,
                                           .previous = result->previous,
                                           .store = data->store.id};
    const struct kv_disk_settings settings = {.segment_size = data->store.segment_size,
                                              .lsn = result->lsn,
                                              .segments_end = result->segments_end,
                                              .events = {.context = data,
                                                         .header = header,
                                                         .done = done,
                                                         .synced = synced,
                                                         .room = room,
                                                         .piece = piece}};
    data->wal = kv_wal_new(&options);
    if (kv_disk_start(data->disk, data->settings.loop, &settings) != KV_OK) {
        kv_data_fail(data, KV_FATAL_DATA_DIR, "", kv_disk_text(data->disk));
        return false;
    }
    kv_alarm_open(&data->alarm, data->settings.loop);
    data->checkpoint.time = result->began;
    kv_data_keep_checkpoint(data, result->begin, result->checkpoint);
    return true;
}

static void hand_over(struct kv_data *data)
{
    if (data->wal == NULL || data->disk == NULL || kv_wal_is_writing(data->wal)) {
        return;
    }
    const uint64_t time = kv_data_clock(data);
    if (!kv_wal_take(data->wal, time, &data->write)) {
        return;
    }
    data->latest = time;
    const struct kv_disk_write write = {.number = data->write.number,
                                        .lsn = data->write.lsn,
                                        .bytes = data->write.bytes,
                                        .sync = data->write.sync,
                                        .seal = seal,
                                        .sealed = &data->write};
    if (write.sync) {
        kv_commit_delay_begin(&data->delay, uv_hrtime());
    }
    kv_disk_write(data->disk, &write);
}

/* Must only be called while no write is under way. */
static uint64_t delay_left(struct kv_data *data)
{
    if (!data->alarm.is_open || !kv_wal_syncs(data->wal) ||
        kv_wal_open_bytes(data->wal) > DELAY_BYTES_MAX) {
        return 0;
    }
    return kv_commit_delay_left(&data->delay, uv_hrtime(), kv_runtime_waiting(data->runtime));
}

void kv_data_hand_over(struct kv_data *data)
{
    if (data->wal == NULL || kv_wal_is_writing(data->wal)) {
        return;
    }
    const uint64_t left = delay_left(data);
    if (left > 0) {
        kv_alarm_set(&data->alarm, left);
    } else {
        kv_alarm_unset(&data->alarm);
        hand_over(data);
    }
}

void kv_data_release(struct kv_data *data, struct kv_runtime *runtime)
{
    const uint64_t written = data->wal == NULL ? 0 : kv_wal_done(data->wal);
    const uint64_t durable = data->wal == NULL ? 0 : kv_wal_durable(data->wal);
    if (written > data->written || durable > data->durable) {
        const size_t waiting = kv_runtime_waiting(runtime);
        data->written = written;
        data->durable = durable;
        kv_durables_release(&data->durables, written, durable);
        kv_runtime_release_written(runtime, written);
        kv_runtime_release(runtime, durable);
        if (durable == written) {
            kv_commit_delay_done(&data->delay, uv_hrtime(), waiting, kv_runtime_waiting(runtime));
        }
    }
}

void kv_data_stop(struct kv_data *data)
{
    kv_alarm_close(&data->alarm);
    hand_over(data);
    kv_data_stop_backup(data);
    kv_data_stop_checkpoint(data);
    kv_disk_await(data->disk);
    hand_over(data); /* what has gathered behind the write under way */
    kv_disk_await(data->disk);
    if (data->wal != NULL) {
        kv_wal_mark(data->wal); /* so that damage to the last batch is not taken for a torn write */
    }
    hand_over(data);
    kv_disk_close(data->disk);
    data->disk = NULL;
}

void kv_data_finish(struct kv_data *data)
{
    kv_data_finish_checkpoint(data);
    kv_recovery_free(data->recovery);
    data->recovery = NULL;
    if (data->durables.arena != NULL) {
        kv_durables_free(&data->durables);
    }
    kv_wal_free(data->wal);
    data->wal = NULL;
}
