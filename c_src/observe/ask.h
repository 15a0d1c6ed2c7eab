/* gen_server:call/2,3 and their kin, called by name: the process of the call asks another process,
 * and its value is the answer. */
#ifndef KV_OBSERVE_ASK_H
#define KV_OBSERVE_ASK_H

#include "observe/survey.h"

enum { KV_ASK_TIMER = 1 }; /* the tag of the timer of a question */

/* Reads the process to ask: a pid, Name or {Name, Node} of this node. A name that no process has
 * becomes a pid that no process has. KV_ETYPE: another term, or another node. */
int kv_ask_read_server(struct kv_reader *arguments, const struct kv_process *self,
                       struct kv_pid *pid);

/* Reads a time-out in milliseconds, -1 for infinity. KV_ETYPE: another term. */
int kv_ask_read_timeout(struct kv_reader *arguments, int64_t *timeout);

/* Ends the call of an inquiry with {noproc, {Module, Function, Args}}, as the call of a dead
 * process ends. No process has the pid `dead`. `arguments` are the elements of Args, `count` of
 * them. */
void kv_ask_dead(struct kv_process *self, const struct kv_pid *dead, struct kv_inquiry *inquiry,
                 const char *module, const char *function, struct kv_bytes arguments,
                 uint32_t count);

/* Returns true if a message is the answer to the question of this process, and sets *answer. */
bool kv_ask_is_answer(struct kv_bytes message, struct kv_bytes *answer);

/* Appends {Reason, {Module, Function, Args}}. */
void kv_ask_write_exit(const struct kv_question *question, struct kv_bytes reason,
                       struct kv_buffer *to);

#endif
