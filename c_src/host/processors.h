/* The processors that this process may use. */
#ifndef KV_HOST_PROCESSORS_H
#define KV_HOST_PROCESSORS_H

#include <stdbool.h>

/* Returns their number, as the affinity of this thread allows them; at least 1. */
unsigned kv_processors_allowed(void);

/* If this thread runs on that processor, moves it to another one that it may use; later the system
 * may move it anywhere again. Returns false if it runs on another one, or may use no other. */
bool kv_processors_leave(unsigned processor);

#endif
