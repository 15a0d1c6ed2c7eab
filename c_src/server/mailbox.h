/* Messages that wait while a process is suspended, while a request goes on over several turns, or
 * while processes of this node send one another too many.
 *
 * While a request goes on, all messages wait, and so they do behind one of too many. While the
 * process is suspended, all wait but those of sys. Later it handles them in turns, so that answers
 * can leave meanwhile; newer messages queue up behind them. The order is that of arrival, as in a
 * mailbox. A process that is suspended again goes on with the messages of sys, even past older
 * ones. */
#ifndef KV_SERVER_MAILBOX_H
#define KV_SERVER_MAILBOX_H

#include "process/queue.h"

/* Keeps a message: a copy, or the memory of a long one. `system`: the message is one of sys. */
void kv_mailbox_keep(struct kv_process *process, struct kv_bytes message, bool system);

/* Returns the message to handle next, or NULL. */
struct kv_kept *kv_mailbox_next(const struct kv_process *process);

/* Takes a message out of the mailbox. The caller frees it. */
void kv_mailbox_take(struct kv_process *process, struct kv_kept *kept);

/* Makes messages wait from now on, but for those of sys. */
void kv_mailbox_suspend(struct kv_process *process);

/* Makes a process handle what waited, in turns of kv_runtime_step(). */
void kv_mailbox_resume(struct kv_process *process);

/* Makes messages wait until all that wait have been handled, in turns of kv_runtime_step(). Does
 * nothing if messages wait already. */
void kv_mailbox_wait(struct kv_process *process);

/* Called when no message waits that can be handled. */
void kv_mailbox_rest(struct kv_process *process);

/* Frees the messages. */
void kv_mailbox_free(struct kv_process *process);

#endif
