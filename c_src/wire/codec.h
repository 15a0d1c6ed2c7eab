/* The codec of a connection: turns frames into signals and signals into frames.
 *
 * wire/control.h knows every control message, from a table. Two short cuts are tried before it, in
 * both directions: wire/shapes.h for calls and their answers, then wire/quick.h for messages in
 * their usual encoding. A short cut only accepts a frame or signal for which wire/control.h would
 * give the same result, byte for byte. */
#ifndef KV_WIRE_CODEC_H
#define KV_WIRE_CODEC_H

#include "wire/shapes.h"

#include <kv/buffer.h>
#include <kv/signal.h>
#include <kv/term.h>

struct kv_codec {
    uint64_t flags;
    struct kv_term_limits limits;
    struct kv_shapes shapes;
};

/* flags: those that both sides have. limits: for terms of the peer. The codec borrows the names of
 * this node and of the peer, and so do the signals that it decodes. */
void kv_codec_init(struct kv_codec *codec, uint64_t flags, const struct kv_term_limits *limits,
                   struct kv_bytes self, struct kv_bytes peer);

/* Turns the content of one frame into a signal, which borrows from the frame and the codec. For
 * conditions and results see kv_control_decode(). */
int kv_codec_decode(const struct kv_codec *codec, struct kv_bytes frame,
                    struct kv_incoming *incoming, int *opcode);

/* Decodes the beginning of a refused message: kv_control_decode_refused(). */
int kv_codec_decode_refused(const struct kv_codec *codec, struct kv_bytes head, bool cut,
                            struct kv_signal *signal, int *opcode, bool *known);

/* Appends the frame of a signal, with its length. payload: kv_signal_payload_length(signal).
 * Returns false, and appends nothing, if the signal has no form that the peer knows or that fits a
 * frame. */
bool kv_codec_encode(const struct kv_codec *codec, const struct kv_signal *signal, size_t payload,
                     struct kv_buffer *to);

#endif
