#include "observe/observe.h"

#include "observe/calls.h"
#include "observe/functions.h"

int kv_observe_start(struct kv_runtime *runtime, struct kv_world *world)
{
    world->has_function = kv_function_exists;
    world->functions = kv_function_tables;
    kv_offer(runtime, &kv_erpc_call_behaviour, world);
    kv_offer(runtime, &kv_erpc_cast_behaviour, world);
    kv_offer(runtime, &kv_fetch_stats_behaviour, world);
    kv_offer(runtime, &kv_procs_info_behaviour, world);
    kv_offer(runtime, &kv_processes_behaviour, world);
    kv_add_behaviour(runtime, &kv_rex_worker_behaviour, world);
    kv_add_behaviour(runtime, &kv_appmon_behaviour, world);
    return kv_start_service(runtime, &kv_rex_behaviour, world);
}
