/* The thread of the disk: what it does next, and what it tells of it. */
#include "host/disk_state.h"

#include <errno.h>
#include <kv/error.h>
#include <stdio.h>

enum {
    NS_A_MS = 1000000,
    IDLE_MS = 20, /* without a write for so long, files are made in one go */
    PACE = 2,     /* else so many bytes for each that was written */
    NO_TIME = 0   /* of a deadline: none */
};

/* ---- the thread: telling -----------------------------------------------------------------------
 */

/* Under the mutex, and leaves it for a moment: the loop that wakes finds it free. */
static void tell(struct kv_disk *disk)
{
    struct kv_disk_work *work = &disk->work;
    const struct kv_log_files *files = &work->files;
    work->figures.zeroed = files->zeroed;
    work->figures.recycled = files->recycled;
    work->figures.removed = files->removed;
    work->figures.first = files->first;
    work->figures.end = files->end;
    work->figures.direct = files->direct;
    work->figures.pieces = work->checkpoint.written;
    disk->news.figures = work->figures;
    disk->news.ready = files->end * kv_disk_room(disk);
    disk->news.is_new = true;
    uv_mutex_unlock(&disk->worker.mutex);
    uv_cond_signal(&disk->told);
    kv_bell_ring(&disk->bell);
    uv_mutex_lock(&disk->worker.mutex);
}

static void tell_done(struct kv_disk *disk, int error)
{
    disk->news.is_done = true;
    disk->news.done = disk->work.number;
    disk->news.error = error;
    tell(disk);
}

/* The disk is full (KV_ENOSPC), or no longer (KV_OK). Under the mutex. */
static void tell_room(struct kv_disk *disk, int room)
{
    disk->work.retry_due =
        room == KV_OK ? NO_TIME : uv_hrtime() + KV_DISK_RETRY_MS * (uint64_t)NS_A_MS;
    disk->news.room = room;
    tell(disk);
}

static void say_failure(struct kv_disk *disk, int error)
{
    const struct kv_log_files *files = &disk->work.files;
    char name[KV_FOLDER_NAME];
    if (!kv_folder_is_there(&disk->folder)) {
        kv_folder_gone_sentence(&disk->folder, disk->news.text, NULL);
    } else if (files->nameless) {
        kv_folder_name(files->segment, name);
        kv_folder_gone_sentence(&disk->folder, disk->news.text, name);
    } else {
        kv_folder_sentence(&disk->folder, disk->news.text, files->doing, error);
    }
}

static bool fail(struct kv_disk *disk, int error)
{
    say_failure(disk, error);
    tell_done(disk, KV_EIO);
    return false;
}

/* The present piece is done, or the checkpoint is given up. Under the mutex. */
static void tell_piece(struct kv_disk *disk, int error)
{
    disk->orders.has_piece = false;
    disk->work.piece_done = 0;
    disk->news.is_piece_done = true;
    disk->news.piece_error = error;
    tell(disk);
}

/* The log comes first: the checkpoint that is being written makes room. Its next piece finds no
 * file. Returns false if there is no such checkpoint. */
static bool give_up_checkpoint(struct kv_disk *disk)
{
    bool is_open = kv_checkpoint_file_is_open(&disk->work.checkpoint);
    kv_checkpoint_file_give_up(&disk->work.checkpoint);
    return is_open;
}

/* No space is tried again; any other error is the end, for which this returns false. */
static bool is_survived(struct kv_disk *disk, int error)
{
    if (kv_folder_error(error) != KV_ENOSPC) {
        return fail(disk, error);
    }
    if (give_up_checkpoint(disk)) {
        return true;
    }
    kv_folder_sentence(&disk->folder, disk->news.text, disk->work.files.doing, error);
    tell_room(disk, KV_ENOSPC);
    return true;
}

static void note_space(struct kv_disk *disk)
{
    if (disk->work.retry_due != NO_TIME) {
        disk->work.is_write_full = false;
        tell_room(disk, KV_OK);
    }
}

/* ---- the thread: working -----------------------------------------------------------------------
 */

