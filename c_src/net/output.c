#include "node/node.h"

/* Without what the streams hold. */
static size_t ready(const struct kv_connection *connection)
{
    return connection->output.length + connection->output_slices.length +
           uv_stream_get_write_queue_size((const uv_stream_t *)&connection->tcp);
}

size_t kv_output_backlog(const struct kv_connection *connection)
{
    return ready(connection) + kv_outgoing_length(&connection->outgoing);
}

/* Where a peer's own requests begin to wait, one `part`-th of it: far enough below the limit that
 * they never reach it. */
static bool is_over(const struct kv_connection *connection, size_t part)
{
    size_t half = (size_t)connection->owner->node->options.max_queue / 2;
    size_t high = half < KV_OUTPUT_HIGH ? half : KV_OUTPUT_HIGH;
    size_t backlog = kv_output_backlog(connection);
    bool few = kv_outgoing_large_count(&connection->outgoing) <= KV_OUTPUT_LARGE;
    size_t small = ready(connection) + kv_outgoing_small_length(&connection->outgoing);
    return backlog > half / part || (few ? small : backlog) > high / part;
}

/* ---- queueing -------------------------------------------------------------------------------- */

void kv_output_added(struct kv_connection *connection)
{
    connection->sent = true;
    if (kv_list_is_empty(&connection->dirty)) {
        kv_list_append(&connection->owner->dirty, &connection->dirty);
    }
    size_t backlog = kv_output_backlog(connection);
    if (backlog <= KV_OUTPUT_LITTLE) {
        return; /* less than any limit */
    }
    if (backlog > connection->owner->node->options.max_queue) {
        kv_output_exceeds(connection, backlog);
    }
    if (is_over(connection, 1) && (connection->held & KV_HELD_FOR_OUTPUT) == 0) {
        connection->held |= KV_HELD_FOR_OUTPUT;
        uv_read_stop((uv_stream_t *)&connection->tcp);
    }
}

void kv_output_signal(struct kv_connection *connection, const struct kv_signal *signal)
{
    if (!kv_connection_is_doomed(connection) &&
        kv_outgoing_signal(&connection->outgoing, signal, &connection->output)) {
        kv_output_added(connection);
    }
}

void kv_output_tick(struct kv_connection *connection)
{
    kv_buffer_u32(&connection->output, 0);
    kv_output_added(connection);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void on_written(uv_write_t *write, int status);

/* Gives memory back after a large reply. */
static void trim(struct kv_buffer *buffer)
{
    if (buffer->capacity > KV_OUTPUT_KEEP) {
        kv_buffer_free(buffer);
    } else {
        kv_buffer_clear(buffer);
    }
}

static void settle(struct kv_connection *connection)
{
    if ((connection->held & KV_HELD_FOR_OUTPUT) != 0 && !is_over(connection, 2)) {
        connection->ticked.silent = 0;
        kv_connection_release(connection, KV_HELD_FOR_OUTPUT);
    }
}

static void count_written(struct kv_connection *connection, size_t bytes)
{
    connection->bytes_out += bytes;
    connection->owner->bytes_out += bytes;
}

/* The runs as libuv wants them; answers how many. */
static unsigned buffers_of(const struct kv_buffer *buffer, const struct kv_slices *slices,
                           size_t skip, uv_buf_t to[KV_SLICES_RUNS])
{
    struct kv_bytes runs[KV_SLICES_RUNS];
    unsigned count = kv_slices_runs(slices, kv_buffer_bytes(buffer), skip, runs);
    for (unsigned i = 0; i < count; i++) {
        to[i] = (uv_buf_t){.base = (char *)runs[i].data, .len = runs[i].length};
    }
    return count;
}

static void write_rest(struct kv_connection *connection, size_t done)
{
    struct kv_buffer empty = connection->writing;
    uv_buf_t rest[KV_SLICES_RUNS];
    connection->writing = connection->output;
    connection->writing_slices = connection->output_slices;
    connection->output = empty;
    connection->output_slices = (struct kv_slices){.count = 0};
    unsigned count = buffers_of(&connection->writing, &connection->writing_slices, done, rest);
    connection->write.data = connection;
    count_written(connection,
                  connection->writing.length + connection->writing_slices.length - done);
    int error =
        uv_write(&connection->write, (uv_stream_t *)&connection->tcp, rest, count, on_written);
    if (error != 0) {
        kv_connection_doom(connection, KV_LOG_INFO, uv_strerror(error));
    }
}

static void on_written(uv_write_t *write, int status)
{
    struct kv_connection *connection = write->data;
    kv_buffer_clear(&connection->writing);
    kv_slices_clear(&connection->writing_slices);
    if (status != 0) {
        if (status != UV_ECANCELED) {
            kv_connection_doom(connection, KV_LOG_INFO, uv_strerror(status));
        }
        return;
    }
    connection->wrote = true;
    kv_output_flush(connection);
    settle(connection);
}

static size_t output_length(const struct kv_connection *connection)
{
    return connection->output.length + connection->output_slices.length;
}

static size_t try_write(struct kv_connection *connection)
{
    uv_buf_t all[KV_SLICES_RUNS];
    unsigned count = buffers_of(&connection->output, &connection->output_slices, 0, all);
    int written = uv_try_write((uv_stream_t *)&connection->tcp, all, count);
    if (written < 0 && written != UV_EAGAIN) {
        kv_connection_doom(connection, KV_LOG_INFO, uv_strerror(written));
    }
    count_written(connection, written < 0 ? 0 : (size_t)written);
    return written < 0 ? 0 : (size_t)written;
}

/* Fills and writes as long as the socket takes all of it. False: nothing is left to be written. */
static bool write_turn(struct kv_connection *connection, size_t *done)
{
    for (size_t turn = 0;; turn += *done) {
        *done = 0;
        kv_outgoing_fill(&connection->outgoing, KV_OUTPUT_AHEAD, &connection->output,
                         &connection->output_slices);
        if (output_length(connection) == 0) {
            return false;
        }
        if (turn >= KV_WRITE_TURN) {
            return true;
        }
        *done = try_write(connection);
        connection->wrote = connection->wrote || *done > 0;
        if (*done < output_length(connection)) {
            return true;
        }
        kv_buffer_clear(&connection->output);
        kv_slices_clear(&connection->output_slices);
    }
}

void kv_output_flush(struct kv_connection *connection)
{
    size_t done = 0;
    kv_list_remove(&connection->dirty);
    if (connection->writing.length > 0 || kv_connection_is_doomed(connection)) {
        return;
    }
    if (!write_turn(connection, &done)) {
        trim(&connection->output);
        kv_buffer_free(&connection->writing);
        settle(connection);
    } else if (!kv_connection_is_doomed(connection)) {
        write_rest(connection, done);
    }
}

void kv_output_last(struct kv_connection *connection)
{
    if (connection->output.length > 0 && connection->writing.length == 0) {
        (void)try_write(connection);
    }
}
