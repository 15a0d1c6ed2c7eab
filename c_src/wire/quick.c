#include "wire/quick.h"

#include "base/endian.h"
#include "base/word.h"
#include "wire/frame.h"
#include "wire/handshake.h"
#include "wire/opcode.h"

enum {
    START = KV_WHOLE_HEADER + 4, /* 131, 68, 0, 104, arity, 97, opcode */
    NUMBERS = 12,                /* of a pid: id, serial, creation */
    ROOM = 1024, /* more than a header and a control tuple of a pid and a reference need */
};

/* ---- reading ----------------------------------------------------------------------------------
 * Each past_ or take_ function reads the element in its name at `at` and returns the address behind
 * it, or NULL if another element or not all of it is there. */

static inline bool has(const uint8_t *at, const uint8_t *end, size_t count)
{
    return (size_t)(end - at) >= count;
}

/* 119, length, the name of the peer. At least `behind` bytes must follow. */
static inline const uint8_t *past_peer(const uint8_t *at, const uint8_t *end,
                                       const struct kv_bytes *peer, size_t behind)
{
    if (!has(at, end, 2 + peer->length + behind) || at[0] != KV_TAG_SMALL_ATOM_UTF8 ||
        at[1] != peer->length || !kv_same(at + 2, peer->data, peer->length)) {
        return NULL;
    }
    return at + 2 + peer->length;
}

/* Like past_peer(), for any name in ASCII. Other names need the validator. */
static inline const uint8_t *past_node(const uint8_t *at, const uint8_t *end, size_t behind)
{
    if (!has(at, end, 2) || at[0] != KV_TAG_SMALL_ATOM_UTF8 || !has(at, end, 2 + at[1] + behind) ||
        !kv_is_ascii(at + 2, at[1])) {
        return NULL;
    }
    return at + 2 + at[1];
}

static inline const uint8_t *take_numbers(const uint8_t *at, struct kv_pid *pid)
{
    pid->id = kv_get32(at);
    pid->serial = kv_get32(at + 4);
    pid->creation = kv_get32(at + 8);
    return at + NUMBERS;
}

/* The pid borrows the peer's name from the connection instead of the frame. Later comparisons of
 * node names then end at equal pointers. */
static inline const uint8_t *take_peer_pid(const uint8_t *at, const uint8_t *end,
                                           const struct kv_bytes *peer, struct kv_pid *pid)
{
    const uint8_t *numbers =
        has(at, end, 1) && *at == KV_TAG_NEW_PID ? past_peer(at + 1, end, peer, NUMBERS) : NULL;
    if (numbers == NULL) {
        return NULL;
    }
    pid->node = *peer;
    return take_numbers(numbers, pid);
}

static inline const uint8_t *take_pid(const uint8_t *at, const uint8_t *end, struct kv_pid *pid)
{
    const uint8_t *numbers =
        has(at, end, 1) && *at == KV_TAG_NEW_PID ? past_node(at + 1, end, NUMBERS) : NULL;
    if (numbers == NULL) {
        return NULL;
    }
    pid->node = kv_bytes(at + 3, at[2]);
    return take_numbers(numbers, pid);
}

/* The payload must be one term that ends with the frame. */
static bool take_payload(const uint8_t *at, const uint8_t *end, const struct kv_term_limits *limits,
                         struct kv_signal *signal)
{
    size_t length = 0;
    signal->kind = KV_SIGNAL_MESSAGE;
    signal->payload[0] = kv_bytes(at, (size_t)(end - at));
    signal->payload_parts = 1;
    return kv_term_validate(signal->payload[0], limits, &length) == KV_OK &&
           length == (size_t)(end - at);
}

/* The empty atom that SEND has instead of a sender. */
static inline const uint8_t *take_nobody(const uint8_t *at, const uint8_t *end, struct kv_pid *pid)
{
    *pid = (struct kv_pid){.id = 0};
    return has(at, end, 2) && at[0] == KV_TAG_SMALL_ATOM_UTF8 && at[1] == 0 ? at + 2 : NULL;
}

bool kv_quick_decode(struct kv_bytes frame, const struct kv_term_limits *limits,
                     struct kv_bytes peer, struct kv_signal *signal, int *opcode)
{
    static const uint8_t head[] = {KV_TERM_VERSION, KV_FRAME_WHOLE, 0, KV_TAG_SMALL_TUPLE};
    const uint8_t *at = frame.data;
    const uint8_t *end = at + frame.length;
    if (frame.length < START || kv_load32(at) != kv_load32(head) || at[4] != 3 ||
        at[5] != KV_TAG_SMALL_INTEGER || (at[6] != KV_DOP_SEND_SENDER && at[6] != KV_DOP_SEND)) {
        return false;
    }
    *opcode = at[6];
    signal->by_name = false;
    signal->name = kv_bytes(NULL, 0);
    at = *opcode == KV_DOP_SEND ? take_nobody(at + START, end, &signal->from)
                                : take_peer_pid(at + START, end, &peer, &signal->from);
    at = at == NULL ? NULL : take_pid(at, end, &signal->to);
    return at != NULL && take_payload(at, end, limits, signal);
}

/* ---- writing --------------------------------------------------------------------------------- */

static inline uint8_t *put(uint8_t *at, struct kv_bytes bytes)
{
    kv_copy_any(at, bytes.data, bytes.length);
    return at + bytes.length;
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
    return put(at, node);
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
    *at++ = !alias ? KV_DOP_SEND_SENDER : altact ? KV_DOP_ALTACT_SIG_SEND : KV_DOP_ALIAS_SEND;
    if (altact) {
        *at++ = KV_TAG_SMALL_INTEGER;
        *at++ = KV_ALTACT_ALIAS;
    }
    at = put_pid(at, &signal->from);
    return alias ? put_ref(at, &signal->ref) : put_pid(at, &signal->to);
}

/* Returns true if the signal has one of the three forms above under `flags`. */
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

bool kv_quick_encode(const struct kv_signal *signal, uint64_t flags, size_t payload,
                     struct kv_buffer *to)
{
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
        at = put(at, signal->payload[i]);
    }
    kv_set32(start, (uint32_t)(at - start - KV_FRAME_HEADER));
    to->length += (size_t)(at - start);
    return true;
}
