/* The program: a node (net/node.h) on which buckets and registries (kv/kv.h) run. */
#include "kv/kv.h"
#include "net/node.h"

int main(int argc, char **argv)
{
    return kv_node_main(argc, argv, kv_services_start);
}
