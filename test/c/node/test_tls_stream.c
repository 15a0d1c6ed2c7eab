/* TLS between a connection and its socket, over a fake socket and against OpenSSL's own client. */
#include "node/tls_stream.h"
#include "support/fake_stream.h"
#include "support/tls_client.h"

#include "base/alloc.h"

#include <criterion/criterion.h>
#include <string.h>

enum { ROOM = 1 << 16 };

static uv_loop_t loop;
static struct kv_tls_workshop workshop;
static struct authority *authority;
static struct credentials own;
static struct kv_tls_context *context;

static void set_up(void)
{
    char why[KV_TLS_WHY_MAX] = "";
    authority = authority_new("an authority");
    own = authority_sign(authority, "DNS:host", VALID, NULL);
    const struct kv_tls_settings settings = {.certificates = kv_buffer_bytes(&own.certificate),
                                             .key = kv_buffer_bytes(&own.key),
                                             .password = "",
                                             .ciphers = "",
                                             .versions = KV_TLS_1_2 | KV_TLS_1_3,
                                             .depth = 10};
    context = kv_tls_context_new(&settings, why);
    cr_assert_not_null(context, "%s", why);
    cr_assert_eq(uv_loop_init(&loop), 0);
    kv_tls_workshop_init(&workshop, &loop);
}

static void tear_down(void)
{
    uv_close((uv_handle_t *)&workshop.idle, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0);
    kv_tls_workshop_finish(&workshop);
    kv_tls_context_drop(context);
    credentials_free(&own);
    authority_free(authority);
    cr_assert_eq(kv_alloc_outstanding(), 0, "something is left in memory");
}

