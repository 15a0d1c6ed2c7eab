/* The driver of the handshake: how a stranger becomes a peer. It takes those steps of
 * wire/handshake.h that need to know all connections. */
#ifndef KV_NET_GREETING_H
#define KV_NET_GREETING_H

#include "net/connection.h"

/* Takes the handshake messages that are complete in connection->input. At the end the connection is
 * up, doomed, or waits for more. */
void kv_greeting_continue(struct kv_connection *connection);

#endif
