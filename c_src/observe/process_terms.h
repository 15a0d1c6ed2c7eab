/* Parts of answers about one process that several functions share. */
#ifndef KV_OBSERVE_PROCESS_TERMS_H
#define KV_OBSERVE_PROCESS_TERMS_H

#include "observe/list.h"
#include "process/inspect.h"
#include "server/look.h"

/* Takes a pid of this node: KV_ETYPE for others; *process is NULL when it is dead. */
int kv_read_process(struct kv_process *self, struct kv_reader *arguments,
                    struct kv_process **process);

/* {Module, Function, Arity} */
void kv_write_mfa(struct kv_buffer *to, const char *module, const char *function, uint32_t arity);

/* What a process was started with, and what it is at: each {Module, Function, Arity}. */
void kv_write_initial_call(struct kv_buffer *to, const struct kv_process_info *info);
void kv_write_current(struct kv_buffer *to, const struct kv_process_info *info);

/* The label as a binary, or `undefined`. */
void kv_write_label(struct kv_buffer *to, const struct kv_process_info *info);

/* [<<"call put/2, 15 s ago">>]: the last requests that were remembered, the latest first. */
void kv_write_requests(struct kv_buffer *to, const struct kv_process *process);

/* Adds rows {Key, Value} of a table to a list, until that has 50; what is large is left out. */
void kv_add_peek(struct kv_term_list *list, const struct kv_process *process,
                 const struct kv_view *view);

#endif
