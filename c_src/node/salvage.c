#include "node/salvage.h"

#include "base/alloc.h"
#include "durable/checkpoint_reader.h"
#include "durable/salvage.h"
#include "durable/wal.h"
#include "host/log_files.h"
#include "kv/durable.h"
#include "node/check.h"
#include "node/options.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <kv/error.h>
#include <openssl/rand.h>
#include <string.h>

enum {
    PATH_MAX_HERE = KV_FOLDER_MAX + sizeof ".tmp",
    TEXT_MAX = KV_FOLDER_TEXT + PATH_MAX_HERE + 64,
    NAME_MAX_HERE = 40,
    BATCH_BYTES = 8 << 20, /* of a checkpoint, that make one batch */
};

struct salvage {
    FILE *out;
    const char *to;
    struct kv_survey *survey;
    struct kv_wal *wal;
    uint64_t needed;                /* the checkpoint is whole only with the log up to this LSN */
    struct kv_checkpoint_head head; /* of the checkpoint; zeros: there is none that can be read */
    struct kv_store_block old;      /* its id is that of the log */
    struct kv_store_block store;    /* of the new folder */
    struct kv_log_files files;
    struct kv_folder from;
    struct kv_folder folder; /* the new one */
    int failed;              /* an errno of the new folder */
    uint64_t size;           /* of the file of the checkpoint */
    uint64_t tables;         /* that it has given, */
    uint64_t entries;        /* and their entries */
    bool assumed;            /* the block of the old store could not be read */
    bool incomplete;         /* a part of the checkpoint is lost */
    char under_way[PATH_MAX_HERE];
    char text[TEXT_MAX];
};

static enum kv_finding nothing(const struct salvage *s, const char *text)
{
    kv_findings_line(s->out, "result", "nothing was salvaged: %s", text);
    return KV_FOUND_NOTHING;
}

/* ---- the old store -----------------------------------------------------------------------------
 */

/* Each segment says to which store it belongs. */
static bool id_of_log(struct salvage *s)
{
    uint8_t block[KV_BLOCK];
    uint64_t first = 0;
    uint64_t last = 0;
    const int error = kv_folder_segments(&s->from, &first, &last);
    if (error != KV_OK && error != KV_ECORRUPT) {
        return false;
    }
    for (uint64_t segment = first; segment <= last; segment++) {
        uint64_t number = 0;
        size_t got = 0;
        if (kv_folder_read(&s->from, segment, 0, block, sizeof block, &got) == KV_OK &&
            got == sizeof block && kv_segment_read(block, &number, &s->old.id) == KV_OK) {
            return true;
        }
    }
    return false;
}

static enum kv_finding assume_store(struct salvage *s, enum kv_zeros zeros)
{
    s->assumed = true;
    s->old = (struct kv_store_block){
        .version = KV_DURABLE_VERSION, .segment_size = KV_SEGMENT_SIZE, .zeros = (uint8_t)zeros};
    if (!id_of_log(s)) {
        return nothing(s, "neither the file store nor the head of a file of the log can be read");
    }
    kv_findings_line(s->out, "lost",
                     "the file store: the files of the log say which store it was; that %s, is "
                     "assumed, as --zeros says",
                     zeros == KV_ZEROS_SAME ? "0.0 and -0.0 are one key"
                                            : "0.0 and -0.0 are two keys");
    return KV_FOUND_WHOLE;
}

static enum kv_finding read_store(struct salvage *s, enum kv_zeros zeros)
{
    uint8_t block[KV_BLOCK];
    int error = kv_folder_read_store(&s->from, block);
    error = error == KV_OK ? kv_store_block_read(block, &s->old) : error;
    if (error == KV_EVERSION) {
        return nothing(s, "a newer program wrote the folder: use that one");
    }
    return error == KV_OK ? KV_FOUND_WHOLE : assume_store(s, zeros);
}

static enum kv_finding look_for_data(struct salvage *s)
{
    const struct kv_disk_view view = kv_check_view(&s->from);
    uint64_t first = 0;
    uint64_t second = 0;
    return kv_folder_segments(&s->from, &first, &second) == KV_ENOENT &&
                   view.checkpoint(view.context, &first, &second) != KV_OK
               ? nothing(s, "there is no file of a log, and no checkpoint")
               : KV_FOUND_WHOLE;
}

