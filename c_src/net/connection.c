#include "node/node.h"

#include "base/alloc.h"
#include "wire/frame.h"

#include <netinet/tcp.h>
#include <openssl/rand.h>
#include <stdio.h>

enum { KEEPALIVE_SECONDS = 60, OPCODE_UNKNOWN = -1 };

/* ---- the frames of a peer -------------------------------------------------------------------- */

static void doom_for_frame(struct kv_connection *connection, int opcode, int error)
{
    char why[128];
    if (opcode == OPCODE_UNKNOWN) {
        (void)snprintf(why, sizeof(why), "it sent a bad frame: %s", kv_error_text(error));
    } else {
        (void)snprintf(why, sizeof(why), "it sent a bad control message %d: %s", opcode,
                       kv_error_text(error));
    }
    kv_connection_doom(connection, KV_LOG_WARNING, why);
}

/* OTP answers no ticks; but a peer with a shorter tick time than ours would give us up. Only when
 * nothing was sent since the last tick, or two nodes that answer would go on for ever. */
static void take_tick(struct kv_connection *connection)
{
    if (!connection->sent) {
        kv_output_tick(connection);
    }
    connection->sent = false;
}

static struct kv_term_limits term_limits(const struct kv_options *options)
{
    return (struct kv_term_limits){.size = (size_t)options->max_frame,
                                   .depth = (size_t)options->max_depth,
                                   .zeros = options->zeros};
}

static int take_message(struct kv_connection *connection, struct kv_bytes frame, int *opcode)
{
    struct kv_incoming incoming;
    const struct kv_signal *signal = &incoming.signal;
    int error = kv_codec_decode(&connection->codec, frame, &incoming, opcode);
    if (error != KV_OK) {
        return error;
    }
    if (signal->kind == KV_SIGNAL_MESSAGE || signal->kind == KV_SIGNAL_MESSAGE_NAME) {
        kv_pace_saw(&connection->owner->pace, signal->from.id ^ signal->from.creation,
                    connection->local_socket);
        connection->turn_messages++;
    }
    return kv_runtime_receive(connection->owner->node->runtime, connection->peer, &incoming);
}

/* The first `length` bytes of it are there, or fewer of a message that is refused for `why`. */
static int take_whole(struct kv_connection *connection, struct kv_bytes message, uint64_t length,
                      int why, int *opcode)
{
    if (why == KV_OK) {
        why = take_message(connection, message, opcode);
    }
    if (why == KV_OK || !kv_is_refusal(why)) {
        return why;
    }
    return kv_connection_refuse(connection, message, length, why, opcode);
}

static int take_fragment(struct kv_connection *connection, struct kv_bytes frame, size_t length,
                         int *opcode)
{
    struct kv_arrived whole;
    int error = kv_fragments_take(&connection->fragments, frame, length, &whole);
    if (error == KV_OK && whole.bytes.length > 0) {
        error = take_whole(connection, whole.bytes, whole.length, whole.error, opcode);
        kv_fragments_release(&connection->fragments);
    }
    return error;
}

static bool is_fragment(const struct kv_connection *connection, struct kv_bytes frame)
{
    return (connection->codec.flags & KV_DFLAG_FRAGMENTS) != 0 && kv_is_fragment(frame);
}

static void take_frame(struct kv_connection *connection, struct kv_bytes frame)
{
    if (frame.length == 0) {
        take_tick(connection);
        return;
    }
    int opcode = OPCODE_UNKNOWN;
    int error = is_fragment(connection, frame)
                    ? take_fragment(connection, frame, frame.length, &opcode)
                    : take_whole(connection, frame, frame.length, KV_OK, &opcode);
    if (error != KV_OK) {
        doom_for_frame(connection, opcode, error);
    }
}

/* Passes over what is there of a frame that is over the limit, and answers how many bytes that is.
 */
