/* How the node opens the folder, and reads what is in it. */
#include "node/data_parts.h"

#include <inttypes.h>
#include <openssl/rand.h>
#include <stdio.h>

enum {
    SHOWN_EACH_MS = 1000, /* a sign of life during recovery */
    PERCENT = 100,
    AHEAD = 8 << 20, /* bytes of memory that are made ready for what comes */
    MOMENT_MS = 2000 /* entries that end within it are waited for, if memory is short */
};

/* ---- recovery ---------------------------------------------------------------------------------
 */

static uint64_t bytes_left(const struct kv_data *data)
{
    uint64_t part = 0;
    uint64_t all = 0;
    kv_recovery_progress(data->recovery, &part, &all);
    return all > part ? all - part : 0;
}

static int apply_table(struct kv_data *data, const struct kv_record *record)
{
    const struct kv_record_table *about = &record->about;
    data->durables.entries_most = bytes_left(data) / KV_RECORD_PUT_LEAST;
    return kv_durables_table(&data->durables,
                             &(struct kv_journal_table){.id = record->table,
                                                        .policy = (enum kv_policy)about->policy,
                                                        .kind = about->kind,
                                                        .registry = about->registry,
                                                        .name = about->name,
                                                        .options = about->options});
}

static int apply_expiry(struct kv_data *data, uint64_t table, const struct kv_table_entry *entry)
{
    const int error = kv_durables_expiry(&data->durables, table, entry->key, entry->expiry);
    if (error == KV_ENOENT) {
        kv_data_missed(data);
    }
    return error == KV_ENOENT ? KV_OK : error;
}

static int apply(void *context, const struct kv_record *record)
{
    struct kv_data *data = context;
    struct kv_durables *set = &data->durables;
    struct kv_table_entry entry = record->entry;
    entry.expiry =
        record->entry.expiry == KV_NEVER ? KV_NEVER : kv_data_from_wall(data, record->entry.expiry);
    switch (record->kind) {
    case KV_RECORD_PUT:
        return kv_durables_put(set, record->table, &entry);
    case KV_RECORD_DELETE:
        return kv_durables_gone(set, record->table, entry.key);
    case KV_RECORD_EXPIRY:
        return apply_expiry(data, record->table, &entry);
    case KV_RECORD_CLEAR:
        return kv_durables_clear(set, record->table);
    case KV_RECORD_TABLE:
        return apply_table(data, record);
    case KV_RECORD_DROP:
        return kv_durables_drop(set, record->table);
    case KV_RECORD_DROP_REGISTRY:
        return kv_durables_drop_registry(set, record->table, record->about.name);
    }
    return KV_OK;
}

static int settle(void *context)
{
    struct kv_data *data = context;
    return kv_durables_settle(&data->durables);
}

static bool begin_recovery(struct kv_data *data)
{
    struct kv_hash_key key;
    if (RAND_bytes((unsigned char *)&key, sizeof key) != 1) {
        kv_data_fail(data, KV_FATAL_INTERNAL, "", kv_error_text(KV_ERANDOM));
        return false;
    }
    const struct kv_recovery_options options = {
        .disk = {.context = data->disk,
                 .segments = kv_disk_segments,
                 .read = kv_disk_read,
                 .checkpoint = kv_disk_checkpoint,
                 .read_checkpoint = kv_disk_read_checkpoint},
        .sink = {.context = data, .record = apply, .settle = settle},
        .store = data->store.id,
        .segment_size = data->store.segment_size,
    };
    kv_durables_init(&data->durables, data->settings.memory->arena, &key);
    data->durables.tally = data->settings.tally;
    data->origin.wall = kv_data_clock(data);
    data->origin.arena = kv_mapping_clock();
    data->relief = kv_data_relief_again(&data->relief);
    data->recovery = kv_recovery_new(&options);
    return true;
}

static void end_recovery(struct kv_data *data)
{
    kv_recovery_free(data->recovery);
    data->recovery = NULL;
}

/* While the log is read, the need is not known yet. */
static void too_large(struct kv_data *data, const char *folder)
{
    char text[KV_DATA_TEXT_MAX];
    struct kv_arena_stats stats;
    kv_arena_stats(data->settings.memory->arena, &stats);
    (void)snprintf(text, sizeof text,
                   "the durable buckets need %s%" PRIu64
                   " bytes of memory, and --max-memory allows %" PRIu64 ": raise it",
                   data->fitting ? "" : "more than ", stats.reserved - stats.free, stats.limit);
    kv_data_fail(data, KV_FATAL_DATA_DIR, folder, text);
}

