#include "node/data.h"

#include "base/alloc.h"
#include "process/runtime.h"

#include <inttypes.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    WAITING_MAX = 200 * 1000, /* signals of durable buckets that wait for the disk */
    FULL_RESERVE = 8 << 20,   /* of a full log, for what frees room: 2,000 commits at least */
    SHOWN_EACH_MS = 1000,     /* a sign of life during recovery */
    EXPIRED_LONG_AGO = 2,     /* an expiry before the start of this machine */
    PERCENT = 100,
};

static void fail(struct kv_data *data, enum kv_fatal reason, const char *what, const char *text)
{
    char whole[2 * KV_DATA_TEXT_MAX];
    (void)snprintf(whole, sizeof whole, "%s%s", what, text);
    data->settings.failed(data->settings.context, reason, whole);
}

/* ---- clocks -----------------------------------------------------------------------------------
 */

static uint64_t wall_clock(const struct kv_data *data)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    const uint64_t ms =
        now.tv_sec < 0 ? 0 : (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    return ms > data->latest ? ms : data->latest;
}

static uint64_t to_wall(const struct kv_data *data, uint64_t expiry)
{
    const uint64_t now = kv_mapping_clock();
    return expiry == KV_NEVER ? KV_NEVER : wall_clock(data) + expiry - now;
}

static uint64_t from_wall(const struct kv_data *data, uint64_t expiry)
{
    const uint64_t ahead = kv_mapping_clock() + expiry;
    const uint64_t now = wall_clock(data);
    if (expiry == KV_NEVER) {
        return KV_NEVER;
    }
    return ahead > now + EXPIRED_LONG_AGO ? ahead - now : EXPIRED_LONG_AGO;
}

/* ---- the journal ------------------------------------------------------------------------------
 */

/* How far the log would reach with so many bytes more. */
static uint64_t reach(const struct kv_data *data, uint64_t bytes)
{
    const uint64_t under_way = kv_wal_is_writing(data->wal) ? data->write.bytes.length : 0;
    return kv_wal_end(data->wal) + under_way +
           kv_padded(KV_BATCH_HEADER + kv_wal_open_bytes(data->wal) + bytes);
}

static int may_change(void *context, uint64_t bytes)
{
    struct kv_data *data = context;
    if (data->runtime != NULL && kv_runtime_waiting(data->runtime) > WAITING_MAX) {
        return KV_EBUSY;
    }
    const uint64_t wanted = bytes > 0 ? reach(data, bytes) + FULL_RESERVE : 0;
    if (data->disk != NULL && wanted > kv_disk_ready(data->disk)) {
        if (data->room != KV_OK || !kv_disk_has_space(data->disk, wanted)) {
            return KV_ENOSPC;
        }
        kv_disk_reserve(data->disk, wanted);
    }
    return kv_wal_reserve(data->wal, bytes);
}

static void put(void *context, uint64_t table, const struct kv_table_entry *entry)
{
    struct kv_data *data = context;
    struct kv_table_entry written = *entry;
    written.expiry = to_wall(data, entry->expiry);
    kv_wal_put(data->wal, table, &written);
    kv_wal_sync(data->wal);
}

static void gone(void *context, uint64_t table, struct kv_item key)
{
    struct kv_data *data = context;
    kv_wal_delete(data->wal, table, key);
    kv_wal_sync(data->wal);
}

static void expiry(void *context, uint64_t table, struct kv_item key, uint64_t at)
{
    struct kv_data *data = context;
    kv_wal_expiry(data->wal, table, key, to_wall(data, at));
    kv_wal_sync(data->wal);
}

static void clear(void *context, uint64_t table)
{
    struct kv_data *data = context;
    kv_wal_clear(data->wal, table);
    kv_wal_sync(data->wal);
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
    kv_wal_sync(data->wal);
}

static void drop(void *context, uint64_t table)
{
    struct kv_data *data = context;
    kv_wal_drop(data->wal, table);
    kv_wal_sync(data->wal);
}

static uint64_t batch(void *context)
{
    const struct kv_data *data = context;
    return kv_wal_batch(data->wal);
}

static const struct kv_journal functions = {
    .may_change = may_change,
    .put = put,
    .gone = gone,
    .expiry = expiry,
    .clear = clear,
    .table = about,
    .drop = drop,
    .batch = batch,
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
    } else {
        fail(data, KV_FATAL_LOG_FAILED, "", kv_disk_text(data->disk));
    }
}

static void synced(void *context, uint64_t number)
{
    const struct kv_data *data = context;
    kv_wal_synced(data->wal, number);
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
}

void kv_data_hand_over(struct kv_data *data)
{
    if (data->wal == NULL || data->disk == NULL || kv_wal_is_writing(data->wal) ||
        !kv_wal_take(data->wal, wall_clock(data), &data->write)) {
        return;
    }
    const struct kv_disk_write write = {.number = data->write.number,
                                        .lsn = data->write.lsn,
                                        .bytes = data->write.bytes,
                                        .sync = data->write.sync,
                                        .seal = seal,
                                        .sealed = &data->write};
    kv_disk_write(data->disk, &write);
}

