#include "host/aside.h"

#include "base/assert.h"

static void run(void *context)
{
    struct kv_aside *aside = context;
    uv_mutex_lock(&aside->worker.mutex);
    while (!aside->must_end) {
        if (!aside->has_job || aside->is_done) {
            uv_cond_wait(&aside->worker.cond, &aside->worker.mutex);
            continue;
        }
        uv_mutex_unlock(&aside->worker.mutex);
        aside->work(aside->context);
        uv_mutex_lock(&aside->worker.mutex);
        aside->is_done = true;
        kv_bell_ring(&aside->bell);
    }
    uv_mutex_unlock(&aside->worker.mutex);
}

static void heard(void *context)
{
    struct kv_aside *aside = context;
    uv_mutex_lock(&aside->worker.mutex);
    const bool is_done = aside->is_done;
    if (is_done) {
        aside->has_job = aside->is_done = false;
    }
    uv_mutex_unlock(&aside->worker.mutex);
    if (is_done) {
        aside->done(aside->context);
    }
}

bool kv_aside_start(struct kv_aside *aside, uv_loop_t *loop, void (*work)(void *context),
                    void (*done)(void *context), void *context)
{
    *aside = (struct kv_aside){.work = work, .done = done, .context = context};
    if (!kv_bell_open(&aside->bell, loop, heard, aside)) {
        return false;
    }
    aside->is_running = kv_worker_start(&aside->worker, run, aside);
    if (!aside->is_running) {
        kv_bell_close(&aside->bell, NULL);
    }
    return aside->is_running;
}

void kv_aside_do(struct kv_aside *aside)
{
    kv_assert(aside->is_running && !aside->has_job);
    uv_mutex_lock(&aside->worker.mutex);
    aside->has_job = true;
    uv_mutex_unlock(&aside->worker.mutex);
    uv_cond_signal(&aside->worker.cond);
}

void kv_aside_end(struct kv_aside *aside)
{
    if (!aside->is_running) {
        return;
    }
    uv_mutex_lock(&aside->worker.mutex);
    aside->must_end = true;
    uv_mutex_unlock(&aside->worker.mutex);
    uv_cond_signal(&aside->worker.cond);
    kv_worker_join(&aside->worker);
    kv_worker_free(&aside->worker);
    kv_bell_close(&aside->bell, NULL);
    aside->is_running = false;
}
