/* Standard input: options, the cookie, and then a leash.
 *
 *     --option=value ... --> cookie --> requests ... --> end of input: the node stops
 *
 * Whoever starts the node holds the other end; however it dies, the node sees the end of input and
 * ends as well. Meanwhile it may ask, a line each:
 *
 *     ping TEXT          is answered by the line "pong TEXT" on standard output: the program runs
 *     --cookie=COOKIE    is the cookie of handshakes from now on
 *
 * What else comes behind the cookie costs a log line, and nothing more. */
#ifndef KV_LEASH_H
#define KV_LEASH_H

#include "wire/handshake.h"

#include <uv.h>

struct kv_node;

enum { KV_LEASH_LINE_MAX = 4096, KV_LEASH_CHUNK = 1024, KV_LEASH_PING_MAX = 64 };

struct kv_leash {
    struct kv_node *node;
    union {
        uv_stream_t stream;
        uv_pipe_t pipe;
        uv_tty_t tty;
        uv_tcp_t tcp;
    } input;
    bool reading; /* input is an open handle */
    bool done;    /* the cookie is read */
    bool skips;   /* the rest of a line that cannot be a request */
    int flags;    /* of the open file, to be put back; -1: not known */
    size_t length;
    char line[KV_LEASH_LINE_MAX + 1];
    char chunk[KV_LEASH_CHUNK];
};

/* Begins to read. Calls kv_node_configured() once options and cookie are complete, kv_node_stop()
 * at the end of input, kv_node_fatal() when what was read is wrong. */
void kv_leash_start(struct kv_leash *leash, struct kv_node *node);

/* Puts the flags of standard input back and wipes what was read. */
void kv_leash_finish(struct kv_leash *leash);

#endif
