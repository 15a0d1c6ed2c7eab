/* One TLS connection, of the accepting side, over memory.
 *
 *     ciphertext --> kv_tls_feed() --> kv_tls_shake() until it is open, then kv_tls_read() -->
 * plain plain --> kv_tls_write() --> kv_tls_output() --> ciphertext
 *
 * Each of these may make output: the answers of the handshake, alerts, answers to a change of keys.
 * The owner sends it, and says so by kv_tls_sent(). After an error the session is of no more use,
 * but its output (an alert) should still be sent. */
#ifndef KV_TLS_SESSION_H
#define KV_TLS_SESSION_H

#include "tls/context.h"

#include <kv/error.h>

struct kv_tls;

/* Becomes a holder of the context. `address`: of the peer, 4 or 16 bytes, or empty. NULL: OpenSSL
 * has no memory. */
struct kv_tls *kv_tls_new(struct kv_tls_context *context, struct kv_bytes address);
void kv_tls_free(struct kv_tls *tls);

/* Takes bytes of the peer, one or more. KV_OK, or KV_ENOMEM. */
int kv_tls_feed(struct kv_tls *tls, struct kv_bytes ciphertext);

/* Goes on with the handshake. KV_OK: the connection is open. KV_ETRUNCATED: the peer is to say
 * more. KV_ESECURITY: it has failed. */
int kv_tls_shake(struct kv_tls *tls);

/* Reads up to `room` bytes, more than 0. KV_OK: *count bytes lie at `to`. KV_ETRUNCATED: there is
 * nothing before more is fed. KV_ECLOSED: the peer has ended the connection in order. KV_ESECURITY:
 * it has broken the protocol. */
int kv_tls_read(struct kv_tls *tls, void *to, size_t room, size_t *count);

/* Encrypts all of `plain`, which is not empty. KV_OK or KV_ESECURITY. */
int kv_tls_write(struct kv_tls *tls, struct kv_bytes plain);

/* Tells the peer that nothing comes any more. */
void kv_tls_end(struct kv_tls *tls);

/* The ciphertext for the peer. Valid until the next call with this session. */
struct kv_bytes kv_tls_output(struct kv_tls *tls);

/* The first `count` bytes of the output are sent. */
void kv_tls_sent(struct kv_tls *tls, size_t count);

/* True: more may be read without a further feed. */
bool kv_tls_has_more(const struct kv_tls *tls);

/* After KV_ESECURITY: the reason, a phrase. Valid while the session exists. */
const char *kv_tls_why(const struct kv_tls *tls);

/* "TLSv1.3, TLS_AES_256_GCM_SHA384", once it is open. */
void kv_tls_describe(const struct kv_tls *tls, char text[KV_TLS_WHY_MAX]);

#endif
