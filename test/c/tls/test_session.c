/* A TLS connection over memory, against OpenSSL's own client. */
#include "support/tls_client.h"
#include "tls/session.h"

#include "base/alloc.h"

#include <criterion/criterion.h>
#include <openssl/err.h>
#include <string.h>

enum { WHOLE = 1 << 30 };

static const int VERSIONS[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static struct authority *authority;
static struct credentials own;
static struct credentials of_client;

static void set_up(void)
{
    authority = authority_new("an authority");
    own = authority_sign(authority, "DNS:host", VALID, NULL);
    of_client = authority_sign(authority, "DNS:client,IP:10.0.0.7", VALID, NULL);
}

static void tear_down(void)
{
    credentials_free(&own);
    credentials_free(&of_client);
    authority_free(authority);
    cr_assert_eq(kv_alloc_outstanding(), 0, "something is left in memory");
}

TestSuite(tls_session, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- two sides ------------------------------------------------------------------------------- */

struct pair {
    struct kv_tls *tls;
    struct tls_client client;
    int shaken; /* the last result of the server's handshake */
};

static struct kv_tls_settings rules(void)
{
    return authority_rules(authority, &own);
}

static struct pair pair_of(const struct kv_tls_settings *settings, const uint8_t address[4],
                           int version, const struct credentials *credentials)
{
    char why[KV_TLS_WHY_MAX] = "";
    struct kv_tls_context *context = kv_tls_context_new(settings, why);
    cr_assert_not_null(context, "%s", why);
    struct pair pair = {.tls = kv_tls_new(context, kv_bytes(address, address == NULL ? 0 : 4)),
                        .client = tls_client_new(version, credentials),
                        .shaken = KV_ETRUNCATED};
    kv_tls_context_drop(context); /* the session holds it */
    return pair;
}

static struct pair usual_pair(int version)
{
    const struct kv_tls_settings settings = rules();
    return pair_of(&settings, NULL, version, &of_client);
}

static void part(struct pair *pair)
{
    kv_tls_free(pair->tls);
    tls_client_free(&pair->client);
}

static struct kv_buffer said(struct pair *pair)
{
    struct kv_buffer bytes = KV_BUFFER_INIT;
    const struct kv_bytes output = kv_tls_output(pair->tls);
    kv_buffer_append(&bytes, output);
    kv_tls_sent(pair->tls, output.length);
    return bytes;
}

static void hear(struct pair *pair, struct kv_bytes bytes, size_t piece)
{
    for (size_t at = 0; at < bytes.length && pair->shaken == KV_ETRUNCATED; at += piece) {
        const size_t some = bytes.length - at < piece ? bytes.length - at : piece;
        cr_assert_eq(kv_tls_feed(pair->tls, kv_bytes(bytes.data + at, some)), KV_OK);
        pair->shaken = kv_tls_shake(pair->tls);
    }
}

/* Both go on until nobody says anything, `piece` bytes at a time. Returns true if both are done. */
static bool shake(struct pair *pair, size_t piece)
{
    bool done = false;
    for (unsigned turn = 0; turn < 10; turn++) {
        struct kv_buffer answer = said(pair);
        struct kv_buffer request = KV_BUFFER_INIT;
        done = tls_client_shake(&pair->client, kv_buffer_bytes(&answer)) || done;
        tls_client_output(&pair->client, &request);
        hear(pair, kv_buffer_bytes(&request), piece);
        kv_buffer_free(&answer);
        kv_buffer_free(&request);
    }
    return done && pair->shaken == KV_OK;
}

static struct pair open_pair(int version)
{
    struct pair pair = usual_pair(version);
    cr_assert(shake(&pair, WHOLE));
    return pair;
}

static void each_version(void (*test)(int version))
{
    for (unsigned i = 0; i < 2; i++) {
        test(VERSIONS[i]);
    }
}

/* ---- the handshake --------------------------------------------------------------------------- */

static void opens(int version)
{
    struct pair pair = usual_pair(version);
    char text[KV_TLS_WHY_MAX];
    cr_assert(shake(&pair, WHOLE));
    kv_tls_describe(pair.tls, text);
    cr_assert(strstr(text, version == TLS1_2_VERSION ? "TLSv1.2, " : "TLSv1.3, ") == text);
    part(&pair);
}

Test(tls_session, a_client_with_a_certificate_of_the_authority_gets_in)
{
    each_version(opens);
}

static void opens_in_pieces(int version)
{
    for (size_t piece = 1; piece < 64; piece = piece < 8 ? piece + 1 : piece * 2) {
        struct pair pair = usual_pair(version);
        cr_assert(shake(&pair, piece), "%zu bytes at a time", piece);
        part(&pair);
    }
}

Test(tls_session, a_handshake_may_come_byte_by_byte)
{
    each_version(opens_in_pieces);
}

static void refused(int version, const struct kv_tls_settings *settings, const uint8_t *address,
                    const struct credentials *credentials, const char *reason)
{
    struct pair pair = pair_of(settings, address, version, credentials);
    cr_assert(!shake(&pair, WHOLE));
    cr_assert_eq(pair.shaken, KV_ESECURITY);
    cr_assert(strstr(kv_tls_why(pair.tls), reason) != NULL, "\"%s\" was expected, not \"%s\"",
              reason, kv_tls_why(pair.tls));
    part(&pair);
}

static void needs_certificate(int version)
{
    const struct kv_tls_settings settings = rules();
    refused(version, &settings, NULL, NULL, "peer did not return a certificate");
}

Test(tls_session, a_client_without_a_certificate_is_refused)
{
    each_version(needs_certificate);
}

static void needs_none(int version)
{
    struct kv_tls_settings settings = rules();
    settings.must_have = false;
    struct pair pair = pair_of(&settings, NULL, version, NULL);
    cr_assert(shake(&pair, WHOLE));
    part(&pair);
}

Test(tls_session, a_client_without_a_certificate_gets_in_if_none_is_needed)
{
    each_version(needs_none);
}

static void needs_authority(int version)
{
    const struct kv_tls_settings settings = rules();
    struct authority *other = authority_new("another authority");
    struct credentials strange = authority_sign(other, "DNS:client", VALID, NULL);
    refused(version, &settings, NULL, &strange,
            "its certificate is refused: unable to get local issuer");
    credentials_free(&strange);
    authority_free(other);
}

Test(tls_session, a_certificate_of_another_authority_is_refused)
{
    each_version(needs_authority);
}

static void needs_time(int version)
{
    const struct kv_tls_settings settings = rules();
    struct credentials old = authority_sign(authority, "DNS:client", EXPIRED, NULL);
    refused(version, &settings, NULL, &old, "its certificate is refused: certificate has expired");
    credentials_free(&old);
}

Test(tls_session, a_certificate_that_has_expired_is_refused)
{
    each_version(needs_time);
}

static void needs_host(int version)
{
    static const uint8_t ours[4] = {10, 0, 0, 7};
    static const uint8_t others[4] = {10, 0, 0, 8};
    struct kv_tls_settings settings = rules();
    settings.host_count = 1;
    settings.hosts = (const char *const[]){"client"};
    struct pair by_name = pair_of(&settings, others, version, &of_client);
    cr_assert(shake(&by_name, WHOLE));
    part(&by_name);
    settings.hosts = (const char *const[]){"another"};
    struct pair by_address = pair_of(&settings, ours, version, &of_client);
    cr_assert(shake(&by_address, WHOLE));
    part(&by_address);
    refused(version, &settings, others, &of_client,
            "its certificate is refused: hostname mismatch");
    refused(version, &settings, NULL, &of_client, "its certificate is refused: hostname mismatch");
}

Test(tls_session, a_certificate_must_be_for_a_host_of_the_list_or_for_the_address)
{
    each_version(needs_host);
}

static void needs_version(int version)
{
    struct kv_tls_settings settings = rules();
    settings.versions = version == TLS1_2_VERSION ? KV_TLS_1_3 : KV_TLS_1_2;
    refused(version, &settings, NULL, &of_client, "unsupported protocol");
}

Test(tls_session, a_version_that_is_not_allowed_is_refused)
{
    each_version(needs_version);
}

Test(tls_session, a_peer_without_tls_is_told_apart)
{
    struct pair pair = usual_pair(TLS1_3_VERSION);
    hear(&pair, kv_bytes((const uint8_t *)"\0\25N\0\0\0\7\337", 8), WHOLE);
    cr_assert_eq(pair.shaken, KV_ESECURITY);
    cr_assert_str_eq(kv_tls_why(pair.tls), "it speaks no TLS, and this node speaks nothing else");
    part(&pair);
}

/* The first message of the client, with one byte of it changed. */
static void survives_change(int version)
{
    struct kv_buffer hello = KV_BUFFER_INIT;
    struct tls_client client = tls_client_new(version, &of_client);
    (void)tls_client_shake(&client, kv_bytes(NULL, 0));
    tls_client_output(&client, &hello);
    for (size_t at = 0; at < hello.length; at++) {
        struct pair pair = usual_pair(version);
        hello.data[at] ^= 0x55;
        hear(&pair, kv_buffer_bytes(&hello), WHOLE);
        hello.data[at] ^= 0x55;
        cr_assert(pair.shaken == KV_ESECURITY || pair.shaken == KV_ETRUNCATED);
        part(&pair);
    }
    tls_client_free(&client);
    kv_buffer_free(&hello);
}

Test(tls_session, a_hello_with_any_byte_changed_opens_nothing)
{
    each_version(survives_change);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static void fill(uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        bytes[i] = (uint8_t)(i * 7 + length);
    }
}

static void to_server(struct pair *pair, struct kv_bytes plain, size_t piece, size_t room)
{
    struct kv_buffer ciphertext = KV_BUFFER_INIT;
    struct kv_buffer got = KV_BUFFER_INIT;
    tls_client_write(&pair->client, plain);
    tls_client_output(&pair->client, &ciphertext);
    for (size_t at = 0; at < ciphertext.length; at += piece) {
        const size_t some = ciphertext.length - at < piece ? ciphertext.length - at : piece;
        size_t count = 0;
        cr_assert_eq(kv_tls_feed(pair->tls, kv_bytes(ciphertext.data + at, some)), KV_OK);
        while (kv_tls_read(pair->tls, kv_buffer_reserve(&got, room), room, &count) == KV_OK) {
            got.length += count;
        }
    }
    cr_assert(kv_bytes_equal(kv_buffer_bytes(&got), plain));
    cr_assert(!kv_tls_has_more(pair->tls));
    kv_buffer_free(&ciphertext);
    kv_buffer_free(&got);
}

static void to_client(struct pair *pair, struct kv_bytes plain)
{
    struct kv_buffer got = KV_BUFFER_INIT;
    cr_assert_eq(kv_tls_write(pair->tls, plain), KV_OK);
    struct kv_buffer ciphertext = said(pair);
    cr_assert(tls_client_read(&pair->client, kv_buffer_bytes(&ciphertext), &got));
    cr_assert(kv_bytes_equal(kv_buffer_bytes(&got), plain));
    kv_buffer_free(&ciphertext);
    kv_buffer_free(&got);
}

static void carries(int version)
{
    static const size_t sizes[] = {1, 2, 100, 16384, 16385, 100000, 1000000};
    struct pair pair = open_pair(version);
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t *bytes = malloc(sizes[i]);
        fill(bytes, sizes[i]);
        to_server(&pair, kv_bytes(bytes, sizes[i]), WHOLE, 1 << 16);
        to_server(&pair, kv_bytes(bytes, sizes[i]), 1 + sizes[i] / 7, 100);
        to_client(&pair, kv_bytes(bytes, sizes[i]));
        free(bytes);
    }
    part(&pair);
}

Test(tls_session, bytes_of_any_length_arrive_in_both_directions)
{
    each_version(carries);
}

static void tells_of_end(int version)
{
    struct pair pair = open_pair(version);
    struct kv_buffer ciphertext = KV_BUFFER_INIT;
    uint8_t byte = 0;
    size_t count = 0;
    cr_assert_eq(kv_tls_read(pair.tls, &byte, 1, &count), KV_ETRUNCATED);
    (void)SSL_shutdown(pair.client.ssl);
    tls_client_output(&pair.client, &ciphertext);
    cr_assert_eq(kv_tls_feed(pair.tls, kv_buffer_bytes(&ciphertext)), KV_OK);
    cr_assert_eq(kv_tls_read(pair.tls, &byte, 1, &count), KV_ECLOSED);
    kv_buffer_free(&ciphertext);
    part(&pair);
}

Test(tls_session, the_end_of_the_peer_is_told)
{
    each_version(tells_of_end);
}

static void ends(int version)
{
    struct pair pair = open_pair(version);
    struct kv_buffer got = KV_BUFFER_INIT;
    kv_tls_end(pair.tls);
    struct kv_buffer ciphertext = said(&pair);
    cr_assert(!tls_client_read(&pair.client, kv_buffer_bytes(&ciphertext), &got));
    cr_assert_eq(SSL_get_shutdown(pair.client.ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
    kv_buffer_free(&ciphertext);
    kv_buffer_free(&got);
    part(&pair);
}

Test(tls_session, the_peer_is_told_of_our_end)
{
    each_version(ends);
}

static void notices_change(int version)
{
    for (size_t at = 5; at < 60; at += 6) {
        struct pair pair = open_pair(version);
        struct kv_buffer ciphertext = KV_BUFFER_INIT;
        uint8_t bytes[64];
        size_t count = 0;
        tls_client_write(&pair.client, kv_bytes_text("forty bytes that nobody else may change."));
        tls_client_output(&pair.client, &ciphertext);
        ciphertext.data[at] ^= 1;
        cr_assert_eq(kv_tls_feed(pair.tls, kv_buffer_bytes(&ciphertext)), KV_OK);
        cr_assert_eq(kv_tls_read(pair.tls, bytes, sizeof bytes, &count), KV_ESECURITY);
        cr_assert(kv_tls_output(pair.tls).length > 0, "an alert");
        kv_buffer_free(&ciphertext);
        part(&pair);
    }
}

Test(tls_session, a_change_on_the_way_is_noticed)
{
    each_version(notices_change);
}

Test(tls_session, a_client_may_change_its_keys)
{
    struct pair pair = open_pair(TLS1_3_VERSION);
    cr_assert_eq(SSL_key_update(pair.client.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    to_server(&pair, kv_bytes_text("by the new keys"), WHOLE, 100);
    to_client(&pair, kv_bytes_text("by the new keys, too"));
    part(&pair);
}

Test(tls_session, a_client_may_not_negotiate_again)
{
    struct pair pair = open_pair(TLS1_2_VERSION);
    struct kv_buffer ciphertext = KV_BUFFER_INIT;
    uint8_t byte = 0;
    size_t count = 0;
    cr_assert_eq(SSL_renegotiate(pair.client.ssl), 1);
    (void)SSL_do_handshake(pair.client.ssl);
    tls_client_output(&pair.client, &ciphertext);
    cr_assert_eq(kv_tls_feed(pair.tls, kv_buffer_bytes(&ciphertext)), KV_OK);
    cr_assert_eq(kv_tls_read(pair.tls, &byte, 1, &count), KV_ETRUNCATED);
    struct kv_buffer answer = said(&pair);
    struct kv_buffer got = KV_BUFFER_INIT;
    cr_assert(!tls_client_read(&pair.client, kv_buffer_bytes(&answer), &got), "no_renegotiation");
    kv_buffer_free(&answer);
    kv_buffer_free(&got);
    kv_buffer_free(&ciphertext);
    part(&pair);
}

Test(tls_session, output_may_be_sent_in_part)
{
    struct pair pair = open_pair(TLS1_3_VERSION);
    struct kv_buffer got = KV_BUFFER_INIT;
    cr_assert_eq(kv_tls_write(pair.tls, kv_bytes_text("some")), KV_OK);
    for (unsigned i = 0; kv_tls_output(pair.tls).length > 0; i++) {
        const struct kv_bytes output = kv_tls_output(pair.tls);
        cr_assert(tls_client_read(&pair.client, kv_bytes(output.data, 1), &got));
        kv_tls_sent(pair.tls, 1);
        if (i == 3) {
            cr_assert_eq(kv_tls_write(pair.tls, kv_bytes_text(" more")), KV_OK);
        }
    }
    cr_assert(kv_bytes_is(kv_buffer_bytes(&got), "some more"));
    kv_buffer_free(&got);
    part(&pair);
}