static void note_sync(struct kv_disk_work *work)
{
    work->sync_due = NO_TIME;
    work->figures.syncs++;
    work->figures.synced_at = uv_hrtime();
}

static void note_write(struct kv_disk *disk, const struct kv_disk_write *write)
{
    struct kv_disk_work *work = &disk->work;
    work->written = write->number;
    work->lsn = write->lsn + write->bytes.length;
    work->wrote_at = uv_hrtime();
    work->owed += PACE * write->bytes.length;
    work->credit += KV_DISK_SHARE * write->bytes.length;
    work->figures.writes++;
    work->figures.bytes += write->bytes.length;
    if (write->sync) {
        note_sync(work);
    } else if (work->sync_due == NO_TIME) {
        work->sync_due = work->wrote_at + disk->settings.interval_ms * NS_A_MS;
    }
}

/* Each of these runs under the mutex, and leaves it for the work itself. Returns false at the end:
 * a failure was told. */
static bool do_write(struct kv_disk *disk)
{
    struct kv_disk_write write = disk->orders.write;
    struct kv_disk_work *work = &disk->work;
    uint64_t end = work->files.end;
    disk->orders.write.seal = NULL; /* once is enough, also if this is tried again */
    work->number = write.number;
    uv_mutex_unlock(&disk->worker.mutex);
    if (write.seal != NULL) {
        write.seal(write.sealed);
    }
    int error = kv_log_files_write(&work->files, write.lsn, write.bytes, write.sync);
    if (error == 0 && !kv_log_files_are_there(&work->files)) {
        error = ENOENT; /* an answer would be no promise */
    }
    uv_mutex_lock(&disk->worker.mutex);
    if (error != 0) {
        bool is_well = work->files.failed_sync ? fail(disk, error) : is_survived(disk, error);
        work->is_write_full = work->retry_due != NO_TIME;
        return is_well;
    }
    disk->orders.has_write = false;
    note_write(disk, &write);
    if (work->is_write_full || work->files.end != end) {
        note_space(disk);
    }
    tell_done(disk, KV_OK);
    return true;
}

/* Never tried again, whatever the reason. */
static bool do_sync(struct kv_disk *disk)
{
    uv_mutex_unlock(&disk->worker.mutex);
    int error = kv_log_files_sync(&disk->work.files);
    uv_mutex_lock(&disk->worker.mutex);
    if (error != 0) {
        return fail(disk, error);
    }
    note_sync(&disk->work);
    disk->news.synced = disk->work.written; /* a write that waits for space is not done */
    tell(disk);
    return true;
}

static bool do_make(struct kv_disk *disk)
{
    struct kv_disk_work *work = &disk->work;
    uint64_t end = work->files.end;
    uv_mutex_unlock(&disk->worker.mutex);
    int error = kv_log_files_make(&work->files);
    uv_mutex_lock(&disk->worker.mutex);
    work->owed -= work->owed < KV_LOG_FILES_STEP ? work->owed : KV_LOG_FILES_STEP;
    if (error != 0) {
        return is_survived(disk, error);
    }
    if (work->files.end != end) {
        note_space(disk);
        tell(disk);
    }
    return true;
}

static bool do_trim(struct kv_disk *disk)
{
    uv_mutex_unlock(&disk->worker.mutex);
    int error = kv_log_files_trim(&disk->work.files, KV_DISK_SPARES);
    uv_mutex_lock(&disk->worker.mutex);
    tell(disk);
    return error == 0 || is_survived(disk, error);
}

/* Bytes of a piece that are written in one step. */
static struct kv_bytes next_step(const struct kv_disk_piece *piece, size_t done)
{
    size_t left = piece->bytes.length - done;
    return kv_bytes(piece->bytes.data + done,
                    left < KV_CHECKPOINT_STEP ? left : (size_t)KV_CHECKPOINT_STEP);
}

