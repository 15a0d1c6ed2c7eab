/* Fuzzes a TLS session over memory. The first byte of the input selects one of two peers:
 *
 * - A stranger, whose bytes are the rest of the input. It never gets through, and the reason is
 * told.
 * - A client of OpenSSL, which says the rest of the input. One byte of its ciphertext may be
 * changed on the way. The session has what the client said, or less and an error.
 *
 * In both cases the bytes may come in pieces of any size. */
#include "tls/session.h"

#include <kv/buffer.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>

enum { IS_CLIENT = 1, IS_CHANGED = 2, PIECE_SHIFT = 2, TURNS = 6 };

/* Of this test alone. */
static const char CERTIFICATE[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBeTCCAR+gAwIBAgIUaIqpcHrip7VCPDCiYO9emiIgZ3kwCgYIKoZIzj0EAwIw\n"
    "ETEPMA0GA1UEAwwGZnV6emVkMCAXDTI2MTEyNzIxMjAwNFoYDzIxMjYxMTAzMjEy\n"
    "MDA0WjARMQ8wDQYDVQQDDAZmdXp6ZWQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC\n"
    "AAQ3zCT3dbtm8u5cMVZuK6O4In8gnnaFWMV1JLcr8Q/ioBaTp5AowbqqvUDS/ySu\n"
    "lg05h07IkwV9844hAzEK1xkGo1MwUTAdBgNVHQ4EFgQUX3MUCw/AZbyCFWrz2H47\n"
    "10lgqk4wHwYDVR0jBBgwFoAUX3MUCw/AZbyCFWrz2H4710lgqk4wDwYDVR0TAQH/\n"
    "BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEAzKX8vHP5oRTYnF1owqJNJkix3lHd\n"
    "d5saaK7Lm3AWCfUCIBoBkMcIsUHRzdsRClU3FYTa6kgfdG+I7qF2CCcURyr5\n"
    "-----END CERTIFICATE-----\n";

static const char KEY[] = "-----BEGIN EC PRIVATE KEY-----\n"
                          "MHcCAQEEIAPOUbFpDsof9XbB7KUvndtBGh0uyxU76dhzg9LSVoD9oAoGCCqGSM49\n"
                          "AwEHoUQDQgAEN8wk93W7ZvLuXDFWbiujuCJ/IJ52hVjFdSS3K/EP4qAWk6eQKMG6\n"
                          "qr1A0v8krpYNOYdOyJMFffOOIQMxCtcZBg==\n"
                          "-----END EC PRIVATE KEY-----\n";

static void demand(bool condition)
{
    if (!condition) {
        abort();
    }
}

static struct kv_tls_context *context_of_all(void)
{
    static struct kv_tls_context *context;
    if (context == NULL) {
        const struct kv_tls_settings settings = {.certificates = kv_bytes_text(CERTIFICATE),
                                                 .key = kv_bytes_text(KEY),
                                                 .password = "",
                                                 .ciphers = "",
                                                 .versions = KV_TLS_1_2 | KV_TLS_1_3,
                                                 .depth = 1};
        char why[KV_TLS_WHY_MAX];
        context = kv_tls_context_new(&settings, why);
        demand(context != NULL);
    }
    return context;
}

/* ---- the session ----------------------------------------------------------------------------- */

struct listener {
    struct kv_tls *tls;
    bool is_open;
    int error; /* KV_ETRUNCATED until there is one */
    struct kv_buffer heard;
};

static void listen_on(struct listener *listener)
{
    size_t count = 0;
    do {
        uint8_t *room = kv_buffer_reserve(&listener->heard, 100);
        listener->error = kv_tls_read(listener->tls, room, 100, &count);
        listener->heard.length += count;
    } while (listener->error == KV_OK);
}

static void hear(struct listener *listener, struct kv_bytes bytes, size_t piece)
{
    for (size_t at = 0; at < bytes.length && listener->error == KV_ETRUNCATED; at += piece) {
        const size_t rest = bytes.length - at;
        demand(kv_tls_feed(listener->tls, kv_bytes(bytes.data + at, rest < piece ? rest : piece)) ==
               KV_OK);
        if (!listener->is_open) {
            listener->error = kv_tls_shake(listener->tls);
            listener->is_open = listener->error == KV_OK;
        }
        if (listener->is_open) {
            listen_on(listener);
        }
    }
}

/* ---- the client ------------------------------------------------------------------------------ */

struct client {
    SSL *ssl;
    BIO *in;
    BIO *out;
};

static struct client client_new(void)
{
    static SSL_CTX *context;
    if (context == NULL) {
        context = SSL_CTX_new(TLS_client_method());
    }
    struct client client = {SSL_new(context), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem())};
    (void)BIO_set_mem_eof_return(client.in, -1);
    SSL_set_bio(client.ssl, client.in, client.out);
    SSL_set_connect_state(client.ssl);
    return client;
}