static void name_folder(const struct kv_data *data, char text[KV_DATA_TEXT_MAX])
{
    (void)snprintf(text, KV_DATA_TEXT_MAX, "data folder %s: ", data->settings.folder);
}

/* A sentence of the disk names the folder, and the cause. */
static void recovery_failed(struct kv_data *data, int error)
{
    char folder[KV_DATA_TEXT_MAX];
    name_folder(data, folder);
    if (error == KV_ENOMEM) {
        too_large(data, folder);
    } else if (kv_disk_text(data->disk)[0] != '\0') {
        kv_data_fail(data, KV_FATAL_DATA_DIR, "", kv_disk_text(data->disk));
    } else {
        kv_data_fail(data, KV_FATAL_DATA_DIR, folder, kv_recovery_text(data->recovery));
    }
}

/* At the first touch of a page the system finds memory for it, which takes longer than the entries
 * that go there. So another thread does that for what is still to come. */
static void prepare_memory(const struct kv_data *data)
{
    const uint64_t left = bytes_left(data);
    kv_arena_prepare_ahead(data->settings.memory->arena, left < AHEAD ? left : AHEAD);
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
        data->settings.recovering(data->settings.context, percent);
    }
}

static void recovered(struct kv_data *data)
{
    const struct kv_recovery_result result = *kv_recovery_result(data->recovery);
    end_recovery(data);
    data->latest = result.time > data->latest ? result.time : data->latest;
    if (!kv_data_open_log(data, &result)) {
        return;
    }
    kv_wal_mark(data->wal);
    kv_durables_open(&data->durables, &data->journal, result.table);
    kv_log(data->settings.log, KV_LOG_INFO,
           "recovered %" PRIu64 " entries of a checkpoint, and %" PRIu64 " changes in %" PRIu64
           " batches, from %s",
           result.entries, result.records, result.batches, data->settings.folder);
    data->settings.recovered(data->settings.context);
}

/* The wall clock was set back: expiries count from the last time in the log. Or entries are gone
 * that should not be. */
static bool begins_again(struct kv_data *data, bool at_end)
{
    const uint64_t time = kv_recovery_result(data->recovery)->time;
    const bool set_back = at_end && time > kv_data_clock(data);
    if (!set_back && !data->relief.wrong) {
        return false;
    }
    data->latest = set_back ? time : data->latest;
    if (!set_back) {
        kv_log(data->settings.log, KV_LOG_NOTICE,
               "the clock of this machine was set ahead: %s is read once more, and %s meanwhile",
               data->settings.folder,
               data->relief.done_closely ? "entries expire later" : "no entry expires");
    }
    end_recovery(data);
    kv_durables_free(&data->durables);
    return begin_recovery(data);
}

/* Entries that end in a moment do not count: the memory is fitted again until then. Returns false
 * if the data is too large without them. */
static bool await_expiry(struct kv_data *data)
{
    struct kv_memory *memory = data->settings.memory;
    const uint64_t now = kv_mapping_clock();
    data->fits_until = data->fits_until == 0 ? now + MOMENT_MS : data->fits_until;
    if (now >= data->fits_until || !kv_arena_expires_by(memory->arena, data->fits_until)) {
        return false;
    }
    kv_memory_resume(memory);
    return true;
}

static void fit_on(struct kv_data *data)
{
    char folder[KV_DATA_TEXT_MAX];
    const enum kv_fit_state state = kv_memory_fit(data->settings.memory);
    if (state == KV_FIT_GOES_ON || (state == KV_FIT_TOO_MUCH && await_expiry(data))) {
        show_progress(data);
        return;
    }
    (void)uv_idle_stop(&data->steps);
    if (state == KV_FIT_TOO_MUCH) {
        name_folder(data, folder);
        too_large(data, folder);
        return;
    }
    data->fitting = false;
    recovered(data);
}

static void on_step(uv_idle_t *steps)
{
    struct kv_data *data = steps->data;
    bool more = true;
    if (data->fitting) {
        fit_on(data);
        return;
    }
    int error = kv_data_relieve(data) ? KV_OK : kv_recovery_step(data->recovery, &more);
    if (error == KV_OK && begins_again(data, !more)) {
        return;
    }
    if (error == KV_OK && more) {
        prepare_memory(data);
        show_progress(data);
        return;
    }
    kv_arena_prepare_ahead(data->settings.memory->arena, 0);
    if (error != KV_OK) {
        (void)uv_idle_stop(steps);
        recovery_failed(data, error);
        return;
    }
    data->fitting = true;
    kv_memory_resume(data->settings.memory);
}

