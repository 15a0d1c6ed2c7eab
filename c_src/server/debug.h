/* The state of sys:log/2 and sys:statistics/2 for one process, and the last requests to it. */
#ifndef KV_SERVER_DEBUG_H
#define KV_SERVER_DEBUG_H

#include "server/state.h"

void kv_debug_init(struct kv_process *process);
void kv_debug_free(struct kv_process *process);
void kv_debug_note_in(struct kv_process *process, struct kv_bytes message);
void kv_debug_note_out(struct kv_process *process, const struct kv_from *to, struct kv_bytes prefix,
                       struct kv_bytes rest);

/* Notes a message. */
static inline void kv_debug_in(struct kv_process *process, struct kv_bytes message)
{
    struct kv_debug *debug = &kv_server_of(process)->debug;
    debug->messages_in++;
    if (debug->recent != NULL || debug->log_limit > 0) {
        kv_debug_note_in(process, message);
    }
}

/* Notes an answer, given in two parts. */
static inline void kv_debug_out(struct kv_process *process, const struct kv_from *to,
                                struct kv_bytes prefix, struct kv_bytes rest)
{
    struct kv_debug *debug = &kv_server_of(process)->debug;
    debug->messages_out++;
    if (debug->log_limit > 0) {
        kv_debug_note_out(process, to, prefix, rest);
    }
}

/* Handles {debug, What} and appends the answer. */
void kv_debug_request(struct kv_process *process, struct kv_bytes what, struct kv_buffer *answer);

/* recent.c. Remembers the shape of a message, if a tool has looked at the process lately. */
void kv_recent_note(struct kv_process *process, struct kv_bytes message);
void kv_recent_free(struct kv_process *process);

#endif
