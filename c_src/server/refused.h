/* Requests that are over a limit. */
#ifndef KV_SERVER_REFUSED_H
#define KV_SERVER_REFUSED_H

#include <kv/process.h>

/* As `refused` of struct kv_generic. */
int kv_server_refused(struct kv_runtime *runtime, struct kv_process *process,
                      const struct kv_signal *signal, struct kv_bytes why, bool *told);

#endif
