/* The listening socket. */
#ifndef KV_NET_LISTENER_H
#define KV_NET_LISTENER_H

#include "net/pending.h"

struct kv_listener {
    struct kv_pending *pending;
    uv_tcp_t tcp;
    unsigned port;
    bool is_open; /* connections are let in */
    bool waiting; /* one has come before that */
};

/* Listens on an address; connections wait until kv_listener_open(). Returns 0, or an error of
 * libuv. The owner of the loop closes the socket. */
int kv_listener_start(struct kv_listener *listener, struct kv_pending *pending,
                      const struct sockaddr *address);

/* Lets connections in. The runtime and the identity of the net must be there. */
void kv_listener_open(struct kv_listener *listener);

#endif
