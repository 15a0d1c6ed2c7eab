/* The tree of the native processes and of their ancestors on other nodes, as Observer draws it. */
#ifndef KV_OBSERVE_TREE_H
#define KV_OBSERVE_TREE_H

#include "observe/list.h"
#include "process/inspect.h"

#include "base/map.h"
#include "base/siphash.h"

enum { KV_TREE_MAX = 2000 }; /* boxes; the last one says how many are left out */

/* A tree at work; zeroed: none is. */
struct kv_tree {
    struct kv_runtime *runtime;
    const struct kv_hash_key *key;
    struct kv_walk walk;
    struct kv_map by_pid;
    struct kv_map by_name;
    struct kv_list list; /* struct box */
    struct box *root;
    struct kv_pid root_pid;    /* its node name is borrowed */
    struct kv_term_list boxes; /* {Pid, Name} */
    struct kv_term_list lines; /* {From, To} */
    uint64_t left_out;
};

/* Begins a tree. Its root stands for the node and has this pid. The node name of `root` and the key
 * must stay valid while the tree does. */
void kv_tree_begin(struct kv_tree *tree, struct kv_runtime *runtime, const struct kv_hash_key *key,
                   const struct kv_pid *root);

/* Works for one turn. Returns false once all processes have been visited. */
bool kv_tree_step(struct kv_tree *tree);

/* Appends {Root, Boxes, Lines, []} of a complete tree. Names are non-empty strings, each of them
 * unique. Every name in a line has a box. The lines form no loop. */
void kv_tree_write(struct kv_tree *tree, struct kv_buffer *to);

/* Frees the memory of a tree, complete or not, and zeroes it. */
void kv_tree_end(struct kv_tree *tree);

#endif
