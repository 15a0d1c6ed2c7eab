/* Fuzzes a TLS session over memory. The first byte of the input selects one of two peers:
 *
 * - A stranger, whose bytes are the rest of the input. It never gets through, and the reason is
 * told.
 * - A client of OpenSSL, which says the rest of the input, over TLS 1.2 or 1.3. Before
 * that it may ask for new keys: TLS 1.3 has them, and TLS 1.2 negotiates nothing again. Its
 * ciphertext may be changed on the way, cut off, or have garbage behind it. The session has what
 * the client said; or the beginning of that, and an error or a wait for more.
 *
 * In both cases the bytes come in pieces of any size. */
#include "tls/session.h"

#include <kv/buffer.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>

/* The first byte. Pieces have 1, 4, 16... bytes. */
enum { IS_CLIENT = 1, FATE_SHIFT = 1, IS_1_2 = 8, HAS_NEW_KEYS = 16, PIECE_SHIFT = 5 };
enum fate { WHOLE, CHANGED, CUT, GARBAGE, FATES };

enum { TURNS = 6 };

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

static struct client client_new(int version)
{
    static SSL_CTX *context;
    if (context == NULL) {
        context = SSL_CTX_new(TLS_client_method());
    }
    demand(SSL_CTX_set_min_proto_version(context, version) == 1);
    demand(SSL_CTX_set_max_proto_version(context, version) == 1);
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

static void take_words(struct client *client, struct kv_buffer *to)
{
    kv_buffer_append(to, said_by(client));
    (void)BIO_reset(client->out);
}

/* Returns false if the client has to give up: it takes the refusal of TLS 1.2 for an error. */
static bool has_new_keys(struct client *client, struct listener *listener, size_t piece)
{
    struct kv_buffer asked = KV_BUFFER_INIT;
    const bool rekeys = SSL_version(client->ssl) == TLS1_3_VERSION;
    if (rekeys) {
        demand(SSL_key_update(client->ssl, SSL_KEY_UPDATE_REQUESTED) == 1);
    } else {
        demand(SSL_renegotiate(client->ssl) == 1);
    }
    (void)SSL_do_handshake(client->ssl);
    take_words(client, &asked);
    hear(listener, kv_buffer_bytes(&asked), piece);
    kv_buffer_free(&asked);
    demand(listener->error == KV_ETRUNCATED);
    demand(rekeys || kv_tls_output(listener->tls).length > 0); /* a refusal comes at once */
    return rekeys;
}

/* Changes to the words on their way. `plain` chooses the place. */
static void suffer(struct kv_buffer *words, enum fate fate, struct kv_bytes plain)
{
    const size_t place = plain.length > 0 && words->length > 0 ? plain.data[0] % words->length : 0;
    if (fate == CHANGED && words->length > 0) {
        words->data[place] ^= 0x40;
    } else if (fate == CUT) {
        words->length = place;
    } else if (fate == GARBAGE) {
        kv_buffer_append(words, plain);
    }
}

static void compare(const struct listener *listener, struct kv_bytes plain, enum fate fate)
{
    const struct kv_bytes heard = kv_buffer_bytes(&listener->heard);
    demand(heard.length <= plain.length);
    demand(kv_bytes_equal(heard, kv_bytes(plain.data, heard.length)));
    demand((fate != WHOLE && fate != GARBAGE) || heard.length == plain.length);
    demand((fate != WHOLE && fate != CUT) || listener->error == KV_ETRUNCATED);
    demand(fate != CHANGED || plain.length == 0 || heard.length < plain.length);
}

static void talk(struct listener *listener, struct kv_bytes plain, size_t piece, unsigned how)
{
    const enum fate fate = (how >> FATE_SHIFT) % FATES;
    struct client client = client_new((how & IS_1_2) != 0 ? TLS1_2_VERSION : TLS1_3_VERSION);
    struct kv_buffer words = KV_BUFFER_INIT;
    const struct kv_bytes first = kv_bytes(plain.data, plain.length / 2);
    shake(&client, listener, piece);
    if ((how & HAS_NEW_KEYS) != 0 && !has_new_keys(&client, listener, piece)) {
        SSL_free(client.ssl);
        return;
    }
    say(&client, first);
    say(&client, kv_bytes(plain.data + first.length, plain.length - first.length));
    take_words(&client, &words);
    suffer(&words, fate, plain);
    hear(listener, kv_buffer_bytes(&words), piece);
    compare(listener, plain, fate);
    kv_buffer_free(&words);
    SSL_free(client.ssl);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const struct kv_bytes rest = kv_bytes(data + 1, size - 1);
    const size_t piece = (size_t)1 << (2 * (data[0] >> PIECE_SHIFT));
    struct listener listener = {.tls = kv_tls_new(context_of_all(), kv_bytes(NULL, 0)),
                                .error = KV_ETRUNCATED};
    if ((data[0] & IS_CLIENT) != 0) {
        talk(&listener, rest, piece, data[0]);
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
