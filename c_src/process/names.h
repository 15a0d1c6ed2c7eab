/* Registered names. */
#ifndef KV_PROCESS_NAMES_H
#define KV_PROCESS_NAMES_H

#include <kv/process.h>

/* Returns the process registered as `name`, or NULL. */
struct kv_process *kv_process_named(const struct kv_runtime *runtime, struct kv_bytes name);

/* Lets others take the name of a process, if it has one. process->name keeps its text. */
void kv_name_leave(struct kv_process *process);

#endif