static struct kv_bytes said_by(const struct client *client)
{
    char *data = NULL;
    const long length = BIO_get_mem_data(client->out, &data);
    return kv_bytes((const uint8_t *)data, (size_t)length);
}

static void shake(struct client *client, struct listener *listener, size_t piece)
{
    for (unsigned turn = 0; turn < TURNS; turn++) {
        const struct kv_bytes answer = kv_tls_output(listener->tls);
        if (answer.length > 0) {
            demand(BIO_write(client->in, answer.data, (int)answer.length) == (int)answer.length);
            kv_tls_sent(listener->tls, answer.length);
        }
        (void)SSL_do_handshake(client->ssl);
        hear(listener, said_by(client), piece);
        (void)BIO_reset(client->out);
    }
    demand(listener->is_open && SSL_is_init_finished(client->ssl) == 1);
}

static void say(struct client *client, struct kv_bytes plain)
{
    if (plain.length > 0) {
        demand(SSL_write(client->ssl, plain.data, (int)plain.length) == (int)plain.length);
    }
}

/* `place`: of the byte that is changed. */
static void change(struct kv_buffer *ciphertext, size_t place)
{
    if (ciphertext->length > 0) {
        ciphertext->data[place % ciphertext->length] ^= 0x40;
    }
}

static void talk(struct listener *listener, struct kv_bytes plain, size_t piece, bool is_changed)
{
    struct client client = client_new();
    struct kv_buffer ciphertext = KV_BUFFER_INIT;
    shake(&client, listener, piece);
    say(&client, kv_bytes(plain.data, plain.length / 2));
    say(&client, kv_bytes(plain.data + plain.length / 2, plain.length - plain.length / 2));
    kv_buffer_append(&ciphertext, said_by(&client));
    if (is_changed) {
        change(&ciphertext, plain.length > 0 ? plain.data[0] : 0);
    }
    hear(listener, kv_buffer_bytes(&ciphertext), piece);
    const struct kv_bytes heard = kv_buffer_bytes(&listener->heard);
    demand(heard.length <= plain.length);
    demand(kv_bytes_equal(heard, kv_bytes(plain.data, heard.length)));
    demand(is_changed || heard.length == plain.length);
    demand(!is_changed || plain.length == 0 || heard.length < plain.length);
    kv_buffer_free(&ciphertext);
    SSL_free(client.ssl);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const struct kv_bytes rest = kv_bytes(data + 1, size - 1);
    const size_t piece = 1 + (size_t)(data[0] >> PIECE_SHIFT) * 8;
    struct listener listener = {.tls = kv_tls_new(context_of_all(), kv_bytes(NULL, 0)),
                                .error = KV_ETRUNCATED};
    if ((data[0] & IS_CLIENT) != 0) {
        talk(&listener, rest, piece, (data[0] & IS_CHANGED) != 0);
    } else {
        hear(&listener, rest, piece);
        demand(!listener.is_open);
        demand(listener.error != KV_ESECURITY || kv_tls_why(listener.tls)[0] != '\0');
    }
    kv_tls_end(listener.tls);
    kv_buffer_free(&listener.heard);
    kv_tls_free(listener.tls);
    ERR_clear_error();
    return 0;
}
