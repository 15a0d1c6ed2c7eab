#include "host/disk.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "host/log_files.h"

#include <kv/error.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum {
    NS_A_MS = 1000000,
    IDLE_MS = 20, /* without a write for so long, files are made in one go */
    PACE = 2,     /* else so many bytes for each that was written */
    NO_TIME = 0   /* of a deadline: none */
};

/* What the loop wants. Under the mutex. */
struct orders {
    struct kv_disk_write write;
    bool has_write;
    bool end;
    uint64_t reserve; /* an LSN */
    uint64_t needed;  /* a segment */
};

/* What the thread has to tell. Under the mutex. */
struct news {
    bool is_done;
    uint64_t done;
    int error; /* KV_EIO: the disk has failed, and the thread has ended */
    uint64_t synced;
    int room;
    uint64_t ready;
    struct kv_disk_figures figures;
    char text[KV_FOLDER_TEXT];
};

/* What only the thread uses. */
struct work {
    struct kv_log_files files;
    uint64_t lsn;       /* the end of what was written */
    uint64_t number;    /* of the last write */
    uint64_t wrote_at;  /* its time */
    uint64_t sync_due;  /* NO_TIME: all is synced */
    uint64_t retry_due; /* NO_TIME: there is space */
    bool is_write_full; /* it was the write that found none */
    uint64_t owed;      /* bytes to write ahead before the next write */
    uint64_t reserve;
    struct kv_disk_figures figures;
};

struct kv_disk {
    struct kv_folder folder;
    struct kv_disk_settings settings;
    uv_thread_t thread;
    uv_mutex_t mutex;
    uv_cond_t cond;   /* there are orders */
    uv_async_t async; /* there is news */
    bool started;
    bool has_handle;
    struct orders orders;
    struct news news;
    struct work work;
    /* The loop's own, as of the last report. */
    bool writing;
    bool failed;
    uint64_t synced;
    int room;
    uint64_t ready;
    struct kv_disk_figures figures;
    char text[KV_FOLDER_TEXT];
};

/* ---- the folder --------------------------------------------------------------------------------
 */

int kv_disk_open(struct kv_disk **disk, const char *folder, char *text, size_t size)
{
    struct kv_disk *new = kv_zalloc(sizeof *new);
    int error = kv_folder_open(&new->folder, folder);
    if (error != KV_OK) {
        (void)snprintf(text, size, "%s", new->folder.text);
        kv_folder_close(&new->folder);
        kv_free(new);
        new = NULL;
    }
    *disk = new;
    return error;
}

const char *kv_disk_text(const struct kv_disk *disk)
{
    return disk->text;
}

static int told(struct kv_disk *disk, int error)
{
    if (error != KV_OK && error != KV_ENOENT) {
        memcpy(disk->text, disk->folder.text, sizeof disk->text);
    }
    return error;
}

int kv_disk_read_store(struct kv_disk *disk, uint8_t block[KV_DISK_BLOCK])
{
    return told(disk, kv_folder_read_store(&disk->folder, block));
}

int kv_disk_write_store(struct kv_disk *disk, const uint8_t block[KV_DISK_BLOCK])
{
    return told(disk, kv_folder_write_store(&disk->folder, block));
}

int kv_disk_segments(void *context, uint64_t *first, uint64_t *last)
{
    struct kv_disk *disk = context;
    return told(disk, kv_folder_segments(&disk->folder, first, last));
}

int kv_disk_read(void *context, uint64_t segment, uint64_t offset, void *to, size_t length,
                 size_t *got)
{
    struct kv_disk *disk = context;
    return told(disk, kv_folder_read(&disk->folder, segment, offset, to, length, got));
}

/* ---- the thread: telling -----------------------------------------------------------------------
 */

static uint64_t room_of(const struct kv_disk *disk)
{
    return disk->settings.segment_size - KV_DISK_BLOCK;
}