static size_t pass_frame(struct kv_connection *connection, struct kv_bytes input)
{
    struct kv_long_frame *passing = &connection->passing;
    size_t taken = kv_long_frame_take(passing, input);
    if (passing->left > 0) {
        return taken;
    }
    int opcode = OPCODE_UNKNOWN;
    struct kv_bytes head = kv_buffer_bytes(&passing->head);
    int error = is_fragment(connection, head)
                    ? take_fragment(connection, head, passing->length, &opcode)
                    : take_whole(connection, head, passing->length, KV_ESIZE, &opcode);
    kv_buffer_free(&passing->head);
    if (error != KV_OK) {
        doom_for_frame(connection, opcode, error);
    }
    return taken;
}

/* Handles the whole frames at the front of `input`, in order, and answers how many bytes they are,
 * with what is there of one that is over the limit. Stops early when the peer must first read what
 * was sent to it. */
static size_t take_frames(struct kv_connection *connection, struct kv_bytes input)
{
    size_t limit = (size_t)connection->owner->node->options.max_frame;
    size_t done = 0;
    while (!kv_connection_is_doomed(connection) && (connection->held & KV_HELD_FOR_OUTPUT) == 0) {
        struct kv_bytes rest = kv_bytes(input.data + done, input.length - done);
        struct kv_bytes frame;
        size_t taken = 0;
        if (connection->passing.left > 0) {
            done += pass_frame(connection, rest);
            if (connection->passing.left > 0) {
                break;
            }
            continue;
        }
        int error = kv_frame_next(rest, limit, &frame, &taken);
        if (error == KV_ETRUNCATED) {
            break;
        }
        if (error == KV_OK) {
            take_frame(connection, frame);
            done += taken;
        } else { /* it is too large */
            done += kv_long_frame_begin(&connection->passing, rest);
        }
    }
    return done;
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool is_up(const struct kv_connection *connection)
{
    return connection->peer != NULL;
}

/* Memory that a large frame needed is given back once the frame is handled. */
static void shrink_input(struct kv_connection *connection)
{
    struct kv_buffer *input = &connection->input;
    if (input->length == 0) {
        kv_buffer_free(input);
    } else if (input->capacity / 4 > input->length + KV_READ_CHUNK) {
        struct kv_buffer smaller = KV_BUFFER_INIT;
        kv_buffer_append(&smaller, kv_buffer_bytes(input));
        kv_buffer_free(input);
        *input = smaller;
    }
}

static void take_input(struct kv_connection *connection)
{
    if (!is_up(connection)) {
        kv_greeting_continue(connection);
    }
    if (is_up(connection) && connection->input.length > 0) {
        kv_buffer_consume(&connection->input,
                          take_frames(connection, kv_buffer_bytes(&connection->input)));
        shrink_input(connection);
    }
}

/* What was read into the common space: whole frames are handled there, and only the rest of the
 * last one is kept. An idle peer needs no memory for input. */
static void take_from_space(struct kv_connection *connection, struct kv_bytes bytes)
{
    size_t done = take_frames(connection, bytes);
    if (!kv_connection_is_doomed(connection)) {
        kv_buffer_append(&connection->input, kv_bytes(bytes.data + done, bytes.length - done));
    }
}

/* A stranger gets room for one handshake message; whatever it sends more waits in the kernel. */
static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct kv_connection *connection = handle->data;
    struct kv_buffer *input = &connection->input;
    (void)suggested;
    if (is_up(connection) && input->length == 0) {
        *buffer = uv_buf_init(connection->owner->space, KV_READ_CHUNK);
        return;
    }
    size_t room = KV_READ_CHUNK;
    if (!is_up(connection)) {
        size_t most = KV_HANDSHAKE_MAX_MESSAGE + sizeof(uint16_t);
        room = input->length < most ? most - input->length : 0;
    }
    if (room == 0 || kv_buffer_try_reserve(input, room) != KV_OK) {
        *buffer = uv_buf_init(NULL, 0); /* on_read gets UV_ENOBUFS */
        return;
    }
    *buffer = uv_buf_init((char *)input->data + input->length, (unsigned)room);
}

/* So that a peer that sends without a pause does not keep the others waiting. */
static void rest_after(struct kv_connection *connection, size_t count)
{
    connection->turn_bytes += count;
    if (connection->turn_bytes >= KV_READ_TURN && !kv_connection_is_doomed(connection)) {
        connection->held |= KV_HELD_FOR_TURN;
        uv_read_stop((uv_stream_t *)&connection->tcp);
    }
    if (kv_list_is_empty(&connection->rested)) {
        kv_list_append(&connection->owner->rested, &connection->rested);
    }
}