TestSuite(tls_stream, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- a user of the stream, and its peer ------------------------------------------------------ */

struct talk {
    struct fake socket;
    struct tls_client client;
    struct kv_stream *stream;
    char *room;
    size_t room_length;
    struct kv_buffer got; /* by the user */
    bool stops;           /* the user stops reading with each call */
    int ended;            /* 1: not yet */
    int written;          /* 1: not yet */
    unsigned took;        /* calls */
    bool closed;
    size_t heard;            /* bytes of socket.taken that the client has */
    struct kv_buffer answer; /* the plain bytes that the client has */
};

static struct kv_room lend(void *user)
{
    struct talk *talk = user;
    return (struct kv_room){.start = talk->room, .length = talk->room_length};
}

static void took(void *user, struct kv_room room, size_t count)
{
    struct talk *talk = user;
    talk->took++;
    cr_assert(count > 0 && count <= room.length);
    kv_buffer_append(&talk->got, kv_bytes((const uint8_t *)room.start, count));
    if (talk->stops) {
        talk->stream->kind->stop(talk->stream);
    }
}

static void ended(void *user, int error)
{
    struct talk *talk = user;
    cr_assert_eq(talk->ended, 1, "once");
    talk->ended = error;
}

static void written(void *user, int error)
{
    struct talk *talk = user;
    cr_assert_eq(talk->written, 1, "once");
    talk->written = error;
}

static void closed(void *user)
{
    struct talk *talk = user;
    cr_assert(!talk->closed, "once");
    talk->closed = true;
}

static const struct kv_stream_user calls = {
    .room = lend, .took = took, .ended = ended, .written = written, .closed = closed};

static void begin(struct talk *talk, int version)
{
    *talk = (struct talk){.client = tls_client_new(version, NULL),
                          .room = malloc(ROOM),
                          .room_length = ROOM,
                          .ended = 1,
                          .written = 1};
    fake_init(&talk->socket);
    talk->stream =
        kv_tls_stream_new(&workshop, &talk->socket.stream, kv_tls_new(context, kv_bytes(NULL, 0)));
    talk->stream->calls = &calls;
    talk->stream->user = talk;
    cr_assert_eq(talk->stream->kind->start(talk->stream), 0);
}

static void turn(void)
{
    (void)uv_run(&loop, UV_RUN_NOWAIT);
}

/* The stream has been closed. */
static void release(struct talk *talk)
{
    fake_reap(&talk->socket);
    cr_assert(talk->closed);
    tls_client_free(&talk->client);
    fake_free(&talk->socket);
    kv_buffer_free(&talk->got);
    kv_buffer_free(&talk->answer);
    free(talk->room);
}

static void finish(struct talk *talk)
{
    talk->stream->kind->close(talk->stream);
    turn();
    release(talk);
}

/* The client's ciphertext reaches the socket. Returns how many bytes were read. */
static size_t send_on(struct talk *talk, size_t piece)
{
    struct kv_buffer ciphertext = KV_BUFFER_INIT;
    tls_client_output(&talk->client, &ciphertext);
    const size_t read = fake_send(&talk->socket, kv_buffer_bytes(&ciphertext), piece);
    kv_buffer_free(&ciphertext);
    return read;
}

static struct kv_bytes fresh(struct talk *talk)
{
    const struct kv_bytes all = kv_buffer_bytes(&talk->socket.taken);
    const struct kv_bytes more = kv_bytes(all.data + talk->heard, all.length - talk->heard);
    talk->heard = all.length;
    return more;
}

static bool shake(struct talk *talk, size_t piece)
{
    bool done = false;
    for (unsigned i = 0; i < 6; i++) {
        done = tls_client_shake(&talk->client, fresh(talk));
        (void)send_on(talk, piece);
        turn();
    }
    return done;
}

static void begin_open(struct talk *talk, int version)
{
    begin(talk, version);
    cr_assert(shake(talk, ALL));
}

/* The bytes that left for the client, decrypted. */
static struct kv_bytes answer(struct talk *talk)
{
    (void)tls_client_read(&talk->client, fresh(talk), &talk->answer);
    return kv_buffer_bytes(&talk->answer);
}

static void say(struct talk *talk, struct kv_bytes plain)
{
    tls_client_write(&talk->client, plain);
    (void)send_on(talk, ALL);
}

static uint8_t *pattern(size_t length)
{
    uint8_t *bytes = malloc(length);
    for (size_t i = 0; i < length; i++) {
        bytes[i] = (uint8_t)(i * 31 + i / 251);
    }
    return bytes;
}

/* ---- the handshake --------------------------------------------------------------------------- */

Test(tls_stream, a_handshake_opens_the_stream_in_both_versions)
{
    struct talk talk;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        begin_open(&talk, version);
        say(&talk, kv_bytes_text("hello"));
        cr_assert(kv_bytes_is(kv_buffer_bytes(&talk.got), "hello"));
        finish(&talk);
    }
}

Test(tls_stream, a_handshake_may_come_byte_by_byte)
{
    struct talk talk;
    bool done = false;
    begin(&talk, TLS1_3_VERSION);
    for (unsigned i = 0; i < 6; i++) {
        struct kv_buffer ciphertext = KV_BUFFER_INIT;
        done = tls_client_shake(&talk.client, fresh(&talk));
        tls_client_output(&talk.client, &ciphertext);
        for (size_t at = 0; at < ciphertext.length; at++) {
            while (fake_send(&talk.socket, kv_bytes(ciphertext.data + at, 1), 1) == 0) {
                turn();
            }
        }
        turn();
        kv_buffer_free(&ciphertext);
    }
    cr_assert(done);
    say(&talk, kv_bytes_text("hello"));
    cr_assert(kv_bytes_is(kv_buffer_bytes(&talk.got), "hello"));
    finish(&talk);
}

