#include "wire/outgoing.h"

#include "base/alloc.h"
#include "base/endian.h"
#include "wire/control.h"
#include "wire/frame.h"
#include "wire/handshake.h"

/* A pid without its node. Two pids with equal numbers and different nodes share a stream: needless,
 * but harmless. */
struct end {
    uint32_t id;
    uint32_t serial;
    uint32_t creation;
};

struct pair {
    struct end from;
    struct end to;
};

/* Pinned bytes and the number of waiting messages that end with them. */
struct kv_payload {
    struct kv_shared_pin *pin;
    size_t messages;
    bool shared;
};

struct message {
    struct kv_list link;
    struct kv_buffer bytes;  /* a whole frame; for fragments, only the terms */
    struct kv_payload *tail; /* for fragments: the bytes behind these; else NULL */
    size_t at;               /* bytes that have left */
    size_t control;          /* for fragments: length of the control term; else 0 */
    uint64_t sequence;
    uint64_t id; /* of the next fragment */
};

/* A process that has streams. A barrier is a stream for everything that the process sends behind a
 * signal to a name: it is the last of the streams, and gets turns once it is the only one. */
struct sender {
    struct kv_map_node by_end;
    struct end end;
    struct kv_list streams;
    struct stream *barrier;
};

/* Always has at least one message. */
struct stream {
    struct kv_map_node by_pair; /* unused in a barrier */
    struct kv_list of_sender;
    struct kv_list turn; /* in turns; alone while the stream must wait */
    struct sender *sender;
    struct pair pair;
    struct kv_list messages;
};

void kv_outgoing_init(struct kv_outgoing *outgoing, const struct kv_codec *codec,
                      const struct kv_hash_key *key)
{
    *outgoing = (struct kv_outgoing){.codec = codec, .key = *key};
    kv_list_init(&outgoing->turns);
}

size_t kv_outgoing_length(const struct kv_outgoing *outgoing)
{
    return outgoing->length;
}

size_t kv_outgoing_small_length(const struct kv_outgoing *outgoing)
{
    return outgoing->small_length;
}

size_t kv_outgoing_large_count(const struct kv_outgoing *outgoing)
{
    return outgoing->large_count;
}

/* ---- finding --------------------------------------------------------------------------------- */

static struct end end_of(const struct kv_pid *pid)
{
    return (struct end){.id = pid->id, .serial = pid->serial, .creation = pid->creation};
}

static bool same_end(const struct end *a, const struct end *b)
{
    return a->id == b->id && a->serial == b->serial && a->creation == b->creation;
}

static uint64_t hash_of_end(const struct kv_outgoing *outgoing, const struct end *end)
{
    return kv_siphash(&outgoing->key, kv_bytes(end, sizeof(*end)));
}

static uint64_t hash_of_pair(const struct kv_outgoing *outgoing, const struct pair *pair)
{
    return kv_siphash(&outgoing->key, kv_bytes(pair, sizeof(*pair)));
}

static bool is_sender(const struct kv_map_node *node, const void *key)
{
    return same_end(&KV_MAP_OF(node, const struct sender, by_end)->end, key);
}

static bool is_stream(const struct kv_map_node *node, const void *key)
{
    const struct pair *wanted = key;
    const struct pair *pair = &KV_MAP_OF(node, const struct stream, by_pair)->pair;
    return same_end(&pair->from, &wanted->from) && same_end(&pair->to, &wanted->to);
}

static struct sender *find_sender(const struct kv_outgoing *outgoing, const struct end *end)
{
    struct kv_map_node *found =
        kv_map_find(&outgoing->senders, hash_of_end(outgoing, end), is_sender, end);
    return found == NULL ? NULL : KV_MAP_OF(found, struct sender, by_end);
}

static struct stream *find_stream(const struct kv_outgoing *outgoing, const struct pair *pair)
{
    struct kv_map_node *found =
        kv_map_find(&outgoing->streams, hash_of_pair(outgoing, pair), is_stream, pair);
    return found == NULL ? NULL : KV_MAP_OF(found, struct stream, by_pair);
}

/* ---- coming and going of streams ------------------------------------------------------------- */

static struct sender *add_sender(struct kv_outgoing *outgoing, const struct end *end)
{
    struct sender *sender = kv_zalloc(sizeof(*sender));
    sender->end = *end;
    kv_list_init(&sender->streams);
    kv_map_insert(&outgoing->senders, &sender->by_end, hash_of_end(outgoing, end));
    return sender;
}

