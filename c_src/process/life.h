/* How processes begin and end. */
#ifndef KV_PROCESS_LIFE_H
#define KV_PROCESS_LIFE_H

#include <kv/process.h>

struct kv_peer;

/* Returns a process whose init has not run yet. Never NULL. */
struct kv_process *kv_process_create(struct kv_runtime *runtime,
                                     const struct kv_behaviour *behaviour);

/* Runs init. Returns false if init failed: its reason is appended to `reason`, and the process is
 * gone. */
bool kv_process_initialise(struct kv_process *process, struct kv_bytes options,
                           struct kv_buffer *reason);

/* Ends a process with `reason`, even one that traps exits. */
void kv_process_kill(struct kv_process *process, struct kv_bytes reason);

/* Applies an exit signal. A process that traps exits gets it in handle_exit; another process dies,
 * unless the reason is `normal`. The process may be gone on return. */
void kv_process_exit_signal(struct kv_process *process, const struct kv_pid *from,
                            struct kv_bytes reason);
void kv_exit_received(struct kv_peer *peer, const struct kv_signal *signal);

/* Ends a process whose callback asked for that. Must be called after every callback. The process
 * may be gone on return. */
void kv_process_settle(struct kv_process *process);

/* Does a piece of the end of a process that ends in pieces. Returns true if there is more. */
bool kv_leaving_step(struct kv_runtime *runtime);

/* Frees the processes that end in pieces. */
void kv_leaving_free(struct kv_runtime *runtime);

/* Frees a process that no list and no map of the runtime has any more. */
void kv_process_free(struct kv_process *process);

#endif
