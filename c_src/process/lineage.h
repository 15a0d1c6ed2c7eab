/* The ancestors of a process, as its starter gave them, kept for tools. */
#ifndef KV_PROCESS_LINEAGE_H
#define KV_PROCESS_LINEAGE_H

#include <kv/process.h>

/* Returns the list that kv_process_set_ancestors() was given; of length 0 if it was not called. */
struct kv_bytes kv_lineage_bytes(const struct kv_process *process);

/* Drops the ancestors of a process. Frees the shared copy with its last process. */
void kv_lineage_drop(struct kv_process *process);

#endif
