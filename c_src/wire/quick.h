/* Messages, in the one shape in which a BEAM writes them, read and written without a look at each
 * term's tag. Whatever differs from that shape by a byte, right or wrong, is left to
 * wire/control.c, which must say the same of these. What a call is made of is known by its shape
 * before (wire/shapes.h). */
#ifndef KV_WIRE_QUICK_H
#define KV_WIRE_QUICK_H

#include <kv/buffer.h>
#include <kv/signal.h>
#include <kv/term.h>

/* Reads SEND_SENDER and SEND from a frame of a connection with KV_DFLAG_FRAGMENTS, under the rules
 * of kv_control_decode(). False: it is something else, or there is something wrong with it; signal
 * and opcode are garbage then. */
bool kv_quick_decode(struct kv_bytes frame, const struct kv_term_limits *limits,
                     struct kv_bytes peer, struct kv_signal *signal, int *opcode);

/* Appends the frame of a message to a pid or to an alias, for a connection with
 * KV_DFLAG_FRAGMENTS and KV_DFLAG_SEND_SENDER, under the rules of kv_control_encode(); `payload` is
 * how many bytes its parts have. False: it is something else, and nothing was appended. */
bool kv_quick_encode(const struct kv_signal *signal, uint64_t flags, size_t payload,
                     struct kv_buffer *to);

#endif
