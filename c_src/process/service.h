/* Services that have ended. */
#ifndef KV_PROCESS_SERVICE_H
#define KV_PROCESS_SERVICE_H

#include "process/runtime.h"

/* Starts all services again that have ended, with a line in the log. */
void kv_services_start_again(struct kv_runtime *runtime);

#endif