/* ---- the folder -------------------------------------------------------------------------------
 */

/* A folder without a store block is new. */
static int make_store(struct kv_data *data)
{
    uint8_t block[KV_BLOCK];
    data->store = (struct kv_store_block){.version = KV_DURABLE_VERSION,
                                          .created = kv_data_clock(data),
                                          .segment_size = KV_SEGMENT_SIZE,
                                          .zeros = (uint8_t)data->settings.zeros};
    if (RAND_bytes(data->store.id.bytes, sizeof data->store.id.bytes) != 1) {
        return KV_ERANDOM;
    }
    kv_store_block_write(&data->store, block);
    return kv_disk_write_store(data->disk, block);
}

bool kv_data_store_fits(const uint8_t block[KV_BLOCK], const char *folder, enum kv_zeros zeros,
                        struct kv_store_block *store, char text[KV_DATA_TEXT_MAX])
{
    int error = kv_store_block_read(block, store);
    if (error == KV_EVERSION) {
        (void)snprintf(text, KV_DATA_TEXT_MAX,
                       "data folder %s: it has version %u of the format, and this program knows "
                       "versions up to %u: use a newer program",
                       folder, (unsigned)store->version, (unsigned)KV_DURABLE_VERSION);
    } else if (error != KV_OK) {
        (void)snprintf(text, KV_DATA_TEXT_MAX, "data folder %s: the file store is damaged", folder);
    } else if (store->zeros != (uint8_t)zeros) {
        const char *stored = store->zeros == KV_ZEROS_SAME ? "same" : "differ";
        error = KV_EVERSION;
        (void)snprintf(text, KV_DATA_TEXT_MAX,
                       "data folder %s: its keys were stored with --zeros %s, and 0.0 and -0.0 "
                       "would change places: set the option zeros to %s",
                       folder, stored, stored);
    }
    return error == KV_OK;
}

/* Returns KV_OK if there is a log or a checkpoint; KV_ENOENT if there is none; or KV_EIO. */
static int look_for_data(struct kv_data *data)
{
    uint64_t one = 0;
    uint64_t other = 0;
    const int error = kv_disk_segments(data->disk, &one, &other);
    return error == KV_ENOENT ? kv_disk_checkpoint(data->disk, &one, &other) : error;
}

static bool refuse(struct kv_data *data, const char *text)
{
    kv_data_fail(data, KV_FATAL_DATA_DIR, "", text);
    return false;
}

/* A node writes this block before any other file. So a folder with other files only is a part of
 * one, and to make a new block there would be the end of what they hold. */
static bool read_store(struct kv_data *data)
{
    uint8_t block[KV_BLOCK];
    int error = kv_disk_read_store(data->disk, block);
    if (error == KV_OK) {
        return kv_data_store_fits(block, data->settings.folder, data->settings.zeros, &data->store,
                                  data->text) ||
               refuse(data, data->text);
    }
    error = error == KV_ENOENT ? look_for_data(data) : error;
    if (error == KV_OK) {
        (void)snprintf(data->text, sizeof data->text,
                       "data folder %s: the file store is missing, and a log or a checkpoint is "
                       "there: copy all files of the folder, or use kv_node --salvage",
                       data->settings.folder);
        return refuse(data, data->text);
    }
    error = error == KV_ENOENT ? make_store(data) : error;
    return error == KV_OK ||
           refuse(data, error == KV_ERANDOM ? kv_error_text(error) : kv_disk_text(data->disk));
}

void kv_data_start(struct kv_data *data, const struct kv_data_settings *settings)
{
    *data = (struct kv_data){.settings = *settings, .journal = kv_data_journal};
    data->journal.context = data;
    if (kv_disk_open(&data->disk, settings->folder, data->text, sizeof data->text) != KV_OK) {
        kv_data_fail(data, KV_FATAL_DATA_DIR, "", data->text);
        return;
    }
    if (!read_store(data)) {
        return;
    }
    const struct kv_hash_key hash_key = kv_store_hash_key(&data->store.id);
    kv_arena_set_hash_key(settings->memory->arena, &hash_key);
    if (!begin_recovery(data)) {
        return;
    }
    kv_memory_pause(settings->memory);
    (void)uv_idle_init(settings->loop, &data->steps);
    data->steps.data = data;
    data->shown = uv_now(settings->loop);
    (void)uv_idle_start(&data->steps, on_step);
}
