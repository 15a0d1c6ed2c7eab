/* Parts of answers about one process, shared by several functions. */
#ifndef KV_OBSERVE_PROCESS_TERMS_H
#define KV_OBSERVE_PROCESS_TERMS_H

#include "observe/functions.h"
#include "observe/list.h"
#include "process/inspect.h"
#include "server/look.h"

/* Reads a pid of this node. KV_ETYPE for other terms. *process is NULL if the process is dead. */
int kv_read_process(struct kv_process *self, struct kv_reader *arguments,
                    struct kv_process **process);

/* {Module, Function, Arity} */
void kv_write_mfa(struct kv_buffer *to, const char *module, const char *function, uint32_t arity);

/* Append {Module, Function, Arity}: the function that started a process, and the function it waits
 * in. */
void kv_write_initial_call(struct kv_buffer *to, const struct kv_process_info *info);
void kv_write_current(struct kv_buffer *to, const struct kv_process_info *info);

/* Appends the label as a binary, or `undefined`. */
void kv_write_label(struct kv_buffer *to, const struct kv_process_info *info);

/* Appends the last remembered requests, the latest first: [<<"call put/2, 15 s ago">>]. */
void kv_write_requests(struct kv_buffer *to, const struct kv_process *process);

/* Adds rows {Key, Value} of a table to a list, until the list has 50. Leaves out large ones. */
void kv_add_peek(struct kv_term_list *list, const struct kv_process *process,
                 const struct kv_view *view);

/* Runs a function for Elixir, whose answer is nil where that of Erlang is undefined. */
int kv_run_or_nil(struct kv_process *self, kv_run_function run, struct kv_reader arguments,
                  struct kv_buffer *value);

#endif
