/* TLS for the connections of a node: the files of the certificates, and a stream for each
 * connection.
 *
 * The files are looked at when a connection comes, and read again if one has changed: a certificate
 * is renewed without a restart. If the new ones cannot be used, the old ones stay, with a line in
 * the log. */
#ifndef KV_NODE_TLS_H
#define KV_NODE_TLS_H

#include "host/log.h"
#include "node/options.h"
#include "node/tls_stream.h"

enum { KV_TLS_FILES = 4, KV_TLS_FILE_MAX = 1 << 20 /* bytes */ };

/* How a file was when it was last looked at. */
struct kv_tls_stamp {
    uint64_t device;
    uint64_t inode;
    uint64_t size;
    uint64_t changed; /* nanoseconds */
};

/* Zeroed: no TLS. */
struct kv_node_tls {
    const struct kv_tls_options *options;
    struct kv_log *log;
    struct kv_tls_context *context; /* NULL: no TLS */
    struct kv_tls_workshop workshop;
    struct kv_tls_stamp stamps[KV_TLS_FILES];
};

/* Reads the files, if there is to be TLS. Both are borrowed. Returns false if they cannot be used;
 * `why` says why, a phrase. */
bool kv_node_tls_start(struct kv_node_tls *tls, uv_loop_t *loop,
                       const struct kv_tls_options *options, struct kv_log *log,
                       char why[KV_OPTION_ERROR_MAX]);

/* Reads the files as kv_node_tls_start() does, and keeps nothing. */
bool kv_node_tls_check(const struct kv_tls_options *options, char why[KV_OPTION_ERROR_MAX]);

/* Frees the memory, once all streams are gone. */
void kv_node_tls_finish(struct kv_node_tls *tls);

static inline bool kv_node_tls_is_on(const struct kv_node_tls *tls)
{
    return tls->context != NULL;
}

/* Returns a stream over that of a new connection, which it owns. NULL: there is no memory, and the
 * connection is being closed. */
struct kv_stream *kv_node_tls_secure(struct kv_node_tls *tls, struct kv_stream *plain);

#endif
