/* Standard input: options, the cookie, and then a leash.
 *
 *     --option=value ... --> cookie --> requests ... --> end of input: the node stops
 *
 * If there is a cookie before the start, from a file, only requests come. Without a leash nothing
 * is read then.
 *
 * The program that starts the node holds the other end. However that program dies, the node sees
 * the end of input and ends as well. Until then it may send requests, one line each:
 *
 *     ping TEXT          the node writes "pong TEXT" to standard output: it runs
 *     --cookie=COOKIE    handshakes use this cookie from now on
 *     backup ID FOLDER   the node writes "backup ID ..." when the backup is made, or refused
 *
 * Any other line after the cookie costs a log line, and nothing more. */
#ifndef KV_NODE_LEASH_H
#define KV_NODE_LEASH_H

#include "host/log.h"
#include "node/fatal.h"
#include "node/options.h"

#include <uv.h>

enum {
    KV_LEASH_LINE_MAX = 4096,
    KV_LEASH_CHUNK = 1024,
    KV_LEASH_PING_MAX = 64,
    KV_LEASH_ID_MAX = 32
};

struct kv_leash_calls {
    /* Options and cookie are complete. */
    void (*configured)(void *context);
    /* options->cookie has changed. */
    void (*cookie_changed)(void *context);
    /* A backup is wanted. Both are valid during the call; the ID has KV_LEASH_ID_MAX letters and
     * digits at most. */
    void (*backup)(void *context, const char *id, const char *folder);
    /* The end of standard input, if it is a leash. */
    void (*ended)(void *context);
    /* The bytes that were read are wrong, or reading has failed. The last call. */
    void (*failed)(void *context, enum kv_fatal reason, const char *text);
};

/* The owner sets the first five fields. */
struct kv_leash {
    uv_loop_t *loop;
    struct kv_log *log;
    struct kv_options *options;
    const struct kv_leash_calls *calls;
    void *context; /* of the calls */
    union {
        uv_stream_t stream;
        uv_pipe_t pipe;
        uv_tty_t tty;
        uv_tcp_t tcp;
    } input;
    bool reading; /* input is an open handle */
    bool done;    /* the cookie is read */
    bool skips;   /* the rest of a line that cannot be a request */
    bool stopped; /* nothing is read any more */
    int flags;    /* of the open file, to be put back; -1: not known */
    size_t length;
    char line[KV_LEASH_LINE_MAX + 1];
    char chunk[KV_LEASH_CHUNK];
};

/* Begins to read. Reads a file to its end at once, and then calls back from within. */
void kv_leash_start(struct kv_leash *leash);

/* Nothing is taken any more from what was read. May be called from within a call. */
void kv_leash_stop(struct kv_leash *leash);

/* Puts the flags of standard input back and wipes everything that was read. */
void kv_leash_finish(struct kv_leash *leash);

#endif
