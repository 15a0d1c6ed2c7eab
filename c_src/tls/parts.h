/* Shared by the files of tls/. */
#ifndef KV_TLS_PARTS_H
#define KV_TLS_PARTS_H

#include "tls/context.h"

#include <openssl/ssl.h>

struct kv_tls_context {
    SSL_CTX *ssl;
    unsigned holders;
    unsigned host_count;
    char *hosts[KV_TLS_HOSTS_MAX];
};

/* The address of the peer of a stream: 4 or 16 bytes, or none. Found by the callback that verifies
 * certificates. */
struct kv_tls_peer {
    const struct kv_tls_context *context;
    size_t length;
    unsigned char address[16];
};

/* Writes the oldest error of OpenSSL's queue as a phrase, and empties the queue. */
void kv_tls_reason(char why[KV_TLS_WHY_MAX]);

/* Attaches the peer, which must outlive `ssl`. */
bool kv_tls_set_peer(SSL *ssl, struct kv_tls_peer *peer);

#endif