/* ---- the new store -----------------------------------------------------------------------------
 */

static void header(void *context, uint64_t segment, uint8_t block[KV_FOLDER_BLOCK])
{
    const struct salvage *s = context;
    kv_segment_header(segment, &s->store.id, block);
}

/* Returns true if there is no such folder, or an empty one. */
static bool is_free(const char *path)
{
    DIR *names = opendir(path);
    if (names == NULL) {
        return errno == ENOENT;
    }
    const struct dirent *entry = NULL;
    unsigned count = 0;
    while ((entry = readdir(names)) != NULL) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    (void)closedir(names);
    return count == 0;
}

static enum kv_finding make_folder(struct salvage *s)
{
    (void)snprintf(s->under_way, sizeof s->under_way, "%s.tmp", s->to);
    if (!is_free(s->to) || !is_free(s->under_way)) {
        (void)snprintf(s->text, sizeof s->text,
                       "%s%s is there already: name another folder, or remove it", s->to,
                       is_free(s->to) ? ".tmp" : "");
        return nothing(s, s->text);
    }
    if (kv_folder_open(&s->folder, s->under_way) != KV_OK) {
        return nothing(s, s->folder.text);
    }
    s->store = (struct kv_store_block){
        .created = kv_findings_now(), .segment_size = KV_SEGMENT_SIZE, .zeros = s->old.zeros};
    if (RAND_bytes(s->store.id.bytes, sizeof s->store.id.bytes) != 1) {
        return nothing(s, kv_error_text(KV_ERANDOM));
    }
    const struct kv_wal_options options = {.epoch = 1, .store = s->store.id};
    s->wal = kv_wal_new(&options);
    kv_log_files_init(&s->files, &s->folder, KV_SEGMENT_SIZE, 0, 0);
    s->files.header = header;
    s->files.context = s;
    return KV_FOUND_WHOLE;
}

/* Writes what has gathered as one batch. */
static int write_batch(struct salvage *s, uint64_t time)
{
    struct kv_wal_write write;
    if (kv_wal_take(s->wal, time, &write)) {
        kv_wal_seal(&write);
        s->failed = kv_log_files_write(&s->files, write.lsn, write.bytes, false);
        kv_wal_written(s->wal);
    }
    return s->failed == 0 ? KV_OK : KV_EIO;
}

static void add(struct salvage *s, const struct kv_record *record)
{
    const struct kv_table_entry *entry = &record->entry;
    switch (record->kind) {
    case KV_RECORD_PUT:
        kv_wal_put(s->wal, record->table, entry);
        break;
    case KV_RECORD_DELETE:
        kv_wal_delete(s->wal, record->table, entry->key);
        break;
    case KV_RECORD_EXPIRY:
        kv_wal_expiry(s->wal, record->table, entry->key, entry->expiry);
        break;
    case KV_RECORD_CLEAR:
        kv_wal_clear(s->wal, record->table);
        break;
    case KV_RECORD_TABLE:
        kv_wal_table(s->wal, record->table, &record->about);
        break;
    case KV_RECORD_DROP:
        kv_wal_drop(s->wal, record->table);
        break;
    case KV_RECORD_DROP_REGISTRY:
        kv_wal_drop_registry(s->wal, record->table, record->about.name);
        break;
    }
    (void)kv_survey_record(s->survey, record);
}

/* ---- records -----------------------------------------------------------------------------------
 */

static void salvaged_name(uint64_t table, char name[NAME_MAX_HERE])
{
    (void)snprintf(name, NAME_MAX_HERE, "salvaged_%" PRIu64, table);
}

/* Entries of a table whose record is lost get a table with a name of this program's own. A later
 * record may still say which name that is. */
static void name_table(struct salvage *s, uint64_t table)
{
    char name[NAME_MAX_HERE];
    salvaged_name(table, name);
    const struct kv_record record = {.kind = KV_RECORD_TABLE,
                                     .table = table,
                                     .about = {.policy = KV_POLICY_COMMIT,
                                               .kind = KV_JOURNAL_BUCKET,
                                               .name = kv_bytes_text(name)}};
    add(s, &record);
}

