/* Walks over processes while processes end. */
#ifndef KV_PROCESS_WALK_H
#define KV_PROCESS_WALK_H

#include <kv/process.h>

/* The process is about to leave the list of processes: walks that would visit it next go on behind
 * it. */
void kv_walks_pass(struct kv_process *process);

#endif