uint64_t kv_data_durable(struct kv_data *data)
{
    const uint64_t durable = data->wal == NULL ? 0 : kv_wal_durable(data->wal);
    if (durable > data->released) {
        data->released = durable;
        kv_durables_release(&data->durables, durable, durable);
    }
    return durable;
}

/* ---- recovery ---------------------------------------------------------------------------------
 */

static int apply(void *context, const struct kv_record *record)
{
    struct kv_data *data = context;
    struct kv_durables *set = &data->durables;
    struct kv_table_entry entry = record->entry;
    const struct kv_journal_table table = {.id = record->table,
                                           .policy = (enum kv_policy)record->about.policy,
                                           .kind = record->about.kind,
                                           .registry = record->about.registry,
                                           .name = record->about.name,
                                           .options = record->about.options};
    entry.expiry = from_wall(data, record->entry.expiry);
    switch (record->kind) {
    case KV_RECORD_PUT:
        return kv_durables_put(set, record->table, &entry);
    case KV_RECORD_DELETE:
        kv_durables_gone(set, record->table, entry.key);
        return KV_OK;
    case KV_RECORD_EXPIRY:
        return kv_durables_expiry(set, record->table, entry.key, entry.expiry);
    case KV_RECORD_CLEAR:
        kv_durables_clear(set, record->table);
        return KV_OK;
    case KV_RECORD_TABLE:
        return kv_durables_table(set, &table);
    case KV_RECORD_DROP:
        kv_durables_drop(set, record->table);
        return KV_OK;
    }
    return KV_OK;
}

static bool begin_recovery(struct kv_data *data)
{
    struct kv_hash_key key;
    if (RAND_bytes((unsigned char *)&key, sizeof key) != 1) {
        fail(data, KV_FATAL_INTERNAL, "", kv_error_text(KV_ERANDOM));
        return false;
    }
    const struct kv_recovery_options options = {
        .disk = {.context = data->disk, .segments = kv_disk_segments, .read = kv_disk_read},
        .sink = {.context = data, .record = apply},
        .store = data->store.id,
        .segment_size = data->store.segment_size,
    };
    kv_durables_init(&data->durables, data->settings.memory->arena, &key);
    data->recovery = kv_recovery_new(&options);
    return true;
}

static void end_recovery(struct kv_data *data)
{
    kv_recovery_free(data->recovery);
    data->recovery = NULL;
}

/* A sentence of the disk names the folder, and the cause. */
static void recovery_failed(struct kv_data *data, int error)
{
    char folder[KV_DATA_TEXT_MAX];
    (void)snprintf(folder, sizeof folder, "data folder %s: ", data->settings.folder);
    if (error == KV_ENOMEM) {
        fail(data, KV_FATAL_DATA_DIR, folder,
             "the durable buckets need more memory than --max-memory allows: raise it");
    } else if (kv_disk_text(data->disk)[0] != '\0') {
        fail(data, KV_FATAL_DATA_DIR, "", kv_disk_text(data->disk));
    } else {
        fail(data, KV_FATAL_DATA_DIR, folder, kv_recovery_text(data->recovery));
    }
}

/* Progress is a sign of life, so it is shown though it stands. */
static void show_progress(struct kv_data *data)
{
    uint64_t part = 0;
    uint64_t all = 0;
    char text[sizeof "100%"];
    kv_recovery_progress(data->recovery, &part, &all);
    const uint64_t now = uv_now(data->settings.loop);
    const unsigned percent = all == 0 || part >= all ? PERCENT : (unsigned)(part * PERCENT / all);
    if (percent != data->percent || now - data->shown >= SHOWN_EACH_MS) {
        data->percent = percent;
        data->shown = now;
        (void)snprintf(text, sizeof text, "%u%%", percent);
        kv_log_event(data->settings.log, "recovering", text);
    }
}

/* The log goes on where it ended. */
static bool open_log(struct kv_data *data, const struct kv_recovery_result *result)
{
    const struct kv_wal_options options = {.lsn = result->lsn,
                                           .epoch = result->epoch,
                                           .previous = result->previous,
                                           .store = data->store.id};
    const struct kv_disk_settings settings = {
        .segment_size = data->store.segment_size,
        .lsn = result->lsn,
        .segments_end = result->segments_end,
        .events = {
            .context = data, .header = header, .done = done, .synced = synced, .room = room}};
    data->wal = kv_wal_new(&options);
    if (kv_disk_start(data->disk, data->settings.loop, &settings) != KV_OK) {
        fail(data, KV_FATAL_DATA_DIR, "", kv_disk_text(data->disk));
        return false;
    }
    return true;
}

