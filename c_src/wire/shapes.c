#include "wire/shapes.h"

#include "base/endian.h"
#include "base/word.h"
#include "wire/frame.h"
#include "wire/handshake.h"
#include "wire/opcode.h"

enum {
    OPCODE_AT = KV_WHOLE_HEADER + 3, /* behind 131, 68, 0, 104, arity, 97 */
    PID_NUMBERS = 12,                /* id, serial, creation */
    REF_WORDS = 3,
    REF_NUMBERS = 4 + 4 * REF_WORDS, /* creation and words */
    NAME_LENGTH_AT = 3, /* in a call, behind 104, 3, 119: the length of $gen_call or $kv_call */
    GEN_CALL_LENGTH = 9,
    CALL_DEPTH = 3,           /* depth of the containers in front of a request */
    MESSAGE_MAX = 64 * 1024,  /* for larger messages the saving does not show */
    NODE_NAME_MAX = UINT8_MAX /* bytes of a small atom */
};

/* ---- laying out ------------------------------------------------------------------------------ */

static void put(struct kv_shape *shape, const void *bytes, size_t length, uint8_t matters)
{
    if (length > KV_SHAPE_MAX - shape->length) {
        shape->length = KV_SHAPE_MAX; /* too long: kv_shapes_init() drops the shapes */
        return;
    }
    if (bytes != NULL) {
        memcpy(shape->same + shape->length, bytes, length);
    }
    memset(shape->matters + shape->length, matters, length);
    shape->length += length;
}

static void put_text(struct kv_shape *shape, const char *bytes, size_t length)
{
    put(shape, bytes, length, UINT8_MAX);
}

#define PUT_TEXT(shape, text) put_text(shape, text, sizeof(text) - 1)

/* Bytes that may have any value. Returns their offset. */
static size_t put_any(struct kv_shape *shape, size_t length)
{
    put(shape, NULL, length, 0);
    return shape->length - length;
}

/* The bytes of a frame up to the first element of its control tuple. */
static void put_head(struct kv_shape *shape, uint8_t arity)
{
    const uint8_t head[] = {KV_TERM_VERSION, KV_FRAME_WHOLE, 0, KV_TAG_SMALL_TUPLE, arity};
    put(shape, head, sizeof head, UINT8_MAX);
}

static void put_small(struct kv_shape *shape, uint8_t value)
{
    const uint8_t integer[] = {KV_TAG_SMALL_INTEGER, value};
    put(shape, integer, sizeof integer, UINT8_MAX);
}

static void put_node(struct kv_shape *shape, struct kv_bytes node)
{
    const uint8_t head[] = {KV_TAG_SMALL_ATOM_UTF8, (uint8_t)node.length};
    put(shape, head, sizeof head, UINT8_MAX);
    put(shape, node.data, node.length, UINT8_MAX);
}

/* This and put_ref() return the offset of the numbers. */
static size_t put_pid(struct kv_shape *shape, struct kv_bytes node)
{
    PUT_TEXT(shape, "\x58");
    put_node(shape, node);
    return put_any(shape, PID_NUMBERS);
}

static size_t put_ref(struct kv_shape *shape, struct kv_bytes node)
{
    PUT_TEXT(shape, "\x5a\0\x03");
    put_node(shape, node);
    return put_any(shape, REF_NUMBERS);
}

static void put_monitor(struct kv_shapes *shapes)
{
    struct kv_shape *shape = &shapes->monitor;
    put_head(shape, 4);
    PUT_TEXT(shape, "\x61");
    (void)put_any(shape, 1); /* MONITOR_P or DEMONITOR_P */
    shapes->from = put_pid(shape, shapes->peer);
    shapes->to = put_pid(shape, shapes->self);
    shapes->ref = put_ref(shape, shapes->peer);
}

static void put_calls(struct kv_shapes *shapes)
{
    struct kv_shape *shape = &shapes->gen_call;
    put_head(shape, 3);
    put_small(shape, KV_DOP_SEND_SENDER);
    (void)put_pid(shape, shapes->peer);
    (void)put_pid(shape, shapes->self);
    shapes->payload = shape->length;
    shapes->kv_call = *shape;
    PUT_TEXT(shape, KV_GEN_CALL_HEAD);
    (void)put_pid(shape, shapes->peer);
    PUT_TEXT(shape, KV_GEN_CALL_ALIAS);
    (void)put_ref(shape, shapes->peer);

    shape = &shapes->kv_call;
    PUT_TEXT(shape, KV_KV_CALL_HEAD);
    (void)put_ref(shape, shapes->peer);
}

