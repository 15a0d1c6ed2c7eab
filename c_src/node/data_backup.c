/* Backups of the data_dir while the node runs.
 *
 *     kv_data_backup --> the new folder is made --> files are held, a checkpoint is written --> the
 *     log is durable behind it --> files are linked and copied --> done
 *
 * The thread of host/backup.h waits for disks, and the loop never does. The log is copied up to one
 * LSN, the end of a batch: what lies behind it may be half of a batch, or one that speaks of others
 * that the copy does not have. The last batch of the copy is a mark, so that damage to any answered
 * change in it is found. */
#include "node/data_parts.h"

#include <kv/error.h>

static void answer(struct kv_data *data, const struct kv_data_backed_up *result)
{
    struct kv_data_backup *b = &data->backup;
    void (*done)(void *context, const struct kv_data_backed_up *result) = b->done;
    b->done = NULL;
    b->files = NULL;
    b->step = KV_DATA_BACKUP_NONE;
    done(b->context, result);
}

static const char *word_of(int error)
{
    switch (error) {
    case KV_OK:
        return NULL;
    case KV_EEXIST:
        return "bad_folder";
    case KV_ENOSPC:
        return "enospc";
    default:
        return "eio";
    }
}

/* ---- the files ---------------------------------------------------------------------------------
 */

static void done(void *context, const struct kv_backup_result *result)
{
    struct kv_data *data = context;
    struct kv_data_backed_up backed_up = {.word = word_of(result->error),
                                          .text = result->text,
                                          .bytes = result->bytes,
                                          .written = result->written};
    if (result->error != KV_OK && data->backup.gives_way) {
        backed_up.word = "enospc";
        backed_up.text =
            data->backup.shares
                ? "the backup was given up, because the durable buckets need its space: free "
                  "space, or name a folder on another file system"
                : "the backup was given up, because the durable buckets need the space of old "
                  "files that it had still to copy: free space on the file system of data_dir";
    }
    if (data->backup.step > KV_DATA_BACKUP_FOLDER) {
        kv_data_release_files(data);
    }
    answer(data, &backed_up);
}

/* The log is written up to here, and all that was answered before lies below. */
static void copy(struct kv_data *data)
{
    struct kv_data_backup *b = &data->backup;
    b->range.end = kv_wal_place(data->wal).lsn;
    b->step = KV_DATA_BACKUP_FILES;
    kv_backup_copy(b->files, &b->range);
}

/* ---- the log -----------------------------------------------------------------------------------
 */

/* On a full disk there may be no space for a mark. */
static void tend_mark(struct kv_data *data)
{
    if (data->room != KV_OK || kv_wal_durable(data->wal) >= data->backup.batch) {
        copy(data);
    }
}

/* There is a later checkpoint: but for the backup, older ones, and files of the log, would go. */
static bool holds_space(const struct kv_data *data)
{
    return data->checkpoint.lsn > data->backup.range.checkpoint;
}

static void tend_files(struct kv_data *data)
{
    struct kv_data_backup *b = &data->backup;
    kv_backup_give_way(b->files);
    b->shares = kv_backup_shares_space(b->files);
    if (data->room != KV_OK && !b->gives_way && (b->shares || holds_space(data))) {
        b->gives_way = true;
        kv_backup_stop(b->files);
    }
}

void kv_data_tend_backup(struct kv_data *data)
{
    if (data->backup.step == KV_DATA_BACKUP_MARK) {
        tend_mark(data);
    } else if (data->backup.step == KV_DATA_BACKUP_FILES) {
        tend_files(data);
    }
}

/* The checkpoint is the new one, or the last one there is if that was given up: then the log since
 * is longer. */
static void checkpointed(void *context, int error)
{
    struct kv_data *data = context;
    struct kv_data_backup *b = &data->backup;
    (void)error;
    if (b->step != KV_DATA_BACKUP_CHECKPOINT) {
        return;
    }
    b->range = (struct kv_backup_range){.checkpoint = data->checkpoint.lsn,
                                        .size = data->checkpoint.size,
                                        .segment_size = data->store.segment_size};
    kv_wal_mark(data->wal);
    b->batch = kv_wal_batch(data->wal);
    b->step = KV_DATA_BACKUP_MARK;
    tend_mark(data);
}

static void ready(void *context)
{
    struct kv_data *data = context;
    kv_data_hold_files(data);
    data->backup.step = KV_DATA_BACKUP_CHECKPOINT;
    if (kv_data_checkpoint_now(data, checkpointed, data) != KV_OK) {
        checkpointed(data, KV_EBUSY);
    }
}

/* ---- the beginning and the end -----------------------------------------------------------------
 */

/* Returns NULL if a backup may begin. */
static const char *refusal(const struct kv_data *data, const char **text)
{
    if (data->disk == NULL) {
        *text = "the node has no data_dir, so there is nothing to back up";
        return "no_data_dir";
    }
    if (data->wal == NULL) {
        *text =
            "the node is still reading its durable buckets from disk: try again once it is ready";
        return "not_ready";
    }
    if (data->backup.step != KV_DATA_BACKUP_NONE) {
        *text = "the node is making another backup: wait for that one";
        return "backup_under_way";
    }
    return NULL;
}

void kv_data_backup(struct kv_data *data, const char *folder,
                    void (*done_)(void *context, const struct kv_data_backed_up *result),
                    void *context)
{
    struct kv_data_backed_up refused = {0};
    refused.word = refusal(data, &refused.text);
    if (refused.word != NULL) {
        done_(context, &refused);
        return;
    }
    data->backup =
        (struct kv_data_backup){.step = KV_DATA_BACKUP_FOLDER, .done = done_, .context = context};
    data->backup.files = kv_backup_begin(&(struct kv_backup_settings){
        .loop = data->settings.loop,
        .from = kv_disk_folder(data->disk),
        .folder = folder,
        .context = data,
        .ready = ready,
        .done = done,
    });
    if (data->backup.files == NULL) {
        answer(data, &(struct kv_data_backed_up){
                         .word = "enomem",
                         .text = "the system has no thread for the backup: raise the limit of "
                                 "processes (ulimit -u), or of open files (ulimit -n)"});
    }
}

void kv_data_stop_backup(struct kv_data *data)
{
    kv_backup_close(data->backup.files);
    data->backup = (struct kv_data_backup){0};
}