static void recovered(struct kv_data *data)
{
    const struct kv_recovery_result result = *kv_recovery_result(data->recovery);
    end_recovery(data);
    data->latest = result.time > data->latest ? result.time : data->latest;
    if (!open_log(data, &result)) {
        return;
    }
    kv_memory_resume(data->settings.memory);
    kv_wal_mark(data->wal);
    kv_durables_open(&data->durables, &data->journal, result.table);
    kv_log(data->settings.log, KV_LOG_INFO,
           "recovered %" PRIu64 " changes in %" PRIu64 " batches from %s", result.records,
           result.batches, data->settings.folder);
    data->settings.recovered(data->settings.context);
}

/* The wall clock was set back: expiries count from the last time in the log. */
static bool begins_again(struct kv_data *data)
{
    const uint64_t time = kv_recovery_result(data->recovery)->time;
    if (time <= wall_clock(data)) {
        return false;
    }
    data->latest = time;
    end_recovery(data);
    kv_durables_free(&data->durables);
    return begin_recovery(data);
}

static void on_step(uv_idle_t *steps)
{
    struct kv_data *data = steps->data;
    bool more = false;
    int error = kv_recovery_step(data->recovery, &more);
    if (error == KV_OK && more) {
        show_progress(data);
        return;
    }
    if (error == KV_OK && begins_again(data)) {
        return;
    }
    (void)uv_idle_stop(steps);
    if (error != KV_OK) {
        recovery_failed(data, error);
    } else {
        recovered(data);
    }
}

/* ---- the folder -------------------------------------------------------------------------------
 */

/* A folder without a store block is new. */
static int make_store(struct kv_data *data)
{
    uint8_t block[KV_BLOCK];
    data->store = (struct kv_store_block){.version = KV_DURABLE_VERSION,
                                          .created = wall_clock(data),
                                          .segment_size = KV_SEGMENT_SIZE,
                                          .zeros = (uint8_t)data->settings.zeros};
    if (RAND_bytes(data->store.id.bytes, sizeof data->store.id.bytes) != 1) {
        return KV_ERANDOM;
    }
    kv_store_block_write(&data->store, block);
    return kv_disk_write_store(data->disk, block);
}

static bool is_ours(struct kv_data *data, const uint8_t block[KV_BLOCK])
{
    const char *folder = data->settings.folder;
    int error = kv_store_block_read(block, &data->store);
    if (error == KV_EVERSION) {
        (void)snprintf(data->text, sizeof data->text,
                       "data folder %s: it has version %u of the format, and this program knows "
                       "versions up to %u: use a newer program",
                       folder, (unsigned)data->store.version, (unsigned)KV_DURABLE_VERSION);
    } else if (error != KV_OK) {
        (void)snprintf(data->text, sizeof data->text, "data folder %s: the file store is damaged",
                       folder);
    } else if (data->store.zeros != (uint8_t)data->settings.zeros) {
        const char *zeros = data->store.zeros == KV_ZEROS_SAME ? "same" : "differ";
        error = KV_EVERSION;
        (void)snprintf(data->text, sizeof data->text,
                       "data folder %s: its keys were stored with --zeros %s, and 0.0 and -0.0 "
                       "would change places: set the option zeros to %s",
                       folder, zeros, zeros);
    }
    return error == KV_OK;
}

static bool read_store(struct kv_data *data)
{
    uint8_t block[KV_BLOCK];
    int error = kv_disk_read_store(data->disk, block);
    if (error == KV_OK) {
        if (is_ours(data, block)) {
            return true;
        }
        fail(data, KV_FATAL_DATA_DIR, "", data->text);
        return false;
    }
    if (error == KV_ENOENT) {
        error = make_store(data);
    }
    if (error != KV_OK) {
        fail(data, KV_FATAL_DATA_DIR, "",
             error == KV_ERANDOM ? kv_error_text(error) : kv_disk_text(data->disk));
    }
    return error == KV_OK;
}

void kv_data_start(struct kv_data *data, const struct kv_data_settings *settings)
{
    *data = (struct kv_data){.settings = *settings, .journal = functions};
    data->journal.context = data;
    if (kv_disk_open(&data->disk, settings->folder, data->text, sizeof data->text) != KV_OK) {
        fail(data, KV_FATAL_DATA_DIR, "", data->text);
        return;
    }
    if (!read_store(data) || !begin_recovery(data)) {
        return;
    }
    kv_memory_pause(settings->memory);
    (void)uv_idle_init(settings->loop, &data->steps);
    data->steps.data = data;
    data->shown = uv_now(settings->loop);
    (void)uv_idle_start(&data->steps, on_step);
}

void kv_data_stop(struct kv_data *data)
{
    kv_data_hand_over(data);
    kv_disk_close(data->disk);
    data->disk = NULL;
}

void kv_data_finish(struct kv_data *data)
{
    if (data->settings.loop != NULL) {
        end_recovery(data);
    }
    if (data->durables.arena != NULL) {
        kv_durables_free(&data->durables);
    }
    kv_wal_free(data->wal);
    data->wal = NULL;
}
