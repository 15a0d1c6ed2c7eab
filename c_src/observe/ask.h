/* gen_server:call/2,3 and their kin, called by name: the process of the call asks another process,
 * and its value is the answer. */
#ifndef KV_OBSERVE_ASK_H
#define KV_OBSERVE_ASK_H

#include "observe/survey.h"

enum { KV_ASK_TIMER = 1 }; /* the tag of the timer of a question */

/* Returns true if a message is the answer to the question of this process, and sets *answer. */
bool kv_ask_is_answer(struct kv_bytes message, struct kv_bytes *answer);

/* Appends {Reason, {Module, Function, Args}}. */
void kv_ask_write_exit(const struct kv_question *question, struct kv_bytes reason,
                       struct kv_buffer *to);

#endif
