/* The other side of TLS for tests: a client over memory. It trusts everybody. */
#ifndef KV_TEST_TLS_CLIENT_H
#define KV_TEST_TLS_CLIENT_H

#include "support/authority.h"

#include <openssl/ssl.h>

struct tls_client {
    SSL_CTX *context;
    SSL *ssl;
    BIO *in;
    BIO *out;
};

/* Of TLS1_2_VERSION or TLS1_3_VERSION. credentials: NULL: it has no certificate. */
struct tls_client tls_client_new(int version, const struct credentials *credentials);
void tls_client_free(struct tls_client *client);

/* Takes ciphertext of the server, and returns true if the handshake is done. */
bool tls_client_shake(struct tls_client *client, struct kv_bytes ciphertext);

/* Appends the ciphertext for the server, and forgets it. */
void tls_client_output(struct tls_client *client, struct kv_buffer *to);

/* Encrypts; the result comes with the output. */
void tls_client_write(struct tls_client *client, struct kv_bytes plain);

/* Takes ciphertext, and appends what it says. Returns false if the server has ended the connection
 * or told of an error. */
bool tls_client_read(struct tls_client *client, struct kv_bytes ciphertext, struct kv_buffer *to);

#endif
