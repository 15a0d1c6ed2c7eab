/* Connections that are in their handshake.
 *
 * Strangers are bounded in number, and if there are too many one has to go (strangers.h):
 * connections that say nothing cannot keep others out. `max_peers` counts the connections that are
 * up, which never go for a stranger. Both numbers are lowered to the descriptors that the system
 * allows. One deadline holds for the whole handshake. */
#ifndef KV_NET_PENDING_H
#define KV_NET_PENDING_H

#include "net/connections.h"
#include "net/strangers.h"
#include "net/stream.h"

enum {
    KV_DESCRIPTORS_KEPT = 32, /* for files that are no connection */
    KV_STRANGERS_LEAST = 16,  /* places for strangers, unless that is more than half of all */
    KV_SENT_AWAY_MS = 10000,  /* between log lines about strangers that had to go */
};

/* Strangers that had to go since the last log line. */
struct kv_sent_away {
    uint64_t told; /* when that line was, on the clock of the loop; 0: never */
    size_t count;
};

struct kv_pending {
    struct kv_connections *connections;
    struct kv_strangers unnamed; /* without a valid name yet */
    struct kv_strangers named;
    size_t strangers_max; /* in each of the two */
    struct kv_sent_away sent_away;
    uv_timer_t deadline; /* of the oldest */
};

/* Returns 0, or UV_EIO if there are no random numbers. */
int kv_pending_init(struct kv_pending *pending, struct kv_connections *connections);

/* Lowers the numbers of peers and strangers to what the system allows, with a line in the log. */
void kv_pending_fit(struct kv_pending *pending);

/* Takes the connection that waits at a listening socket. */
void kv_pending_accept(struct kv_pending *pending, uv_stream_t *server);

/* Lets a stream in, which belongs to the connections from now on. Returns 0, or an error: the
 * stream is being closed then. */
int kv_pending_add(struct kv_pending *pending, struct kv_stream *stream);

/* No descriptor is left for the connection that waits at a listening socket: a stranger goes. */
void kv_pending_starve(struct kv_pending *pending, int error);

/* Frees the memory, once all connections are closed. */
void kv_pending_finish(struct kv_pending *pending);

#endif