static int take(void *context, const struct kv_record *record)
{
    struct salvage *s = context;
    if (record->kind != KV_RECORD_TABLE && record->kind != KV_RECORD_DROP_REGISTRY &&
        !kv_survey_has(s->survey, record->table)) {
        if (record->kind != KV_RECORD_PUT) {
            return KV_OK;
        }
        name_table(s, record->table);
    }
    add(s, record);
    return KV_OK;
}

static int end_batch(void *context, const struct kv_batch *batch)
{
    return write_batch(context, batch->time);
}

static void print_gap(void *context, const struct kv_salvage_gap *gap)
{
    const struct salvage *s = context;
    char from[KV_PLACE_TEXT];
    char to[KV_PLACE_TEXT];
    kv_findings_place(from, gap->lsn, s->old.segment_size);
    kv_findings_place(to, gap->end, s->old.segment_size);
    if (gap->lsn == gap->end) {
        kv_findings_line(s->out, "lost",
                         "%s: the batch here is not the next one of the batch before", from);
    } else if (gap->batches == 0) {
        kv_findings_line(s->out, "lost",
                         "%s, up to %s: %" PRIu64 " bytes, of which nothing can be read", from, to,
                         gap->end - gap->lsn);
    } else {
        kv_findings_line(s->out, "lost",
                         "%s, up to %s: %" PRIu64 " bytes; at least %" PRIu64
                         " of the batches there, and %" PRIu64 " changes",
                         from, to, gap->end - gap->lsn, gap->batches, gap->records);
    }
}

static void print_tail(const struct salvage *s, const struct kv_salvage_gap *tail)
{
    char from[KV_PLACE_TEXT];
    if (tail->batches > 0) {
        kv_findings_place(from, tail->lsn, s->old.segment_size);
        kv_findings_line(s->out, "tail",
                         "%s: behind the last good batch, what was written in part or is damaged; "
                         "batches: %" PRIu64 ", changes: %" PRIu64,
                         from, tail->batches, tail->records);
    }
}

/* ---- names -------------------------------------------------------------------------------------
 */

/* Two tables have one name: the record is lost that renamed this one, or dropped it. Its entries
 * stay. A registry has none, and the names in it are those of the other one. */
static void give_way(struct salvage *s, uint64_t table, uint64_t other)
{
    char name[NAME_MAX_HERE];
    struct kv_record record = {.kind = KV_RECORD_TABLE, .table = table};
    kv_survey_about(s->survey, table, &record.about);
    if (record.about.kind == KV_JOURNAL_REGISTRY) {
        record = (struct kv_record){.kind = KV_RECORD_DROP, .table = table};
    } else {
        salvaged_name(table, name);
        record.about.name = kv_bytes_text(name);
        kv_findings_line(s->out, "unnamed",
                         "the name of table %" PRIu64 " is that of table %" PRIu64
                         " by now: its entries are in the bucket %s",
                         table, other, name);
    }
    add(s, &record);
}

static void settle_name(void *context, const struct kv_survey_table *table)
{
    struct salvage *s = context;
    char name[NAME_MAX_HERE];
    const uint64_t owner = kv_survey_find(s->survey, table->registry, table->name);
    salvaged_name(table->id, name);
    if (owner != table->id) {
        give_way(s, table->id, owner);
    } else if (kv_bytes_equal(table->name, kv_bytes_text(name))) {
        kv_findings_line(s->out, "unnamed",
                         "the name of table %" PRIu64 " is lost: its entries are in the bucket %s",
                         table->id, name);
    }
}

/* ---- the end -----------------------------------------------------------------------------------
 */

static enum kv_finding not_written(struct salvage *s)
{
    char sentence[KV_FOLDER_TEXT];
    kv_folder_sentence(&s->folder, sentence, s->files.doing, s->failed);
    (void)snprintf(s->text, sizeof s->text, "%s; remove %s", sentence, s->under_way);
    return nothing(s, s->text);
}

