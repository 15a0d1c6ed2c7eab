#include "host/backup.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "host/bell.h"
#include "host/worker.h"

#include <errno.h>
#include <kv/error.h>
#include <stdatomic.h>

enum { NS_A_MS = 1000000, RESTS = 2 /* after a piece, of the time that it took */ };

struct kv_backup {
    struct kv_backup_settings settings;
    struct kv_backup_files files; /* the thread's, and the loop's after an event */
    struct kv_worker worker;
    struct kv_bell bell;
    atomic_uint writes; /* of the log */
    unsigned seen;      /* of them */
    bool told;          /* events.ready() was called */
    /* Under the mutex. */
    struct kv_backup_range range;
    bool has_range;
    bool stop;
    bool is_ready;
    bool is_done;
    int error;
};

/* ---- the thread --------------------------------------------------------------------------------
 */

static void tell(struct kv_backup *backup, bool *what)
{
    uv_mutex_lock(&backup->worker.mutex);
    *what = true;
    uv_mutex_unlock(&backup->worker.mutex);
    kv_bell_ring(&backup->bell);
}

/* After a piece that took so many nanoseconds. */
static int rest(void *context, uint64_t spent)
{
    struct kv_backup *backup = context;
    const uint64_t most = KV_BACKUP_REST_MS * (uint64_t)NS_A_MS;
    const unsigned writes = atomic_load_explicit(&backup->writes, memory_order_relaxed);
    const bool is_busy = writes != backup->seen;
    const uint64_t wanted = RESTS * spent;
    backup->seen = writes;
    uv_mutex_lock(&backup->worker.mutex);
    if (is_busy && !backup->stop) {
        (void)uv_cond_timedwait(&backup->worker.cond, &backup->worker.mutex,
                                wanted < most ? wanted : most);
    }
    const bool stop = backup->stop;
    uv_mutex_unlock(&backup->worker.mutex);
    return stop ? ECANCELED : 0;
}

/* Returns false if the backup is given up. */
static bool await_range(struct kv_backup *backup, struct kv_backup_range *range)
{
    uv_mutex_lock(&backup->worker.mutex);
    while (!backup->has_range && !backup->stop) {
        uv_cond_wait(&backup->worker.cond, &backup->worker.mutex);
    }
    *range = backup->range;
    const bool goes_on = !backup->stop;
    uv_mutex_unlock(&backup->worker.mutex);
    return goes_on;
}

static int work(struct kv_backup *backup)
{
    struct kv_backup_range range;
    int error = kv_backup_files_prepare(&backup->files);
    if (error != KV_OK) {
        return error;
    }
    tell(backup, &backup->is_ready);
    if (!await_range(backup, &range)) {
        return KV_EIO;
    }
    error = kv_backup_files_copy(&backup->files, &range);
    return error == KV_OK ? kv_backup_files_finish(&backup->files) : error;
}

static void run(void *context)
{
    struct kv_backup *backup = context;
    backup->error = work(backup);
    if (backup->error != KV_OK) {
        kv_backup_files_give_up(&backup->files);
    }
    tell(backup, &backup->is_done);
}

/* ---- the loop ----------------------------------------------------------------------------------
 */

static void on_closed(uv_handle_t *handle)
{
    const struct kv_bell *bell = handle->data;
    kv_free(bell->context);
}

static void join(struct kv_backup *backup)
{
    kv_worker_join(&backup->worker);
    kv_worker_free(&backup->worker);
    kv_backup_files_close(&backup->files);
}

static void end(struct kv_backup *backup)
{
    join(backup);
    const struct kv_backup_result result = {.error = backup->error,
                                            .text = backup->files.text,
                                            .bytes = backup->files.bytes,
                                            .written = backup->files.written};
    backup->settings.done(backup->settings.context, &result);
    kv_bell_close(&backup->bell, on_closed);
}

static void on_news(void *context)
{
    struct kv_backup *backup = context;
    uv_mutex_lock(&backup->worker.mutex);
    const bool is_ready = backup->is_ready && !backup->told && !backup->stop;
    const bool is_done = backup->is_done;
    uv_mutex_unlock(&backup->worker.mutex);
    if (is_done) {
        end(backup);
    } else if (is_ready) {
        backup->told = true;
        backup->settings.ready(backup->settings.context);
    }
}

struct kv_backup *kv_backup_begin(const struct kv_backup_settings *settings)
{
    struct kv_backup *backup = kv_zalloc(sizeof *backup);
    backup->settings = *settings;
    if (!kv_bell_open(&backup->bell, settings->loop, on_news, backup)) {
        kv_free(backup);
        return NULL;
    }
    kv_backup_files_init(&backup->files, settings->folder);
    backup->files.from = settings->from;
    backup->files.context = backup;
    backup->files.rest = rest;
    if (!kv_worker_start(&backup->worker, run, backup)) {
        kv_backup_files_close(&backup->files);
        kv_bell_close(&backup->bell, on_closed);
        return NULL;
    }
    return backup;
}

void kv_backup_copy(struct kv_backup *backup, const struct kv_backup_range *range)
{
    kv_assert(backup->told && range->end % KV_FOLDER_BLOCK == 0);
    uv_mutex_lock(&backup->worker.mutex);
    backup->range = *range;
    backup->has_range = true;
    uv_cond_signal(&backup->worker.cond);
    uv_mutex_unlock(&backup->worker.mutex);
}

void kv_backup_stop(struct kv_backup *backup)
{
    uv_mutex_lock(&backup->worker.mutex);
    backup->stop = true;
    uv_cond_signal(&backup->worker.cond);
    uv_mutex_unlock(&backup->worker.mutex);
}

void kv_backup_give_way(struct kv_backup *backup)
{
    (void)atomic_fetch_add_explicit(&backup->writes, 1, memory_order_relaxed);
}

bool kv_backup_shares_space(const struct kv_backup *backup)
{
    return backup->files.shares;
}

void kv_backup_close(struct kv_backup *backup)
{
    if (backup != NULL) {
        kv_backup_stop(backup);
        join(backup);
        kv_bell_close(&backup->bell, on_closed);
    }
}
