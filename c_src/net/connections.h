/* All connections of the node: who is let in, who is who, and the end of a loop turn.
 *
 *     accepted --> pending (in the handshake) --> up (a peer of the runtime) --> closed
 *
 * Strangers are bounded in number, and when there are too many the one that has waited longest has
 * to go: connections that say nothing cannot keep others out. `max_peers` counts those that are up.
 *
 * While the runtime handles a signal nothing is closed and nothing is written: connections that
 * must go are doomed, those with output are dirty, and the end of the turn, just before the loop
 * waits for events again, sees to both. */
#ifndef KV_CONNECTIONS_H
#define KV_CONNECTIONS_H

#include "base/list.h"
#include "net/connection.h"
#include "net/follow.h"
#include "net/gather.h"

enum { KV_PENDING_MAX = 1024 };

struct kv_connections {
    struct kv_node *node;
    struct kv_list pending; /* oldest first, so the next deadline is that of the first */
    struct kv_list up;
    struct kv_list dirty;  /* output waits to be written */
    struct kv_list doomed; /* to be closed */
    struct kv_list rested; /* has been read enough in this turn */
    size_t pending_count;
    size_t up_count;
    uint64_t bytes_in; /* of all connections, those that are gone as well */
    uint64_t bytes_out;
    uv_timer_t deadline; /* of the oldest pending connection */
    uv_timer_t ticker;
    uv_prepare_t turn_end;
    struct kv_gather gather;
    struct kv_follow follow;
    char *space; /* KV_READ_CHUNK bytes that all connections read into */
};

/* KV_OK, or an error of libuv. */
int kv_connections_init(struct kv_connections *connections, struct kv_node *node);

/* Takes the connection that waits at a listening socket. */
void kv_connections_accept(struct kv_connections *connections, uv_stream_t *server);

/* The connection to the node of that name, pending ones aside; NULL when there is none. */
struct kv_connection *kv_connections_find(const struct kv_connections *connections,
                                          struct kv_bytes name);

/* Moves a pending connection to those that are up. */
void kv_connections_promote(struct kv_connections *connections, struct kv_connection *connection);

/* Closes all. What is ready to be written is tried once. */
void kv_connections_close(struct kv_connections *connections);

/* Releases the memory, when all handles are closed. */
void kv_connections_finish(struct kv_connections *connections);

/* ticks.c: keeps the peers from giving us up, and gives up those that are silent. */
void kv_ticks_start(struct kv_connections *connections);

#endif
