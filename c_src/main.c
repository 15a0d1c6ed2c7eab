/* The program: a node (net/node.h), on which buckets and registries (kv/kv.h) run, and what tools
 * ask for (observe/observe.h). */
#include "kv/kv.h"
#include "net/node.h"
#include "observe/observe.h"

static int start_services(struct kv_runtime *runtime)
{
    int error = kv_services_start(runtime);
    return error == KV_OK ? kv_observe_start(runtime) : error;
}

int main(int argc, char **argv)
{
    return kv_node_main(argc, argv, start_services);
}
