#include "dist/quick.h"

#include "base/endian.h"
#include "base/word.h"
#include "dist/frame.h"
#include "dist/handshake.h"

/* OTP: erts/emulator/beam/dist.h, enum dop. */
enum {
    SEND = 2,
    MONITOR_P = 19,
    DEMONITOR_P = 20,
    SEND_SENDER = 22,
    ALIAS_SEND = 33,
    ALTACT_SIG_SEND = 37,
    ALTACT_ALIAS = 4, /* OTP: dist.h, ERTS_DOP_ALTACT_SIG_FLG_ALIAS */
};

enum {
    START = KV_WHOLE_HEADER + 4, /* 131, 68, 0, 104, arity, 97, opcode */
    NUMBERS = 12,                /* of a pid: id, serial, creation */
    REF_WORDS = 3,
    REF_NUMBERS = 4 + 4 * REF_WORDS, /* creation and words */
    ROOM = 1024, /* more than a header and a control tuple of a pid and a reference take */
};

/* ---- reading --------------------------------------------------------------------------------- */

/* What is not read yet. */
struct rest {
    const uint8_t *next;
    const uint8_t *end;
};

static inline bool has(const struct rest *rest, size_t count)
{
    return (size_t)(rest->end - rest->next) >= count;
}

static inline bool is_name(struct kv_bytes node, const struct kv_bytes *name)
{
    return node.length == name->length && kv_same(node.data, name->data, node.length);
}

/* 119, length, text; then there must be `behind` bytes. */
static inline bool take_node(struct rest *rest, size_t behind, struct kv_bytes *node)
{
    if (!has(rest, 2) || rest->next[0] != KV_TAG_SMALL_ATOM_UTF8 ||
        !has(rest, 2 + rest->next[1] + behind)) {
        return false;
    }
    *node = kv_bytes(rest->next + 2, rest->next[1]);
    rest->next += 2 + node->length;
    return true;
}

/* peer: whose process it must be; NULL: anybody's. What equals the name of the peer needs no other
 * check; another name must be in ASCII, all else is left to the validator. */
static inline bool take_pid(struct rest *rest, const struct kv_bytes *peer, struct kv_pid *pid)
{
    if (!has(rest, 1) || *rest->next++ != KV_TAG_NEW_PID || !take_node(rest, NUMBERS, &pid->node)) {
        return false;
    }
    if (peer != NULL ? !is_name(pid->node, peer) : !kv_is_ascii(pid->node.data, pid->node.length)) {
        return false;
    }
    pid->id = kv_get32(rest->next);
    pid->serial = kv_get32(rest->next + 4);
    pid->creation = kv_get32(rest->next + 8);
    rest->next += NUMBERS;
    return true;
}

static inline bool take_peer_ref(struct rest *rest, const struct kv_bytes *peer, struct kv_ref *ref)
{
    static const uint8_t head[] = {KV_TAG_NEWER_REFERENCE, 0, REF_WORDS};
    if (!has(rest, sizeof(head)) || memcmp(rest->next, head, sizeof(head)) != 0) {
        return false;
    }
    rest->next += sizeof(head);
    if (!take_node(rest, REF_NUMBERS, &ref->node) || !is_name(ref->node, peer)) {
        return false;
    }
    ref->creation = kv_get32(rest->next);
    ref->count = REF_WORDS;
    for (size_t i = 0; i < REF_WORDS; i++) {
        ref->words[i] = kv_get32(rest->next + 4 + 4 * i);
    }
    rest->next += REF_NUMBERS;
    return true;
}

static inline bool take_monitor(struct rest *rest, struct kv_bytes peer, enum kv_signal_kind kind,
                                struct kv_signal *signal)
{
    signal->kind = kind;
    return take_pid(rest, &peer, &signal->from) && take_pid(rest, NULL, &signal->to) &&
           take_peer_ref(rest, &peer, &signal->ref) && rest->next == rest->end;
}

static inline bool take_payload(struct rest *rest, const struct kv_term_limits *limits,
                                struct kv_signal *signal)
{
    size_t given = (size_t)(rest->end - rest->next);
    size_t length = 0;
    signal->kind = KV_SIGNAL_MESSAGE;
    signal->payload[0] = kv_bytes(rest->next, given);
    signal->payload_parts = 1;
    return kv_term_validate(signal->payload[0], limits, &length) == KV_OK && length == given;
}

/* {2, '', To} */
static bool take_send(struct rest *rest, const struct kv_term_limits *limits,
                      struct kv_signal *signal)
{
    signal->from = (struct kv_pid){.id = 0};
    if (!has(rest, 2) || rest->next[0] != KV_TAG_SMALL_ATOM_UTF8 || rest->next[1] != 0) {
        return false;
    }
    rest->next += 2;
    return take_pid(rest, NULL, &signal->to) && take_payload(rest, limits, signal);
}

