#include "support/fake_stream.h"

#include <criterion/criterion.h>
#include <string.h>

static struct fake *fake_of(struct kv_stream *stream)
{
    return (struct fake *)stream;
}

static int start(struct kv_stream *stream)
{
    fake_of(stream)->reading = true;
    return 0;
}

static void stop(struct kv_stream *stream)
{
    fake_of(stream)->reading = false;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Takes bytes from the front of the runs, and returns how many. */
static size_t take(struct fake *fake, struct kv_bytes *runs, unsigned count, size_t most)
{
    size_t taken = 0;
    for (unsigned i = 0; i < count; i++) {
        size_t length = least(runs[i].length, most - taken);
        kv_buffer_append(&fake->taken, kv_bytes(runs[i].data, length));
        runs[i] = kv_bytes(runs[i].data + length, runs[i].length - length);
        taken += length;
    }
    return taken;
}

static int next_error(struct fake *fake)
{
    int error = fake->error;
    fake->error = 0;
    return error;
}

static ssize_t try_write(struct kv_stream *stream, const struct kv_bytes *runs, unsigned count)
{
    struct fake *fake = fake_of(stream);
    struct kv_bytes copy[FAKE_RUNS];
    cr_assert_eq(fake->run_count, 0, "one write at a time");
    int error = next_error(fake);
    if (error != 0) {
        return error;
    }
    memcpy(copy, runs, count * sizeof(*runs));
    size_t taken = take(fake, copy, count, least(fake->room, fake->most));
    fake->room -= fake->room == ALL ? 0 : taken;
    return (ssize_t)taken;
}

static int write_all(struct kv_stream *stream, const struct kv_bytes *runs, unsigned count)
{
    struct fake *fake = fake_of(stream);
    cr_assert_eq(fake->run_count, 0, "one write at a time");
    int error = next_error(fake);
    if (error == 0) {
        memcpy(fake->runs, runs, count * sizeof(*runs));
        fake->run_count = count;
    }
    return error;
}

static size_t backlog(const struct kv_stream *stream)
{
    const struct fake *fake = (const struct fake *)stream;
    size_t length = 0;
    for (unsigned i = 0; i < fake->run_count; i++) {
        length += fake->runs[i].length;
    }
    return length;
}

static void look(struct kv_stream *stream)
{
    struct fake *fake = fake_of(stream);
    struct kv_buffer waiting = fake->waiting;
    fake->waiting = (struct kv_buffer)KV_BUFFER_INIT;
    fake_send(fake, kv_buffer_bytes(&waiting), ALL);
    kv_buffer_free(&waiting);
}

static void close_stream(struct kv_stream *stream)
{
    cr_assert(!fake_of(stream)->closed, "closed once");
    fake_of(stream)->closed = true;
    fake_of(stream)->reading = false;
}

size_t fake_send(struct fake *fake, struct kv_bytes bytes, size_t piece)
{
    size_t done = 0;
    while (done < bytes.length && fake->reading) {
        struct kv_room room = fake->stream.calls->room(fake->stream.user);
        if (room.length == 0) {
            fake_end(fake, UV_ENOBUFS);
            break;
        }
        size_t length = least(least(piece, room.length), bytes.length - done);
        memcpy(room.start, bytes.data + done, length);
        done += length;
        fake->stream.calls->took(fake->stream.user, room, length);
    }
    return done;
}

void fake_drain(struct fake *fake, size_t most)
{
    if (fake->run_count > 0) {
        (void)take(fake, fake->runs, fake->run_count, most);
        if (backlog(&fake->stream) == 0) {
            fake->run_count = 0;
            fake->stream.calls->written(fake->stream.user, 0);
        }
    }
}

void fake_end(struct fake *fake, int error)
{
    fake->reading = false;
    fake->stream.calls->ended(fake->stream.user, error);
}

void fake_reap(struct fake *fake)
{
    if (!fake->closed || fake->gone) {
        return;
    }
    fake->gone = true;
    if (fake->run_count > 0) {
        fake->run_count = 0;
        fake->stream.calls->written(fake->stream.user, UV_ECANCELED);
    }
    fake->stream.calls->closed(fake->stream.user);
}

void fake_init(struct fake *fake)
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
    *fake = (struct fake){.stream = {.kind = &kind, .socket = -1}, .room = ALL, .most = ALL};
}

void fake_free(struct fake *fake)
{
    kv_buffer_free(&fake->taken);
    kv_buffer_free(&fake->waiting);
}
