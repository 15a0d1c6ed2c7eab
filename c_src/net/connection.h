/* One TCP connection of another node.
 *
 * greeting.c leads it through the handshake, connection.c reads and hands its frames to the
 * runtime, refused.c sees to those over a limit, output.c queues and writes. */
#ifndef KV_CONNECTION_H
#define KV_CONNECTION_H

#include "base/list.h"
#include "net/strangers.h"
#include "process/runtime.h"
#include "wire/codec.h"
#include "wire/fragments.h"
#include "wire/frame.h"
#include "wire/handshake.h"
#include "wire/outgoing.h"

#include <uv.h>

struct kv_connections;

enum {
    KV_READ_CHUNK = 64 * 1024,  /* bytes of one read */
    KV_EARLY_MESSAGES = 64,     /* handled before a turn writes what is ready ahead of its end */
    KV_READ_TURN = 1024 * 1024, /* bytes read of one peer before the others have their turn */
    KV_OUTPUT_KEEP = 64 * 1024, /* capacity that an empty output buffer keeps */
    KV_LABEL_MAX = 320,         /* bytes of what log lines call a connection */
    KV_DROPPED_LOG_MS = 10000,  /* between two log lines about messages that were dropped */
    KV_OUTPUT_LITTLE = 1 << 18, /* bytes for a peer that are below every limit on them */
    /* More waits for a peer, or half of --max-queue: its requests wait, too, until it has taken
     * half of that. */
    KV_OUTPUT_HIGH = 16 << 20,
    /* So many large messages, whatever they take, do not count for KV_OUTPUT_HIGH: requests for
     * small ones are not to wait for them. */
    KV_OUTPUT_LARGE = 4,
    /* Bytes made ready ahead of the socket: enough to keep it busy, and what a small message waits
     * for while large ones are under way. */
    KV_OUTPUT_AHEAD = 4 * KV_FRAGMENT_SIZE,
    KV_WRITE_TURN = 1024 * 1024, /* bytes written to one peer before the others have their turn */
    /* Bytes that the system holds back for a slow network, where it lets us say so; the same
     * reason. */
    KV_UNSENT_MAX = 4 * KV_FRAGMENT_SIZE,
};

/* Why a connection is not read at present. */
enum { KV_HELD_FOR_OUTPUT = 1, KV_HELD_FOR_TURN = 2 };

/* What the checks of ticks.c saw last, and how many since saw no sign of life. */
struct kv_ticked {
    uint64_t bytes_in;
    uint64_t taken;
    unsigned silent;
};

/* More than --max-queue waits: see patience.c. */
struct kv_excess {
    bool is_over;
    unsigned idle;  /* checks since it has taken something */
    uint64_t taken; /* at the last check */
    size_t mark;    /* bytes that waited at the first check; 0: before that */
};

struct kv_connection {
    struct kv_connections *owner;
    struct kv_stranger stranger; /* while it is pending */
    struct kv_list link;         /* in pending or up */
    struct kv_list dirty;        /* in dirty, or alone */
    struct kv_list doomed;       /* in doomed, or alone */
    struct kv_list rested;       /* in rested, or alone */
    uv_tcp_t tcp;
    struct kv_handshake handshake;
    uint64_t deadline;     /* of the handshake, on the clock of the loop */
    struct kv_peer *peer;  /* NULL unless it is up */
    struct kv_codec codec; /* from kv_connection_agree() on */
    char label[KV_LABEL_MAX];
    int local_socket; /* where the other end is this host; else -1 */

    struct kv_buffer input;        /* what is not a whole frame yet */
    struct kv_long_frame passing;  /* a frame over the limit, which is not kept */
    uint64_t dropped;              /* messages since the last log line about one */
    uint64_t dropped_logged;       /* when that was, on the clock of the loop; 0: never */
    struct kv_fragments fragments; /* what is not a whole message yet */
    unsigned held;                 /* KV_HELD_* */
    uint64_t bytes_in;
    uint64_t bytes_out;
    size_t turn_bytes;           /* read in this turn */
    size_t turn_messages;        /* handled in this turn */
    struct kv_outgoing outgoing; /* what is to leave in fragments, and what waits behind it */
    struct kv_buffer output;     /* ready to be written: whole frames */
    struct kv_slices output_slices;
    struct kv_buffer writing; /* what libuv is writing; empty when it is not */
    struct kv_slices writing_slices;
    uv_write_t write;

    struct kv_ticked ticked;
    struct kv_excess excess;
    bool wrote; /* since the last tick check */
    bool sent;  /* since the last tick that was received */
};

/* Takes the connection that waits at a listening socket. NULL and *error when that fails. */
struct kv_connection *kv_connection_accept(struct kv_connections *owner, uv_stream_t *server,
                                           int *error);

/* The handshake is done and the connection has its peer: from now on there are signals, in the form
 * that the common flags say. */
void kv_connection_agree(struct kv_connection *connection);

/* Ends a connection at the end of the turn; may be called from anywhere. The log gets one line. */
void kv_connection_doom(struct kv_connection *connection, enum kv_log_level level, const char *why);
bool kv_connection_is_doomed(const struct kv_connection *connection);

/* Ends a connection now: tells the runtime, closes the socket, frees the memory later. Not to be
 * called while the runtime runs. */
void kv_connection_close(struct kv_connection *connection);

/* Takes what lies in the socket of a connection that is in its handshake; afterwards it may be up,
 * or doomed. */
void kv_connection_look(struct kv_connection *connection);

/* Reads again when nothing holds it any more; first handles the frames that are there already. */
void kv_connection_release(struct kv_connection *connection, unsigned held);

/* ---- refused.c ------------------------------------------------------------------------------- */

/* Tells those concerned of a message that is not taken because of `why` (kv_is_refusal()); or logs
 * it, when that is nobody. head: the beginning of it, as a frame; length: of all of it. KV_OK, or
 * why the connection must be closed. */
int kv_connection_refuse(struct kv_connection *connection, struct kv_bytes head, uint64_t length,
                         int why, int *opcode);

/* ---- greeting.c ------------------------------------------------------------------------------ */

/* Takes the messages of the handshake that are there whole. At the end the connection is up, or
 * doomed. */
void kv_greeting_continue(struct kv_connection *connection);

/* ---- output.c -------------------------------------------------------------------------------- */

/* Queues a signal, or a tick. Written at the end of the turn. */
void kv_output_signal(struct kv_connection *connection, const struct kv_signal *signal);
void kv_output_tick(struct kv_connection *connection);

/* To be called after something was appended to `output`. */
void kv_output_added(struct kv_connection *connection);

/* Writes what is queued, as far as the socket takes it; libuv writes the rest. */
void kv_output_flush(struct kv_connection *connection);

/* Writes once what the socket takes at once, for a connection that is about to be closed. */
void kv_output_last(struct kv_connection *connection);

/* Bytes that the peer has not taken yet. */
size_t kv_output_backlog(const struct kv_connection *connection);

/* Bytes that the system has taken of us for the peer, ever. */
uint64_t kv_output_taken(const struct kv_connection *connection);

/* patience.c: more than --max-queue bytes wait. The peer is given up if it has had its time. */
void kv_output_exceeds(struct kv_connection *connection, size_t backlog);

#endif
