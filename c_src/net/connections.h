/* All connections of the node, and the queues by which they wait for the end of the turn.
 *
 *     let in --> pending (pending.h) --> up (a peer of the runtime) --> closed
 *
 * While the runtime handles a signal nothing is closed and nothing is written: connections that
 * must go are doomed, and those with output are dirty. The turn (node/turn.c) sees to both. */
#ifndef KV_NET_CONNECTIONS_H
#define KV_NET_CONNECTIONS_H

#include "base/list.h"
#include "net/net.h"

struct kv_connection;

enum {
    KV_READ_CHUNK = 68 * 1024, /* bytes of one read: a whole fragment, and small messages */
    /* Handshakes that failed have so many log lines in so many milliseconds. */
    KV_FAILED_LINES = 30,
    KV_FAILED_MS = 10000,
};

/* Log lines about handshakes that failed. */
struct kv_failed {
    uint64_t since; /* on the clock of the loop: when the present span of time began */
    unsigned lines; /* in it */
    uint64_t left_out;
};

struct kv_connections {
    struct kv_net *net;
    struct kv_list pending; /* the oldest first */
    struct kv_list up;
    struct kv_list dirty;         /* output waits to be written */
    struct kv_list doomed;        /* to be closed */
    struct kv_list rested;        /* have been read in this turn */
    struct kv_connection *taking; /* whose frames are being handled, or NULL */
    struct kv_list checked;       /* a long message of theirs is being validated */
    struct kv_list eased;         /* were paused for their output, little of which is left */
    size_t up_count;
    uint64_t bytes_in; /* of all connections, past ones included */
    uint64_t bytes_out;
    struct kv_failed failed;
    uv_timer_t patience; /* runs while more than --max-queue bytes wait for a peer */
    char *space;         /* KV_READ_CHUNK bytes that all connections read into */
};

void kv_connections_init(struct kv_connections *connections, struct kv_net *net);

/* Returns the connection to the node of that name, pending ones aside, or NULL. */
struct kv_connection *kv_connections_find(const struct kv_connections *connections,
                                          struct kv_bytes name);

/* Returns true if a peer of that name cannot be let in, for --max-peers. */
bool kv_connections_is_full(const struct kv_connections *connections, struct kv_bytes newcomer);

/* Moves a pending connection to those that are up. */
void kv_connections_promote(struct kv_connections *connections, struct kv_connection *connection);

/* Closes the doomed. This makes output for others: DOWN and EXIT signals. */
void kv_connections_close_doomed(struct kv_connections *connections);

/* Writes the output of all that are dirty. This may doom some. */
void kv_connections_write(struct kv_connections *connections);

/* Returns true if one of the two would have something to do. */
bool kv_connections_are_unsettled(const struct kv_connections *connections);

/* Closes all, each after one attempt to write what is ready. */
void kv_connections_close(struct kv_connections *connections);

/* Frees the memory, once the loop has closed all handles. */
void kv_connections_finish(struct kv_connections *connections);

#endif
