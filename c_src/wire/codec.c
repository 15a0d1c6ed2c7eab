#include "wire/codec.h"

#include "wire/control.h"
#include "wire/handshake.h"
#include "wire/quick.h"

void kv_codec_init(struct kv_codec *codec, uint64_t flags, const struct kv_term_limits *limits,
                   struct kv_bytes self, struct kv_bytes peer)
{
    codec->flags = flags;
    codec->limits = *limits;
    kv_shapes_init(&codec->shapes, flags, self, peer);
}

int kv_codec_decode(const struct kv_codec *codec, struct kv_bytes frame,
                    struct kv_incoming *incoming, int *opcode)
{
    struct kv_signal *signal = &incoming->signal;
    struct kv_bytes peer = codec->shapes.peer;
    if (kv_shapes_decode(&codec->shapes, frame, &codec->limits, incoming, opcode)) {
        return KV_OK;
    }
    incoming->call = KV_CALL_UNKNOWN;
    if ((codec->flags & KV_DFLAG_FRAGMENTS) != 0 &&
        kv_quick_decode(frame, &codec->limits, peer, signal, opcode)) {
        return KV_OK;
    }
    return kv_control_decode(frame, codec->flags, &codec->limits, peer, signal, opcode);
}

int kv_codec_decode_refused(const struct kv_codec *codec, struct kv_bytes head, bool cut,
                            struct kv_signal *signal, int *opcode, bool *known)
{
    return kv_control_decode_refused(head, cut, codec->flags, &codec->limits, codec->shapes.peer,
                                     signal, opcode, known);
}

bool kv_codec_encode(const struct kv_codec *codec, const struct kv_signal *signal, size_t payload,
                     struct kv_buffer *to)
{
    return kv_shapes_encode(&codec->shapes, signal, payload, to) ||
           kv_quick_encode(signal, codec->flags, payload, to) ||
           kv_control_encode(signal, codec->flags, to);
}
