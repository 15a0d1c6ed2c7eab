#include "host/aside.h"

#include "base/assert.h"

static void run(void *context)
{
    struct kv_aside *aside = context;
    uv_mutex_lock(&aside->mutex);
    while (!aside->must_end) {
        if (!aside->has_job || aside->is_done) {
            uv_cond_wait(&aside->cond, &aside->mutex);
            continue;
        }
        uv_mutex_unlock(&aside->mutex);
        aside->work(aside->context);
        uv_mutex_lock(&aside->mutex);
        aside->is_done = true;
        kv_bell_ring(&aside->bell);
    }
    uv_mutex_unlock(&aside->mutex);
}

static void heard(void *context)
{
    struct kv_aside *aside = context;
    uv_mutex_lock(&aside->mutex);
    const bool is_done = aside->is_done;
    if (is_done) {
        aside->has_job = aside->is_done = false;
    }
    uv_mutex_unlock(&aside->mutex);
    if (is_done) {
        aside->done(aside->context);
    }
}

/* Returns false, and leaves nothing behind but the bell. */
static bool start_thread(struct kv_aside *aside)
{
    if (uv_mutex_init(&aside->mutex) != 0) {
        return false;
    }
    if (uv_cond_init(&aside->cond) != 0) {
        uv_mutex_destroy(&aside->mutex);
        return false;
    }
    if (uv_thread_create(&aside->thread, run, aside) != 0) {
        uv_cond_destroy(&aside->cond);
        uv_mutex_destroy(&aside->mutex);
        return false;
    }
    return true;
}

bool kv_aside_start(struct kv_aside *aside, uv_loop_t *loop, void (*work)(void *context),
                    void (*done)(void *context), void *context)
{
    *aside = (struct kv_aside){.work = work, .done = done, .context = context};
    if (!kv_bell_open(&aside->bell, loop, heard, aside)) {
        return false;
    }
    aside->is_running = start_thread(aside);
    if (!aside->is_running) {
        kv_bell_close(&aside->bell, NULL);
    }
    return aside->is_running;
}

void kv_aside_do(struct kv_aside *aside)
{
    kv_assert(aside->is_running && !aside->has_job);
    uv_mutex_lock(&aside->mutex);
    aside->has_job = true;
    uv_mutex_unlock(&aside->mutex);
    uv_cond_signal(&aside->cond);
}

void kv_aside_end(struct kv_aside *aside)
{
    if (!aside->is_running) {
        return;
    }
    uv_mutex_lock(&aside->mutex);
    aside->must_end = true;
    uv_mutex_unlock(&aside->mutex);
    uv_cond_signal(&aside->cond);
    (void)uv_thread_join(&aside->thread);
    uv_cond_destroy(&aside->cond);
    uv_mutex_destroy(&aside->mutex);
    kv_bell_close(&aside->bell, NULL);
    aside->is_running = false;
}
