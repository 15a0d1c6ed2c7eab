/* ALTACT_SIG_SEND (37), a control message of OTP 28. Its flags decide its form:
 *
 *     {37, Flags, From, To}    {37, Flags, From, To, Token}    and a payload
 *
 * The flags tell if To is a pid, an alias or a name, and if the payload is a message or the reason
 * of an exit signal. Unknown flags and further elements are ignored. So is the flag for
 * priority: processes of this node handle messages in order of arrival. OTP:
 * erts/emulator/beam/dist.h, ERTS_DOP_ALTACT_SIG_FLG_*; dist.c, erts_net_message(). */
#ifndef KV_WIRE_ALTACT_H
#define KV_WIRE_ALTACT_H

#include <kv/signal.h>

/* Reads the elements behind the opcode of a tuple of `arity` elements into a signal: a MESSAGE,
 * MESSAGE_NAME, MESSAGE_ALIAS, EXIT (perhaps by name) or EXIT_ALIAS. Returns KV_OK or KV_EPROTOCOL.
 */
int kv_altact_read(struct kv_reader *reader, uint32_t arity, struct kv_signal *signal);

enum { KV_ALTACT_ELEMENTS = 3 }; /* behind the opcode, as this node writes them */

/* Appends the elements behind the opcode. */
void kv_altact_write(const struct kv_signal *signal, struct kv_buffer *to);

#endif
