#include "net/stream.h"

#include "base/alloc.h"
#include "wire/frame.h"
#include "wire/slices.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

enum {
    KEEPALIVE_SECONDS = 60,
    /* Bytes that the system takes and does not send yet, where it lets us say so: a small message
     * cannot overtake them. */
    UNSENT_MAX = 4 * KV_FRAGMENT_SIZE,
};

struct plain {
    struct kv_stream stream; /* first: a plain stream is a struct kv_stream */
    uv_tcp_t tcp;
    uv_write_t write;
};

static struct plain *plain_of(struct kv_stream *stream)
{
    return (struct plain *)stream;
}

static uv_stream_t *uv_of(struct kv_stream *stream)
{
    return (uv_stream_t *)&plain_of(stream)->tcp;
}

/* ---- reading --------------------------------------------------------------------------------- */

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct kv_stream *stream = handle->data;
    struct kv_room room = stream->calls->room(stream->user);
    (void)suggested;
    *buffer = uv_buf_init(room.start, (unsigned)room.length); /* length 0: UV_ENOBUFS comes */
}

static void on_read(uv_stream_t *handle, ssize_t count, const uv_buf_t *buffer)
{
    struct kv_stream *stream = handle->data;
    if (count > 0) {
        struct kv_room room = {.start = buffer->base, .length = buffer->len};
        stream->calls->took(stream->user, room, (size_t)count);
    } else if (count < 0) {
        stream->calls->ended(stream->user, (int)count);
    } /* 0: nothing was there after all */
}

static int start(struct kv_stream *stream)
{
    return uv_read_start(uv_of(stream), on_allocate, on_read);
}

static void stop(struct kv_stream *stream)
{
    uv_read_stop(uv_of(stream));
}

static void look(struct kv_stream *stream)
{
    struct kv_room room = stream->calls->room(stream->user);
    if (room.length > 0 && stream->socket >= 0) {
        ssize_t count = recv(stream->socket, room.start, room.length, MSG_DONTWAIT);
        if (count > 0) {
            stream->calls->took(stream->user, room, (size_t)count);
        }
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

static void buffers_of(const struct kv_bytes *runs, unsigned count, uv_buf_t to[KV_SLICES_RUNS])
{
    for (unsigned i = 0; i < count; i++) {
        to[i] = (uv_buf_t){.base = (char *)runs[i].data, .len = runs[i].length};
    }
}

static ssize_t try_write(struct kv_stream *stream, const struct kv_bytes *runs, unsigned count)
{
    uv_buf_t buffers[KV_SLICES_RUNS];
    buffers_of(runs, count, buffers);
    int written = uv_try_write(uv_of(stream), buffers, count);
    return written == UV_EAGAIN ? 0 : written;
}

static void on_written(uv_write_t *write, int status)
{
    struct kv_stream *stream = write->data;
    stream->calls->written(stream->user, status);
}

static int write_all(struct kv_stream *stream, const struct kv_bytes *runs, unsigned count)
{
    struct plain *plain = plain_of(stream);
    uv_buf_t buffers[KV_SLICES_RUNS];
    buffers_of(runs, count, buffers);
    plain->write.data = stream;
    return uv_write(&plain->write, uv_of(stream), buffers, count, on_written);
}

static size_t backlog(const struct kv_stream *stream)
{
    const struct plain *plain = (const struct plain *)stream;
    return uv_stream_get_write_queue_size((const uv_stream_t *)&plain->tcp);
}

/* ---- coming and going ------------------------------------------------------------------------ */

static void on_closed(uv_handle_t *handle)
{
    struct kv_stream *stream = handle->data;
    const struct kv_stream_user *calls = stream->calls;
    void *user = stream->user;
    kv_free(stream);
    if (calls != NULL) {
        calls->closed(user);
    }
}

static void close_stream(struct kv_stream *stream)
{
    uv_close((uv_handle_t *)uv_of(stream), on_closed);
}

static void tune(struct plain *plain)
{
    uv_os_fd_t socket = -1;
    (void)uv_tcp_nodelay(&plain->tcp, 1);
    (void)uv_tcp_keepalive(&plain->tcp, 1, KEEPALIVE_SECONDS);
    if (uv_fileno((uv_handle_t *)&plain->tcp, &socket) == 0) {
        plain->stream.socket = socket;
#ifdef TCP_NOTSENT_LOWAT
        int most = UNSENT_MAX;
        (void)setsockopt(socket, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &most, sizeof(most));
#endif
    }
}

struct kv_stream *kv_stream_accept(uv_stream_t *server, int *error)
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
    struct plain *plain = kv_zalloc(sizeof(*plain));
    plain->stream.kind = &kind;
    plain->stream.socket = -1;
    *error = uv_tcp_init(server->loop, &plain->tcp);
    if (*error != 0) {
        kv_free(plain);
        return NULL;
    }
    plain->tcp.data = plain;
    *error = uv_accept(server, (uv_stream_t *)&plain->tcp);
    if (*error != 0) {
        close_stream(&plain->stream);
        return NULL;
    }
    tune(plain);
    return &plain->stream;
}
