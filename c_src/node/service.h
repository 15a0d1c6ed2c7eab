/* The node as a service: tells the service manager (host/manager.h) that it comes up, serves and
 * stops, and gives the signs of life that a watchdog wants.
 *
 * The signs come from the loop: a loop that is stuck gives none, and the manager starts the node
 * again. A long recovery goes on in steps of the loop, so it gives signs, too, and asks for more
 * time to start. */
#ifndef KV_NODE_SERVICE_H
#define KV_NODE_SERVICE_H

#include "host/manager.h"

#include <uv.h>

enum {
    KV_SERVICE_STEP_MS = 5000,    /* between two requests for more time, and */
    KV_SERVICE_EXTEND_MS = 30000, /* how much each asks for */
    KV_SERVICE_STATUS_MS = 1000,  /* between two words about a recovery */
    KV_SERVICE_AGAIN_MS = 50,     /* until a message that was missed is sent again */
    KV_SERVICE_TEXT_MAX = 512,
};

struct kv_service {
    struct kv_manager manager;
    uv_timer_t alive;  /* at half of the watchdog's time */
    uv_timer_t coming; /* until the node serves */
    uint64_t told;     /* when the manager last heard of the recovery, on the clock of the loop */
    char ready[KV_SERVICE_TEXT_MAX]; /* the message for that; empty until the node serves */
};

/* Finds the manager. The owner of the loop closes the two timers. */
void kv_service_start(struct kv_service *service, uv_loop_t *loop);

/* So much of the data is read. */
void kv_service_recovering(struct kv_service *service, unsigned percent);

/* The node serves. */
void kv_service_ready(struct kv_service *service, const char *name, unsigned port);

/* The node ends; `why`: a sentence, or NULL if it was asked to. Only the first call counts. */
void kv_service_stopping(struct kv_service *service, const char *why);

#endif
