#include "host/disk_state.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <kv/error.h>
#include <stdio.h>
#include <string.h>

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

int kv_disk_folder(const struct kv_disk *disk)
{
    return disk->folder.fd;
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
    return told(disk, kv_folder_last_segments(&disk->folder, first, last));
}

int kv_disk_read(void *context, uint64_t segment, uint64_t offset, void *to, size_t length,
                 size_t *got)
{
    struct kv_disk *disk = context;
    return told(disk, kv_folder_read(&disk->folder, segment, offset, to, length, got));
}

int kv_disk_checkpoint(void *context, uint64_t *lsn, uint64_t *size)
{
    struct kv_disk *disk = context;
    return told(disk, kv_folder_checkpoint(&disk->folder, lsn, size));
}

int kv_disk_read_checkpoint(void *context, uint64_t lsn, uint64_t offset, void *to, size_t length,
                            size_t *got)
{
    struct kv_disk *disk = context;
    return told(disk, kv_folder_read_checkpoint(&disk->folder, lsn, offset, to, length, got));
}

/* ---- the loop: events --------------------------------------------------------------------------
 */

static struct kv_disk_news take_news(struct kv_disk *disk)
{
    uv_mutex_lock(&disk->worker.mutex);
    struct kv_disk_news news = disk->news;
    disk->news.is_new = false;
    disk->news.is_done = false;
    disk->news.is_piece_done = false;
    uv_mutex_unlock(&disk->worker.mutex);
    return news;
}

static void report(struct kv_disk *disk)
{
    const struct kv_disk_events *events = &disk->settings.events;
    struct kv_disk_news news = take_news(disk);
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
    if (news.is_piece_done) {
        disk->has_piece = false;
        events->piece(events->context, news.piece_error);
    }
    if (news.room != disk->room) {
        disk->room = news.room;
        if (events->room != NULL) {
            events->room(events->context, news.room);
        }
    }
}

static void on_news(void *disk)
{
    report(disk);
}

/* ---- the loop: orders --------------------------------------------------------------------------
 */

static int prepare(struct kv_disk *disk, const struct kv_disk_settings *settings)
{
    disk->settings = *settings;
    if (settings->interval_ms == 0) {
        disk->settings.interval_ms = KV_DISK_INTERVAL_MS;
    }
    uint64_t open = settings->lsn / kv_disk_room(disk);
    uint64_t first = open;
    uint64_t last = 0;
    int error = kv_disk_segments(disk, &first, &last);
    if (error != KV_OK && error != KV_ENOENT) {
        return error;
    }
    kv_log_files_init(&disk->work.files, &disk->folder, settings->segment_size, first,
                      error == KV_OK ? last + 1 : open);
    kv_checkpoint_file_init(&disk->work.checkpoint, &disk->folder);
    disk->work.files.header = settings->events.header;
    disk->work.files.context = settings->events.context;
    disk->work.lsn = settings->lsn;
    return KV_OK;
}

/* Returns false if the system has no thread; nothing is left behind then. */
static bool start_thread(struct kv_disk *disk)
{
    if (uv_cond_init(&disk->told) != 0) {
        return false;
    }
    if (!kv_worker_start(&disk->worker, kv_disk_run, disk)) {
        uv_cond_destroy(&disk->told);
        return false;
    }
    return true;
}

static int no_thread(struct kv_disk *disk)
{
    kv_log_files_close(&disk->work.files);
    (void)snprintf(disk->text, sizeof disk->text,
                   "data folder %s: the system has no thread to write to it: raise the limit of "
                   "processes (ulimit -u), or of open files (ulimit -n)",
                   disk->folder.path);
    return KV_ENOMEM;
}

int kv_disk_start(struct kv_disk *disk, uv_loop_t *loop, const struct kv_disk_settings *settings)
{
    kv_assert(!disk->started && settings->segment_size % KV_DISK_BLOCK == 0 &&
              settings->segment_size / KV_DISK_BLOCK >= 2);
    int error = prepare(disk, settings);
    if (error != KV_OK) {
        return error;
    }
    if (!kv_bell_open(&disk->bell, loop, on_news, disk)) {
        return no_thread(disk);
    }
    disk->has_handle = true;
    if (!start_thread(disk)) {
        return no_thread(disk);
    }
    disk->started = true;
    return KV_OK;
}

