/* System messages, as sys sends them. */
#ifndef KV_SERVER_SYSTEM_H
#define KV_SERVER_SYSTEM_H

#include <kv/process.h>

/* Handles the Request of {system, From, Request} and answers it. */
void kv_system_message(struct kv_process *self, const struct kv_from *from,
                       struct kv_bytes request);

#endif
