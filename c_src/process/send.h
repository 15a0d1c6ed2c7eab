/* Sending from a process. */
#ifndef KV_PROCESS_SEND_H
#define KV_PROCESS_SEND_H

#include <kv/process.h>

/* Sends a signal to a process of that node, and sets its `from`. Logs and drops a signal to a node
 * that is not connected. */
void kv_send_signal(struct kv_process *self, struct kv_bytes node, struct kv_signal *signal);

#endif
