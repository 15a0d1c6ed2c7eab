/* The functions that rpc, erpc and tools may call by name on this node. */
#ifndef KV_OBSERVE_OBSERVE_H
#define KV_OBSERVE_OBSERVE_H

#include "observe/world.h"

#include <kv/process.h>

/* Lets peers spawn erpc:execute_call/4 and erpc:execute_cast/3, and starts the process `rex`.
 * Sets `has_function` of `world`, which is borrowed and must outlive the runtime. KV_OK, or
 * KV_EEXIST if the runtime has a rex already. */
int kv_observe_start(struct kv_runtime *runtime, struct kv_world *world);

#endif