/* Writes and syncs what has gathered. */
static int sync_batch(struct salvage *s, uint64_t time)
{
    if (write_batch(s, time) == KV_OK) {
        s->failed = kv_log_files_sync(&s->files);
        kv_wal_synced(s->wal, kv_wal_done(s->wal));
    }
    return s->failed == 0 ? KV_OK : KV_EIO;
}

/* The mark says that all batches are durable, so that damage to any of them is found. The file
 * `store` is written last: a folder without one is no store. */
static enum kv_finding finish(struct salvage *s, uint64_t time)
{
    uint8_t block[KV_BLOCK];
    kv_survey_each(s->survey, 0, settle_name, s);
    const int error = sync_batch(s, time);
    kv_wal_mark(s->wal);
    if (error != KV_OK || sync_batch(s, time) != KV_OK) {
        return not_written(s);
    }
    kv_store_block_write(&s->store, block);
    if (kv_folder_write_store(&s->folder, block) != KV_OK ||
        kv_folder_move(&s->folder, s->under_way, s->to) != KV_OK) {
        return nothing(s, s->folder.text);
    }
    return KV_FOUND_WHOLE;
}

/* ---- the checkpoint ----------------------------------------------------------------------------
 */

static int take_from_checkpoint(void *context, const struct kv_record *record)
{
    struct salvage *s = context;
    if (record->kind != KV_RECORD_TABLE && !kv_survey_has(s->survey, record->table)) {
        name_table(s, record->table);
    }
    add(s, record);
    s->tables += record->kind == KV_RECORD_TABLE;
    s->entries += record->kind == KV_RECORD_PUT;
    return kv_wal_open_bytes(s->wal) < BATCH_BYTES ? KV_OK : write_batch(s, s->head.time);
}

/* The reader is at a damaged place. Returns true if there is something to read behind it. */
static bool skip_damage(struct salvage *s, struct kv_checkpoint_reader *reader, int error)
{
    const uint64_t begin = kv_checkpoint_reader_done(reader);
    uint64_t end = begin;
    char text[TEXT_MAX];
    (void)snprintf(text, sizeof text, "%s", kv_checkpoint_reader_text(reader));
    const bool is_damage = s->failed == 0 && error != KV_EVERSION && error != KV_ENOMEM;
    const bool goes_on = is_damage && kv_checkpoint_reader_skip(reader, &end) == KV_OK;
    if (s->failed == 0) {
        s->incomplete = true;
        kv_findings_line(s->out, "lost", "%s: %s, %" PRIu64 " bytes", text,
                         goes_on ? "a part of the checkpoint" : "the rest of the checkpoint",
                         (goes_on ? end : s->size) - begin);
    }
    return goes_on;
}

/* The records of a chunk come once it is checked. */
static void read_checkpoint(struct salvage *s, struct kv_checkpoint_reader *reader)
{
    bool more = true;
    while (more) {
        const int error = kv_checkpoint_reader_step(reader, &more);
        if (error != KV_OK && !skip_damage(s, reader, error)) {
            return;
        }
        s->head = *kv_checkpoint_reader_head(reader);
    }
    s->needed = kv_checkpoint_reader_tail(reader)->end;
}

static void copy_checkpoint(struct salvage *s)
{
    struct kv_checkpoint_source source = {
        .disk = kv_check_view(&s->from),
        .sink = {.context = s, .record = take_from_checkpoint},
        .store = s->old.id,
    };
    if (source.disk.checkpoint(source.disk.context, &source.lsn, &source.size) == KV_OK) {
        struct kv_checkpoint_reader *reader = kv_checkpoint_reader_new(&source);
        s->size = source.size;
        read_checkpoint(s, reader);
        kv_checkpoint_reader_free(reader);
        if (s->failed == 0) {
            (void)write_batch(s, s->head.time);
        }
    }
}

/* The log is cut off in front of changes that were made while the checkpoint was written. */
static bool falls_short(const struct salvage *s, uint64_t end)
{
    char from[KV_PLACE_TEXT];
    if (end >= s->needed) {
        return false;
    }
    kv_findings_place(from, end, s->old.segment_size);
    kv_findings_line(s->out, "lost",
                     "%s: the log ends here, and the checkpoint was made with %" PRIu64
                     " bytes more of it",
                     from, s->needed - end);
    return true;
}

