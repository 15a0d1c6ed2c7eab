/* ALTACT_SIG_SEND (37), the control message of OTP 28 whose form its flags decide:
 *
 *     {37, Flags, From, To}    {37, Flags, From, To, Token}    and a payload
 *
 * Flags say whether To is a pid, an alias or a name, and whether the payload is a message or the
 * reason of an exit signal. Flags of later versions, and elements behind the last, are ignored.
 * That a message is one of priority says nothing to a process here: it takes its messages as they
 * come. OTP: erts/emulator/beam/dist.h, ERTS_DOP_ALTACT_SIG_FLG_*; dist.c, erts_net_message(). */
#ifndef KV_WIRE_ALTACT_H
#define KV_WIRE_ALTACT_H

#include <kv/signal.h>

/* Reads what is behind the opcode of a tuple of `arity` elements into a signal: a MESSAGE,
 * MESSAGE_NAME or MESSAGE_ALIAS; an EXIT, by name perhaps; or an EXIT_ALIAS. KV_OK, KV_EPROTOCOL.
 */
int kv_altact_read(struct kv_reader *reader, uint32_t arity, struct kv_signal *signal);

/* The elements of such a signal behind the opcode. */
enum { KV_ALTACT_ELEMENTS = 3 };
void kv_altact_write(const struct kv_signal *signal, struct kv_buffer *to);

#endif
