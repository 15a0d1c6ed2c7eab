#include "tls/context.h"

#include "base/alloc.h"
#include "tls/parts.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

/* ---- reasons --------------------------------------------------------------------------------- */

void kv_tls_reason(char why[KV_TLS_WHY_MAX])
{
    const unsigned long error = ERR_get_error();
    const char *text = ERR_reason_error_string(error);
    (void)snprintf(why, KV_TLS_WHY_MAX, "%s", text != NULL ? text : "OpenSSL gives no reason");
    ERR_clear_error();
}

static bool refuse(char why[KV_TLS_WHY_MAX], const char *what)
{
    char reason[KV_TLS_WHY_MAX];
    kv_tls_reason(reason);
    (void)snprintf(why, KV_TLS_WHY_MAX, "%s: %.180s", what, reason);
    return false;
}

/* ---- certificates and keys ------------------------------------------------------------------- */

static BIO *reader_of(struct kv_bytes pem)
{
    return BIO_new_mem_buf(pem.data, pem.length < INT_MAX ? (int)pem.length : INT_MAX);
}

struct secret {
    const char *password;
};

/* Without this OpenSSL would ask at the terminal. */
static int tell_password(char *to, int room, int writing, void *context)
{
    const struct secret *secret = context;
    const size_t length = strlen(secret->password);
    (void)writing;
    if (length > (size_t)room) {
        return -1;
    }
    memcpy(to, secret->password, length);
    return (int)length;
}

/* Returns true once the end of the file is the reason that there is no more. */
static bool was_last(void)
{
    const unsigned long error = ERR_peek_last_error();
    ERR_clear_error();
    return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

static bool use_first(SSL_CTX *ssl, BIO *from)
{
    X509 *own = PEM_read_bio_X509_AUX(from, NULL, NULL, NULL);
    const bool used = own != NULL && SSL_CTX_use_certificate(ssl, own) == 1;
    X509_free(own);
    return used;
}

static bool use_others(SSL_CTX *ssl, BIO *from)
{
    for (;;) {
        X509 *other = PEM_read_bio_X509(from, NULL, NULL, NULL);
        if (other == NULL) {
            return was_last();
        }
        if (SSL_CTX_add0_chain_cert(ssl, other) != 1) {
            X509_free(other);
            return false;
        }
    }
}

static bool use_certificates(SSL_CTX *ssl, const struct kv_tls_settings *settings, char *why)
{
    BIO *from = reader_of(settings->certificates);
    const bool used = from != NULL && use_first(ssl, from) && use_others(ssl, from);
    BIO_free(from);
    return used || refuse(why, "the certificate cannot be used");
}

static bool use_key(SSL_CTX *ssl, const struct kv_tls_settings *settings, char *why)
{
    BIO *from = reader_of(settings->key.length > 0 ? settings->key : settings->certificates);
    struct secret secret = {settings->password};
    EVP_PKEY *key =
        from == NULL ? NULL : PEM_read_bio_PrivateKey(from, NULL, tell_password, &secret);
    const bool used =
        key != NULL && SSL_CTX_use_PrivateKey(ssl, key) == 1 && SSL_CTX_check_private_key(ssl) == 1;
    EVP_PKEY_free(key);
    BIO_free(from);
    return used || refuse(why, "the key cannot be used");
}

/* Peers are told which authorities this node trusts, so that they can choose a certificate. */
static bool trust(SSL_CTX *ssl, BIO *from)
{
    unsigned count = 0;
    for (;;) {
        X509 *authority = PEM_read_bio_X509(from, NULL, NULL, NULL);
        if (authority == NULL) {
            return was_last() && count > 0;
        }
        const bool added = X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), authority) == 1 &&
                           SSL_CTX_add_client_CA(ssl, authority) == 1;
        X509_free(authority);
        if (!added) {
            return false;
        }
        count++;
    }
}

static bool use_authorities(SSL_CTX *ssl, const struct kv_tls_settings *settings, char *why)
{
    if (settings->authorities.length == 0) {
        return true;
    }
    BIO *from = reader_of(settings->authorities);
    const bool used = from != NULL && trust(ssl, from);
    BIO_free(from);
    return used || refuse(why, "the certificates of the authorities cannot be used");
}

static bool use_dh(SSL_CTX *ssl, const struct kv_tls_settings *settings, char *why)
{
    if (settings->dh.length == 0) {
        return SSL_CTX_set_dh_auto(ssl, 1) == 1;
    }
    BIO *from = reader_of(settings->dh);
    EVP_PKEY *parameters = from == NULL ? NULL : PEM_read_bio_Parameters(from, NULL);
    const bool used = parameters != NULL && SSL_CTX_set0_tmp_dh_pkey(ssl, parameters) == 1;
    if (!used) {
        EVP_PKEY_free(parameters);
    }
    BIO_free(from);
    return used || refuse(why, "the parameters of Diffie-Hellman cannot be used");
}

/* ---- rules ----------------------------------------------------------------------------------- */

/* The names of TLS 1.3 begin with this; OpenSSL takes them apart from the others. */
static bool is_of_1_3(const char *name)
{
    return strncmp(name, "TLS_", 4) == 0;
}

/* Appends the names of one kind to `to`, which has room for all. */
static void choose(const char *names, bool of_1_3, char *to)
{
    *to = '\0';
    while (*names != '\0') {
        const size_t length = strcspn(names, ":");
        if (is_of_1_3(names) == of_1_3) {
            (void)snprintf(to + strlen(to), strlen(names) + 2, "%s%.*s", *to == '\0' ? "" : ":",
                           (int)length, names);
        }
        names += length + (names[length] == ':' ? 1 : 0);
    }
}

