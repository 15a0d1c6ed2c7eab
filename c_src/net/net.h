/* The network of a node: the peers, the sockets they come by, and the registration with EPMD.
 *
 *     listener --> pending --> greeting --> connections that are up <--> the runtime
 *                         a stream carries the bytes of each
 *
 * struct kv_net is all that the network needs of the program around it. The program fills it in
 * before it starts the listener; runtime, identity and hash_key follow before kv_listener_open().
 */
#ifndef KV_NET_NET_H
#define KV_NET_NET_H

#include "base/siphash.h"
#include "host/log.h"
#include "host/pace.h"
#include "process/runtime.h"
#include "wire/handshake.h"

#include <uv.h>

struct kv_stream;

struct kv_net_limits {
    uint64_t ticktime;          /* seconds */
    uint64_t handshake_timeout; /* milliseconds */
    uint64_t max_frame;         /* bytes */
    uint64_t max_depth;
    uint64_t max_peers;   /* kv_pending_fit() may lower it */
    uint64_t max_pending; /* bytes */
    uint64_t max_queue;   /* bytes */
    enum kv_zeros zeros;
};

struct kv_net {
    uv_loop_t *loop;
    struct kv_log *log;
    struct kv_runtime *runtime;
    struct kv_net_limits limits;
    struct kv_identity identity; /* may change the cookie at any time */
    struct kv_hash_key hash_key; /* random: for tables of what peers send */
    struct kv_bytes vm;          /* the node for which one place is kept free; empty: none */
    struct kv_pace pace;         /* input.c counts every message here */
    void *context;               /* of the functions below */
    /* A peer has sent something, which is handled next: the program reads the clock now. */
    void (*heard)(void *context);
    /* A long turn has answers for a peer, and more of its requests are there: the program should
     * write everything that may leave, so that the peer has something to do meanwhile. */
    void (*hurry)(void *context);
    /* The connection to a node is lost. The runtime hears of it next. May be NULL. */
    void (*lost)(void *context, struct kv_bytes peer);
    /* Returns a stream over that of a new connection, which it owns; or NULL if there is no memory,
     * and the stream of the connection is being closed. The function may be missing: connections
     * need no other stream then. */
    struct kv_stream *(*secure)(void *context, struct kv_stream *stream);
    bool stopping; /* the runtime is about to end as a whole: it is told of no lost peer any more */
};

#endif