static void put_answer(struct kv_shapes *shapes, bool altact)
{
    struct kv_answer_head *answer = &shapes->answer;
    struct kv_shape shape = {.length = 0};
    (void)put_any(&shape, KV_FRAME_HEADER);
    put_head(&shape, altact ? 4 : 3);
    put_small(&shape, altact ? KV_DOP_ALTACT_SIG_SEND : KV_DOP_ALIAS_SEND);
    if (altact) {
        put_small(&shape, KV_ALTACT_ALIAS);
    }
    answer->from = put_pid(&shape, shapes->self);
    answer->ref = put_ref(&shape, shapes->peer);
    answer->length = shape.length;
    memcpy(answer->bytes, shape.same, shape.length);
}

static bool is_usual_name(struct kv_bytes name)
{
    return name.length > 0 && name.length <= NODE_NAME_MAX && kv_is_ascii(name.data, name.length);
}

/* $gen_call has the longest shape, so its length decides for all. */
void kv_shapes_init(struct kv_shapes *shapes, uint64_t flags, struct kv_bytes self,
                    struct kv_bytes peer)
{
    *shapes = (struct kv_shapes){.self = self, .peer = peer};
    if ((flags & KV_DFLAG_FRAGMENTS) == 0 || !is_usual_name(self) || !is_usual_name(peer)) {
        return;
    }
    put_calls(shapes);
    if (shapes->gen_call.length == KV_SHAPE_MAX) {
        *shapes = (struct kv_shapes){.self = self, .peer = peer};
        return;
    }
    put_monitor(shapes);
    if ((flags & (KV_DFLAG_ALIAS | KV_DFLAG_ALTACT_SIG)) != 0) {
        put_answer(shapes, (flags & KV_DFLAG_ALTACT_SIG) != 0);
    }
}

/* ---- comparing ------------------------------------------------------------------------------- */

typedef uint64_t lanes __attribute__((vector_size(KV_SHAPE_LANE)));

static inline lanes load(const uint8_t *from)
{
    lanes lane;
    memcpy(&lane, from, sizeof lane);
    return lane;
}

static inline lanes aligned(const uint8_t *from)
{
    lanes lane;
    memcpy(&lane, __builtin_assume_aligned(from, KV_SHAPE_LANE), sizeof lane);
    return lane;
}

/* There must be at least as many bytes as in the shape, which always is longer than a lane. The
 * last lane may overlap the one before. Collects all differences and branches once, at the end. */
