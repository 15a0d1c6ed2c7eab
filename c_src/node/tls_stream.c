#include "node/tls_stream.h"

#include "base/alloc.h"
#include "wire/slices.h"

#include <string.h>

/* The place in a list of runs from which on nothing is encrypted. */
struct place {
    unsigned run;
    size_t at; /* in that run */
};

struct secure {
    struct kv_stream stream; /* first: a secure stream is a struct kv_stream */
    struct kv_tls_workshop *workshop;
    struct kv_stream *plain;
    struct kv_tls *tls;
    struct kv_list due; /* in workshop->due, or alone */
    bool is_open;       /* the handshake of TLS is done */
    bool is_reading;    /* as the user wants it */
    bool is_pulling;    /* the plain stream reads */
    bool is_failed;     /* the user has been told, or will be */
    bool is_closed;
    int failure; /* that the user is to be told */
    int end;     /* of the plain stream: nothing comes behind what is there */

    struct kv_buffer sending; /* ciphertext that the plain stream is writing; empty if it is not */

    /* The write of the user, while it is under way. */
    bool is_writing;
    struct kv_bytes runs[KV_SLICES_RUNS];
    unsigned run_count;
    struct place place;
    size_t unsent; /* bytes of the runs that are not encrypted */
};

static struct secure *secure_of(struct kv_stream *stream)
{
    return (struct secure *)stream;
}

/* ---- the workshop ---------------------------------------------------------------------------- */

static void do_due(struct secure *secure);

static void on_idle(uv_idle_t *idle)
{
    struct kv_tls_workshop *workshop = idle->data;
    struct kv_list last; /* those behind it are due in the next turn */
    workshop->steps = KV_TLS_STEPS;
    kv_list_append(&workshop->due, &last);
    while (workshop->due.next != &last) {
        struct secure *secure = KV_LIST_OF(workshop->due.next, struct secure, due);
        kv_list_remove(&secure->due);
        do_due(secure);
    }
    kv_list_remove(&last);
    if (kv_list_is_empty(&workshop->due)) {
        uv_idle_stop(idle);
    }
}

static void make_due(struct secure *secure)
{
    struct kv_tls_workshop *workshop = secure->workshop;
    if (kv_list_is_empty(&secure->due) && !secure->is_closed) {
        kv_list_append(&workshop->due, &secure->due);
        uv_idle_start(&workshop->idle, on_idle);
    }
}

void kv_tls_workshop_init(struct kv_tls_workshop *workshop, uv_loop_t *loop)
{
    *workshop = (struct kv_tls_workshop){
        .steps = KV_TLS_STEPS, .space = kv_alloc(KV_TLS_READ), .record = kv_alloc(KV_TLS_RECORD)};
    kv_list_init(&workshop->due);
    uv_idle_init(loop, &workshop->idle);
    workshop->idle.data = workshop;
}

void kv_tls_workshop_finish(struct kv_tls_workshop *workshop)
{
    kv_free(workshop->space);
    kv_free(workshop->record);
}

/* ---- ciphertext to the socket ---------------------------------------------------------------- */

static void fail(struct secure *secure, int error)
{
    if (!secure->is_failed) {
        secure->is_failed = true;
        secure->failure = error;
        make_due(secure);
    }
}

static void fail_for_tls(struct secure *secure)
{
    secure->stream.why = kv_tls_why(secure->tls);
    fail(secure, UV_EPROTO);
}

/* Gives the system the output of the session, and the plain stream what is left. Returns false if
 * something is left. */
static bool send_output(struct secure *secure)
{
    struct kv_stream *plain = secure->plain;
    struct kv_bytes output = kv_tls_output(secure->tls);
    if (secure->sending.length > 0 || secure->is_closed) {
        return false;
    }
    if (output.length == 0) {
        return true;
    }
    const ssize_t taken = plain->kind->try_write(plain, &output, 1);
    if (taken < 0) {
        fail(secure, (int)taken);
        return false;
    }
    if ((size_t)taken < output.length) {
        kv_buffer_append(&secure->sending,
                         kv_bytes(output.data + taken, output.length - (size_t)taken));
        const struct kv_bytes rest = kv_buffer_bytes(&secure->sending);
        const int error = plain->kind->write(plain, &rest, 1);
        if (error != 0) {
            kv_buffer_clear(&secure->sending);
            fail(secure, error);
        }
    }
    kv_tls_sent(secure->tls, output.length);
    return secure->sending.length == 0;
}

/* ---- plain bytes to ciphertext --------------------------------------------------------------- */

/* Collects the next record. Many small runs become one record, and a large one is not copied. */
static struct kv_bytes next_record(struct secure *secure, const struct kv_bytes *runs,
                                   unsigned count, struct place *place)
{
    uint8_t *record = secure->workshop->record;
    size_t length = 0;
    while (place->run < count && length < KV_TLS_RECORD) {
        const struct kv_bytes run = runs[place->run];
        const struct kv_bytes rest = kv_bytes(run.data + place->at, run.length - place->at);
        const size_t room = KV_TLS_RECORD - length;
        const size_t some = rest.length < room ? rest.length : room;
        place->at += some;
        if (place->at == run.length) {
            *place = (struct place){.run = place->run + 1};
        }
        if (some == KV_TLS_RECORD) {
            return kv_bytes(rest.data, some);
        }
        memcpy(record + length, rest.data, some);
        length += some;
    }
    return kv_bytes(record, length);
}

