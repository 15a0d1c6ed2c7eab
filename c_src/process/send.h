/* Sending from a process. */
#ifndef KV_PROCESS_SEND_H
#define KV_PROCESS_SEND_H

#include <kv/process.h>

/* Sends a signal, whose `from` is set here, to a process of that node. Nothing is sent to a node
 * that is not connected. */
void kv_send_signal(struct kv_process *self, struct kv_bytes node, struct kv_signal *signal);

#endif
