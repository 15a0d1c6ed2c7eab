/* Monitors in both directions: watches (others on ours) and monitors (ours on others). */
#ifndef KV_PROCESS_MONITORS_H
#define KV_PROCESS_MONITORS_H

#include "base/list.h"
#include "base/map.h"
#include "process/address.h"

/* A monitor that somebody holds on a process of ours. */
struct kv_watch {
    struct kv_map_node by_ref;
    struct kv_list of_process;
    struct kv_list of_peer;
    struct kv_process *process;
    struct kv_peer *peer;
    struct kv_remote watcher;
    bool by_name;
    bool spare;        /* of the size that the runtime keeps for the next one */
    struct kv_ref ref; /* its node's text is the peer's name, or lies behind the struct */
};

/* Watches that are done and wait to be used again: a call takes one and gives it back. */
enum { KV_SPARE_WATCHES_MAX = 4096 };

/* A monitor that a process of ours holds. */
struct kv_monitor {
    struct kv_map_node by_number;
    struct kv_list of_process;
    struct kv_list of_peer;
    struct kv_process *process;
    struct kv_peer *peer;
    struct kv_remote target;
    uint64_t number;
    bool kept; /* while the VM that holds the node is away: see kv_monitor_owner() */
};

/* KV_OK, or KV_EPROTOCOL: the reference names a monitor already. */
int kv_monitor_received(struct kv_peer *peer, const struct kv_signal *signal);
void kv_demonitor_received(struct kv_peer *peer, const struct kv_signal *signal);
void kv_down_received(struct kv_peer *peer, const struct kv_signal *signal);

/* Adds a watch that a spawn request with `monitor` asked for. */
void kv_watch_install(struct kv_process *process, struct kv_peer *peer,
                      const struct kv_pid *watcher, const struct kv_ref *ref, bool by_name);

/* Fires the watches on a process that ends with `reason`, and ends its monitors. */
void kv_monitors_process_died(struct kv_process *process, struct kv_bytes reason);

/* The peer is lost, or its kept monitors are waited for no longer: forgets its watches and fires
 * the monitors on its processes, with noconnection. */
void kv_monitors_peer_lost(struct kv_peer *peer);

/* The VM is away: runtime->vm takes over the kept monitors on its processes. */
void kv_monitors_vm_away(struct kv_peer *peer);

/* The VM is back: its peer takes them over again, and each is sent anew. */
void kv_monitors_vm_back(struct kv_peer *peer);

/* Frees the watches that are kept for later. */
void kv_monitors_drop_spares(struct kv_runtime *runtime);

#endif
