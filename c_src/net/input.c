#include "net/input.h"

#include "net/connections.h"
#include "net/greeting.h"
#include "net/output.h"
#include "net/refused.h"

enum { OPCODE_UNKNOWN = -1 };

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

/* OTP answers no ticks, but a peer with a shorter tick time than ours would give us up. Answers
 * only if nothing was sent since the last tick: two nodes that answer each tick would never stop.
 */
static void take_tick(struct kv_connection *connection)
{
    if (!connection->sent) {
        kv_output_tick(connection);
    }
    connection->sent = false;
}

static inline void saw(struct kv_connection *connection, const struct kv_signal *signal)
{
    if (signal->kind == KV_SIGNAL_MESSAGE || signal->kind == KV_SIGNAL_MESSAGE_NAME) {
        kv_pace_saw(&connection->owner->net->pace, signal->from.id ^ signal->from.creation,
                    connection->local_socket);
        connection->turn_messages++;
    }
}

static int take_message(struct kv_connection *connection, struct kv_bytes frame, int *opcode)
{
    struct kv_incoming incoming;
    int error = kv_codec_decode(&connection->codec, frame, &incoming, opcode);
    if (error != KV_OK) {
        return error;
    }
    saw(connection, &incoming.signal);
    return kv_runtime_receive(connection->owner->net->runtime, connection->peer, &incoming);
}

/* Takes a message of `length` bytes. `message` holds all of them; or only the first ones if the
 * message must be refused, for the reason `why`. */
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

/* ---- long messages ---------------------------------------------------------------------------
 * `fragments` keeps the message until it is validated and handled. */

/* Returns false if there is nothing to validate in pieces. */
static bool begin_check(struct kv_connection *connection, struct kv_bytes message)
{
    connection->long_message = kv_long_message_new(&connection->codec, message, KV_CHECK_TURN);
    if (connection->long_message == NULL) {
        return false;
    }
    connection->paused |= KV_PAUSED_FOR_CHECK;
    connection->stream->kind->stop(connection->stream);
    kv_list_append(&connection->owner->checked, &connection->checked);
    return true;
}

static int take_validated(struct kv_connection *connection, int *opcode)
{
    struct kv_buffer *memory = &connection->fragments.finished;
    struct kv_incoming incoming;
    const struct kv_bytes message = kv_buffer_bytes(memory);
    int error = kv_long_message_decode(connection->long_message, &incoming, opcode);
    if (error != KV_OK) {
        return kv_is_refusal(error)
                   ? kv_connection_refuse(connection, message, message.length, error, opcode)
                   : error;
    }
    saw(connection, &incoming.signal);
    return kv_runtime_receive_long(connection->owner->net->runtime, connection->peer, &incoming,
                                   memory);
}

/* Validates a piece. Returns false if the message was handled. */
static bool go_on_checking(struct kv_connection *connection)
{
    int opcode = OPCODE_UNKNOWN;
    if (kv_long_message_go_on(connection->long_message, KV_CHECK_TURN)) {
        return true;
    }
    kv_list_remove(&connection->checked);
    const int error = take_validated(connection, &opcode);
    kv_long_message_free(connection->long_message);
    connection->long_message = NULL;
    kv_fragments_release(&connection->fragments);
    if (error != KV_OK) {
        doom_for_frame(connection, opcode, error);
    }
    return false;
}

static int take_fragment(struct kv_connection *connection, struct kv_bytes frame, size_t length,
                         int *opcode)
{
    struct kv_arrived whole;
    int error = kv_fragments_take(&connection->fragments, frame, length, &whole);
    if (error == KV_OK && whole.error == KV_OK && whole.bytes.length > KV_CHECK_TURN &&
        begin_check(connection, whole.bytes)) {
        return KV_OK;
    }
    if (error == KV_OK && whole.bytes.length > 0) {
        error = take_whole(connection, whole.bytes, whole.length, whole.error, opcode);
        kv_fragments_release(&connection->fragments);
    }
    return error;
}

/* A long message in one frame: from a peer without fragments, or of a node that had sent it before
 * the handshake was done. */
static int take_unfragmented(struct kv_connection *connection, struct kv_bytes frame, int *opcode)
{
    if (frame.length > KV_CHECK_TURN) {
        struct kv_bytes message = kv_fragments_keep(&connection->fragments, frame);
        if (message.length > 0 && begin_check(connection, message)) {
            return KV_OK;
        }
        kv_fragments_release(&connection->fragments);
    }
    return take_whole(connection, frame, frame.length, KV_OK, opcode);
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
                    : take_unfragmented(connection, frame, &opcode);
    if (error != KV_OK) {
        doom_for_frame(connection, opcode, error);
    }
}

/* Passes over the bytes of a frame over the limit, and returns how many of `input` they are. */
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

/* Handles the complete frames at the front of `input`, in order, and passes over a frame that is
 * over the limit. Returns how many bytes are done with. Stops early if the connection is paused. */
