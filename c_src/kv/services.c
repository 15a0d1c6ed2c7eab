#include "kv/bucket.h"
#include "kv/kv.h"
#include "kv/net_kernel.h"
#include "kv/registry.h"

int kv_services_start(struct kv_runtime *runtime, struct kv_store *store)
{
    kv_list_init(&store->adoptables);
    kv_dispatch_add(&store->bucket, kv_single_operations);
    kv_dispatch_add(&store->bucket, kv_conditional_operations);
    kv_dispatch_add(&store->bucket, kv_number_operations);
    kv_dispatch_add(&store->bucket, kv_time_operations);
    kv_dispatch_add(&store->bucket, kv_get_many_operations);
    kv_dispatch_add(&store->bucket, kv_many_operations);
    kv_dispatch_add(&store->bucket, kv_walk_operations);
    kv_dispatch_add(&store->bucket, kv_snapshot_operations);
    kv_dispatch_add(&store->bucket, kv_stats_operations);
    kv_dispatch_add(&store->bucket, kv_durable_operations);
    kv_dispatch_add(&store->bucket, kv_agent_operations);
    kv_dispatch_add(&store->bucket, kv_tagged_operations);
    kv_dispatch_add(&store->bucket, kv_transaction_operations);
    kv_dispatch_add(&store->registry, kv_registry_operations);
    kv_dispatch_add(&store->registry, kv_registry_change_operations);
    kv_dispatch_add(&store->registry, kv_registry_names_operations);
    kv_dispatch_add(&store->registry, kv_registry_destroy_operations);
    kv_offer(runtime, &kv_bucket_behaviour, store);
    kv_offer(runtime, &kv_registry_behaviour, store);
    return kv_start_service(runtime, &kv_net_kernel, store);
}
