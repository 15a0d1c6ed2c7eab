/* A thread that does one job at a time aside from the loop, and tells the loop when it is done. Not
 * uv_queue_work(), which lets the loop spin: host/bell.h. */
#ifndef KV_HOST_ASIDE_H
#define KV_HOST_ASIDE_H

#include "host/bell.h"
#include "host/worker.h"

/* Zeroed before kv_aside_start(). Lies at its place until the loop has closed its handle. */
struct kv_aside {
    struct kv_bell bell;
    struct kv_worker worker; /* whose mutex is for the next three */
    bool has_job;
    bool is_done;
    bool must_end;
    bool is_running;
    void (*work)(void *context); /* in the thread */
    void (*done)(void *context); /* on the loop, after each */
    void *context;
};

/* Starts the thread. Returns false if the system has none: then nothing is left behind. */
bool kv_aside_start(struct kv_aside *aside, uv_loop_t *loop, void (*work)(void *context),
                    void (*done)(void *context), void *context);

/* Has the thread call `work`, and then the loop `done`. At most one job is under way. */
void kv_aside_do(struct kv_aside *aside);

/* Waits for the job under way, ends the thread, and closes the handle. `done` is not called any
 * more. Does nothing if the thread was not started, or has ended. */
void kv_aside_end(struct kv_aside *aside);

#endif
