/* The messages of the Erlang port mapper daemon (EPMD), without a socket.
 *
 * OTP: erts/epmd/src/epmd_srv.c do_request(), lib/kernel/src/erl_epmd.erl. */
#ifndef KV_WIRE_EPMD_H
#define KV_WIRE_EPMD_H

#include <kv/buffer.h>
#include <kv/bytes.h>
#include <kv/error.h>

enum { KV_EPMD_PORT = 4369 };

/* Appends ALIVE2_REQ: a hidden node `alive` (the part of its name before the '@') listens on
 * `port`. */
void kv_epmd_alive_request(struct kv_buffer *to, struct kv_bytes alive, uint16_t port);

/* Reads ALIVE2_X_RESP or ALIVE2_RESP from the front of `input`. Returns KV_OK and sets *creation.
 * Errors: KV_ETRUNCATED if more bytes are needed, KV_EEXIST if EPMD refuses the name, KV_EPROTOCOL
 * for any other message. */
int kv_epmd_alive_response(struct kv_bytes input, uint32_t *creation);

/* Appends PORT_PLEASE2_REQ: asks for the port of `alive`. */
void kv_epmd_port_request(struct kv_buffer *to, struct kv_bytes alive);

/* Reads PORT2_RESP, the port of which is not looked at. Returns KV_OK: EPMD knows the name;
 * KV_ENOENT: it does not; KV_ETRUNCATED: more bytes are needed; KV_EPROTOCOL: any other message. */
int kv_epmd_port_response(struct kv_bytes input);

#endif
