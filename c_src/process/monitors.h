/* Monitors in both directions: watches (others on ours) and monitors (ours on others). */
#ifndef KV_PROCESS_MONITORS_H
#define KV_PROCESS_MONITORS_H

#include "base/list.h"
#include "base/map.h"
#include "process/address.h"

/* Another process's monitor on a process of ours. */
struct kv_watch {
    struct kv_map_node by_ref;
    struct kv_list of_process;
    struct kv_list of_peer;
    struct kv_process *process;
    struct kv_peer *peer;
    struct kv_remote watcher;
    bool by_name;
    bool spare;        /* has the size that spare_watches keeps */
    struct kv_ref ref; /* the name of its node is the peer's, or lies */
};

/* Freed watches that the runtime keeps for the next ones: every call takes one and gives it back.
 */
enum { KV_SPARE_WATCHES_MAX = 4096 };

/* A process of ours monitors another process. */
struct kv_monitor {
    struct kv_map_node by_number;
    struct kv_list of_process;
    struct kv_list of_peer;
    struct kv_process *process;
    struct kv_peer *peer;
    struct kv_remote target;
    uint64_t number;
    bool kept; /* stays while the owner's node is away: see kv_monitor_owner() */
};

/* KV_OK, or KV_EPROTOCOL if the reference names a monitor already. */
int kv_monitor_received(struct kv_peer *peer, const struct kv_signal *signal);
void kv_demonitor_received(struct kv_peer *peer, const struct kv_signal *signal);
void kv_down_received(struct kv_peer *peer, const struct kv_signal *signal);

/* Adds the watch that a spawn request with `monitor` asked for. */
void kv_watch_install(struct kv_process *process, struct kv_peer *peer,
                      const struct kv_pid *watcher, const struct kv_ref *ref, bool by_name);

/* Tells the watchers of a process that ends with `reason`, and ends the monitors of the process. */
void kv_monitors_process_died(struct kv_process *process, struct kv_bytes reason);

/* As kv_monitors_process_died(), for up to `most` of them. Watchers on other nodes wait in `last`,
 * at first an empty list, and hear of the end after all others. Returns true if there may be more.
 */
bool kv_monitors_tell_some(struct kv_process *process, struct kv_list *last, struct kv_bytes reason,
                           unsigned most);

/* Forgets the watches of a peer and fires the monitors on its processes with noconnection. For a
 * peer that is lost, and for one that stands for an absent node when the wait is over. */
void kv_monitors_peer_lost(struct kv_peer *peer);

/* Returns true if processes of the peer own some of ours. */
bool kv_monitors_are_kept(const struct kv_peer *peer);

/* The node is away: moves the kept monitors on its processes to the peer that stands for it. */
void kv_monitors_keep(struct kv_peer *peer, struct kv_peer *absent);

/* The node is back: moves these monitors to its peer, and sends each one again. */
void kv_monitors_back(struct kv_peer *absent, struct kv_peer *peer);

/* Frees the spare watches. */
void kv_monitors_drop_spares(struct kv_runtime *runtime);

#endif
