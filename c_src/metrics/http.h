/* The page of figures over HTTP: /metrics for Prometheus, and /health for whoever starts the node.
 *
 * libmicrohttpd reads and writes, driven by the loop of the node: it has no thread. It serves a few
 * connections at once, and gives up those that are slow. */
#ifndef KV_METRICS_HTTP_H
#define KV_METRICS_HTTP_H

#include "metrics/mhd.h"

#include <kv/buffer.h>
#include <stdbool.h>
#include <uv.h>

enum {
    KV_HTTP_CONNECTIONS = 16,
    KV_HTTP_TIMEOUT_S = 10,     /* for a request, and between two */
    KV_HTTP_MEMORY = 16 * 1024, /* bytes of a connection, which has its whole request there */
};

struct kv_http_source {
    /* Appends the text of /metrics. Returns false if there is none yet: 503. */
    bool (*metrics)(void *context, struct kv_buffer *to);
    /* Returns NULL if the node serves: 200. Otherwise a line that says why not: 503. */
    const char *(*health)(void *context);
    void *context;
};

/* Zeroed: it does not run. */
struct kv_http {
    struct kv_mhd mhd;
    struct MHD_Daemon *daemon;
    struct kv_http_source source;
    uv_poll_t poll;
    uv_timer_t timer; /* for connections that are slow */
};

/* Listens. Returns 0, or an error of libuv; then nothing runs. UV_ENOSYS: there is no
 * libmicrohttpd. */
int kv_http_start(struct kv_http *http, uv_loop_t *loop, const struct sockaddr *address,
                  const struct kv_http_source *source);

/* Stops it, and closes its handles of the loop. */
void kv_http_stop(struct kv_http *http);

#endif