/* In a long turn the peer gets what there is for it while the next of its messages are handled, and
 * has something to do meanwhile. A turn of few messages has one write. */
static void write_early(struct kv_connection *connection, bool more)
{
    if (more && connection->turn_messages >= KV_EARLY_MESSAGES && connection->output.length > 0 &&
        (connection->held & KV_HELD_FOR_OUTPUT) == 0 && !kv_connection_is_doomed(connection)) {
        kv_output_flush(connection);
    }
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct kv_connection *connection = stream->data;
    if (count < 0) {
        bool ended = count == UV_EOF || count == UV_ECONNRESET;
        const char *why = count == UV_ENOBUFS ? "no memory for what it sends"
                          : ended             ? "it closed the connection"
                                              : uv_strerror((int)count);
        kv_connection_doom(connection, ended ? KV_LOG_INFO : KV_LOG_WARNING, why);
        return;
    }
    if (count == 0) {
        return; /* nothing there after all */
    }
    connection->bytes_in += (uint64_t)count;
    connection->owner->bytes_in += (uint64_t)count;
    kv_node_tick_arena(connection->owner->node);
    if (buffer->base == connection->owner->space) {
        take_from_space(connection, kv_bytes(buffer->base, (size_t)count));
    } else {
        connection->input.length += (size_t)count;
        take_input(connection);
    }
    rest_after(connection, (size_t)count);
    write_early(connection, (size_t)count == buffer->len);
}

void kv_connection_look(struct kv_connection *connection)
{
    uv_os_fd_t socket = -1;
    uv_buf_t buffer;
    on_allocate((uv_handle_t *)&connection->tcp, 0, &buffer);
    if (buffer.len > 0 && uv_fileno((uv_handle_t *)&connection->tcp, &socket) == 0) {
        ssize_t count = recv(socket, buffer.base, buffer.len, MSG_DONTWAIT);
        if (count > 0) {
            on_read((uv_stream_t *)&connection->tcp, count, &buffer);
        }
    }
}

void kv_connection_release(struct kv_connection *connection, unsigned held)
{
    connection->held &= ~held;
    if (connection->held == 0 && !kv_connection_is_doomed(connection)) {
        take_input(connection);
    }
    if (connection->held == 0 && !kv_connection_is_doomed(connection)) {
        uv_read_start((uv_stream_t *)&connection->tcp, on_allocate, on_read);
    }
}

/* ---- coming and going ------------------------------------------------------------------------ */

static void describe(struct kv_connection *connection)
{
    struct sockaddr_storage address = {0};
    int length = sizeof(address);
    char host[INET6_ADDRSTRLEN] = "an unknown address";
    unsigned port = 0;
    if (uv_tcp_getpeername(&connection->tcp, (struct sockaddr *)&address, &length) == 0) {
        if (address.ss_family == AF_INET6) {
            (void)uv_ip6_name((struct sockaddr_in6 *)&address, host, sizeof(host));
            port = ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
        } else {
            (void)uv_ip4_name((struct sockaddr_in *)&address, host, sizeof(host));
            port = ntohs(((struct sockaddr_in *)&address)->sin_port);
        }
    }
    (void)snprintf(connection->label, sizeof(connection->label), "%s port %u", host, port);
}

/* What the system has taken and not sent cannot be overtaken any more. */
static void limit_unsent(int socket)
{
#ifdef TCP_NOTSENT_LOWAT
    int most = KV_UNSENT_MAX;
    (void)setsockopt(socket, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &most, sizeof(most));
#else
    (void)socket;
#endif
}

static void tune(struct kv_connection *connection)
{
    uv_os_fd_t socket = -1;
    (void)uv_tcp_nodelay(&connection->tcp, 1);
    (void)uv_tcp_keepalive(&connection->tcp, 1, KEEPALIVE_SECONDS);
    if (uv_fileno((uv_handle_t *)&connection->tcp, &socket) == 0) {
        limit_unsent(socket);
        connection->local_socket = kv_follow_is_local(socket) ? socket : -1;
    }
}

