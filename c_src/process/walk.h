/* Walks over processes while processes end. */
#ifndef KV_PROCESS_WALK_H
#define KV_PROCESS_WALK_H

#include <kv/process.h>

/* Must be called before a process leaves the list of processes. Moves on the walks that would visit
 * it next. */
void kv_walks_pass(struct kv_process *process);

#endif