/* Ends the work under the mutex. The thread that wakes finds it free. */
static void post(struct kv_disk *disk)
{
    uv_mutex_unlock(&disk->worker.mutex);
    uv_cond_signal(&disk->worker.cond);
}

void kv_disk_write(struct kv_disk *disk, const struct kv_disk_write *write)
{
    kv_assert(disk->started && !disk->writing);
    kv_assert(write->lsn % KV_DISK_BLOCK == 0 && write->bytes.length % KV_DISK_BLOCK == 0);
    if (disk->failed) {
        return;
    }
    disk->writing = true;
    uv_mutex_lock(&disk->worker.mutex);
    disk->orders.write = *write;
    disk->orders.has_write = true;
    post(disk);
}

uint64_t kv_disk_ready(const struct kv_disk *disk)
{
    return disk->ready;
}

void kv_disk_reserve(struct kv_disk *disk, uint64_t lsn)
{
    uv_mutex_lock(&disk->worker.mutex);
    disk->orders.reserve = lsn;
    post(disk);
}

bool kv_disk_has_space(const struct kv_disk *disk, uint64_t lsn)
{
    const uint64_t room = kv_disk_room(disk);
    const uint64_t end = disk->ready / room;
    const uint64_t wanted = (lsn + room - 1) / room;
    const uint64_t spares =
        disk->orders.needed > disk->figures.first ? disk->orders.needed - disk->figures.first : 0;
    uint64_t space = 0;
    return wanted <= end + spares || !kv_folder_space(&disk->folder, &space) ||
           (wanted - end - spares) * disk->settings.segment_size <= space;
}

void kv_disk_write_piece(struct kv_disk *disk, const struct kv_disk_piece *piece)
{
    kv_assert(disk->started && !disk->has_piece);
    kv_assert(piece->offset % KV_DISK_BLOCK == 0 && piece->bytes.length % KV_DISK_BLOCK == 0);
    if (disk->failed) {
        return;
    }
    disk->has_piece = true;
    uv_mutex_lock(&disk->worker.mutex);
    disk->orders.piece = *piece;
    disk->orders.has_piece = true;
    uv_cond_signal(&disk->worker.cond);
    uv_mutex_unlock(&disk->worker.mutex);
}

void kv_disk_keep_checkpoint(struct kv_disk *disk, uint64_t checkpoint)
{
    uv_mutex_lock(&disk->worker.mutex);
    disk->orders.checkpoint = checkpoint;
    disk->orders.has_checkpoint = true;
    uv_cond_signal(&disk->worker.cond);
    uv_mutex_unlock(&disk->worker.mutex);
}

void kv_disk_recycle(struct kv_disk *disk, uint64_t segment)
{
    uv_mutex_lock(&disk->worker.mutex);
    disk->orders.needed = segment;
    post(disk);
}

struct kv_disk_figures kv_disk_figures(const struct kv_disk *disk)
{
    return disk->figures;
}

/* ---- the end -----------------------------------------------------------------------------------
 */

static void await_news(struct kv_disk *disk)
{
    uv_mutex_lock(&disk->worker.mutex);
    while (!disk->news.is_new) {
        uv_cond_wait(&disk->told, &disk->worker.mutex);
    }
    uv_mutex_unlock(&disk->worker.mutex);
}

void kv_disk_await(struct kv_disk *disk)
{
    while (disk != NULL && disk->started && disk->writing && !disk->failed && disk->room == KV_OK) {
        await_news(disk);
        report(disk);
    }
}

static void end_thread(struct kv_disk *disk)
{
    uv_mutex_lock(&disk->worker.mutex);
    disk->orders.end = true;
    post(disk);
    kv_worker_join(&disk->worker);
    disk->failed = true; /* takes no more writes */
    report(disk);
    kv_log_files_close(&disk->work.files);
    kv_checkpoint_file_give_up(&disk->work.checkpoint);
    uv_cond_destroy(&disk->told);
    kv_worker_free(&disk->worker);
}

static void on_closed(uv_handle_t *handle)
{
    const struct kv_bell *bell = handle->data;
    kv_free(bell->context);
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
        kv_bell_close(&disk->bell, on_closed);
    } else {
        kv_free(disk);
    }
}