/* Encrypts a piece. Returns how many bytes, or an error. */
static ssize_t encrypt(struct secure *secure, const struct kv_bytes *runs, unsigned count,
                       struct place *place)
{
    size_t done = 0;
    while (done < KV_TLS_AHEAD && place->run < count) {
        const struct kv_bytes record = next_record(secure, runs, count, place);
        if (record.length > 0 && kv_tls_write(secure->tls, record) != KV_OK) {
            secure->stream.why = kv_tls_why(secure->tls);
            return UV_EPROTO;
        }
        done += record.length;
    }
    return (ssize_t)done;
}

static ssize_t try_write(struct kv_stream *stream, const struct kv_bytes *runs, unsigned count)
{
    struct secure *secure = secure_of(stream);
    struct place place = {0};
    ssize_t taken = 0;
    if (!secure->is_open || secure->is_failed || !send_output(secure)) {
        return secure->is_failed ? UV_EPROTO : 0;
    }
    while (place.run < count) {
        const ssize_t some = encrypt(secure, runs, count, &place);
        if (some < 0) {
            return some;
        }
        taken += some;
        if (!send_output(secure)) {
            break;
        }
    }
    return taken;
}

/* ---- the write of the user ------------------------------------------------------------------- */

/* Goes on as far as the system takes it. Returns true if it is done. */
static bool go_on_writing(struct secure *secure)
{
    while (send_output(secure)) {
        if (secure->place.run == secure->run_count) {
            return true;
        }
        const ssize_t some = encrypt(secure, secure->runs, secure->run_count, &secure->place);
        if (some < 0) {
            fail(secure, (int)some);
            return false;
        }
        secure->unsent -= (size_t)some;
    }
    return false;
}

static void end_write(struct secure *secure, int error)
{
    if (secure->is_writing) {
        secure->is_writing = false;
        secure->unsent = 0;
        secure->stream.calls->written(secure->stream.user, error);
    }
}

static int write_all(struct kv_stream *stream, const struct kv_bytes *runs, unsigned count)
{
    struct secure *secure = secure_of(stream);
    if (secure->is_failed) {
        return UV_EPROTO;
    }
    secure->is_writing = true;
    secure->run_count = count;
    secure->place = (struct place){0};
    secure->unsent = 0;
    for (unsigned i = 0; i < count; i++) {
        secure->runs[i] = runs[i];
        secure->unsent += runs[i].length;
    }
    make_due(secure);
    return 0;
}

static size_t backlog(const struct kv_stream *stream)
{
    return ((const struct secure *)stream)->unsent;
}

/* ---- ciphertext from the socket -------------------------------------------------------------- */

static void note_end(struct secure *secure, int error)
{
    if (error == KV_ECLOSED) {
        fail(secure, UV_EOF);
    } else if (error == KV_ETRUNCATED && secure->end != 0) {
        fail(secure, secure->end);
    } else if (error == KV_ESECURITY) {
        fail_for_tls(secure);
    }
}

/* Returns true if the handshake of TLS is done. */
static bool shake(struct secure *secure)
{
    if (secure->is_open) {
        return true;
    }
    if (secure->workshop->steps == 0) {
        make_due(secure);
        return false;
    }
    secure->workshop->steps--;
    const int error = kv_tls_shake(secure->tls);
    (void)send_output(secure);
    note_end(secure, error);
    secure->is_open = error == KV_OK;
    return secure->is_open;
}

/* A peer that reads no answers to its changes of keys is not read either. */
static bool is_drowning(struct secure *secure)
{
    return kv_tls_output(secure->tls).length > KV_TLS_ANSWERS;
}

static bool may_deliver(struct secure *secure)
{
    return secure->is_reading && !secure->is_closed && !secure->is_failed && !is_drowning(secure);
}

/* Decrypts as many records as the room has space for: the user handles small messages together. */
static int decrypt(struct secure *secure, struct kv_room room, size_t *count)
{
    int error = KV_OK;
    *count = 0;
    while (*count < room.length && error == KV_OK) {
        size_t some = 0;
        error = kv_tls_read(secure->tls, room.start + *count, room.length - *count, &some);
        *count += some;
    }
    return error;
}

/* Gives the user what is decrypted, for as long as it reads. */
static void deliver(struct secure *secure)
{
    const struct kv_stream_user *calls = secure->stream.calls;
    int error = KV_OK;
    for (size_t given = 0; error == KV_OK && may_deliver(secure);) {
        size_t count = 0;
        if (given >= KV_TLS_TURN) {
            make_due(secure);
            break;
        }
        struct kv_room room = calls->room(secure->stream.user);
        if (room.length == 0) {
            fail(secure, UV_ENOBUFS);
            break;
        }
        error = decrypt(secure, room, &count);
        given += count;
        if (count > 0) {
            calls->took(secure->stream.user, room, count);
        }
    }
    note_end(secure, error);
    (void)send_output(secure);
}

