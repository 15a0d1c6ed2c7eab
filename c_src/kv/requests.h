/* The doors: requests as they come, taken apart, led to an operation, and answered. */
#ifndef KV_REQUESTS_H
#define KV_REQUESTS_H

#include "kv/operation.h"

/* A call: answers what the operation answers, unless it has parked; {error, {bad_request, Request}}
 * if there is none by that door. */
void kv_request_call(struct kv_process *self, const struct kv_dispatch *dispatch,
                     const struct kv_from *from, struct kv_bytes request);

/* A cast. False: there is no such operation by that door, or it did not do what it says. */
bool kv_request_cast(struct kv_process *self, const struct kv_dispatch *dispatch,
                     struct kv_bytes request);

#endif