/* Returns 0, or an errno. ENOSPC, too, if the file was given up for the log. */
static int write_step(struct kv_disk_work *work, const struct kv_disk_piece *piece,
                      struct kv_bytes step)
{
    struct kv_checkpoint_file *file = &work->checkpoint;
    int error = 0;
    if (work->piece_done == 0 && piece->offset == 0) {
        error = kv_checkpoint_file_begin(file);
    } else if (!kv_checkpoint_file_is_open(file)) {
        error = ENOSPC;
    }
    if (error == 0) {
        error = kv_checkpoint_file_write(file, step, piece->offset + work->piece_done);
    }
    if (error == 0 && piece->last && work->piece_done + step.length == piece->bytes.length) {
        error = kv_checkpoint_file_end(file, piece->checkpoint);
    }
    return error;
}

/* An error harms nothing but the checkpoint, except a sync of the folder that fails, which is never
 * tried again, as that of the log, and a folder that is gone. Returns false then. Under the mutex.
 */
static bool fail_piece(struct kv_disk *disk, int error)
{
    struct kv_disk_work *work = &disk->work;
    if (work->checkpoint.failed_sync || !kv_folder_is_there(&disk->folder)) {
        (void)snprintf(work->files.doing, sizeof work->files.doing,
                       "cannot sync the name of a checkpoint");
        return fail(disk, error);
    }
    kv_folder_sentence(&disk->folder, disk->news.text, "cannot write a checkpoint", error);
    tell_piece(disk, kv_folder_error(error));
    return true;
}

/* One step of a piece. */
static bool do_piece(struct kv_disk *disk)
{
    struct kv_disk_piece piece = disk->orders.piece;
    struct kv_disk_work *work = &disk->work;
    struct kv_bytes step = next_step(&piece, work->piece_done);
    disk->orders.piece.seal = NULL;
    work->credit -= work->credit < step.length ? work->credit : step.length;
    uv_mutex_unlock(&disk->worker.mutex);
    if (piece.seal != NULL) {
        piece.seal(piece.sealed);
    }
    int error = write_step(work, &piece, step);
    uv_mutex_lock(&disk->worker.mutex);
    if (error != 0) {
        return fail_piece(disk, error);
    }
    work->piece_done += step.length;
    if (work->piece_done == piece.bytes.length) {
        tell_piece(disk, KV_OK);
    }
    return true;
}

static bool do_tidy(struct kv_disk *disk)
{
    uint64_t checkpoint = disk->orders.checkpoint;
    disk->orders.has_checkpoint = false;
    uv_mutex_unlock(&disk->worker.mutex);
    int error = kv_folder_tidy(&disk->folder, checkpoint, disk->work.files.first);
    uv_mutex_lock(&disk->worker.mutex);
    if (error != 0) {
        (void)snprintf(disk->work.files.doing, sizeof disk->work.files.doing,
                       "cannot remove a file that is not needed");
    }
    return error == 0 || is_survived(disk, error);
}

/* ---- the thread: choosing ----------------------------------------------------------------------
 */

static bool is_due(uint64_t deadline, uint64_t now)
{
    return deadline != NO_TIME && now >= deadline;
}

/* The open segment and those that the loop has asked for. */
static bool is_making_urgent(const struct kv_disk *disk)
{
    const struct kv_disk_work *work = &disk->work;
    uint64_t ready = work->files.end * kv_disk_room(disk);
    return ready <= work->lsn || ready < work->reserve;
}

/* The one behind the open one. */
static bool is_making_wanted(const struct kv_disk *disk)
{
    return disk->work.files.end <= disk->work.lsn / kv_disk_room(disk) + 1;
}

static bool is_idle(const struct kv_disk_work *work, uint64_t now)
{
    return now - work->wrote_at >= IDLE_MS * (uint64_t)NS_A_MS;
}

static bool should_make(const struct kv_disk *disk, uint64_t now)
{
    const struct kv_disk_work *work = &disk->work;
    if (work->retry_due != NO_TIME) {
        return now >= work->retry_due;
    }
    return is_making_urgent(disk) ||
           (is_making_wanted(disk) && (work->owed >= KV_LOG_FILES_STEP || is_idle(work, now)));
}

