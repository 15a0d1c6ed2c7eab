/* The generic part of a process: it takes messages apart and calls the behaviour.
 *
 * server/ has the one that does what gen_server does. A behaviour that is `plain` has the one of
 * plain.c, which hands each message over as it is. */
#ifndef KV_PROCESS_GENERIC_H
#define KV_PROCESS_GENERIC_H

#include "process/inspect.h"
#include "term/call_shape.h"

enum kv_progress { KV_TURN_DONE, KV_TURN_WAITS, KV_TURN_MORE };

struct kv_generic {
    size_t size; /* zeroed bytes that each process of the runtime has for it, plain ones too */
    /* Sets these bytes up. Called before init. */
    void (*created)(struct kv_process *process);
    /* Hands a message to a process, and settles it: the process may be gone on return. */
    void (*message)(struct kv_process *process, const struct kv_signal *signal,
                    enum kv_call_shape shape);
    /* A message is for a process that is dead, or for a name that nobody has. */
    void (*undelivered)(struct kv_runtime *runtime, const struct kv_signal *signal);
    /* A message is over a limit: its payload is the beginning of it, not validated. `process` is
     * NULL if it is dead. Sets *told if somebody has heard of it, or nobody needs to. KV_OK, or an
     * error when the connection must be closed. */
    int (*refused)(struct kv_runtime *runtime, struct kv_process *process,
                   const struct kv_signal *signal, struct kv_bytes why, bool *told);
    /* Handles the message that waited longest, and takes its bytes from *budget. WAITS: the node
     * that asks has much to read first. DONE: nothing waits that could be handled. Called only for
     * processes of kv_process_want_turns(). The process may be gone on return. */
    enum kv_progress (*turn)(struct kv_process *process, size_t *budget);
    /* The process ends with `reason`; links and monitors have been told. */
    void (*died)(struct kv_process *process, struct kv_bytes reason);
    /* Frees what these bytes own. */
    void (*freed)(struct kv_process *process);
    /* Sets `queue` and `suspended`. */
    void (*inspect)(const struct kv_process *process, struct kv_process_info *info);
};

/* Has `turn` called by kv_runtime_step(), or no more. */
void kv_process_want_turns(struct kv_process *process, bool wanted);

/* Each message goes to handle_info as it came; nothing waits, nothing is answered. */
extern const struct kv_generic kv_plain;

#endif
