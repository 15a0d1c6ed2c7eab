/* Frames to signals and back: the one door to the two directions of a connection.
 *
 * A call and its answer have shapes (wire/shapes.h), almost every other message is written in one
 * way (wire/quick.h), and all control messages are in a table (wire/control.h). The codec tries
 * them in this order. The first two are short cuts: they accept or produce only what the third
 * would, byte for byte. */
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

/* flags: those both sides have. limits: of the frames of the peer. The names of this node and of
 * the peer are borrowed for as long as the codec is used: signals that kv_codec_decode() returns
 * borrow them. */
void kv_codec_init(struct kv_codec *codec, uint64_t flags, const struct kv_term_limits *limits,
                   struct kv_bytes self, struct kv_bytes peer);

/* Turns the content of one frame into a signal that borrows from the frame and from the codec.
 * Results and conditions are those of kv_control_decode(). */
int kv_codec_decode(const struct kv_codec *codec, struct kv_bytes frame,
                    struct kv_incoming *incoming, int *opcode);

/* Reads the beginning of a refused message: kv_control_decode_refused(). */
int kv_codec_decode_refused(const struct kv_codec *codec, struct kv_bytes head, bool cut,
                            struct kv_signal *signal, int *opcode, bool *known);

/* Appends the frame of a signal, with its length. `payload` is kv_signal_payload_length() of the
 * signal. Returns false if the peer has no form for the signal: nothing is appended then. */
bool kv_codec_encode(const struct kv_codec *codec, const struct kv_signal *signal, size_t payload,
                     struct kv_buffer *to);

#endif