Test(tls_stream, few_steps_of_handshakes_are_made_in_a_turn)
{
    struct talk talks[6];
    for (unsigned i = 0; i < 6; i++) {
        begin(&talks[i], TLS1_3_VERSION);
        (void)tls_client_shake(&talks[i].client, kv_bytes(NULL, 0));
    }
    turn();
    for (unsigned i = 0; i < 6; i++) {
        (void)send_on(&talks[i], ALL);
        cr_assert_eq(talks[i].socket.taken.length > 0, i < KV_TLS_STEPS, "%u", i);
        cr_assert_eq(talks[i].socket.reading, i < KV_TLS_STEPS, "one that waits is not read");
    }
    turn();
    for (unsigned i = 0; i < 6; i++) {
        cr_assert_eq(talks[i].socket.taken.length > 0, i < 2 * KV_TLS_STEPS, "%u", i);
    }
    turn();
    for (unsigned i = 0; i < 6; i++) {
        cr_assert(talks[i].socket.taken.length > 0 && talks[i].socket.reading);
        finish(&talks[i]);
    }
}

Test(tls_stream, a_peer_without_tls_is_told_of_with_a_reason)
{
    struct talk talk;
    begin(&talk, TLS1_3_VERSION);
    (void)fake_send(&talk.socket, kv_bytes_text("GET / HTTP/1.1\r\n\r\n"), ALL);
    turn();
    cr_assert_eq(talk.ended, UV_EPROTO);
    cr_assert_str_eq(talk.stream->why, "it speaks no TLS, and this node speaks nothing else");
    finish(&talk);
}

Test(tls_stream, a_peer_that_leaves_in_its_handshake_is_told_of)
{
    struct talk talk;
    begin(&talk, TLS1_3_VERSION);
    (void)tls_client_shake(&talk.client, kv_bytes(NULL, 0));
    (void)send_on(&talk, ALL);
    fake_end(&talk.socket, UV_EOF);
    turn();
    cr_assert_eq(talk.ended, UV_EOF);
    finish(&talk);
}

/* ---- reading --------------------------------------------------------------------------------- */

Test(tls_stream, small_records_that_are_there_come_together)
{
    struct talk talk;
    begin_open(&talk, TLS1_3_VERSION);
    for (unsigned i = 0; i < 100; i++) {
        tls_client_write(&talk.client, kv_bytes_text("ten bytes."));
    }
    (void)send_on(&talk, ALL);
    cr_assert_eq(talk.got.length, 1000);
    cr_assert_eq(talk.took, 1);
    finish(&talk);
}

Test(tls_stream, a_user_that_stops_gets_no_more_until_it_starts_again)
{
    struct talk talk;
    uint8_t *bytes = pattern(100000);
    begin_open(&talk, TLS1_3_VERSION);
    talk.stops = true;
    talk.room_length = 1000;
    tls_client_write(&talk.client, kv_bytes(bytes, 60000));
    (void)send_on(&talk, ALL);
    for (unsigned i = 1; i <= 60; i++) {
        turn();
        turn();
        cr_assert_eq(talk.got.length, 1000 * i);
        cr_assert_eq(talk.took, i);
        cr_assert(!talk.socket.reading);
        cr_assert_eq(talk.stream->kind->start(talk.stream), 0);
        cr_assert_eq(talk.took, i, "never within start()");
    }
    cr_assert(kv_bytes_equal(kv_buffer_bytes(&talk.got), kv_bytes(bytes, 60000)));
    finish(&talk);
    free(bytes);
}

Test(tls_stream, what_is_there_comes_before_the_end)
{
    struct talk talk;
    begin_open(&talk, TLS1_3_VERSION);
    talk.stops = true;
    talk.room_length = 10;
    say(&talk, kv_bytes_text("twenty bytes, no less"));
    cr_assert_eq(talk.stream->kind->start(talk.stream), 0);
    fake_end(&talk.socket, UV_ECONNRESET);
    turn();
    cr_assert_eq(talk.got.length, 20);
    cr_assert_eq(talk.ended, 1);
    talk.stops = false;
    cr_assert_eq(talk.stream->kind->start(talk.stream), 0);
    turn();
    cr_assert_eq(talk.got.length, 21);
    cr_assert_eq(talk.ended, UV_ECONNRESET);
    finish(&talk);
}

