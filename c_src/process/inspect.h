/* Looking at the processes of a runtime from outside, without changing them. */
#ifndef KV_INSPECT_H
#define KV_INSPECT_H

#include <kv/process.h>

/* Calls `visit` for every living process, in the order of their beginning. */
void kv_runtime_each_process(const struct kv_runtime *runtime,
                             void (*visit)(void *context, const struct kv_process *process),
                             void *context);

/* Calls `visit` with the name of every connected node. */
void kv_runtime_each_peer(const struct kv_runtime *runtime,
                          void (*visit)(void *context, struct kv_bytes name), void *context);

/* The name a process is registered under; of length 0 when it has none. Valid while it lives. */
struct kv_bytes kv_process_name(const struct kv_process *process);

/* The name of this node; valid as long as the runtime. */
struct kv_bytes kv_runtime_node(const struct kv_runtime *runtime);

#endif
