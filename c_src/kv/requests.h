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

/* Which operations may run at once: all that may, or those that change nothing. */
enum kv_at_once { KV_AT_ONCE_ALL, KV_AT_ONCE_READS };

/* Runs a request for handle_at_once. */
bool kv_request_at_once(struct kv_process *self, const struct kv_dispatch *dispatch,
                        enum kv_at_once which, struct kv_bytes request, size_t room,
                        struct kv_bytes answer[2]);

/* Returns the operation of a request, or NULL if the door leads to none, and puts its arguments
 * into `arguments`. */
const struct kv_operation *kv_request_find(const struct kv_dispatch *dispatch,
                                           struct kv_bytes request, enum kv_door door,
                                           struct kv_bytes arguments[KV_ARGUMENTS_MAX]);

#endif