static bool is_alone(const struct stream *stream)
{
    const struct kv_list *streams = &stream->sender->streams;
    return streams->next == &stream->of_sender && stream->of_sender.next == streams;
}

static struct stream *add_stream(struct kv_outgoing *outgoing, struct sender *sender,
                                 const struct pair *pair, bool is_barrier)
{
    struct stream *stream = kv_zalloc(sizeof(*stream));
    stream->sender = sender != NULL ? sender : add_sender(outgoing, &pair->from);
    stream->pair = *pair;
    kv_list_init(&stream->turn);
    kv_list_init(&stream->messages);
    kv_list_append(&stream->sender->streams, &stream->of_sender);
    if (is_barrier) {
        stream->sender->barrier = stream;
    } else {
        kv_map_insert(&outgoing->streams, &stream->by_pair, hash_of_pair(outgoing, pair));
    }
    if (!is_barrier || is_alone(stream)) {
        kv_list_append(&outgoing->turns, &stream->turn);
    }
    return stream;
}

static void drop_stream(struct kv_outgoing *outgoing, struct stream *stream)
{
    struct sender *sender = stream->sender;
    if (sender->barrier == stream) {
        sender->barrier = NULL;
    } else {
        kv_map_remove(&outgoing->streams, &stream->by_pair);
    }
    kv_list_remove(&stream->turn);
    kv_list_remove(&stream->of_sender);
    kv_free(stream);
    if (kv_list_is_empty(&sender->streams)) {
        kv_map_remove(&outgoing->senders, &sender->by_end);
        kv_free(sender);
    } else if (sender->barrier != NULL && is_alone(sender->barrier)) {
        kv_list_append(&outgoing->turns, &sender->barrier->turn);
    }
}

/* ---- messages -------------------------------------------------------------------------------- */

/* Returns true if a signal leaves in fragments. One with a shared payload always does: a frame
 * would need a copy of the payload for each signal. */
static bool is_large(const struct kv_outgoing *outgoing, const struct kv_signal *signal,
                     size_t payload)
{
    return (payload > KV_FRAGMENT_SIZE || (signal->pinned != NULL && signal->pinned->shared)) &&
           (outgoing->codec->flags & KV_DFLAG_FRAGMENTS) != 0;
}

static struct kv_bytes tail_of(const struct message *message)
{
    return message->tail == NULL ? kv_bytes(NULL, 0) : kv_shared_pin_bytes(message->tail->pin);
}

static size_t length_of(const struct message *message)
{
    return message->bytes.length + tail_of(message).length;
}

/* The first fragment must contain the whole control term. */
static size_t first_part(const struct message *message)
{
    return message->control > KV_FRAGMENT_SIZE ? message->control : KV_FRAGMENT_SIZE;
}

/* Counts bytes that begin to wait, or no longer wait. */
static void count(struct kv_outgoing *outgoing, const struct message *message, size_t more,
                  size_t less)
{
    outgoing->length += more - less;
    outgoing->small_length += message->control == 0 ? more - less : 0;
}

/* The bytes of a message that are still to be sent, without its tail, which is counted separately.
 */
static size_t own_rest(const struct message *message)
{
    return message->at < message->bytes.length ? message->bytes.length - message->at : 0;
}

/* Pinned bytes do not change, so equal pointers mean equal bytes. Shared bytes may lie in several
 * places, such as an exit reason that one process after the other takes over. */
static bool is_same(const struct kv_payload *payload, const struct kv_pinned *pinned)
{
    struct kv_bytes bytes = kv_shared_pin_bytes(payload->pin);
    return (bytes.data == pinned->bytes.data && bytes.length == pinned->bytes.length) ||
           (payload->shared && pinned->shared && kv_bytes_equal(bytes, pinned->bytes));
}

/* Takes over pinned bytes. Consecutive messages with the same bytes share one payload. */
static struct kv_payload *take_payload(struct kv_outgoing *outgoing, struct kv_pinned *pinned)
{
    struct kv_payload *payload = outgoing->recent;
    if (payload != NULL && is_same(payload, pinned)) {
        kv_pinned_release(pinned);
        payload->messages++;
        return payload;
    }
    payload = kv_alloc(sizeof(*payload));
    *payload = (struct kv_payload){
        .pin = kv_shared_pin_take(pinned), .messages = 1, .shared = pinned->shared};
    outgoing->recent = payload;
    outgoing->length += sizeof(*payload) + pinned->bytes.length;
    return payload;
}

