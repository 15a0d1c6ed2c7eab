/* The listening socket. */
#ifndef KV_LISTENER_H
#define KV_LISTENER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct kv_node;

struct kv_listener {
    struct kv_node *node;
    uv_tcp_t tcp;
    uint16_t port;
    bool open;    /* connections are let in */
    bool waiting; /* one has come before that */
};

/* Listens on an address. 0, or an error of libuv. */
int kv_listener_start(struct kv_listener *listener, struct kv_node *node,
                      const struct sockaddr *address);

/* Lets connections in; until then they wait. */
void kv_listener_open(struct kv_listener *listener);

#endif