static size_t take_frames(struct kv_connection *connection, struct kv_bytes input)
{
    struct kv_connections *owner = connection->owner;
    size_t limit = (size_t)owner->net->limits.max_frame;
    size_t done = 0;
    owner->taking = connection;
    while (!kv_connection_is_doomed(connection) && connection->paused == 0) {
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
    owner->taking = NULL;
    return done;
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool is_up(const struct kv_connection *connection)
{
    return connection->peer != NULL;
}

/* Gives back the memory that a large frame needed. */
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

/* Bytes in the common space: complete frames are handled there, and only the rest of the last one
 * is kept. So an idle peer needs no memory for input. */
static void take_from_space(struct kv_connection *connection, struct kv_bytes bytes)
{
    size_t done = take_frames(connection, bytes);
    if (!kv_connection_is_doomed(connection)) {
        kv_buffer_append(&connection->input, kv_bytes(bytes.data + done, bytes.length - done));
    }
}

struct kv_room kv_input_room(void *user)
{
    struct kv_connection *connection = user;
    struct kv_buffer *input = &connection->input;
    if (is_up(connection) && input->length == 0) {
        return (struct kv_room){.start = connection->owner->space, .length = KV_READ_CHUNK};
    }
    size_t room = KV_READ_CHUNK;
    if (!is_up(connection)) {
        size_t most = KV_HANDSHAKE_MAX_MESSAGE + KV_HANDSHAKE_MAX_LENGTH;
        room = input->length < most ? most - input->length : 0;
    }
    if (room == 0 || kv_buffer_try_reserve(input, room) != KV_OK) {
        return (struct kv_room){.start = NULL, .length = 0};
    }
    return (struct kv_room){.start = (char *)input->data + input->length, .length = room};
}

static void note_rested(struct kv_connection *connection)
{
    if (kv_list_is_empty(&connection->rested)) {
        kv_list_append(&connection->owner->rested, &connection->rested);
    }
}

static void rest(struct kv_connection *connection)
{
    if (!kv_connection_is_doomed(connection)) {
        connection->paused |= KV_PAUSED_FOR_TURN;
        connection->stream->kind->stop(connection->stream);
        note_rested(connection);
    }
}

void kv_input_rest(struct kv_connections *connections)
{
    if (connections->taking != NULL) {
        rest(connections->taking);
    }
}

/* A peer that sends without a pause must not keep the others waiting. */
static void rest_after(struct kv_connection *connection, size_t count)
{
    connection->turn_bytes += count;
    const size_t most = connection->fragments.pending > 0 ? KV_ASSEMBLY_TURN : KV_READ_TURN;
    if (connection->turn_bytes >= most) {
        rest(connection);
    }
    note_rested(connection);
}

/* In a long turn the peer gets its answers while its next requests are handled, and has something
 * to do meanwhile. A turn of few messages has one write. */
static void hurry(struct kv_connection *connection, bool more)
{
    const struct kv_net *net = connection->owner->net;
    if (more && connection->turn_messages >= KV_EARLY_MESSAGES && connection->output.length > 0 &&
        (connection->paused & KV_PAUSED_FOR_OUTPUT) == 0 && !kv_connection_is_doomed(connection)) {
        net->hurry(net->context);
    }
}

void kv_input_took(struct kv_connection *connection, struct kv_room room, size_t count)
{
    struct kv_connections *owner = connection->owner;
    connection->bytes_in += (uint64_t)count;
    owner->bytes_in += (uint64_t)count;
    owner->net->heard(owner->net->context);
    if (room.start == owner->space) {
        take_from_space(connection, kv_bytes(room.start, count));
    } else {
        connection->input.length += count;
        take_input(connection);
    }
    rest_after(connection, count);
    hurry(connection, count == room.length);
}

void kv_input_ended(void *user, int error)
{
    struct kv_connection *connection = user;
    bool ended = error == UV_EOF || error == UV_ECONNRESET;
    const char *why = connection->stream->why != NULL ? connection->stream->why
                      : error == UV_ENOBUFS           ? "no memory for what it sends"
                      : ended                         ? "it closed the connection"
                                                      : uv_strerror(error);
    kv_connection_doom(connection, ended ? KV_LOG_INFO : KV_LOG_WARNING, why);
}

/* ---- reading on ------------------------------------------------------------------------------ */

/* One reason to pause is gone. Frames that are there already come first. */
static void go_on(struct kv_connection *connection, unsigned reason)
{
    connection->paused &= ~reason;
    if (connection->paused == 0 && !kv_connection_is_doomed(connection)) {
        take_input(connection);
    }
    if (connection->paused == 0 && !kv_connection_is_doomed(connection)) {
        (void)connection->stream->kind->start(connection->stream); /* has worked once */
    }
}

/* The connections take turns. */
static void check_one(struct kv_connections *connections)
{
    struct kv_list *link = connections->checked.next;
    if (kv_list_is_empty(&connections->checked)) {
        return;
    }
    struct kv_connection *connection = KV_LIST_OF(link, struct kv_connection, checked);
    kv_list_remove(link);
    kv_list_append(&connections->checked, link);
    if (!kv_connection_is_doomed(connection) && !go_on_checking(connection)) {
        go_on(connection, KV_PAUSED_FOR_CHECK);
    }
}

void kv_input_begin_turn(struct kv_connections *connections)
{
    struct kv_list *rested = &connections->rested;
    const struct kv_list *last = rested->previous; /* those behind it rest again */
    for (bool more = !kv_list_is_empty(rested); more;) {
        struct kv_connection *connection = KV_LIST_OF(rested->next, struct kv_connection, rested);
        more = rested->next != last;
        kv_list_remove(&connection->rested);
        connection->turn_bytes = 0;
        connection->turn_messages = 0;
        if ((connection->paused & KV_PAUSED_FOR_TURN) != 0) {
            go_on(connection, KV_PAUSED_FOR_TURN);
        }
    }
    check_one(connections);
}

bool kv_input_goes_on(const struct kv_connections *connections)
{
    return !kv_list_is_empty(&connections->checked) || !kv_list_is_empty(&connections->rested);
}

bool kv_input_resume(struct kv_connections *connections)
{
    struct kv_list *eased = &connections->eased;
    bool any = !kv_list_is_empty(eased);
    while (!kv_list_is_empty(eased)) {
        struct kv_connection *connection = KV_LIST_OF(eased->next, struct kv_connection, eased);
        kv_list_remove(&connection->eased);
        go_on(connection, KV_PAUSED_FOR_OUTPUT);
    }
    return any;
}