static inline bool has_shape(const struct kv_shape *shape, const uint8_t *bytes)
{
    const uint8_t *same = shape->same;
    const uint8_t *matters = shape->matters;
    size_t last = shape->length - sizeof(lanes);
    lanes differ = (load(bytes + last) ^ load(same + last)) & load(matters + last);
#pragma GCC unroll 4
    for (size_t at = 0; at < last; at += sizeof(lanes)) {
        differ |= (load(bytes + at) ^ aligned(same + at)) & aligned(matters + at);
    }
    return (differ[0] | differ[1]) == 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

static inline void take_pid(const uint8_t *at, struct kv_bytes node, struct kv_pid *pid)
{
    pid->node = node;
    pid->id = kv_get32(at);
    pid->serial = kv_get32(at + 4);
    pid->creation = kv_get32(at + 8);
}

static inline void take_ends(const struct kv_shapes *shapes, const uint8_t *bytes,
                             struct kv_signal *signal)
{
    signal->by_name = false;
    signal->name = kv_bytes(NULL, 0);
    take_pid(bytes + shapes->from, shapes->peer, &signal->from);
    take_pid(bytes + shapes->to, shapes->self, &signal->to);
}

static inline bool take_monitor(const struct kv_shapes *shapes, struct kv_bytes frame,
                                struct kv_signal *signal)
{
    if (frame.length != shapes->monitor.length || !has_shape(&shapes->monitor, frame.data)) {
        return false;
    }
    const uint8_t *ref = frame.data + shapes->ref;
    take_ends(shapes, frame.data, signal);
    signal->kind =
        frame.data[OPCODE_AT] == KV_DOP_MONITOR_P ? KV_SIGNAL_MONITOR : KV_SIGNAL_DEMONITOR;
    signal->payload_parts = 0;
    signal->ref.node = shapes->peer;
    signal->ref.creation = kv_get32(ref);
    signal->ref.count = REF_WORDS;
    for (size_t i = 0; i < REF_WORDS; i++) {
        signal->ref.words[i] = kv_get32(ref + 4 + 4 * i);
    }
    return true;
}

/* The layout has checked everything in front of the request, so only the request is validated. */
static inline bool take_call(const struct kv_shapes *shapes, struct kv_bytes frame,
                             const struct kv_term_limits *limits, struct kv_incoming *incoming)
{
    struct kv_signal *signal = &incoming->signal;
    if (shapes->payload == 0 || frame.length <= shapes->payload + NAME_LENGTH_AT) {
        return false;
    }
    const uint8_t *message = frame.data + shapes->payload;
    bool gen_call = message[NAME_LENGTH_AT] == GEN_CALL_LENGTH;
    const struct kv_shape *shape = gen_call ? &shapes->gen_call : &shapes->kv_call;
    size_t length = frame.length - shapes->payload;
    if (frame.length <= shape->length || length > MESSAGE_MAX || !has_shape(shape, frame.data)) {
        return false;
    }
    take_ends(shapes, frame.data, signal);
    signal->kind = KV_SIGNAL_MESSAGE;
    signal->payload[0] = kv_bytes(message, length);
    signal->payload_parts = 1;
    incoming->call = gen_call ? KV_CALL_GEN : KV_CALL_KV;

    struct kv_term_limits rest = *limits;
    size_t taken = 0;
    rest.depth--;
    return kv_term_validate(kv_bytes(frame.data + shape->length, frame.length - shape->length),
                            &rest, &taken) == KV_OK &&
           taken == frame.length - shape->length;
}

bool kv_shapes_decode(const struct kv_shapes *shapes, struct kv_bytes frame,
                      const struct kv_term_limits *limits, struct kv_incoming *incoming,
                      int *opcode)
{
    if (frame.length <= OPCODE_AT || frame.length > limits->size || limits->depth <= CALL_DEPTH) {
        return false;
    }
    *opcode = frame.data[OPCODE_AT];
    incoming->call = KV_CALL_UNKNOWN;
    switch (*opcode) {
    case KV_DOP_MONITOR_P:
    case KV_DOP_DEMONITOR_P:
        return take_monitor(shapes, frame, &incoming->signal);
    case KV_DOP_SEND_SENDER:
        return take_call(shapes, frame, limits, incoming);
    default:
        return false;
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

static inline bool is_same(struct kv_bytes a, struct kv_bytes b)
{
    return a.data == b.data && a.length == b.length;
}

static inline uint8_t *put_parts(uint8_t *at, const struct kv_signal *signal)
{
    for (unsigned i = 0; i < signal->payload_parts; i++) {
        size_t length = signal->payload[i].length;
        kv_copy_any(at, signal->payload[i].data, length);
        at += length;
    }
    return at;
}

bool kv_shapes_encode(const struct kv_shapes *shapes, const struct kv_signal *signal,
                      size_t payload, struct kv_buffer *to)
{
    const struct kv_answer_head *answer = &shapes->answer;
    if (signal->kind != KV_SIGNAL_MESSAGE_ALIAS || answer->length == 0 ||
        !is_same(signal->from.node, shapes->self) || !is_same(signal->ref.node, shapes->peer) ||
        signal->ref.count != REF_WORDS || payload > UINT32_MAX - KV_SHAPE_MAX) {
        return false;
    }
    uint8_t *start = kv_buffer_reserve(to, sizeof answer->bytes + payload);
    for (size_t at = 0; at < answer->length; at += KV_SHAPE_LANE) {
        memcpy(start + at, answer->bytes + at,
               KV_SHAPE_LANE); /* may copy more than length: put_parts() overwrites it */
    }
    uint8_t *from = start + answer->from;
    uint8_t *ref = start + answer->ref;
    kv_set32(start, (uint32_t)(answer->length + payload - KV_FRAME_HEADER));
    kv_set32(from, signal->from.id);
    kv_set32(from + 4, signal->from.serial);
    kv_set32(from + 8, signal->from.creation);
    kv_set32(ref, signal->ref.creation);
    for (size_t i = 0; i < REF_WORDS; i++) {
        kv_set32(ref + 4 + 4 * i, signal->ref.words[i]);
    }
    to->length += (size_t)(put_parts(start + answer->length, signal) - start);
    return true;
}
