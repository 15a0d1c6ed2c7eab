#include "tls/session.h"

#include "base/alloc.h"
#include "tls/parts.h"

#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

enum {
    WRITE_MOST = 1 << 30, /* bytes that OpenSSL is given at once: it counts in int */
    OUTPUT_KEEP = 64 * 1024,
    RECORD_HANDSHAKE = 22, /* RFC 8446, 5.1: the first byte of a connection */
};

struct kv_tls {
    struct kv_tls_context *context; /* kept */
    SSL *ssl;
    BIO *in;     /* belongs to `ssl` */
    BIO *out;    /* belongs to `ssl` */
    size_t sent; /* bytes of `out` that are sent */
    bool is_fed;
    bool is_strange; /* the first byte begins no TLS record of a handshake */
    struct kv_tls_peer peer;
    char why[KV_TLS_WHY_MAX];
};

/* ---- coming and going ------------------------------------------------------------------------ */

static bool attach(struct kv_tls *tls)
{
    tls->ssl = SSL_new(tls->context->ssl);
    tls->in = BIO_new(BIO_s_mem());
    tls->out = BIO_new(BIO_s_mem());
    if (tls->ssl == NULL || tls->in == NULL || tls->out == NULL) {
        BIO_free(tls->in);
        BIO_free(tls->out);
        return false;
    }
    (void)BIO_set_mem_eof_return(tls->in, -1); /* nothing there: ask again */
    SSL_set_bio(tls->ssl, tls->in, tls->out);
    SSL_set_accept_state(tls->ssl);
    return kv_tls_set_peer(tls->ssl, &tls->peer);
}

struct kv_tls *kv_tls_new(struct kv_tls_context *context, struct kv_bytes address)
{
    struct kv_tls *tls = kv_zalloc(sizeof *tls);
    tls->context = context;
    context->holders++;
    tls->peer.context = context;
    if (address.length <= sizeof tls->peer.address && address.length > 0) {
        memcpy(tls->peer.address, address.data, address.length);
        tls->peer.length = address.length;
    }
    if (!attach(tls)) {
        ERR_clear_error();
        kv_tls_free(tls);
        return NULL;
    }
    return tls;
}

void kv_tls_free(struct kv_tls *tls)
{
    SSL_free(tls->ssl);
    kv_tls_context_drop(tls->context);
    kv_free(tls);
}

/* ---- errors ---------------------------------------------------------------------------------- */

/* The last of the reasons for which a certificate is refused. The verification says more. */
static bool is_refused_certificate(unsigned long error)
{
    return ERR_GET_LIB(error) == ERR_LIB_SSL &&
           ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED;
}

static int broken(struct kv_tls *tls)
{
    if (tls->is_strange) {
        (void)snprintf(tls->why, sizeof tls->why,
                       "it speaks no TLS, and this node speaks nothing else");
        ERR_clear_error();
    } else if (is_refused_certificate(ERR_peek_last_error())) {
        (void)snprintf(tls->why, sizeof tls->why, "its certificate is refused: %s",
                       X509_verify_cert_error_string(SSL_get_verify_result(tls->ssl)));
        ERR_clear_error();
    } else {
        kv_tls_reason(tls->why);
    }
    return KV_ESECURITY;
}

static int outcome(struct kv_tls *tls, int result)
{
    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_NONE:
        return KV_OK;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return KV_ETRUNCATED;
    case SSL_ERROR_ZERO_RETURN:
        return KV_ECLOSED;
    default:
        return broken(tls);
    }
}

/* ---- bytes of the peer ----------------------------------------------------------------------- */

int kv_tls_feed(struct kv_tls *tls, struct kv_bytes ciphertext)
{
    size_t written = 0;
    ERR_clear_error();
    tls->is_strange = tls->is_strange || (!tls->is_fed && ciphertext.data[0] != RECORD_HANDSHAKE);
    tls->is_fed = true;
    const int result = BIO_write_ex(tls->in, ciphertext.data, ciphertext.length, &written);
    if (result != 1 || written != ciphertext.length) {
        ERR_clear_error();
        return KV_ENOMEM;
    }
    return KV_OK;
}

int kv_tls_shake(struct kv_tls *tls)
{
    ERR_clear_error();
    return outcome(tls, SSL_do_handshake(tls->ssl));
}

int kv_tls_read(struct kv_tls *tls, void *to, size_t room, size_t *count)
{
    ERR_clear_error();
    *count = 0;
    return outcome(tls, SSL_read_ex(tls->ssl, to, room, count));
}

bool kv_tls_has_more(const struct kv_tls *tls)
{
    return SSL_pending(tls->ssl) > 0 || BIO_pending(tls->in) > 0;
}

/* ---- bytes for the peer ---------------------------------------------------------------------- */

int kv_tls_write(struct kv_tls *tls, struct kv_bytes plain)
{
    ERR_clear_error();
    while (plain.length > 0) {
        size_t written = 0;
        const size_t most = plain.length < WRITE_MOST ? plain.length : WRITE_MOST;
        const int error = outcome(tls, SSL_write_ex(tls->ssl, plain.data, most, &written));
        if (error != KV_OK) {
            return error == KV_ETRUNCATED ? broken(tls) : KV_ESECURITY;
        }
        plain = kv_bytes(plain.data + written, plain.length - written);
    }
    return KV_OK;
}

/* After a failed handshake OpenSSL has sent an alert already, and would call this an error. */
void kv_tls_end(struct kv_tls *tls)
{
    ERR_clear_error();
    if (SSL_is_init_finished(tls->ssl) == 1) {
        (void)SSL_shutdown(tls->ssl);
    }
    ERR_clear_error();
}

struct kv_bytes kv_tls_output(struct kv_tls *tls)
{
    char *data = NULL;
    const long length = BIO_get_mem_data(tls->out, &data);
    return kv_bytes(data == NULL ? NULL : (uint8_t *)data + tls->sent, (size_t)length - tls->sent);
}

/* A BIO keeps the memory of the most that it has had. */
static void give_back(struct kv_tls *tls)
{
    BUF_MEM *memory = NULL;
    (void)BIO_get_mem_ptr(tls->out, &memory);
    if (memory != NULL && memory->max > OUTPUT_KEEP) {
        BIO *fresh = BIO_new(BIO_s_mem());
        if (fresh != NULL) {
            SSL_set0_wbio(tls->ssl, fresh);
            tls->out = fresh;
        }
    }
}

void kv_tls_sent(struct kv_tls *tls, size_t count)
{
    tls->sent += count;
    if (tls->sent == (size_t)BIO_pending(tls->out)) {
        (void)BIO_reset(tls->out);
        tls->sent = 0;
        give_back(tls);
    }
}

/* ---- descriptions ---------------------------------------------------------------------------- */

const char *kv_tls_why(const struct kv_tls *tls)
{
    return tls->why;
}

void kv_tls_describe(const struct kv_tls *tls, char text[KV_TLS_WHY_MAX])
{
    (void)snprintf(text, KV_TLS_WHY_MAX, "%s, %s", SSL_get_version(tls->ssl),
                   SSL_get_cipher_name(tls->ssl));
}
