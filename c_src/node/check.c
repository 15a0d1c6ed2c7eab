#include "node/check.h"

#include <inttypes.h>
#include <kv/error.h>
#include <openssl/rand.h>

struct check {
    FILE *out;
    struct kv_folder folder;
    struct kv_store_block store;
    struct kv_survey *survey;
    struct kv_recovery *recovery;
};

/* ---- the folder as a disk ----------------------------------------------------------------------
 */

static int segments(void *context, uint64_t *first, uint64_t *last)
{
    return kv_folder_segments(context, first, last);
}

static int read_segment(void *context, uint64_t segment, uint64_t offset, void *to, size_t length,
                        size_t *got)
{
    return kv_folder_read(context, segment, offset, to, length, got);
}

static int checkpoint(void *context, uint64_t *lsn, uint64_t *size)
{
    return kv_folder_checkpoint(context, lsn, size);
}

static int read_checkpoint(void *context, uint64_t lsn, uint64_t offset, void *to, size_t length,
                           size_t *got)
{
    return kv_folder_read_checkpoint(context, lsn, offset, to, length, got);
}

struct kv_disk_view kv_check_view(struct kv_folder *folder)
{
    return (struct kv_disk_view){.context = folder,
                                 .segments = segments,
                                 .read = read_segment,
                                 .checkpoint = checkpoint,
                                 .read_checkpoint = read_checkpoint};
}

/* ---- findings ----------------------------------------------------------------------------------
 */

static enum kv_finding damaged(const struct check *check, const char *text)
{
    kv_findings_line(check->out, "damaged", "%s", text);
    kv_findings_line(check->out, "result",
                     "damaged: kv_node --salvage FOLDER --to NEW-FOLDER saves what can be read");
    return KV_FOUND_DAMAGED;
}

static enum kv_finding nothing(const struct check *check, const char *text)
{
    kv_findings_line(check->out, "result", "not checked: %s", text);
    return KV_FOUND_NOTHING;
}

static enum kv_finding no_store(struct check *check)
{
    uint64_t first = 0;
    uint64_t last = 0;
    return kv_folder_segments(&check->folder, &first, &last) == KV_ENOENT &&
                   kv_folder_checkpoint(&check->folder, &first, &last) == KV_ENOENT
               ? nothing(check, "there are no durable data in the folder")
               : damaged(check, "the file store is missing, and a log or a checkpoint is there");
}

/* Returns KV_FOUND_WHOLE if there is a store that can be checked. */
static enum kv_finding read_store(struct check *check)
{
    uint8_t block[KV_BLOCK];
    char text[KV_FOLDER_TEXT];
    int error = kv_folder_read_store(&check->folder, block);
    if (error == KV_ENOENT) {
        return no_store(check);
    }
    if (error != KV_OK) {
        return error == KV_ECORRUPT ? damaged(check, check->folder.text)
                                    : nothing(check, check->folder.text);
    }
    error = kv_store_block_read(block, &check->store);
    if (error == KV_EVERSION) {
        (void)snprintf(text, sizeof text,
                       "the data are in version %" PRIu32 " of the format, and this program knows "
                       "versions up to %d: use a newer program",
                       check->store.version, KV_DURABLE_VERSION);
        return nothing(check, text);
    }
    if (error != KV_OK) {
        return damaged(check, "the file store is not what its checksum says");
    }
    kv_findings_store(check->out, &check->store);
    return KV_FOUND_WHOLE;
}

static enum kv_finding read_segments(struct check *check)
{
    uint64_t first = 0;
    uint64_t last = 0;
    char from[KV_SEGMENT_NAME_SIZE];
    char to[KV_SEGMENT_NAME_SIZE];
    const int error = kv_folder_segments(&check->folder, &first, &last);
    if (error == KV_ENOENT) {
        kv_findings_line(check->out, "segments", "none");
        return KV_FOUND_WHOLE;
    }
    if (error != KV_OK) {
        return error == KV_ECORRUPT ? damaged(check, check->folder.text)
                                    : nothing(check, check->folder.text);
    }
    kv_segment_name(first, from);
    kv_segment_name(last, to);
    kv_findings_line(check->out, "segments", "%" PRIu64 " of %" PRIu64 " bytes, %s to %s",
                     last - first + 1, check->store.segment_size, from, to);
    return KV_FOUND_WHOLE;
}

