/* Authorities, certificates and keys for the tests of TLS, made afresh. */
#ifndef KV_TEST_AUTHORITY_H
#define KV_TEST_AUTHORITY_H

#include "tls/context.h"

#include <kv/buffer.h>

struct authority;

/* PEM, with a terminator behind the bytes. */
struct credentials {
    struct kv_buffer certificate;
    struct kv_buffer key;
};

enum validity { VALID, EXPIRED };

struct authority *authority_new(const char *name);
void authority_free(struct authority *authority);

/* The certificate of the authority. Valid while it exists. */
struct kv_bytes authority_certificate(const struct authority *authority);

/* A certificate for a list of names: "DNS:127.0.0.1,IP:127.0.0.1". NULL: for none. `password`: of
 * the key; NULL: none. */
struct credentials authority_sign(const struct authority *authority, const char *names,
                                  enum validity validity, const char *password);

/* The strictest rules: both versions, and every peer needs a certificate of the authority. Borrows
 * from both. */
struct kv_tls_settings authority_rules(const struct authority *authority,
                                       const struct credentials *own);

void credentials_free(struct credentials *credentials);

#endif
