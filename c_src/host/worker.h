/* A thread beside the loop, with a mutex and a condition for those who share something with it. It
 * gets no signals: those of the system are for the thread of the loop. */
#ifndef KV_HOST_WORKER_H
#define KV_HOST_WORKER_H

#include <stdbool.h>
#include <uv.h>

/* Lies at its place from kv_worker_start() until kv_worker_free(). */
struct kv_worker {
    uv_thread_t thread;
    uv_mutex_t mutex;
    uv_cond_t cond;
    void (*run)(void *context);
    void *context;
};

/* Starts a thread that calls `run`. Returns false if the system has none; nothing is left behind
 * then. */
bool kv_worker_start(struct kv_worker *worker, void (*run)(void *context), void *context);

/* Waits until `run` has returned. */
void kv_worker_join(struct kv_worker *worker);

/* After kv_worker_join(): frees mutex and condition. */
void kv_worker_free(struct kv_worker *worker);

#endif
