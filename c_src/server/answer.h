/* Answers. */
#ifndef KV_SERVER_ANSWER_H
#define KV_SERVER_ANSWER_H

#include <kv/process.h>

/* Answers a system message: as kv_reply(), but sys does not count it. */
void kv_answer(struct kv_process *self, const struct kv_from *from, struct kv_bytes reply);

/* Appends {error, {Kind, Detail}}. */
void kv_write_error(struct kv_buffer *to, const char *kind, struct kv_bytes detail);

/* A $kv_call is for a process that is dead, or for a name that nobody has: tells its caller. */
void kv_call_no_process(struct kv_runtime *runtime, const struct kv_signal *signal,
                        const struct kv_from *from);

#endif
