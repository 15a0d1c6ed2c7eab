/* The net_kernel of the node: answers pings of other nodes, and what the VM of the node asks. */
#ifndef KV_NET_KERNEL_H
#define KV_NET_KERNEL_H

#include <kv/process.h>

/* A service; its context is a struct kv_store. */
extern const struct kv_behaviour kv_net_kernel;

#endif