static void drop_payload(struct kv_outgoing *outgoing, struct kv_payload *payload)
{
    if (--payload->messages > 0) {
        return;
    }
    if (outgoing->recent == payload) {
        outgoing->recent = NULL;
    }
    outgoing->length -= sizeof(*payload) + kv_shared_pin_bytes(payload->pin).length;
    kv_shared_pin_drop(payload->pin);
    kv_free(payload);
}

/* Like kv_control_encode_terms(), but takes over pinned bytes instead of copying them. */
static void encode_large(struct kv_outgoing *outgoing, const struct kv_signal *signal,
                         struct message *message)
{
    struct kv_signal head = *signal;
    if (signal->pinned != NULL) {
        head.payload_parts--;
    }
    message->control = kv_control_encode_terms(&head, outgoing->codec->flags, &message->bytes);
    if (message->control > 0 && signal->pinned != NULL) {
        message->tail = take_payload(outgoing, signal->pinned);
    }
}

/* Returns NULL if the peer has no form for the signal. */
static struct message *encode(struct kv_outgoing *outgoing, const struct kv_signal *signal)
{
    struct message *message = kv_zalloc(sizeof(*message));
    size_t payload = kv_signal_payload_length(signal);
    if (is_large(outgoing, signal, payload)) {
        encode_large(outgoing, signal, message);
    }
    if (message->control > 0) {
        size_t first = first_part(message);
        size_t rest = length_of(message) > first ? length_of(message) - first : 0;
        message->id = 1 + (rest + KV_FRAGMENT_SIZE - 1) / KV_FRAGMENT_SIZE;
        message->sequence = ++outgoing->last_sequence;
        outgoing->large_count++;
    } else {
        (void)kv_codec_encode(outgoing->codec, signal, payload, &message->bytes);
    }
    if (message->bytes.length == 0) {
        kv_free(message);
        return NULL;
    }
    count(outgoing, message, sizeof(*message) + own_rest(message), 0);
    return message;
}

static void drop_message(struct kv_outgoing *outgoing, struct message *message)
{
    count(outgoing, message, 0, sizeof(*message) + own_rest(message));
    outgoing->large_count -= message->control > 0 ? 1 : 0;
    kv_list_remove(&message->link);
    kv_buffer_free(&message->bytes);
    if (message->tail != NULL) {
        drop_payload(outgoing, message->tail);
    }
    kv_free(message);
}

/* The destination of fragments. */
struct ready {
    struct kv_buffer *bytes;
    struct kv_slices *slices; /* NULL: copy pinned bytes */
};

static size_t ready_length(const struct ready *ready)
{
    return ready->bytes->length + (ready->slices == NULL ? 0 : ready->slices->length);
}

static bool is_full(const struct ready *ready)
{
    return ready->slices != NULL && ready->slices->count == KV_SLICES_MAX;
}

/* Appends the next `part` bytes of the terms. */
static void put_part(const struct message *message, size_t part, const struct ready *ready)
{
    size_t at = message->at;
    size_t own = at < message->bytes.length ? message->bytes.length - at : 0;
    own = own < part ? own : part;
    if (own > 0) {
        kv_buffer_append(ready->bytes, kv_bytes(message->bytes.data + at, own));
    }
    if (own == part) {
        return;
    }
    size_t skip = at + own - message->bytes.length;
    struct kv_bytes rest = kv_bytes(tail_of(message).data + skip, part - own);
    if (ready->slices == NULL) {
        kv_buffer_append(ready->bytes, rest);
    } else {
        kv_slices_add(ready->slices, ready->bytes->length, rest, message->tail->pin);
    }
}

static void cut_fragment(struct message *message, size_t part, const struct ready *to)
{
    struct kv_buffer *ready = to->bytes;
    bool is_first = message->at == 0;
    size_t content = (is_first ? KV_FRAGMENT_HEADER + 1U : KV_FRAGMENT_HEADER) + part;
    (void)kv_buffer_reserve(ready, KV_FRAME_HEADER + (message->tail == NULL ? content : 0));
    kv_buffer_u32(ready, (uint32_t)content);
    kv_buffer_u8(ready, KV_TERM_VERSION);
    kv_buffer_u8(ready, is_first ? KV_FRAME_FIRST : KV_FRAME_OTHER);
    kv_buffer_u64(ready, message->sequence);
    kv_buffer_u64(ready, message->id--);
    if (is_first) {
        kv_buffer_u8(ready, 0);
    }
    put_part(message, part, to);
}

