/* Short cut for messages in the one encoding that a BEAM writes: no look at the tag of each term.
 *
 * A frame or signal that differs from this encoding, right or wrong, is left to wire/control.c,
 * which must produce the same result for all that is accepted here. The frames of calls are
 * recognized before (wire/shapes.h). */
#ifndef KV_WIRE_QUICK_H
#define KV_WIRE_QUICK_H

#include <kv/buffer.h>
#include <kv/signal.h>
#include <kv/term.h>

/* Decodes SEND_SENDER and SEND from a frame of a connection with KV_DFLAG_FRAGMENTS, under the
 * rules of kv_control_decode(). Returns false for any other frame and for a malformed one; signal
 * and opcode then hold garbage. */
bool kv_quick_decode(struct kv_bytes frame, const struct kv_term_limits *limits,
                     struct kv_bytes peer, struct kv_signal *signal, int *opcode);

/* Appends the frame of a message to a pid or an alias, for a connection with KV_DFLAG_FRAGMENTS and
 * KV_DFLAG_SEND_SENDER, under the rules of kv_control_encode(). payload:
 * kv_signal_payload_length(signal). Returns false, and appends nothing, for any other signal. */
bool kv_quick_encode(const struct kv_signal *signal, uint64_t flags, size_t payload,
                     struct kv_buffer *to);

#endif
