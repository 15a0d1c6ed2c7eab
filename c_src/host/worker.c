#include "host/worker.h"

#include <pthread.h>
#include <signal.h>

static void begin(void *context)
{
    const struct kv_worker *worker = context;
    sigset_t all;
    (void)sigfillset(&all);
    /* That of a filter, host/confine.h. A blocked one would end the process. */
    (void)sigdelset(&all, SIGSYS);
    (void)pthread_sigmask(SIG_SETMASK, &all, NULL);
    worker->run(worker->context);
}

bool kv_worker_start(struct kv_worker *worker, void (*run)(void *context), void *context)
{
    worker->run = run;
    worker->context = context;
    if (uv_mutex_init(&worker->mutex) != 0) {
        return false;
    }
    if (uv_cond_init(&worker->cond) != 0) {
        uv_mutex_destroy(&worker->mutex);
        return false;
    }
    if (uv_thread_create(&worker->thread, begin, worker) != 0) {
        kv_worker_free(worker);
        return false;
    }
    return true;
}

void kv_worker_join(struct kv_worker *worker)
{
    (void)uv_thread_join(&worker->thread);
}

void kv_worker_free(struct kv_worker *worker)
{
    uv_cond_destroy(&worker->cond);
    uv_mutex_destroy(&worker->mutex);
}