Test(tls_stream, the_end_that_a_peer_announces_is_an_end)
{
    struct talk talk;
    begin_open(&talk, TLS1_2_VERSION);
    (void)SSL_shutdown(talk.client.ssl);
    (void)send_on(&talk, ALL);
    turn();
    cr_assert_eq(talk.ended, UV_EOF);
    finish(&talk);
}

Test(tls_stream, a_record_that_was_changed_ends_the_stream_with_an_alert)
{
    struct talk talk;
    struct kv_buffer ciphertext = KV_BUFFER_INIT;
    begin_open(&talk, TLS1_3_VERSION);
    (void)answer(&talk);
    tls_client_write(&talk.client, kv_bytes_text("hello"));
    tls_client_output(&talk.client, &ciphertext);
    ciphertext.data[ciphertext.length - 1] ^= 1;
    (void)fake_send(&talk.socket, kv_buffer_bytes(&ciphertext), ALL);
    turn();
    cr_assert_eq(talk.ended, UV_EPROTO);
    cr_assert_not_null(talk.stream->why);
    cr_assert(!tls_client_read(&talk.client, fresh(&talk), &talk.answer), "the alert");
    kv_buffer_free(&ciphertext);
    finish(&talk);
}

Test(tls_stream, a_room_without_space_ends_the_stream)
{
    struct talk talk;
    begin_open(&talk, TLS1_3_VERSION);
    talk.room_length = 0;
    say(&talk, kv_bytes_text("hello"));
    turn();
    cr_assert_eq(talk.ended, UV_ENOBUFS);
    finish(&talk);
}

Test(tls_stream, look_reads_what_is_there)
{
    struct talk talk;
    begin_open(&talk, TLS1_3_VERSION);
    tls_client_write(&talk.client, kv_bytes_text("hello"));
    tls_client_output(&talk.client, &talk.socket.waiting);
    talk.stream->kind->look(talk.stream);
    cr_assert(kv_bytes_is(kv_buffer_bytes(&talk.got), "hello"));
    finish(&talk);
}