/* Appends the next frame of a message. Returns true if it was the last. */
static bool advance(struct kv_outgoing *outgoing, struct message *message,
                    const struct ready *ready)
{
    size_t part = length_of(message) - message->at;
    size_t before = own_rest(message);
    if (message->control > 0) {
        size_t most = message->at == 0 ? first_part(message) : KV_FRAGMENT_SIZE;
        part = part < most ? part : most;
        cut_fragment(message, part, ready);
    } else {
        kv_buffer_append(ready->bytes, kv_buffer_bytes(&message->bytes));
    }
    message->at += part;
    count(outgoing, message, 0, before - own_rest(message));
    return message->at == length_of(message);
}

static struct message *first_of(const struct stream *stream)
{
    return KV_LIST_OF(stream->messages.next, struct message, link);
}

/* ---- in and out ------------------------------------------------------------------------------ */

static bool is_to_name(const struct kv_signal *signal)
{
    switch (signal->kind) {
    case KV_SIGNAL_MESSAGE_NAME:
        return true;
    case KV_SIGNAL_MONITOR:
    case KV_SIGNAL_DEMONITOR:
    case KV_SIGNAL_EXIT:
        return signal->by_name;
    default:
        return false;
    }
}

bool kv_outgoing_signal(struct kv_outgoing *outgoing, const struct kv_signal *signal,
                        struct kv_buffer *ready)
{
    size_t payload = kv_signal_payload_length(signal);
    if (outgoing->senders.count == 0 && !is_large(outgoing, signal, payload)) {
        return kv_codec_encode(outgoing->codec, signal, payload, ready);
    }
    struct pair pair = {.from = end_of(&signal->from), .to = end_of(&signal->to)};
    struct sender *sender = outgoing->senders.count == 0 ? NULL : find_sender(outgoing, &pair.from);
    struct stream *stream = NULL;
    bool to_name = is_to_name(signal);
    if (sender != NULL) {
        stream = sender->barrier;
    }
    if (sender != NULL && stream == NULL && !to_name) {
        stream = find_stream(outgoing, &pair);
    }
    bool must_wait = stream != NULL || (sender != NULL && to_name);
    if (!must_wait && !is_large(outgoing, signal, payload)) {
        return kv_codec_encode(outgoing->codec, signal, payload, ready);
    }
    struct message *message = encode(outgoing, signal);
    if (message == NULL) {
        return false;
    }
    if (stream == NULL) {
        stream = add_stream(outgoing, sender, &pair, to_name);
    }
    kv_list_append(&stream->messages, &message->link);
    return true;
}

/* Gives a stream one turn. The stream may be freed by it. */
static void serve(struct kv_outgoing *outgoing, struct stream *stream, const struct ready *ready)
{
    size_t start = ready_length(ready);
    while (!kv_list_is_empty(&stream->messages) && !is_full(ready) &&
           ready_length(ready) - start < KV_FRAGMENT_SIZE) {
        struct message *message = first_of(stream);
        if (advance(outgoing, message, ready)) {
            drop_message(outgoing, message);
        }
    }
    kv_list_remove(&stream->turn);
    if (kv_list_is_empty(&stream->messages)) {
        drop_stream(outgoing, stream);
    } else {
        kv_list_append(&outgoing->turns, &stream->turn);
    }
}

void kv_outgoing_fill(struct kv_outgoing *outgoing, size_t ahead, struct kv_buffer *ready,
                      struct kv_slices *slices)
{
    const struct ready to = {.bytes = ready, .slices = slices};
    if (outgoing->senders.count == 0 || is_full(&to)) {
        return;
    }
    do {
        serve(outgoing, KV_LIST_OF(outgoing->turns.next, struct stream, turn), &to);
    } while (outgoing->senders.count > 0 && !is_full(&to) && ready_length(&to) < ahead);
}

static void free_stream(struct kv_outgoing *outgoing, struct stream *stream)
{
    while (!kv_list_is_empty(&stream->messages)) {
        drop_message(outgoing, first_of(stream));
    }
    kv_free(stream);
}

static void free_sender(void *context, struct kv_map_node *node)
{
    struct sender *sender = KV_MAP_OF(node, struct sender, by_end);
    KV_LIST_FOREACH (link, &sender->streams) {
        free_stream(context, KV_LIST_OF(link, struct stream, of_sender));
    }
    kv_free(sender);
}

void kv_outgoing_free(struct kv_outgoing *outgoing)
{
    kv_map_drain(&outgoing->senders, free_sender, outgoing);
    kv_map_free(&outgoing->streams);
    kv_list_init(&outgoing->turns);
}
