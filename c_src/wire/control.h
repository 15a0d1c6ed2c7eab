/* Control messages: signals as they are on the wire.
 *
 * OTP: erts/emulator/beam/dist.h, enum dop; dist.c, erts_net_message() for what is accepted and
 * erts_dsig_send_*() for what is sent. */
#ifndef KV_WIRE_CONTROL_H
#define KV_WIRE_CONTROL_H

#include "wire/handshake.h"

#include <kv/buffer.h>
#include <kv/signal.h>
#include <kv/term.h>

/* Turns the content of one frame that holds a whole message (not a tick, not a fragment) into a
 * signal that borrows from it, and from `peer`. `flags` are those that both sides have:
 * KV_DFLAG_FRAGMENTS among them decides which of the two forms of wire/frame.h it must have. `peer`
 * is the node name of the sender: OTP demands that the sender of LINK, UNLINK_ID, UNLINK_ID_ACK,
 * EXIT, EXIT2, MONITOR_P and DEMONITOR_P is a process of that node, and so do we, also for
 * SPAWN_REQUEST. The traced (TT) forms are taken as the plain ones, and UNLINK (4) as an UNLINK_ID
 * with id 0, which needs no answer.
 *
 * KV_OK; an error of kv_is_refusal(): the message is to be refused, and kv_control_decode_refused()
 * says to whom that is told; or what makes the connection unusable: the other errors of
 * kv_term_validate(), KV_EOPCODE, KV_EPROTOCOL (wrong form or shape). *opcode is set as soon as it
 * is known, else -1, for the log line. Fields that the kind of the signal has no use for may keep
 * what they held. */
int kv_control_decode(struct kv_bytes frame, uint64_t flags, const struct kv_term_limits *limits,
                      struct kv_bytes peer, struct kv_signal *signal, int *opcode);

/* Reads of a message that is refused (kv_is_refusal()) what is needed to tell those whom it
 * concerns. `head` is the beginning of a frame as kv_control_decode() takes it, or all of it: `cut`
 * says that more came behind. The control message must lie in it; of one that is refused itself the
 * fields count that come before that. `limits` are those of kv_control_decode(), but for the size.
 *
 * KV_OK; *known: the signal is as kv_control_decode() makes it, except that payload[0] of a kind
 * with a payload is only what is there of it, and was not validated. A signal whose control message
 * is refused has no payload: EXIT, EXIT_LINK and DOWN without their reason, and SPAWN_REQUEST with
 * nothing but ref and from. Not known: nobody can be told.
 * Or, as kv_control_decode() answers, what makes the connection unusable. */
int kv_control_decode_refused(struct kv_bytes head, bool cut, uint64_t flags,
                              const struct kv_term_limits *limits, struct kv_bytes peer,
                              struct kv_signal *signal, int *opcode, bool *known);

/* Appends the frame, with its length, that carries a signal to a peer with which `flags` are
 * common. Signals that need a flag the peer has not got are turned into their older form. Returns
 * false, and appends nothing, for one that has none, and for one whose terms no frame can hold,
 * since its length has 32 bits. */
bool kv_control_encode(const struct kv_signal *signal, uint64_t flags, struct kv_buffer *to);

/* Appends the control term and the payload alone, for fragments, and answers how long the control
 * term is. 0, and nothing is appended, when the signal is dropped or has no payload in this form:
 * then kv_control_encode() knows what to do. */
size_t kv_control_encode_terms(const struct kv_signal *signal, uint64_t flags,
                               struct kv_buffer *to);

#endif
