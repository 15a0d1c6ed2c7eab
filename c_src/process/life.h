/* How processes begin and end. */
#ifndef KV_PROCESS_LIFE_H
#define KV_PROCESS_LIFE_H

#include <kv/process.h>

struct kv_peer;

/* A process whose init has not run. Never NULL. */
struct kv_process *kv_process_create(struct kv_runtime *runtime,
                                     const struct kv_behaviour *behaviour);

/* Runs init. False: it failed, the reason is appended to `reason`, and the process is gone. */
bool kv_process_initialise(struct kv_process *process, struct kv_bytes options,
                           struct kv_buffer *reason);

/* Ends a process with `reason`, whether or not it traps exits. */
void kv_process_kill(struct kv_process *process, struct kv_bytes reason);

/* Applies an exit signal: a process that traps exits hears of it, another dies unless the reason is
 * `normal`. The process may be gone when it returns. */
void kv_process_exit_signal(struct kv_process *process, const struct kv_pid *from,
                            struct kv_bytes reason);
void kv_exit_received(struct kv_peer *peer, const struct kv_signal *signal);

/* Ends a process whose callback asked for it. Must be called after every callback; the process may
 * be gone when it returns. */
void kv_process_settle(struct kv_process *process);

/* Frees a process that is in no list and no map any more. */
void kv_process_free(struct kv_process *process);

#endif
