/* Messages of a peer that are over a limit, or hold a term that not every node can read. */
#ifndef KV_NET_REFUSED_H
#define KV_NET_REFUSED_H

#include "net/connection.h"

enum { KV_DROPPED_LOG_MS = 10000 }; /* between two log lines about messages that were dropped */

/* Answers a message that is not taken because of `why` (kv_is_refusal()): the processes concerned
 * are told, or a log line if nobody can be told. `head` is the beginning of the message, as a
 * frame; `length` is the length of the whole message. Returns KV_OK, or an error for which the
 * connection must be closed. *opcode becomes that of the control message, if it can be read. */
int kv_connection_refuse(struct kv_connection *connection, struct kv_bytes head, uint64_t length,
                         int why, int *opcode);

#endif