static bool use_ciphers(SSL_CTX *ssl, const struct kv_tls_settings *settings, char *why)
{
    if (settings->ciphers[0] == '\0') {
        return true;
    }
    char *some = kv_alloc(2 * strlen(settings->ciphers) + 2);
    choose(settings->ciphers, true, some);
    bool used = *some == '\0' || SSL_CTX_set_ciphersuites(ssl, some) == 1;
    choose(settings->ciphers, false, some);
    used = used && (*some == '\0' || SSL_CTX_set_cipher_list(ssl, some) == 1);
    kv_free(some);
    return used || refuse(why, "the ciphers cannot be used");
}

static bool use_versions(SSL_CTX *ssl, const struct kv_tls_settings *settings)
{
    const int least = (settings->versions & KV_TLS_1_2) != 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
    const int most = (settings->versions & KV_TLS_1_3) != 0 ? TLS1_3_VERSION : TLS1_2_VERSION;
    return SSL_CTX_set_min_proto_version(ssl, least) == 1 &&
           SSL_CTX_set_max_proto_version(ssl, most) == 1;
}

static struct kv_tls_peer *peer_of(X509_STORE_CTX *checked)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(checked, SSL_get_ex_data_X509_STORE_CTX_idx());
    return ssl == NULL ? NULL : SSL_get_app_data(ssl);
}

/* OTP: inet_tls_dist:verify_client/3. */
static bool is_for(const struct kv_tls_peer *peer, X509 *certificate)
{
    if (peer->length > 0 && X509_check_ip(certificate, peer->address, peer->length, 0) == 1) {
        return true;
    }
    for (unsigned i = 0; i < peer->context->host_count; i++) {
        const char *host = peer->context->hosts[i];
        if (X509_check_host(certificate, host, strlen(host), 0, NULL) == 1) {
            return true;
        }
    }
    return false;
}

static int on_verify(int good, X509_STORE_CTX *checked)
{
    const struct kv_tls_peer *peer = peer_of(checked);
    if (good != 1 || peer == NULL || peer->context->host_count == 0 ||
        X509_STORE_CTX_get_error_depth(checked) != 0 ||
        is_for(peer, X509_STORE_CTX_get_current_cert(checked))) {
        return good;
    }
    X509_STORE_CTX_set_error(checked, X509_V_ERR_HOSTNAME_MISMATCH);
    return 0;
}

bool kv_tls_set_peer(SSL *ssl, struct kv_tls_peer *peer)
{
    return SSL_set_app_data(ssl, peer) == 1;
}

static void set_verification(SSL_CTX *ssl, const struct kv_tls_settings *settings)
{
    int mode = SSL_VERIFY_NONE;
    if (settings->verify) {
        mode = SSL_VERIFY_PEER | (settings->must_have ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
    }
    SSL_CTX_set_verify(ssl, mode, on_verify);
    SSL_CTX_set_verify_depth(ssl, settings->depth);
}

/* Sessions are not resumed: connections between nodes are few and long, and each is verified. */
static void set_modes(SSL_CTX *ssl)
{
    (void)SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET |
                                       SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    (void)SSL_CTX_set_num_tickets(ssl, 0);
    (void)SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static bool use(SSL_CTX *ssl, const struct kv_tls_settings *settings, char *why)
{
    set_modes(ssl);
    set_verification(ssl, settings);
    if (settings->verify && settings->authorities.length == 0) {
        (void)snprintf(why, KV_TLS_WHY_MAX,
                       "peers are to be verified, and there are no certificates of authorities");
        return false;
    }
    return (use_versions(ssl, settings) || refuse(why, "the versions of TLS cannot be used")) &&
           use_ciphers(ssl, settings, why) && use_certificates(ssl, settings, why) &&
           use_key(ssl, settings, why) && use_authorities(ssl, settings, why) &&
           use_dh(ssl, settings, why);
}

static void copy_hosts(struct kv_tls_context *context, const struct kv_tls_settings *settings)
{
    for (unsigned i = 0; i < settings->host_count && i < KV_TLS_HOSTS_MAX; i++) {
        const size_t size = strlen(settings->hosts[i]) + 1;
        context->hosts[i] = kv_alloc(size);
        memcpy(context->hosts[i], settings->hosts[i], size);
        context->host_count++;
    }
}

struct kv_tls_context *kv_tls_context_new(const struct kv_tls_settings *settings,
                                          char why[KV_TLS_WHY_MAX])
{
    struct kv_tls_context *context = kv_zalloc(sizeof *context);
    context->holders = 1;
    context->ssl = SSL_CTX_new(TLS_server_method());
    if (context->ssl == NULL || !use(context->ssl, settings, why)) {
        if (context->ssl == NULL) {
            (void)refuse(why, "OpenSSL cannot be used");
        }
        kv_tls_context_drop(context);
        return NULL;
    }
    copy_hosts(context, settings);
    return context;
}

void kv_tls_context_drop(struct kv_tls_context *context)
{
    if (context == NULL || --context->holders > 0) {
        return;
    }
    for (unsigned i = 0; i < context->host_count; i++) {
        kv_free(context->hosts[i]);
    }
    SSL_CTX_free(context->ssl);
    kv_free(context);
}
