/* Registered names. */
#ifndef KV_PROCESS_NAMES_H
#define KV_PROCESS_NAMES_H

#include <kv/process.h>

/* The process registered as `name`, or NULL. */
struct kv_process *kv_process_named(const struct kv_runtime *runtime, struct kv_bytes name);

/* Frees the name of a process for others, if it has one; process->name still says what it was. */
void kv_name_leave(struct kv_process *process);

#endif
