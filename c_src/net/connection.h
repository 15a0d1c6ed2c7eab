/* One connection of another node, from its handshake to its end.
 *
 * input.c reads and hands frames to the runtime, output.c queues and writes, greeting.c leads the
 * connection through the handshake, refused.c answers messages over a limit, connections.c knows
 * all connections. The bytes come and go by a stream (stream.h). */
#ifndef KV_NET_CONNECTION_H
#define KV_NET_CONNECTION_H

#include "base/list.h"
#include "net/net.h"
#include "net/strangers.h"
#include "net/stream.h"
#include "wire/codec.h"
#include "wire/fragments.h"
#include "wire/frame.h"
#include "wire/long.h"
#include "wire/outgoing.h"

struct kv_connections;
struct kv_pending;

enum {
    KV_LABEL_MAX = 320, /* bytes of the text by which log lines call a connection */
};

/* Why a connection is not read at present. */
enum { KV_PAUSED_FOR_OUTPUT = 1, KV_PAUSED_FOR_TURN = 2, KV_PAUSED_FOR_CHECK = 4 };

/* The state of a peer at the last check of ticks.c, and how many checks have seen no sign of life.
 */
struct kv_ticked {
    uint64_t bytes_in;
    uint64_t taken;
    unsigned silent;
};

/* More than --max-queue waits: see patience.c. */
struct kv_excess {
    bool is_over;
    unsigned idle;  /* checks since the peer last took something */
    uint64_t taken; /* at the last check */
    size_t mark;    /* bytes that waited at the first check; 0: before that check */
};

struct kv_connection {
    struct kv_connections *owner;
    struct kv_stream *stream;
    struct kv_pending *pending;  /* where it was let in */
    struct kv_stranger stranger; /* in a pool while it is pending */
    struct kv_list link;         /* in owner->pending or owner->up */
    struct kv_list dirty;        /* the next five: in the owner's list of that name, or alone */
    struct kv_list doomed;
    struct kv_list rested;
    struct kv_list eased;
    struct kv_list checked;
    bool is_closed; /* only closed() of the stream comes now */
    struct kv_handshake handshake;
    uint64_t deadline;     /* of the handshake, on the clock of the loop */
    struct kv_peer *peer;  /* NULL unless it is up */
    struct kv_codec codec; /* from kv_connection_agree() on */
    char label[KV_LABEL_MAX];
    int local_socket; /* the socket, if the other end is this host too; else -1 */

    struct kv_buffer input;        /* the part of a frame that is there */
    struct kv_long_frame passing;  /* a frame over the limit, which is not kept */
    uint64_t dropped;              /* messages since the last log line about one */
    uint64_t dropped_logged;       /* when that line was, on the clock of the loop; 0: never */
    struct kv_fragments fragments; /* messages that are there in part */
    /* The message that `fragments` has finished, while it is validated; or NULL. */
    struct kv_long_message *long_message;
    unsigned paused; /* KV_PAUSED_* */
    uint64_t bytes_in;
    uint64_t bytes_out;
    size_t turn_bytes;           /* read in this turn */
    size_t turn_messages;        /* handled in this turn */
    struct kv_outgoing outgoing; /* what leaves in fragments, and what waits behind it */
    struct kv_buffer output;     /* ready to be written: whole frames */
    struct kv_slices output_slices;
    struct kv_buffer writing; /* what the stream is writing; empty if it is not */
    struct kv_slices writing_slices;

    struct kv_ticked ticked;
    struct kv_excess excess;
    bool wrote; /* since the last check of ticks.c */
    bool sent;  /* since the last tick of the peer */
};

/* A connection in its handshake over a stream, which it owns. `challenge` must come from a
 * cryptographic source. It is in no list yet; kv_connection_close() ends it. */
struct kv_connection *kv_connection_new(struct kv_connections *owner, struct kv_stream *stream,
                                        const struct kv_stream_user *calls, uint32_t challenge);

/* The handshake is done and the connection has its peer: sets up codec and fragments, as the common
 * flags say. */
void kv_connection_agree(struct kv_connection *connection);

/* Ends a connection at the end of the turn, with one log line. May be called from anywhere, and
 * again: then nothing happens. */
void kv_connection_doom(struct kv_connection *connection, enum kv_log_level level, const char *why);
bool kv_connection_is_doomed(const struct kv_connection *connection);

/* Ends a connection now: tells the runtime, and closes the stream. Must not be called while the
 * runtime handles a signal. Output that waits is lost: see kv_output_close(). */
void kv_connection_close(struct kv_connection *connection);

/* Frees the memory of a connection. For closed() of its stream. */
void kv_connection_free(struct kv_connection *connection);

/* Bytes that wait for the peer: all of them, and without those that are not frames yet. */
size_t kv_connection_backlog(const struct kv_connection *connection);
size_t kv_connection_ready(const struct kv_connection *connection);

/* Bytes that the system has ever taken for the peer. */
uint64_t kv_connection_taken(const struct kv_connection *connection);

#endif