static enum kv_finding copy(struct salvage *s)
{
    struct kv_salvage_result result;
    copy_checkpoint(s);
    const struct kv_salvage_options options = {
        .disk = kv_check_view(&s->from),
        .sink = {.context = s, .record = take, .batch = end_batch, .gap = print_gap},
        .store = s->old.id,
        .segment_size = s->old.segment_size,
        .lsn = s->head.place.lsn,
        .epoch = s->head.place.epoch,
        .previous = s->head.place.previous,
    };
    const int error = s->failed == 0 ? kv_salvage(&options, &result) : KV_EIO;
    if (s->failed != 0) {
        return not_written(s);
    }
    if (error == KV_ENOENT) {
        s->incomplete = true;
        kv_findings_line(s->out, "lost", "the log: there is no file of it");
    } else if (error != KV_OK) {
        return nothing(s, kv_error_text(error));
    }
    print_tail(s, &result.tail);
    if (s->size > 0) {
        kv_findings_line(s->out, "saved",
                         "of the checkpoint: %" PRIu64 " tables with %" PRIu64 " entries",
                         s->tables, s->entries);
    }
    kv_findings_line(s->out, "saved", "of the log: %" PRIu64 " batches with %" PRIu64 " changes",
                     result.batches, result.records);
    const bool lost = falls_short(s, result.lsn) || result.gaps > 0 || s->incomplete || s->assumed;
    const uint64_t time = result.time > s->head.time ? result.time : s->head.time;
    const enum kv_finding found = finish(s, time);
    return found == KV_FOUND_WHOLE && lost ? KV_FOUND_DAMAGED : found;
}

static void print_result(const struct salvage *s, enum kv_finding found)
{
    if (found == KV_FOUND_DAMAGED) {
        kv_findings_line(
            s->out, "salvaged",
            "a part is lost, see above: an entry may be as it was before a lost change, "
            "and a change that was never answered may be back");
    } else {
        kv_findings_line(s->out, "salvaged", "nothing is lost");
    }
}

static enum kv_finding salvage(struct salvage *s, const char *folder, enum kv_zeros zeros)
{
    struct kv_hash_key key;
    if (RAND_bytes((unsigned char *)&key, sizeof key) != 1) {
        return nothing(s, kv_error_text(KV_ERANDOM));
    }
    s->survey = kv_survey_new(&key);
    enum kv_finding found = kv_folder_open_to_read(&s->from, folder) == KV_OK
                                ? read_store(s, zeros)
                                : nothing(s, s->from.text);
    found = found == KV_FOUND_WHOLE ? look_for_data(s) : found;
    found = found == KV_FOUND_WHOLE ? make_folder(s) : found;
    return found == KV_FOUND_WHOLE ? copy(s) : found;
}

/* A name with a slash at its end would put the folder under way into it. */
static void without_slashes(const char *to, char name[KV_FOLDER_MAX + 1])
{
    size_t length = strlen(to);
    while (length > 1 && to[length - 1] == '/') {
        length--;
    }
    (void)snprintf(name, KV_FOLDER_MAX + 1, "%.*s", (int)length, to);
}

enum kv_finding kv_salvage_folder(const char *folder, const char *to, enum kv_zeros zeros,
                                  FILE *out)
{
    char name[KV_FOLDER_MAX + 1];
    struct salvage *s = kv_zalloc(sizeof *s);
    without_slashes(to, name);
    s->out = out;
    s->to = name;
    s->from.fd = s->from.lock = s->from.reading = -1;
    s->folder.fd = s->folder.lock = s->folder.reading = -1;
    kv_findings_line(out, "from", "%s", folder);
    const enum kv_finding found = salvage(s, folder, zeros);
    if (s->files.memory != NULL) {
        kv_log_files_close(&s->files);
    }
    kv_folder_close(&s->from);
    kv_folder_close(&s->folder);
    kv_wal_free(s->wal);
    kv_survey_free(s->survey);
    if (found != KV_FOUND_NOTHING) {
        print_result(s, found);
        if (kv_check(name, out) != KV_FOUND_WHOLE) {
            kv_free(s);
            return KV_FOUND_NOTHING;
        }
    }
    kv_free(s);
    return found;
}
