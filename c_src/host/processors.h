/* The processors that this process may use. */
#ifndef KV_HOST_PROCESSORS_H
#define KV_HOST_PROCESSORS_H

/* Returns their number, as the affinity of this thread allows them; at least 1. */
unsigned kv_processors_allowed(void);

#endif
