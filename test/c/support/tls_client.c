#include "support/tls_client.h"

#include <criterion/criterion.h>
#include <openssl/err.h>
#include <openssl/pem.h>

static void use(SSL_CTX *context, const struct credentials *credentials)
{
    BIO *from = BIO_new_mem_buf(credentials->certificate.data, -1);
    X509 *certificate = PEM_read_bio_X509(from, NULL, NULL, NULL);
    BIO_free(from);
    from = BIO_new_mem_buf(credentials->key.data, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(from, NULL, NULL, NULL);
    BIO_free(from);
    cr_assert_eq(SSL_CTX_use_certificate(context, certificate), 1);
    cr_assert_eq(SSL_CTX_use_PrivateKey(context, key), 1);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

struct tls_client tls_client_new(int version, const struct credentials *credentials)
{
    struct tls_client client = {.context = SSL_CTX_new(TLS_client_method())};
    SSL_CTX_set_min_proto_version(client.context, version);
    SSL_CTX_set_max_proto_version(client.context, version);
    if (credentials != NULL) {
        use(client.context, credentials);
    }
    client.ssl = SSL_new(client.context);
    client.in = BIO_new(BIO_s_mem());
    client.out = BIO_new(BIO_s_mem());
    (void)BIO_set_mem_eof_return(client.in, -1);
    SSL_set_bio(client.ssl, client.in, client.out);
    SSL_set_connect_state(client.ssl);
    return client;
}

void tls_client_free(struct tls_client *client)
{
    SSL_free(client->ssl);
    SSL_CTX_free(client->context);
    ERR_clear_error();
}

static void feed(struct tls_client *client, struct kv_bytes ciphertext)
{
    if (ciphertext.length > 0) {
        cr_assert_eq(BIO_write(client->in, ciphertext.data, (int)ciphertext.length),
                     (int)ciphertext.length);
    }
}

bool tls_client_shake(struct tls_client *client, struct kv_bytes ciphertext)
{
    feed(client, ciphertext);
    return SSL_do_handshake(client->ssl) == 1;
}

void tls_client_output(struct tls_client *client, struct kv_buffer *to)
{
    char *data = NULL;
    const long length = BIO_get_mem_data(client->out, &data);
    kv_buffer_append(to, kv_bytes((const uint8_t *)data, (size_t)length));
    (void)BIO_reset(client->out);
}

void tls_client_write(struct tls_client *client, struct kv_bytes plain)
{
    cr_assert_eq(SSL_write(client->ssl, plain.data, (int)plain.length), (int)plain.length);
}

bool tls_client_read(struct tls_client *client, struct kv_bytes ciphertext, struct kv_buffer *to)
{
    size_t count = 0;
    feed(client, ciphertext);
    for (;;) {
        const size_t room = 1 << 16;
        const int result = SSL_read_ex(client->ssl, kv_buffer_reserve(to, room), room, &count);
        if (result != 1) {
            return SSL_get_error(client->ssl, result) == SSL_ERROR_WANT_READ;
        }
        to->length += count;
    }
}
