/* Messages that wait.
 *
 * While a process is suspended all messages but those of sys wait, and after that until those
 * before them are done: a resumed process handles them in turns, so that answers can leave
 * meanwhile. As in a mailbox the order is that of arrival. A process that is suspended again goes
 * on with the messages of sys, whatever is before them. */
#ifndef KV_SERVER_MAILBOX_H
#define KV_SERVER_MAILBOX_H

#include "process/queue.h"

/* Keeps a message; `system`: it is one of sys. */
void kv_mailbox_keep(struct kv_process *process, struct kv_bytes message, bool system);

/* The message to be handled next, or NULL. */
struct kv_kept *kv_mailbox_next(const struct kv_process *process);

/* Takes a message out; the caller frees it. */
void kv_mailbox_take(struct kv_process *process, struct kv_kept *kept);

/* From now on the messages of a process wait, but for those of sys. */
void kv_mailbox_suspend(struct kv_process *process);

/* Lets a process handle what waited, in turns of kv_runtime_step(). */
void kv_mailbox_resume(struct kv_process *process);

/* Nothing waits any more that could be handled. */
void kv_mailbox_rest(struct kv_process *process);

/* Frees the messages. */
void kv_mailbox_free(struct kv_process *process);

#endif
