/* Looking at what the generic part knows of a process: status, and the last requests. All of it is
 * for processes that are not plain. */
#ifndef KV_SERVER_LOOK_H
#define KV_SERVER_LOOK_H

#include <kv/process.h>

/* What a viewer is shown of a process beside what sys:get_status/1 answers. */
struct kv_shown {
    struct kv_bytes state;    /* a term in place of the whole state, unless it is of length 0 */
    struct kv_bytes requests; /* a term: the last ones */
};

/* Appends what sys:get_status/1 answers; `shown` may be NULL. */
void kv_process_write_status(const struct kv_process *self, const struct kv_shown *shown,
                             struct kv_buffer *to);

/* ---- the last requests -----------------------------------------------------------------------*/

/* A message as it is remembered: what kind it was, and the name and number of elements of the
 * request, without what they hold. `name` is of length 0 when the request has none. */
struct kv_request {
    const char *kind; /* "call", "cast" or "message" */
    struct kv_bytes name;
    uint32_t elements; /* behind the name */
    uint64_t age;      /* milliseconds */
};

/* Has the last few messages to a process remembered from now on. Nothing is remembered of a process
 * that nobody asks about, and nothing any more some minutes after it was last asked. */
void kv_recent_want(struct kv_process *process);

/* Calls `visit` for each that is remembered, the latest first. */
void kv_recent_each(const struct kv_process *process,
                    void (*visit)(void *context, const struct kv_request *request), void *context);

#endif
