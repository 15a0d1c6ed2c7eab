/* A bell: another thread rings, and the loop wakes. Not uv_async_send(): the loop of libuv 1.44
 * spins until the sender has returned from it, and may have woken just because the sender lost its
 * processor there. That took milliseconds of a turn. */
#ifndef KV_HOST_BELL_H
#define KV_HOST_BELL_H

#include <stdbool.h>
#include <uv.h>

/* Lies at its place until the loop has closed its handle. */
struct kv_bell {
    uv_poll_t poll;
    int fd;
    void (*heard)(void *context);
    void *context;
};

/* `heard` is called on the loop once or more often after one or more rings. Returns false if the
 * system has no handle for it: then nothing is left behind. */
bool kv_bell_open(struct kv_bell *bell, uv_loop_t *loop, void (*heard)(void *context),
                  void *context);

/* May be called by any thread until kv_bell_close(). */
void kv_bell_ring(const struct kv_bell *bell);

/* Ends the bell. The loop calls `closed` with &bell->poll, whose `data` is the bell, when the
 * memory of the bell is free. */
void kv_bell_close(struct kv_bell *bell, uv_close_cb closed);

#endif
