/* The program: a node (node/node.h), on which buckets and registries (kv/kv.h) run, and what tools
 * ask for (observe/observe.h). */
#include "kv/kv.h"
#include "node/node.h"
#include "observe/observe.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

enum { HEAP_KEPT = 8 << 20, MAPPED_FROM = 1 << 20 };

static int start_services(struct kv_runtime *runtime, struct kv_store *store,
                          struct kv_world *world)
{
    int error = kv_services_start(runtime, store);
    return error == KV_OK ? kv_observe_start(runtime, world) : error;
}

/* Else the memory of each large message would be given back, and found again for the next. */
static void keep_some_heap(void)
{
#ifdef __GLIBC__
    (void)mallopt(M_TRIM_THRESHOLD, HEAP_KEPT);
    (void)mallopt(M_MMAP_THRESHOLD, MAPPED_FROM);
#endif
}

int main(int argc, char **argv)
{
    keep_some_heap();
    return kv_node_main(argc, argv, start_services);
}
