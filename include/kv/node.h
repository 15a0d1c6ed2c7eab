/* A node: a program that joins a cluster and runs native processes.
 *
 *     static int start(void *context, const struct kv_node_parts *parts)
 *     {
 *         kv_offer(parts->runtime, &my_behaviour, context);
 *         return KV_OK;
 *     }
 *
 *     int main(int argc, char **argv)
 *     {
 *         return kv_node_main(argc, argv, &(struct kv_node_setup){.start = start});
 *     }
 *
 * Every node also runs what kv/ and observe/ offer: buckets, registries, and the functions that
 * Observer calls. Link with libkv.a (`make -C c_src lib`) and the libraries it uses. */
#ifndef KV_NODE_H
#define KV_NODE_H

#include <kv/process.h>

struct kv_arena; /* the memory of all tables of the node */

/* The parts of a node that its processes use. Valid until kv_node_main() returns. */
struct kv_node_parts {
    struct kv_runtime *runtime;
    struct kv_arena *arena;
    enum kv_zeros zeros; /* how keys compare: the option --zeros */
};

struct kv_node_setup {
    void *context; /* of start; must outlive kv_node_main() */
    /* Called once, before the node accepts its first peer: offers behaviours with kv_offer() and
     * may spawn processes with kv_spawn(). Returns KV_OK; any other error ends the program with the
     * line "fatal internal". NULL: the node offers nothing else. */
    int (*start)(void *context, const struct kv_node_parts *parts);
};

/* The whole program: reads options from the command line and standard input, registers with EPMD,
 * runs until standard input ends, and frees everything. Returns the exit status. Call it at most
 * once in a program, from main(). `setup` is borrowed. docs/native-protocol.md lists the options
 * and the lines on standard output. */
int kv_node_main(int argc, char **argv, const struct kv_node_setup *setup);

#endif
