/* The doors for calls and casts: take a request apart, run its operation, send the answer. */
#ifndef KV_REQUESTS_H
#define KV_REQUESTS_H

#include "kv/operation.h"

/* Runs a call and sends the answer, unless the operation has parked it. Answers {error,
 * {bad_request, Request}} if no operation takes such a call. */
void kv_request_call(struct kv_process *self, const struct kv_dispatch *dispatch,
                     const struct kv_from *from, struct kv_bytes request);

/* Sends the answer of an operation that a call has run, unless it was parked. `result` is that of
 * the operation. */
void kv_request_answer(struct kv_process *self, const struct kv_from *from, struct kv_bytes request,
                       int result, struct kv_answer *answer);

/* Runs a cast and drops the answer. Returns false if no operation takes such a cast, or if the
 * operation was not done. */
bool kv_request_cast(struct kv_process *self, const struct kv_dispatch *dispatch,
                     struct kv_bytes request);

/* Returns the operation of a request, or NULL if the door leads to none, and puts its arguments
 * into `arguments`. */
const struct kv_operation *kv_request_find(const struct kv_dispatch *dispatch,
                                           struct kv_bytes request, enum kv_door door,
                                           struct kv_bytes arguments[KV_ARGUMENTS_MAX]);

#endif