/* Reads the socket if what comes can be handled: a peer that waits for its turn, or does not read
 * its answers, cannot fill the memory. */
static void pull(struct secure *secure)
{
    const bool may = secure->is_reading && !secure->is_failed && !secure->is_closed &&
                     secure->end == 0 && !is_drowning(secure) &&
                     (secure->is_open || kv_list_is_empty(&secure->due));
    if (may == secure->is_pulling) {
        return;
    }
    secure->is_pulling = may;
    if (!may) {
        secure->plain->kind->stop(secure->plain);
    } else {
        const int error = secure->plain->kind->start(secure->plain);
        if (error != 0) {
            fail(secure, error);
        }
    }
}

static void go_on(struct secure *secure)
{
    if (!secure->is_failed && shake(secure)) {
        deliver(secure);
    }
    pull(secure);
}

static void tell_of_failure(struct secure *secure)
{
    const int error = secure->failure;
    secure->failure = 0;
    pull(secure);
    end_write(secure, error);
    if (!secure->is_closed) {
        secure->stream.calls->ended(secure->stream.user, error);
    }
}

static void do_due(struct secure *secure)
{
    if (secure->failure == 0) {
        go_on(secure);
    }
    if (secure->failure == 0 && secure->is_writing && go_on_writing(secure)) {
        end_write(secure, 0);
    }
    if (secure->failure != 0 && !secure->is_closed) {
        tell_of_failure(secure);
    }
}

/* ---- the calls of the plain stream ----------------------------------------------------------- */

static struct kv_room plain_room(void *user)
{
    struct secure *secure = user;
    return (struct kv_room){.start = secure->workshop->space, .length = KV_TLS_READ};
}

static void plain_took(void *user, struct kv_room room, size_t count)
{
    struct secure *secure = user;
    if (secure->is_failed) {
        return;
    }
    if (kv_tls_feed(secure->tls, kv_bytes(room.start, count)) != KV_OK) {
        fail(secure, UV_ENOBUFS);
        return;
    }
    go_on(secure);
}

/* Bytes that are there already come before the end. */
static void plain_ended(void *user, int error)
{
    struct secure *secure = user;
    secure->end = error;
    make_due(secure);
}

static void plain_written(void *user, int error)
{
    struct secure *secure = user;
    kv_buffer_clear(&secure->sending);
    if (error != 0) {
        fail(secure, error);
    }
    if (!secure->is_closed) {
        make_due(secure);
    }
}

static void plain_closed(void *user)
{
    struct secure *secure = user;
    const struct kv_stream_user *calls = secure->stream.calls;
    void *owner = secure->stream.user;
    end_write(secure, UV_ECANCELED);
    kv_tls_free(secure->tls);
    kv_buffer_free(&secure->sending);
    kv_free(secure);
    if (calls != NULL) {
        calls->closed(owner);
    }
}

/* ---- the calls of the user ------------------------------------------------------------------- */

/* Bytes that were read of the socket already come in the next turn. */
static int start(struct kv_stream *stream)
{
    struct secure *secure = secure_of(stream);
    secure->is_reading = true;
    if (kv_tls_has_more(secure->tls) || secure->end != 0) {
        make_due(secure);
    }
    pull(secure);
    return 0;
}

static void stop(struct kv_stream *stream)
{
    struct secure *secure = secure_of(stream);
    secure->is_reading = false;
    pull(secure);
}

static void look(struct kv_stream *stream)
{
    struct secure *secure = secure_of(stream);
    secure->plain->kind->look(secure->plain);
}

static void close_stream(struct kv_stream *stream)
{
    struct secure *secure = secure_of(stream);
    kv_tls_end(secure->tls);
    (void)send_output(secure);
    secure->is_closed = true;
    kv_list_remove(&secure->due);
    pull(secure);
    secure->plain->kind->close(secure->plain);
}

struct kv_stream *kv_tls_stream_new(struct kv_tls_workshop *workshop, struct kv_stream *plain,
                                    struct kv_tls *tls)
{
    static const struct kv_stream_kind kind = {
        .start = start,
        .stop = stop,
        .try_write = try_write,
        .write = write_all,
        .backlog = backlog,
        .look = look,
        .close = close_stream,
    };
    static const struct kv_stream_user calls = {
        .room = plain_room,
        .took = plain_took,
        .ended = plain_ended,
        .written = plain_written,
        .closed = plain_closed,
    };
    struct secure *secure = kv_zalloc(sizeof *secure);
    secure->stream.kind = &kind;
    secure->stream.socket = plain->socket;
    secure->workshop = workshop;
    secure->plain = plain;
    secure->tls = tls;
    kv_list_init(&secure->due);
    plain->calls = &calls;
    plain->user = secure;
    return &secure->stream;
}
