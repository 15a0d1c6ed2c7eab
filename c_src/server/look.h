/* The status of a process and its last requests, for tools. Not for plain processes. */
#ifndef KV_SERVER_LOOK_H
#define KV_SERVER_LOOK_H

#include <kv/process.h>

/* Additions to the answer of sys:get_status/1 for a viewer. */
struct kv_shown {
    struct kv_bytes state;    /* a term instead of the whole state; of length 0: the whole state */
    struct kv_bytes requests; /* a term: the last requests */
};

/* Appends the answer of sys:get_status/1. `shown` may be NULL. */
void kv_process_write_status(const struct kv_process *self, const struct kv_shown *shown,
                             struct kv_buffer *to);

/* ---- the last requests -----------------------------------------------------------------------*/

/* A remembered message: its kind, the name of the request, and the number of elements behind the
 * name, but not their values. `name` is of length 0 if the request has none. */
struct kv_request {
    const char *kind; /* "call", "cast" or "message" */
    struct kv_bytes name;
    uint32_t elements; /* behind the name */
    uint64_t age;      /* milliseconds */
};

/* Remembers the last few messages to a process from now on. Stops some minutes after the last call.
 * A process that no tool looks at pays nothing. */
void kv_recent_want(struct kv_process *process);

/* Calls `visit` for each remembered message, the latest first. */
void kv_recent_each(const struct kv_process *process,
                    void (*visit)(void *context, const struct kv_request *request), void *context);

#endif
