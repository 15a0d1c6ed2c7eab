/* Pids, and the peer behind which a process is. */
#ifndef KV_PROCESS_ADDRESS_H
#define KV_PROCESS_ADDRESS_H

#include <kv/process.h>

struct kv_peer;

/* A process of some node: the node is that of a peer. Processes of this node are behind the local
 * peer. */
struct kv_remote {
    uint32_t id;
    uint32_t serial;
    uint32_t creation;
};

/* The pid of a number of this node; its node name is valid as long as the runtime. */
struct kv_pid kv_pid_of(const struct kv_runtime *runtime, uint64_t number);

/* The number that a pid has on its node. */
uint64_t kv_pid_number(const struct kv_pid *pid);

/* The pid's node name is the peer's. */
struct kv_pid kv_remote_pid(const struct kv_peer *peer, const struct kv_remote *remote);
struct kv_remote kv_remote_of(const struct kv_pid *pid);
bool kv_remote_equal(const struct kv_remote *a, const struct kv_remote *b);

/* The peer of that node name, the local one for this node. NULL: not connected. */
struct kv_peer *kv_route(struct kv_runtime *runtime, struct kv_bytes node);

/* The peer that stands for a node while the node is away, by name. NULL: it is not away. O(nodes
 * that are away). */
struct kv_peer *kv_absent(const struct kv_runtime *runtime, struct kv_bytes node);

/* The living process of this node with that pid. NULL: it is dead, of an earlier run, or of another
 * node. */
struct kv_process *kv_process_find(const struct kv_runtime *runtime, const struct kv_pid *pid);

#endif
