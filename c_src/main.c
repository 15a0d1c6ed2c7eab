/* The program: a node (include/kv/node.h) with nothing but buckets, registries and what tools ask
 * for. */
#include <kv/node.h>

int main(int argc, char **argv)
{
    return kv_node_main(argc, argv, &(struct kv_node_setup){.start = NULL});
}
