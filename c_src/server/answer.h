/* Answers to calls. */
#ifndef KV_SERVER_ANSWER_H
#define KV_SERVER_ANSWER_H

#include <kv/process.h>

/* Answers a system message. As kv_reply(), but sys:statistics/2 does not count it. */
void kv_answer(struct kv_process *self, const struct kv_from *from, struct kv_bytes reply);

/* Tells the caller of a $kv_call that the process is dead, or that no process has the name. */
void kv_call_no_process(struct kv_runtime *runtime, const struct kv_signal *signal,
                        const struct kv_from *from);

#endif
