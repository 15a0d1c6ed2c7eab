/* The native processes of this project: buckets, registries, and the net_kernel that pings ask.
 *
 * What they understand is in docs/native-protocol.md. */
#ifndef KV_KV_H
#define KV_KV_H

#include <kv/process.h>

extern const struct kv_behaviour kv_bucket_behaviour;
extern const struct kv_behaviour kv_registry_behaviour;
extern const struct kv_behaviour kv_net_kernel_behaviour;

/* Lets peers spawn buckets and registries, and starts net_kernel. KV_OK, or KV_EEXIST when the
 * runtime has a net_kernel already. */
int kv_services_start(struct kv_runtime *runtime);

#endif
