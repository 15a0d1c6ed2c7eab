/* Control messages: the form of signals on the wire.
 *
 * OTP: erts/emulator/beam/dist.h, enum dop; dist.c, erts_net_message() for the forms that a BEAM
 * accepts and erts_dsig_send_*() for those that it sends. */
#ifndef KV_WIRE_CONTROL_H
#define KV_WIRE_CONTROL_H

#include "wire/handshake.h"

#include <kv/buffer.h>
#include <kv/signal.h>
#include <kv/term.h>

/* Turns the content of one frame into a signal, which borrows from the frame and from `peer`. The
 * frame must hold a whole message: not a tick, not a fragment. `flags` are those that both sides
 * have; KV_DFLAG_FRAGMENTS among them decides which of the two forms of wire/frame.h the frame must
 * have. `peer` is the node name of the sender: as in OTP, LINK, UNLINK_ID, UNLINK_ID_ACK, EXIT,
 * EXIT2, MONITOR_P and DEMONITOR_P must come from a process of that node. This node demands it of
 * SPAWN_REQUEST, too. Traced (TT) forms are read like the plain ones. UNLINK (4) becomes an
 * UNLINK_ID with id 0, which needs no answer.
 *
 * Returns KV_OK. Or an error for which kv_is_refusal() is true: the message must be refused, and
 * kv_control_decode_refused() tells whom to inform. Or an error after which the connection must be
 * closed: the other errors of kv_term_validate(), KV_EOPCODE, KV_EPROTOCOL (wrong form or shape).
 * *opcode, for the log line, is -1 until it is known. Fields that the kind of the signal does not
 * use may hold anything. */
int kv_control_decode(struct kv_bytes frame, uint64_t flags, const struct kv_term_limits *limits,
                      struct kv_bytes peer, struct kv_signal *signal, int *opcode);

/* Finds the payload of a frame as for kv_control_decode(), without validating it; empty: there is
 * none. KV_OK, or the error of kv_control_decode(). */
int kv_control_find_payload(struct kv_bytes frame, uint64_t flags,
                            const struct kv_term_limits *limits, struct kv_bytes *payload);

/* The result of validating a payload. */
struct kv_verdict {
    int error;
    size_t length; /* of the term, if it is valid */
};

/* As kv_control_decode(), for a frame whose payload has been validated. */
int kv_control_decode_validated(struct kv_bytes frame, uint64_t flags,
                                const struct kv_term_limits *limits, struct kv_bytes peer,
                                const struct kv_verdict *verdict, struct kv_signal *signal,
                                int *opcode);

/* Decodes a message that is refused (kv_is_refusal()), as far as is needed to inform the processes
 * concerned. `head` is a frame as for kv_control_decode(), or the beginning of one; cut: more bytes
 * followed. The control message must lie in `head`. If the control message itself is refused, its
 * fields in front of the refused one count. `limits` are those of kv_control_decode(); the limit on
 * size does not apply.
 *
 * Returns KV_OK and sets *known. True: the signal is the one of kv_control_decode(), with two
 * exceptions. payload[0] holds the part of the payload that is there, not validated. And if the
 * control message was refused, there is no payload: EXIT, EXIT_LINK and DOWN lack the reason, and
 * SPAWN_REQUEST has nothing but ref and from. False: nobody can be informed.
 * Or returns an error of kv_control_decode() after which the connection must be closed. */
int kv_control_decode_refused(struct kv_bytes head, bool cut, uint64_t flags,
                              const struct kv_term_limits *limits, struct kv_bytes peer,
                              struct kv_signal *signal, int *opcode, bool *known);

/* Appends the frame of a signal, with its length, for a peer with which `flags` are common. If the
 * peer lacks the flag of a form, writes the older form. Returns false, and appends nothing, if
 * there is no older form, or if the terms do not fit a frame, whose length has 32 bits. */
bool kv_control_encode(const struct kv_signal *signal, uint64_t flags, struct kv_buffer *to);

/* Appends only the control term and the payload, for fragments. Returns the length of the control
 * term. Returns 0, and appends nothing, if kv_control_encode() would return false or if the signal
 * has no payload in this form. */
size_t kv_control_encode_terms(const struct kv_signal *signal, uint64_t flags,
                               struct kv_buffer *to);

#endif
