/* The byte stream behind a connection: a TCP socket, or anything else with the same functions, such
 * as TLS or a fake in a test.
 *
 * A stream calls its user from the event loop and from look(), and never from within start(),
 * stop(), try_write(), write() or close(). Errors are negative numbers of libuv. */
#ifndef KV_NET_STREAM_H
#define KV_NET_STREAM_H

#include <kv/bytes.h>
#include <sys/types.h>
#include <uv.h>

struct kv_stream;

/* Memory that the user lends a stream for one read. */
struct kv_room {
    char *start;
    size_t length;
};

/* The calls of a stream to its user. `user` is stream->user. */
struct kv_stream_user {
    /* Lends memory for the next bytes. Length 0: there is none; the stream ends with UV_ENOBUFS. */
    struct kv_room (*room)(void *user);
    /* `count` bytes, at least one, lie at the start of the room that was lent last. */
    void (*took)(void *user, struct kv_room room, size_t count);
    /* Nothing comes any more: UV_EOF or an error. */
    void (*ended)(void *user, int error);
    /* The write is done, and what it borrowed is free again: 0 or an error, UV_ECANCELED if the
     * stream was closed first. */
    void (*written)(void *user, int error);
    /* The stream is gone, and so is its memory: the last call. */
    void (*closed)(void *user);
};

struct kv_stream_kind {
    /* Reads from now on, or no longer. start() returns 0 or an error. Both may be repeated. */
    int (*start)(struct kv_stream *stream);
    void (*stop)(struct kv_stream *stream);
    /* Writes as much as is possible without waiting. Returns the number of bytes, 0 if there is no
     * room now, or an error. Must not be called while a write is under way. */
    ssize_t (*try_write)(struct kv_stream *stream, const struct kv_bytes *runs, unsigned count);
    /* Writes everything; the runs stay valid until written() is called. One write at a time.
     * Returns 0, or an error: written() is not called then. */
    int (*write)(struct kv_stream *stream, const struct kv_bytes *runs, unsigned count);
    /* How many bytes of the write under way the system has not taken yet. */
    size_t (*backlog)(const struct kv_stream *stream);
    /* Reads once what is there already, without waiting, and calls took() with it. */
    void (*look)(struct kv_stream *stream);
    /* Ends the stream; closed() is called later. Call it once. */
    void (*close)(struct kv_stream *stream);
};

struct kv_stream {
    const struct kv_stream_kind *kind;
    const struct kv_stream_user *calls;
    void *user; /* set by the user before start() */
    int socket; /* the file descriptor; -1: none */
    /* Why the stream ended, if it knows more than the error says; else NULL. Valid until closed().
     */
    const char *why;
};

/* Takes the connection that waits at a listening socket, as a stream over TCP. NULL: *error says
 * why. Belongs to the caller, who closes it. The stream hands slices to the system where they lie,
 * without a copy. */
struct kv_stream *kv_stream_accept(uv_stream_t *server, int *error);

#endif