/* Each change asks for one of ours, which the client does not read. */
Test(tls_stream, a_peer_that_does_not_read_our_answers_is_not_read)
{
    struct talk talk;
    begin_open(&talk, TLS1_3_VERSION);
    talk.socket.room = 0;
    for (unsigned i = 0; i < 20000 && talk.socket.reading; i++) {
        cr_assert_eq(SSL_key_update(talk.client.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        tls_client_write(&talk.client, kv_bytes_text("x"));
        (void)send_on(&talk, ALL);
        turn();
    }
    cr_assert(!talk.socket.reading);
    fake_drain(&talk.socket, ALL);
    talk.socket.room = ALL;
    turn();
    cr_assert(talk.socket.reading);
    finish(&talk);
}

/* ---- writing --------------------------------------------------------------------------------- */

Test(tls_stream, runs_arrive_in_their_order)
{
    struct talk talk;
    uint8_t *bytes = pattern(200000);
    const struct kv_bytes runs[] = {kv_bytes(bytes, 3), kv_bytes(bytes + 3, 150000),
                                    kv_bytes(bytes + 150003, 1), kv_bytes(bytes + 150004, 49996)};
    begin_open(&talk, TLS1_3_VERSION);
    cr_assert_eq(talk.stream->kind->try_write(talk.stream, runs, 4), 200000);
    cr_assert(kv_bytes_equal(answer(&talk), kv_bytes(bytes, 200000)));
    finish(&talk);
    free(bytes);
}

Test(tls_stream, small_runs_share_a_record)
{
    struct talk talk;
    struct kv_bytes runs[KV_SLICES_RUNS];
    begin_open(&talk, TLS1_3_VERSION);
    (void)answer(&talk);
    for (unsigned i = 0; i < KV_SLICES_RUNS; i++) {
        runs[i] = kv_bytes_text("ten bytes.");
    }
    const size_t before = talk.socket.taken.length;
    cr_assert_eq(talk.stream->kind->try_write(talk.stream, runs, KV_SLICES_RUNS),
                 10 * KV_SLICES_RUNS);
    cr_assert(talk.socket.taken.length - before < 10 * KV_SLICES_RUNS + 32, "one record");
    finish(&talk);
}

Test(tls_stream, a_full_system_takes_a_part_and_later_the_rest)
{
    struct talk talk;
    uint8_t *bytes = pattern(500000);
    struct kv_bytes run = kv_bytes(bytes, 500000);
    begin_open(&talk, TLS1_3_VERSION);
    talk.socket.room = 100000;
    const ssize_t taken = talk.stream->kind->try_write(talk.stream, &run, 1);
    cr_assert(taken > 0 && taken <= 100000 + KV_TLS_AHEAD);
    cr_assert_eq(talk.stream->kind->try_write(talk.stream, &run, 1), 0, "no room now");
    run = kv_bytes(bytes + taken, 500000 - (size_t)taken);
    cr_assert_eq(talk.stream->kind->write(talk.stream, &run, 1), 0);
    cr_assert_eq(talk.stream->kind->backlog(talk.stream), run.length);
    for (unsigned i = 0; i < 1000 && talk.written == 1; i++) {
        turn();
        fake_drain(&talk.socket, 10000);
    }
    turn();
    cr_assert_eq(talk.written, 0);
    cr_assert_eq(talk.stream->kind->backlog(talk.stream), 0);
    cr_assert(kv_bytes_equal(answer(&talk), kv_bytes(bytes, 500000)));
    finish(&talk);
    free(bytes);
}

Test(tls_stream, a_write_that_the_system_takes_at_once_is_told_of_later)
{
    struct talk talk;
    const struct kv_bytes run = kv_bytes_text("hello");
    begin_open(&talk, TLS1_2_VERSION);
    cr_assert_eq(talk.stream->kind->write(talk.stream, &run, 1), 0);
    cr_assert_eq(talk.written, 1, "never within write()");
    turn();
    cr_assert_eq(talk.written, 0);
    cr_assert(kv_bytes_is(answer(&talk), "hello"));
    finish(&talk);
}

Test(tls_stream, a_write_that_is_cut_off_is_cancelled)
{
    struct talk talk;
    uint8_t *bytes = pattern(500000);
    const struct kv_bytes run = kv_bytes(bytes, 500000);
    begin_open(&talk, TLS1_3_VERSION);
    talk.socket.room = 0;
    cr_assert_eq(talk.stream->kind->write(talk.stream, &run, 1), 0);
    turn();
    finish(&talk);
    cr_assert_eq(talk.written, UV_ECANCELED);
    free(bytes);
}

Test(tls_stream, an_error_of_the_system_ends_write_and_stream)
{
    struct talk talk;
    const struct kv_bytes run = kv_bytes_text("hello");
    begin_open(&talk, TLS1_3_VERSION);
    talk.socket.error = UV_EPIPE;
    cr_assert_eq(talk.stream->kind->write(talk.stream, &run, 1), 0);
    turn();
    turn();
    cr_assert_eq(talk.written, UV_EPIPE);
    cr_assert_eq(talk.ended, UV_EPIPE);
    finish(&talk);
}

Test(tls_stream, nothing_is_written_before_the_handshake)
{
    struct talk talk;
    const struct kv_bytes run = kv_bytes_text("hello");
    begin(&talk, TLS1_3_VERSION);
    cr_assert_eq(talk.stream->kind->try_write(talk.stream, &run, 1), 0);
    cr_assert_eq(talk.socket.taken.length, 0);
    finish(&talk);
}

Test(tls_stream, a_stream_that_is_closed_says_so_to_its_peer)
{
    struct talk talk;
    begin_open(&talk, TLS1_3_VERSION);
    (void)answer(&talk);
    talk.stream->kind->close(talk.stream);
    cr_assert(!tls_client_read(&talk.client, fresh(&talk), &talk.answer));
    cr_assert_eq(SSL_get_shutdown(talk.client.ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
    release(&talk);
}
