/* The tree of the native processes, with what is above them on other nodes, as Observer draws it.
 */
#ifndef KV_OBSERVE_TREE_H
#define KV_OBSERVE_TREE_H

#include "observe/list.h"
#include "process/inspect.h"

#include "base/map.h"
#include "base/siphash.h"

enum { KV_TREE_MAX = 2000 }; /* boxes, of which the last tells of how many are left out */

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

/* Begins a tree below a root that stands for the node, with this pid, whose node
 * name must stay valid while the tree is, as must the key. */
void kv_tree_begin(struct kv_tree *tree, struct kv_runtime *runtime, const struct kv_hash_key *key,
                   const struct kv_pid *root);

/* Goes on for one turn; false: all processes have been visited. */
bool kv_tree_step(struct kv_tree *tree);

/* Appends {Root, Boxes, Lines, []} of a tree that is complete. Names are strings, not empty, and
 * each of them is there once; every name in a line has a box; no line leads back. */
void kv_tree_write(struct kv_tree *tree, struct kv_buffer *to);

/* Releases what a tree holds, complete or not; it is none then. */
void kv_tree_end(struct kv_tree *tree);

#endif
