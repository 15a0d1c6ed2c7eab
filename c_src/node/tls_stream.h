/* TLS between a connection and its socket: a stream (net/stream.h) over another one.
 *
 * The streams of a node share a workshop. Handshakes take about a millisecond of processor time
 * each, so only a few steps of them are made in a turn of the loop; the sockets are looked at in
 * between. */
#ifndef KV_NODE_TLS_STREAM_H
#define KV_NODE_TLS_STREAM_H

#include "base/list.h"
#include "net/stream.h"
#include "tls/session.h"

enum {
    KV_TLS_STEPS = 2,          /* of handshakes in a turn */
    KV_TLS_READ = 64 * 1024,   /* bytes of one read from a socket */
    KV_TLS_RECORD = 16 * 1024, /* bytes that TLS encrypts at once, at most */
    KV_TLS_AHEAD = 64 * 1024,  /* bytes encrypted before the system is asked to take them */
    KV_TLS_TURN = 1024 * 1024, /* bytes decrypted for one peer before the others have their turn */
    KV_TLS_ANSWERS =
        64 * 1024, /* bytes for a peer that does not read, before it is not read either */
};

struct kv_tls_workshop {
    uv_idle_t idle;     /* runs while a stream is due */
    struct kv_list due; /* streams with something to do in the next turn */
    unsigned steps;     /* left in this turn */
    char *space;        /* KV_TLS_READ bytes that all streams read into */
    uint8_t *record;    /* KV_TLS_RECORD bytes */
};

void kv_tls_workshop_init(struct kv_tls_workshop *workshop, uv_loop_t *loop);

/* Frees the memory, once all streams are gone. The owner of the loop closes the handle. */
void kv_tls_workshop_finish(struct kv_tls_workshop *workshop);

/* Returns a stream over `plain`, which it owns, with a session of its own. */
struct kv_stream *kv_tls_stream_new(struct kv_tls_workshop *workshop, struct kv_stream *plain,
                                    struct kv_tls *tls);

#endif
