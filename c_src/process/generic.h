/* The generic part of a process takes messages apart and calls the behaviour.
 *
 * server/ does what gen_server does. plain.c serves the behaviours that are `plain`: it hands each
 * message over as it is. */
#ifndef KV_PROCESS_GENERIC_H
#define KV_PROCESS_GENERIC_H

#include "process/inspect.h"
#include "term/call_shape.h"

enum kv_progress { KV_TURN_DONE, KV_TURN_WAITS, KV_TURN_MORE };

struct kv_generic {
    size_t size; /* zeroed bytes that every process of the runtime gets, plain ones too */
    /* Sets these bytes up. Called before init. */
    void (*created)(struct kv_process *process);
    /* Hands a message to a process and settles the process, which may be gone on return. */
    void (*message)(struct kv_process *process, const struct kv_signal *signal,
                    enum kv_call_shape shape);
    /* Makes messages wait until `turn` has handled all that wait. May be called again. NULL: no
     * message can wait. */
    void (*wait)(struct kv_process *process);
    /* Called for a message to a dead process, or to a name that no process has. */
    void (*undelivered)(struct kv_runtime *runtime, const struct kv_signal *signal);
    /* Called for a message over a limit. Its payload is only the beginning of the message, and not
     * validated. `process` is NULL if it is dead. Sets *told if somebody has heard of the refusal,
     * or nobody needs to. KV_OK, or an error if the connection must be closed. */
    int (*refused)(struct kv_runtime *runtime, struct kv_process *process,
                   const struct kv_signal *signal, struct kv_bytes why, bool *told);
    /* Handles the message that has waited longest, and subtracts its bytes from *budget. Called
     * only for processes that asked for turns with kv_process_want_turns(); NULL if none does. The
     * process may be gone on return. WAITS: the node of the next caller must read first. DONE: no
     * message waits that can be handled. */
    enum kv_progress (*turn)(struct kv_process *process, size_t *budget);
    /* Called when the process ends with `reason`, after its links and monitors have been told. */
    void (*died)(struct kv_process *process, struct kv_bytes reason);
    /* Frees what these bytes own. */
    void (*freed)(struct kv_process *process);
    /* Sets info->queue and info->suspended. */
    void (*inspect)(const struct kv_process *process, struct kv_process_info *info);
};

/* Makes kv_runtime_step() call `turn` for the process from now on, or stops that. */
void kv_process_want_turns(struct kv_process *process, bool wanted);

/* Passes each message to handle_info unchanged. Nothing waits, and nothing is answered. */
extern const struct kv_generic kv_plain;

#endif
