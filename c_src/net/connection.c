#include "net/connection.h"

#include "base/alloc.h"
#include "net/address.h"
#include "net/connections.h"

#include <stdio.h>

enum { MS = 1000 };

static void describe(struct kv_connection *connection)
{
    struct sockaddr_storage address;
    char text[KV_ADDRESS_TEXT];
    (void)kv_address_there(connection->stream->socket, &address);
    kv_address_describe(&address, text);
    (void)snprintf(connection->label, sizeof(connection->label), "%s", text);
}

struct kv_connection *kv_connection_new(struct kv_connections *owner, struct kv_stream *stream,
                                        const struct kv_stream_user *calls, uint32_t challenge)
{
    struct kv_connection *connection = kv_zalloc(sizeof(*connection));
    connection->owner = owner;
    connection->stream = stream;
    stream->calls = calls;
    stream->user = connection;
    connection->local_socket = kv_follow_is_local(stream->socket) ? stream->socket : -1;
    kv_list_init(&connection->link);
    kv_list_init(&connection->dirty);
    kv_list_init(&connection->doomed);
    kv_list_init(&connection->rested);
    kv_list_init(&connection->eased);
    kv_list_init(&connection->checked);
    kv_stranger_init(&connection->stranger);
    kv_handshake_init(&connection->handshake, &owner->net->identity, challenge);
    describe(connection);
    return connection;
}

void kv_connection_agree(struct kv_connection *connection)
{
    const struct kv_net *net = connection->owner->net;
    const struct kv_fragment_limits limits = {
        .term = {.size = (size_t)net->limits.max_frame,
                 .depth = (size_t)net->limits.max_depth,
                 .zeros = net->limits.zeros},
        .message = (size_t)net->limits.max_frame,
        .pending = (size_t)net->limits.max_pending,
    };
    kv_codec_init(&connection->codec, kv_handshake_common_flags(&connection->handshake),
                  &limits.term, kv_runtime_node(net->runtime),
                  kv_runtime_peer_name(connection->peer));
    kv_fragments_init(&connection->fragments, &limits, &net->hash_key);
    kv_outgoing_init(&connection->outgoing, &connection->codec, &net->hash_key);
}

bool kv_connection_is_doomed(const struct kv_connection *connection)
{
    return !kv_list_is_empty(&connection->doomed);
}

/* Anybody can make a handshake fail, again and again: that must not become a flood of log lines. */
static bool may_log_failure(struct kv_connections *connections)
{
    struct kv_failed *failed = &connections->failed;
    const uint64_t now = uv_now(connections->net->loop);
    if (now - failed->since >= KV_FAILED_MS) {
        if (failed->left_out > 0) {
            kv_log(connections->net->log, KV_LOG_WARNING,
                   "%llu more handshakes failed, after %d with a line each in %d seconds",
                   (unsigned long long)failed->left_out, KV_FAILED_LINES, KV_FAILED_MS / MS);
        }
        *failed = (struct kv_failed){.since = now};
    }
    if (failed->lines == KV_FAILED_LINES) {
        failed->left_out++;
        return false;
    }
    failed->lines++;
    return true;
}

static void log_end(const struct kv_connection *connection, enum kv_log_level level,
                    const char *why)
{
    const bool was_up = connection->peer != NULL;
    if (was_up || level < KV_LOG_WARNING || may_log_failure(connection->owner)) {
        kv_log(connection->owner->net->log, level, "%s %s closed: %s",
               was_up ? "connection to" : "handshake with", connection->label, why);
    }
}

void kv_connection_doom(struct kv_connection *connection, enum kv_log_level level, const char *why)
{
    if (kv_connection_is_doomed(connection) || connection->is_closed) {
        return;
    }
    log_end(connection, level, why);
    connection->stream->kind->stop(connection->stream);
    kv_list_append(&connection->owner->doomed, &connection->doomed);
}

static void leave_runtime(struct kv_connection *connection)
{
    struct kv_net *net = connection->owner->net;
    struct kv_peer *peer = connection->peer;
    connection->peer = NULL;
    connection->owner->up_count--;
    if (net->lost != NULL) {
        net->lost(net->context, kv_handshake_peer(&connection->handshake));
    }
    if (!net->stopping) {
        kv_runtime_peer_down(net->runtime, peer);
    }
}

void kv_connection_close(struct kv_connection *connection)
{
    connection->is_closed = true;
    kv_list_remove(&connection->link);
    kv_list_remove(&connection->dirty);
    kv_list_remove(&connection->rested);
    kv_list_remove(&connection->eased);
    kv_list_remove(&connection->checked);
    if (connection->peer != NULL) {
        leave_runtime(connection);
    } else {
        kv_strangers_remove(&connection->stranger);
    }
    kv_list_remove(&connection->doomed);
    connection->stream->kind->close(connection->stream);
}

void kv_connection_free(struct kv_connection *connection)
{
    kv_buffer_free(&connection->input);
    kv_buffer_free(&connection->passing.head);
    kv_long_message_free(connection->long_message);
    kv_fragments_free(&connection->fragments);
    kv_outgoing_free(&connection->outgoing);
    kv_buffer_free(&connection->output);
    kv_buffer_free(&connection->writing);
    kv_slices_clear(&connection->output_slices);
    kv_slices_clear(&connection->writing_slices);
    kv_free(connection);
}

/* Asked for every signal that is sent, so the stream is only asked while it writes. */
static size_t being_written(const struct kv_connection *connection)
{
    const struct kv_stream *stream = connection->stream;
    return connection->writing.length == 0 ? 0 : stream->kind->backlog(stream);
}

size_t kv_connection_ready(const struct kv_connection *connection)
{
    return connection->output.length + connection->output_slices.length + being_written(connection);
}

size_t kv_connection_backlog(const struct kv_connection *connection)
{
    return kv_connection_ready(connection) + kv_outgoing_length(&connection->outgoing);
}

uint64_t kv_connection_taken(const struct kv_connection *connection)
{
    return connection->bytes_out - being_written(connection);
}
