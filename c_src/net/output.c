#include "net/output.h"

#include "net/connections.h"

/* Returns true if more waits than one `part`-th of the limit at which a peer's own requests begin
 * to wait. That limit is so far below --max-queue that a peer that reads never gets there. */
static bool is_over(const struct kv_connection *connection, size_t part)
{
    size_t half = (size_t)connection->owner->net->limits.max_queue / 2;
    size_t high = half < KV_OUTPUT_HIGH ? half : KV_OUTPUT_HIGH;
    size_t backlog = kv_connection_backlog(connection);
    bool few = kv_outgoing_large_count(&connection->outgoing) <= KV_OUTPUT_LARGE;
    size_t small =
        kv_connection_ready(connection) + kv_outgoing_small_length(&connection->outgoing);
    return backlog > half / part || (few ? small : backlog) > high / part;
}

/* ---- queueing -------------------------------------------------------------------------------- */

void kv_output_added(struct kv_connection *connection)
{
    connection->sent = true;
    if (kv_list_is_empty(&connection->dirty)) {
        kv_list_append(&connection->owner->dirty, &connection->dirty);
    }
    size_t backlog = kv_connection_backlog(connection);
    if (backlog <= KV_OUTPUT_LITTLE) {
        return;
    }
    if (backlog > connection->owner->net->limits.max_queue) {
        kv_output_exceeds(connection, backlog);
    }
    if (is_over(connection, 1) && (connection->paused & KV_PAUSED_FOR_OUTPUT) == 0) {
        connection->paused |= KV_PAUSED_FOR_OUTPUT;
        connection->stream->kind->stop(connection->stream);
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

/* Gives memory back after a large reply. */
static void trim(struct kv_buffer *buffer)
{
    if (buffer->capacity > KV_OUTPUT_KEEP) {
        kv_buffer_free(buffer);
    } else {
        kv_buffer_clear(buffer);
    }
}

/* The peer's requests go on at the end of the turn (input.c), not here, in the middle of a write.
 */
static void settle(struct kv_connection *connection)
{
    if ((connection->paused & KV_PAUSED_FOR_OUTPUT) != 0 && !is_over(connection, 2)) {
        connection->ticked.silent = 0;
        if (kv_list_is_empty(&connection->eased)) {
            kv_list_append(&connection->owner->eased, &connection->eased);
        }
    }
}

static void count_written(struct kv_connection *connection, size_t bytes)
{
    connection->bytes_out += bytes;
    connection->owner->bytes_out += bytes;
}

static size_t output_length(const struct kv_connection *connection)
{
    return connection->output.length + connection->output_slices.length;
}

static void write_rest(struct kv_connection *connection, size_t done)
{
    struct kv_stream *stream = connection->stream;
    struct kv_buffer empty = connection->writing;
    struct kv_bytes rest[KV_SLICES_RUNS];
    count_written(connection, output_length(connection) - done);
    connection->writing = connection->output;
    connection->writing_slices = connection->output_slices;
    connection->output = empty;
    connection->output_slices = (struct kv_slices){.count = 0};
    unsigned count = kv_slices_runs(&connection->writing_slices,
                                    kv_buffer_bytes(&connection->writing), done, rest);
    int error = stream->kind->write(stream, rest, count);
    if (error != 0) {
        kv_connection_doom(connection, KV_LOG_INFO, uv_strerror(error));
    }
}

void kv_output_written(void *user, int error)
{
    struct kv_connection *connection = user;
    kv_buffer_clear(&connection->writing);
    kv_slices_clear(&connection->writing_slices);
    if (error != 0) {
        if (error != UV_ECANCELED) {
            kv_connection_doom(connection, KV_LOG_INFO, uv_strerror(error));
        }
        return;
    }
    connection->wrote = true;
    kv_output_flush(connection);
    settle(connection);
}

static size_t try_write(struct kv_connection *connection)
{
    struct kv_stream *stream = connection->stream;
    struct kv_bytes all[KV_SLICES_RUNS];
    unsigned count =
        kv_slices_runs(&connection->output_slices, kv_buffer_bytes(&connection->output), 0, all);
    ssize_t written = stream->kind->try_write(stream, all, count);
    if (written < 0) {
        kv_connection_doom(connection, KV_LOG_INFO, uv_strerror((int)written));
        return 0;
    }
    count_written(connection, (size_t)written);
    return (size_t)written;
}

/* Fills and writes as long as the stream takes everything. Returns false if nothing is left to be
 * written. */
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

void kv_output_close(struct kv_connection *connection)
{
    if (connection->output.length > 0 && connection->writing.length == 0) {
        (void)try_write(connection);
    }
    kv_connection_close(connection);
}
