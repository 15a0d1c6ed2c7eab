/* The output of a connection: queued while the runtime works, and written when the turn says so. */
#ifndef KV_NET_OUTPUT_H
#define KV_NET_OUTPUT_H

#include "net/connection.h"

enum {
    KV_OUTPUT_KEEP = 64 * 1024, /* capacity that an empty output buffer keeps */
    KV_OUTPUT_LITTLE = 1 << 18, /* bytes for a peer that are below every limit on them */
    /* If more waits for a peer, or half of --max-queue, the peer's own requests wait, too, until it
     * has taken half of that. */
    KV_OUTPUT_HIGH = 16 << 20,
    /* So many large messages, of whatever size, do not count for KV_OUTPUT_HIGH: requests for small
     * values must not wait for them. */
    KV_OUTPUT_LARGE = 4,
    /* Bytes made ready ahead of the stream: enough to keep it busy. A small message waits for them
     * while large ones are under way. */
    KV_OUTPUT_AHEAD = 4 * KV_FRAGMENT_SIZE,
    KV_WRITE_TURN = 1024 * 1024, /* bytes written to one peer before the others have their turn */
};

/* Queues a signal, or a tick. */
void kv_output_signal(struct kv_connection *connection, const struct kv_signal *signal);
void kv_output_tick(struct kv_connection *connection);

/* Must be called after something was appended to connection->output. */
void kv_output_added(struct kv_connection *connection);

/* Writes what is queued, as far as the stream takes it at once, and gives the stream the rest. If
 * the peer was paused for its output and little is left, it is put into the owner's `eased`. */
void kv_output_flush(struct kv_connection *connection);

/* Tries once, without waiting, to write what is ready; then closes the connection. */
void kv_output_close(struct kv_connection *connection);

/* For written() of the stream, whose user is the connection. */
void kv_output_written(void *user, int error);

/* patience.c: more than --max-queue bytes wait. Dooms the peer if it has had its time. */
void kv_output_exceeds(struct kv_connection *connection, size_t backlog);

#endif