bool kv_quick_decode(struct kv_bytes frame, const struct kv_term_limits *limits,
                     struct kv_bytes peer, struct kv_signal *signal, int *opcode)
{
    const uint8_t *start = frame.data;
    if (frame.length < START || start[0] != KV_TERM_VERSION || start[1] != KV_FRAME_WHOLE ||
        start[2] != 0 || start[3] != KV_TAG_SMALL_TUPLE || start[5] != KV_TAG_SMALL_INTEGER) {
        return false;
    }
    struct rest rest = {.next = start + START, .end = start + frame.length};
    *opcode = start[6];
    signal->by_name = false;
    signal->name = kv_bytes(NULL, 0);
    signal->payload_parts = 0;
    if (start[4] == 4 && start[6] == MONITOR_P) {
        return take_monitor(&rest, peer, KV_SIGNAL_MONITOR, signal);
    }
    if (start[4] == 4 && start[6] == DEMONITOR_P) {
        return take_monitor(&rest, peer, KV_SIGNAL_DEMONITOR, signal);
    }
    if (start[4] == 3 && start[6] == SEND_SENDER) {
        return take_pid(&rest, &peer, &signal->from) && take_pid(&rest, NULL, &signal->to) &&
               take_payload(&rest, limits, signal);
    }
    return start[4] == 3 && start[6] == SEND && take_send(&rest, limits, signal);
}

/* ---- writing --------------------------------------------------------------------------------- */

static inline uint8_t *put(uint8_t *at, const void *bytes, size_t length)
{
    if (length > 0) {
        memcpy(at, bytes, length);
    }
    return at + length;
}

static inline uint8_t *put32(uint8_t *at, uint32_t value)
{
    kv_set32(at, value);
    return at + 4;
}

static inline uint8_t *put_node(uint8_t *at, struct kv_bytes node)
{
    *at++ = KV_TAG_SMALL_ATOM_UTF8;
    *at++ = (uint8_t)node.length;
    return put(at, node.data, node.length);
}

static inline uint8_t *put_pid(uint8_t *at, const struct kv_pid *pid)
{
    *at++ = KV_TAG_NEW_PID;
    at = put_node(at, pid->node);
    at = put32(at, pid->id);
    at = put32(at, pid->serial);
    return put32(at, pid->creation);
}

static inline uint8_t *put_ref(uint8_t *at, const struct kv_ref *ref)
{
    *at++ = KV_TAG_NEWER_REFERENCE;
    *at++ = 0;
    *at++ = (uint8_t)ref->count;
    at = put_node(at, ref->node);
    at = put32(at, ref->creation);
    for (uint32_t i = 0; i < ref->count; i++) {
        at = put32(at, ref->words[i]);
    }
    return at;
}

/* {22, From, To}, {33, From, Alias} or {37, 4, From, Alias} */
static uint8_t *put_control(uint8_t *at, const struct kv_signal *signal, uint64_t flags)
{
    bool alias = signal->kind == KV_SIGNAL_MESSAGE_ALIAS;
    bool altact = alias && (flags & KV_DFLAG_ALTACT_SIG) != 0;
    *at++ = KV_TAG_SMALL_TUPLE;
    *at++ = altact ? 4 : 3;
    *at++ = KV_TAG_SMALL_INTEGER;
    *at++ = !alias ? SEND_SENDER : altact ? ALTACT_SIG_SEND : ALIAS_SEND;
    if (altact) {
        *at++ = KV_TAG_SMALL_INTEGER;
        *at++ = ALTACT_ALIAS;
    }
    at = put_pid(at, &signal->from);
    return alias ? put_ref(at, &signal->ref) : put_pid(at, &signal->to);
}

static size_t payload_length(const struct kv_signal *signal)
{
    size_t length = 0;
    for (unsigned i = 0; i < signal->payload_parts; i++) {
        length += signal->payload[i].length;
    }
    return length;
}

/* Flags without which a signal takes another form. */
static bool is_usual(const struct kv_signal *signal, uint64_t flags)
{
    const uint64_t needed = KV_DFLAG_FRAGMENTS | KV_DFLAG_SEND_SENDER;
    if ((flags & needed) != needed || signal->from.node.length > UINT8_MAX) {
        return false;
    }
    if (signal->kind == KV_SIGNAL_MESSAGE_ALIAS) {
        return (flags & (KV_DFLAG_ALIAS | KV_DFLAG_ALTACT_SIG)) != 0 &&
               signal->ref.node.length <= UINT8_MAX;
    }
    return signal->kind == KV_SIGNAL_MESSAGE && signal->to.node.length <= UINT8_MAX;
}

bool kv_quick_encode(const struct kv_signal *signal, uint64_t flags, struct kv_buffer *to)
{
    size_t payload = payload_length(signal);
    if (!is_usual(signal, flags) || payload > UINT32_MAX - ROOM) {
        return false;
    }
    uint8_t *start = kv_buffer_reserve(to, ROOM + payload);
    uint8_t *at = start + KV_FRAME_HEADER;
    *at++ = KV_TERM_VERSION;
    *at++ = KV_FRAME_WHOLE;
    *at++ = 0;
    at = put_control(at, signal, flags);
    for (unsigned i = 0; i < signal->payload_parts; i++) {
        at = put(at, signal->payload[i].data, signal->payload[i].length);
    }
    kv_set32(start, (uint32_t)(at - start - KV_FRAME_HEADER));
    to->length += (size_t)(at - start);
    return true;
}