/* ---- the log -----------------------------------------------------------------------------------
 */

/* A crash may have left something behind the end. */
static void print_tail(struct check *check, uint64_t lsn)
{
    uint8_t block[KV_BLOCK] = {0};
    struct kv_batch batch;
    size_t got = 0;
    const uint64_t size = check->store.segment_size;
    const int error = kv_folder_read(&check->folder, kv_segment_of(lsn, size),
                                     kv_segment_offset(lsn, size), block, sizeof block, &got);
    if (error == KV_OK && got == sizeof block &&
        kv_batch_read(block, kv_batch_seed(&check->store.id), lsn, &batch) == KV_OK) {
        kv_findings_line(check->out, "tail",
                         "a batch of %" PRIu64 " bytes that was written in part: the next start "
                         "removes it",
                         batch.length);
    } else {
        kv_findings_line(check->out, "tail", "none");
    }
}

static void print_log(struct check *check, const struct kv_recovery_result *result)
{
    char text[KV_PLACE_TEXT];
    char date[KV_DATE_TEXT];
    kv_findings_date(date, result->time);
    kv_findings_line(check->out, "log", "%" PRIu64 " batches with %" PRIu64 " changes",
                     result->batches, result->records);
    kv_findings_line(check->out, "last change", "%s", date);
    kv_findings_place(text, result->lsn, check->store.segment_size);
    kv_findings_line(check->out, "end", "%s (LSN %" PRIu64 ")", text, result->lsn);
    print_tail(check, result->lsn);
}

static enum kv_finding read_failed(struct check *check, int error)
{
    const char *text = kv_recovery_text(check->recovery);
    if (error == KV_ECORRUPT) {
        return damaged(check, text);
    }
    return nothing(check, error == KV_EIO ? check->folder.text : text);
}

static enum kv_finding read_log(struct check *check)
{
    bool more = true;
    int error = KV_OK;
    while (more && error == KV_OK) {
        error = kv_recovery_step(check->recovery, &more);
    }
    if (error != KV_OK) {
        return read_failed(check, error);
    }
    print_log(check, kv_recovery_result(check->recovery));
    kv_findings_tables(check->out, check->survey, kv_findings_now());
    kv_findings_line(check->out, "result", "whole");
    return KV_FOUND_WHOLE;
}

static enum kv_finding check_log(struct check *check)
{
    struct kv_hash_key key;
    if (RAND_bytes((unsigned char *)&key, sizeof key) != 1) {
        return nothing(check, kv_error_text(KV_ERANDOM));
    }
    check->survey = kv_survey_new(&key);
    const struct kv_recovery_options options = {
        .disk = kv_check_view(&check->folder),
        .sink = {.context = check->survey, .record = kv_survey_record},
        .store = check->store.id,
        .segment_size = check->store.segment_size,
    };
    check->recovery = kv_recovery_new(&options);
    const enum kv_finding found = read_log(check);
    kv_recovery_free(check->recovery);
    kv_survey_free(check->survey);
    return found;
}

enum kv_finding kv_check(const char *folder, FILE *out)
{
    struct check check = {.out = out};
    kv_findings_line(out, "folder", "%s", folder);
    enum kv_finding found = kv_folder_open_to_read(&check.folder, folder) == KV_OK
                                ? read_store(&check)
                                : nothing(&check, check.folder.text);
    found = found == KV_FOUND_WHOLE ? read_segments(&check) : found;
    found = found == KV_FOUND_WHOLE ? check_log(&check) : found;
    kv_folder_close(&check.folder);
    return found;
}