static uint64_t quiet_from(const struct kv_disk_work *work)
{
    return work->wrote_at + KV_DISK_QUIET_MS * (uint64_t)NS_A_MS;
}

static bool should_write_piece(const struct kv_disk *disk, uint64_t now)
{
    const struct kv_disk_work *work = &disk->work;
    return disk->orders.has_piece &&
           (work->credit >= KV_CHECKPOINT_STEP || now >= quiet_from(work));
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a == NO_TIME || (b != NO_TIME && b < a) ? b : a;
}

static void wait_for_orders(struct kv_disk *disk, uint64_t now)
{
    const struct kv_disk_work *work = &disk->work;
    uint64_t due = sooner(work->sync_due, work->retry_due);
    if (work->retry_due == NO_TIME && is_making_wanted(disk)) {
        due = sooner(due, work->wrote_at + IDLE_MS * (uint64_t)NS_A_MS);
    }
    if (disk->orders.has_piece) {
        due = sooner(due, quiet_from(work));
    }
    if (due == NO_TIME) {
        uv_cond_wait(&disk->worker.cond, &disk->worker.mutex);
    } else if (due > now) {
        (void)uv_cond_timedwait(&disk->worker.cond, &disk->worker.mutex, due - now);
    }
}

static void take_orders(struct kv_disk *disk, uint64_t now)
{
    struct kv_disk_work *work = &disk->work;
    uint64_t open = work->lsn / kv_disk_room(disk);
    uint64_t needed = disk->orders.needed < open ? disk->orders.needed : open;
    if (needed > work->files.needed && work->retry_due != NO_TIME) {
        work->retry_due = now; /* a file to be used again needs no space */
    }
    work->files.needed = needed;
    work->reserve = disk->orders.reserve;
    if (!is_making_wanted(disk)) {
        work->owed = 0;
    }
    if (!disk->orders.has_piece && !kv_checkpoint_file_is_open(&work->checkpoint)) {
        work->credit = 0;
    }
}

static bool can_write(const struct kv_disk *disk, bool is_full)
{
    const struct kv_disk_write *write = &disk->orders.write;
    const struct kv_disk_work *work = &disk->work;
    if (is_full) {
        return !work->is_write_full &&
               write->lsn + write->bytes.length <= work->files.end * kv_disk_room(disk);
    }
    return work->retry_due != NO_TIME || work->owed < KV_LOG_FILES_STEP;
}

/* One step. Returns false at the end. Under the mutex. */
static bool step(struct kv_disk *disk)
{
    struct kv_disk_work *work = &disk->work;
    const struct kv_log_files *files = &work->files;
    uint64_t now = uv_hrtime();
    take_orders(disk, now);
    bool is_full = work->retry_due != NO_TIME && now < work->retry_due;
    if (is_due(work->sync_due, now)) {
        return do_sync(disk);
    }
    if (disk->orders.has_write && can_write(disk, is_full)) {
        return do_write(disk);
    }
    if (disk->orders.end && (is_full || !disk->orders.has_write)) {
        return false;
    }
    if (files->first + KV_DISK_SPARES < files->needed && files->first + 1 < files->end) {
        return do_trim(disk);
    }
    if (should_make(disk, now)) {
        return do_make(disk);
    }
    if (disk->orders.has_checkpoint) {
        return do_tidy(disk);
    }
    if (should_write_piece(disk, now)) {
        return do_piece(disk);
    }
    wait_for_orders(disk, now);
    return true;
}

void kv_disk_run(void *context)
{
    struct kv_disk *disk = context;
    struct kv_disk_work *work = &disk->work;
    int error = kv_log_files_begin(&work->files, disk->settings.segments_end);
    uv_mutex_lock(&disk->worker.mutex);
    bool is_well = error == 0 || fail(disk, error);
    if (is_well) {
        tell(disk);
    }
    while (is_well && step(disk)) {
        is_well = !disk->news.error;
    }
    if (disk->news.error == KV_OK && work->sync_due != NO_TIME) {
        (void)do_sync(disk);
    }
    uv_mutex_unlock(&disk->worker.mutex);
}
