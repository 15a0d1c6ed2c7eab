/* What is above a process: told by its supervisor, kept for tools. */
#ifndef KV_PROCESS_LINEAGE_H
#define KV_PROCESS_LINEAGE_H

#include <kv/process.h>

/* What kv_process_set_ancestors() was given; of length 0: nothing. */
struct kv_bytes kv_lineage_bytes(const struct kv_process *process);

/* Forgets what is above a process, and with its last process what was shared. */
void kv_lineage_drop(struct kv_process *process);

#endif