/* Under the mutex. */
static void tell(struct kv_disk *disk)
{
    struct work *work = &disk->work;
    const struct kv_log_files *files = &work->files;
    work->figures.zeroed = files->zeroed;
    work->figures.recycled = files->recycled;
    work->figures.removed = files->removed;
    work->figures.first = files->first;
    work->figures.end = files->end;
    work->figures.direct = files->direct;
    disk->news.figures = work->figures;
    disk->news.ready = files->end * room_of(disk);
    (void)uv_async_send(&disk->async);
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

static bool fail(struct kv_disk *disk, int error)
{
    kv_folder_sentence(&disk->folder, disk->news.text, disk->work.files.doing, error);
    tell_done(disk, KV_EIO);
    return false;
}

/* No space is tried again; any other error is the end, for which this returns false. */
static bool is_survived(struct kv_disk *disk, int error)
{
    if (kv_folder_error(error) != KV_ENOSPC) {
        return fail(disk, error);
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

static void note_sync(struct work *work)
{
    work->sync_due = NO_TIME;
    work->figures.syncs++;
    work->figures.synced_at = uv_hrtime();
}

static void note_write(struct kv_disk *disk, const struct kv_disk_write *write)
{
    struct work *work = &disk->work;
    work->number = write->number;
    work->lsn = write->lsn + write->bytes.length;
    work->wrote_at = uv_hrtime();
    work->owed += PACE * write->bytes.length;
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
    struct work *work = &disk->work;
    uint64_t end = work->files.end;
    disk->orders.write.seal = NULL; /* once is enough, also if this is tried again */
    work->number = write.number;
    uv_mutex_unlock(&disk->mutex);
    if (write.seal != NULL) {
        write.seal(write.sealed);
    }
    int error = kv_log_files_write(&work->files, write.lsn, write.bytes, write.sync);
    uv_mutex_lock(&disk->mutex);
    if (error != 0) {
        work->is_write_full = true;
        return work->files.failed_sync ? fail(disk, error) : is_survived(disk, error);
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
    uv_mutex_unlock(&disk->mutex);
    int error = kv_log_files_sync(&disk->work.files);
    uv_mutex_lock(&disk->mutex);
    if (error != 0) {
        return fail(disk, error);
    }
    note_sync(&disk->work);
    disk->news.synced = disk->work.number;
    tell(disk);
    return true;
}

static bool do_make(struct kv_disk *disk)
{
    struct work *work = &disk->work;
    uint64_t end = work->files.end;
    uv_mutex_unlock(&disk->mutex);
    int error = kv_log_files_make(&work->files);
    uv_mutex_lock(&disk->mutex);
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
    uv_mutex_unlock(&disk->mutex);
    int error = kv_log_files_trim(&disk->work.files, KV_DISK_SPARES);
    uv_mutex_lock(&disk->mutex);
    tell(disk);
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
    const struct work *work = &disk->work;
    uint64_t ready = work->files.end * room_of(disk);
    return ready <= work->lsn || ready < work->reserve;
}

/* The one behind the open one. */
static bool is_making_wanted(const struct kv_disk *disk)
{
    return disk->work.files.end <= disk->work.lsn / room_of(disk) + 1;
}

static bool is_idle(const struct work *work, uint64_t now)
{
    return now - work->wrote_at >= IDLE_MS * (uint64_t)NS_A_MS;
}

static bool should_make(const struct kv_disk *disk, uint64_t now)
{
    const struct work *work = &disk->work;
    if (work->retry_due != NO_TIME) {
        return now >= work->retry_due;
    }
    return is_making_urgent(disk) ||
           (is_making_wanted(disk) && (work->owed >= KV_LOG_FILES_STEP || is_idle(work, now)));
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a == NO_TIME || (b != NO_TIME && b < a) ? b : a;
}

static void wait_for_orders(struct kv_disk *disk, uint64_t now)
{
    const struct work *work = &disk->work;
    uint64_t due = sooner(work->sync_due, work->retry_due);
    if (work->retry_due == NO_TIME && is_making_wanted(disk)) {
        due = sooner(due, work->wrote_at + IDLE_MS * (uint64_t)NS_A_MS);
    }
    if (due == NO_TIME) {
        uv_cond_wait(&disk->cond, &disk->mutex);
    } else if (due > now) {
        (void)uv_cond_timedwait(&disk->cond, &disk->mutex, due - now);
    }
}

static void take_orders(struct kv_disk *disk, uint64_t now)
{
    struct work *work = &disk->work;
    uint64_t open = work->lsn / room_of(disk);
    uint64_t needed = disk->orders.needed < open ? disk->orders.needed : open;
    if (needed > work->files.needed && work->retry_due != NO_TIME) {
        work->retry_due = now; /* a file to be used again needs no space */
    }
    work->files.needed = needed;
    work->reserve = disk->orders.reserve;
    if (!is_making_wanted(disk)) {
        work->owed = 0;
    }
}

static bool can_write(const struct kv_disk *disk, bool is_full)
{
    const struct kv_disk_write *write = &disk->orders.write;
    const struct work *work = &disk->work;
    if (is_full) {
        return !work->is_write_full &&
               write->lsn + write->bytes.length <= work->files.end * room_of(disk);
    }
    return work->retry_due != NO_TIME || work->owed < KV_LOG_FILES_STEP;
}

/* One step. Returns false at the end. Under the mutex. */
static bool step(struct kv_disk *disk)
{
    struct work *work = &disk->work;
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
    wait_for_orders(disk, now);
    return true;
}

/* The system's signals are for the thread of the loop. */
static void block_signals(void)
{
    sigset_t all;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, NULL);
}

static void run(void *context)
{
    struct kv_disk *disk = context;
    struct work *work = &disk->work;
    block_signals();
    int error = kv_log_files_begin(&work->files, disk->settings.segments_end);
    uv_mutex_lock(&disk->mutex);
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
    uv_mutex_unlock(&disk->mutex);
}

/* ---- the loop: events --------------------------------------------------------------------------
 */

static struct news take_news(struct kv_disk *disk)
{
    uv_mutex_lock(&disk->mutex);
    struct news news = disk->news;
    disk->news.is_done = false;
    uv_mutex_unlock(&disk->mutex);
    return news;
}

static void report(struct kv_disk *disk)
{
    const struct kv_disk_events *events = &disk->settings.events;
    struct news news = take_news(disk);
    disk->ready = news.ready;
    disk->figures = news.figures;
    memcpy(disk->text, news.text, sizeof disk->text);
    if (news.synced > disk->synced) {
        disk->synced = news.synced;
        events->synced(events->context, news.synced);
    }
    if (news.is_done) {
        disk->writing = false;
        disk->failed |= news.error != KV_OK;
        events->done(events->context, news.done, news.error);
    }
    if (news.room != disk->room) {
        disk->room = news.room;
        if (events->room != NULL) {
            events->room(events->context, news.room);
        }
    }
}

static void on_news(uv_async_t *async)
{
    report(async->data);
}

/* ---- the loop: orders --------------------------------------------------------------------------
 */

static int prepare(struct kv_disk *disk, const struct kv_disk_settings *settings)
{
    disk->settings = *settings;
    if (settings->interval_ms == 0) {
        disk->settings.interval_ms = KV_DISK_INTERVAL_MS;
    }
    if (settings->segments_end == 0) {
        disk->settings.segments_end = UINT64_MAX;
    }
    uint64_t open = settings->lsn / room_of(disk);
    uint64_t first = open;
    uint64_t last = 0;
    int error = kv_disk_segments(disk, &first, &last);
    if (error != KV_OK && error != KV_ENOENT) {
        return error;
    }
    kv_log_files_init(&disk->work.files, &disk->folder, settings->segment_size, first,
                      error == KV_OK ? last + 1 : open);
    disk->work.files.header = settings->events.header;
    disk->work.files.context = settings->events.context;
    disk->work.lsn = settings->lsn;
    return KV_OK;
}

/* Returns false if the system has no thread; nothing is left behind then. */
static bool start_thread(struct kv_disk *disk)
{
    if (uv_mutex_init(&disk->mutex) != 0) {
        return false;
    }
    if (uv_cond_init(&disk->cond) != 0) {
        uv_mutex_destroy(&disk->mutex);
        return false;
    }
    if (uv_thread_create(&disk->thread, run, disk) != 0) {
        uv_cond_destroy(&disk->cond);
        uv_mutex_destroy(&disk->mutex);
        return false;
    }
    return true;
}

int kv_disk_start(struct kv_disk *disk, uv_loop_t *loop, const struct kv_disk_settings *settings)
{
    kv_assert(!disk->started && settings->segment_size % KV_DISK_BLOCK == 0 &&
              settings->segment_size / KV_DISK_BLOCK >= 2);
    int error = prepare(disk, settings);
    if (error != KV_OK) {
        return error;
    }
    disk->async.data = disk;
    if (uv_async_init(loop, &disk->async, on_news) != 0) {
        kv_log_files_close(&disk->work.files);
        return KV_ENOMEM;
    }
    disk->has_handle = true;
    if (!start_thread(disk)) {
        kv_log_files_close(&disk->work.files);
        return KV_ENOMEM;
    }
    disk->started = true;
    return KV_OK;
}

void kv_disk_write(struct kv_disk *disk, const struct kv_disk_write *write)
{
    kv_assert(disk->started && !disk->writing);
    kv_assert(write->lsn % KV_DISK_BLOCK == 0 && write->bytes.length % KV_DISK_BLOCK == 0);
    if (disk->failed) {
        return;
    }
    disk->writing = true;
    uv_mutex_lock(&disk->mutex);
    disk->orders.write = *write;
    disk->orders.has_write = true;
    uv_cond_signal(&disk->cond);
    uv_mutex_unlock(&disk->mutex);
}

uint64_t kv_disk_ready(const struct kv_disk *disk)
{
    return disk->ready;
}

void kv_disk_reserve(struct kv_disk *disk, uint64_t lsn)
{
    uv_mutex_lock(&disk->mutex);
    disk->orders.reserve = lsn;
    uv_cond_signal(&disk->cond);
    uv_mutex_unlock(&disk->mutex);
}

void kv_disk_recycle(struct kv_disk *disk, uint64_t segment)
{
    uv_mutex_lock(&disk->mutex);
    disk->orders.needed = segment;
    uv_cond_signal(&disk->cond);
    uv_mutex_unlock(&disk->mutex);
}

struct kv_disk_figures kv_disk_figures(const struct kv_disk *disk)
{
    return disk->figures;
}

/* ---- the end -----------------------------------------------------------------------------------
 */

static void end_thread(struct kv_disk *disk)
{
    uv_mutex_lock(&disk->mutex);
    disk->orders.end = true;
    uv_cond_signal(&disk->cond);
    uv_mutex_unlock(&disk->mutex);
    (void)uv_thread_join(&disk->thread);
    disk->failed = true; /* takes no more writes */
    report(disk);
    kv_log_files_close(&disk->work.files);
    uv_cond_destroy(&disk->cond);
    uv_mutex_destroy(&disk->mutex);
}

static void on_closed(uv_handle_t *handle)
{
    kv_free(handle->data);
}

void kv_disk_close(struct kv_disk *disk)
{
    if (disk == NULL) {
        return;
    }
    if (disk->started) {
        end_thread(disk);
    }
    kv_folder_close(&disk->folder);
    if (disk->has_handle) {
        uv_close((uv_handle_t *)&disk->async, on_closed);
    } else {
        kv_free(disk);
    }
}
