/* Calls of callers that share memory with the node. They enter where the message of a $kv_call
 * does, and overtake nothing that has arrived. */
#ifndef KV_SERVER_AT_ONCE_H
#define KV_SERVER_AT_ONCE_H

#include "process/runtime.h"

/* Lets the process with the numbers of that pid answer a call, as handle_at_once of its behaviour
 * says. Returns false if the call must come as a message: there is no such process, or it does not
 * take such calls, is suspended, is watched by sys or a tool, is ending or has messages that wait.
 * Must not be called while the runtime handles a signal. */
bool kv_server_at_once(struct kv_runtime *runtime, uint32_t id, uint32_t serial,
                       struct kv_bytes request, size_t room, struct kv_bytes answer[2]);

#endif
