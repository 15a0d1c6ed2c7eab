/* The memory that this process takes, as the system counts it. */
#ifndef KV_HOST_OWN_MEMORY_H
#define KV_HOST_OWN_MEMORY_H

#include <stdint.h>

/* Returns the resident bytes that belong to this process alone: neither those of files nor those of
 * shared memory. 0: the system does not tell. */
uint64_t kv_process_private_memory(void);

#endif
