/* All that the TLS streams of a node share: its certificate, the authorities it trusts, and the
 * rules.
 *
 * Bytes in, bytes out: this room opens no file and no socket. OTP: lib/ssl/src/inet_tls_dist.erl
 * has the rules, of which this is the accepting side. */
#ifndef KV_TLS_CONTEXT_H
#define KV_TLS_CONTEXT_H

#include <kv/bytes.h>
#include <stdbool.h>

enum {
    KV_TLS_WHY_MAX = 256,  /* bytes of a reason, with its terminator */
    KV_TLS_HOSTS_MAX = 64, /* hosts that a certificate may be for */
};

enum { KV_TLS_1_2 = 1, KV_TLS_1_3 = 2 };

/* Everything is borrowed, and copied by kv_tls_context_new(). */
struct kv_tls_settings {
    struct kv_bytes certificates; /* PEM: the node's own, then those between it and its authority */
    struct kv_bytes key;          /* PEM; empty: it is among the certificates */
    struct kv_bytes authorities;  /* PEM; empty: none */
    struct kv_bytes dh;   /* PEM, parameters of Diffie-Hellman; empty: of OpenSSL's choice */
    const char *password; /* of the key; "": none */
    const char *ciphers;  /* OpenSSL's names, with ':' between them; "": OpenSSL's choice */
    unsigned versions;    /* KV_TLS_1_2, KV_TLS_1_3 or both */
    int depth;            /* certificates between a peer's and its authority */
    bool verify;          /* ask peers for a certificate, and refuse one that is not good */
    bool must_have;       /* with `verify`: refuse peers without one */
    /* With `verify`: a certificate must be for one of these hosts, or for the address of its peer.
     * None: any certificate of the authorities will do. */
    const char *const *hosts;
    unsigned host_count;
};

/* With a count of holders. */
struct kv_tls_context;

/* Returns NULL if the settings cannot be used; `why` says why then: a phrase. The caller is the
 * first holder of the result. */
struct kv_tls_context *kv_tls_context_new(const struct kv_tls_settings *settings,
                                          char why[KV_TLS_WHY_MAX]);

/* NULL is allowed. */
void kv_tls_context_drop(struct kv_tls_context *context);

#endif