void kv_connection_agree(struct kv_connection *connection)
{
    const struct kv_node *node = connection->owner->node;
    const struct kv_options *options = &node->options;
    const struct kv_hash_key *key = &node->hash_key;
    const struct kv_fragment_limits limits = {
        .term = term_limits(options),
        .message = (size_t)options->max_frame,
        .pending = (size_t)options->max_pending,
    };
    kv_codec_init(&connection->codec, kv_handshake_common_flags(&connection->handshake),
                  &limits.term, kv_runtime_node(node->runtime),
                  kv_runtime_peer_name(connection->peer));
    kv_fragments_init(&connection->fragments, &limits, key);
    kv_outgoing_init(&connection->outgoing, &connection->codec, key);
}

static int begin(struct kv_connection *connection, uv_stream_t *server)
{
    uint32_t challenge = 0;
    int error = uv_accept(server, (uv_stream_t *)&connection->tcp);
    if (error != 0) {
        return error;
    }
    describe(connection);
    if (RAND_bytes((unsigned char *)&challenge, sizeof(challenge)) != 1) {
        return UV_EIO;
    }
    kv_handshake_init(&connection->handshake, &connection->owner->node->identity, challenge);
    tune(connection);
    return uv_read_start((uv_stream_t *)&connection->tcp, on_allocate, on_read);
}

static void on_closed(uv_handle_t *handle)
{
    struct kv_connection *connection = handle->data;
    kv_buffer_free(&connection->input);
    kv_buffer_free(&connection->passing.head);
    kv_fragments_free(&connection->fragments);
    kv_outgoing_free(&connection->outgoing);
    kv_buffer_free(&connection->output);
    kv_buffer_free(&connection->writing);
    kv_slices_clear(&connection->output_slices);
    kv_slices_clear(&connection->writing_slices);
    kv_free(connection);
}

struct kv_connection *kv_connection_accept(struct kv_connections *owner, uv_stream_t *server,
                                           int *error)
{
    struct kv_connection *connection = kv_zalloc(sizeof(*connection));
    connection->owner = owner;
    connection->local_socket = -1;
    kv_list_init(&connection->link);
    kv_list_init(&connection->dirty);
    kv_list_init(&connection->doomed);
    kv_list_init(&connection->rested);
    kv_stranger_init(&connection->stranger);
    *error = uv_tcp_init(server->loop, &connection->tcp);
    if (*error != 0) {
        kv_free(connection);
        return NULL;
    }
    connection->tcp.data = connection;
    *error = begin(connection, server);
    if (*error != 0) {
        uv_close((uv_handle_t *)&connection->tcp, on_closed);
        return NULL;
    }
    return connection;
}

bool kv_connection_is_doomed(const struct kv_connection *connection)
{
    return !kv_list_is_empty(&connection->doomed);
}

void kv_connection_doom(struct kv_connection *connection, enum kv_log_level level, const char *why)
{
    struct kv_log *log = &connection->owner->node->log;
    if (kv_connection_is_doomed(connection) || uv_is_closing((uv_handle_t *)&connection->tcp)) {
        return;
    }
    kv_log(log, level, "%s %s closed: %s", is_up(connection) ? "connection to" : "handshake with",
           connection->label, why);
    uv_read_stop((uv_stream_t *)&connection->tcp);
    kv_list_append(&connection->owner->doomed, &connection->doomed);
}

void kv_connection_close(struct kv_connection *connection)
{
    struct kv_connections *owner = connection->owner;
    kv_output_last(connection);
    kv_list_remove(&connection->link);
    kv_list_remove(&connection->dirty);
    kv_list_remove(&connection->rested);
    if (connection->peer != NULL) {
        struct kv_peer *peer = connection->peer;
        connection->peer = NULL;
        owner->up_count--;
        if (!owner->node->stopping) { /* else the runtime ends as a whole */
            kv_runtime_peer_down(owner->node->runtime, peer);
        }
    } else {
        kv_strangers_remove(&connection->stranger);
    }
    kv_list_remove(&connection->doomed);
    uv_close((uv_handle_t *)&connection->tcp, on_closed);
}
