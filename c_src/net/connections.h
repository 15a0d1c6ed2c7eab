/* All connections of the node: who is let in, who is who, and the end of a loop turn.
 *
 *     accepted --> pending (in the handshake) --> up (a peer of the runtime) --> closed
 *
 * Strangers are bounded in number, and when there are too many one has to go (strangers.h):
 * connections that say nothing cannot keep others out. `max_peers` counts those that are up, which
 * never go for a stranger. Both numbers are lowered to the descriptors that the system allows.
 *
 * While the runtime handles a signal nothing is closed and nothing is written: connections that
 * must go are doomed, those with output are dirty, and the end of the turn, just before the loop
 * waits for events again, sees to both. */
#ifndef KV_CONNECTIONS_H
#define KV_CONNECTIONS_H

#include "base/list.h"
#include "host/pace.h"
#include "net/connection.h"

enum {
    KV_DESCRIPTORS_KEPT = 32, /* for what is no connection */
    KV_STRANGERS_LEAST = 16,  /* that there is room for, unless that were more than half of it */
    KV_SENT_AWAY_MS = 10000,  /* between log lines about strangers that had to go */
};

/* Strangers that had to go and that no line has told of yet. */
struct kv_sent_away {
    uint64_t told; /* when, on the clock of the loop */
    size_t count;
};

struct kv_connections {
    struct kv_node *node;
    struct kv_list pending;      /* oldest first, so the next deadline is that of the first */
    struct kv_strangers unnamed; /* those of them without a valid name; */
    struct kv_strangers named;   /* and with one */
    size_t strangers_max;        /* in each of the two */
    struct kv_sent_away sent_away;
    struct kv_list up;
    struct kv_list dirty;  /* output waits to be written */
    struct kv_list doomed; /* to be closed */
    struct kv_list rested; /* has been read enough in this turn */
    size_t up_count;
    uint64_t bytes_in; /* of all connections, those that are gone as well */
    uint64_t bytes_out;
    uv_timer_t deadline; /* of the oldest pending connection */
    uv_timer_t ticker;
    uv_timer_t soon;         /* ends the turn in which the sockets of silent peers are read */
    unsigned turns_of_grace; /* for silent peers; 0: none is suspected */
    uv_timer_t patience;     /* while more than --max-queue bytes wait for a peer */
    uv_prepare_t turn_end;
    struct kv_pace pace;
    char *space; /* KV_READ_CHUNK bytes that all connections read into */
};

/* KV_OK, or an error of libuv. */
int kv_connections_init(struct kv_connections *connections, struct kv_node *node);

/* Lowers the numbers of peers and strangers to what the system allows, with a line in the log. */
void kv_connections_fit(struct kv_connections *connections);

/* No descriptor is left for the connection that waits at a listening socket: a stranger goes. */
void kv_connections_starve(struct kv_connections *connections, int error);

/* A pending connection has said a valid name. */
void kv_connections_named(struct kv_connections *connections, struct kv_connection *connection);

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

/* To be called at the end of a turn while turns_of_grace is not 0. */
void kv_ticks_judge(struct kv_connections *connections);

#endif
