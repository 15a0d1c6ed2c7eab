/* Links: per process of ours and remote process, absent, active or unlinking(Id). */
#ifndef KV_PROCESS_LINKS_H
#define KV_PROCESS_LINKS_H

#include "base/list.h"
#include "base/map.h"
#include "process/address.h"

enum kv_link_step { KV_LINK_ACTIVE, KV_LINK_UNLINKING };

struct kv_link {
    struct kv_map_node by_ends;
    struct kv_list of_process;
    struct kv_list of_peer;
    struct kv_process *process;
    struct kv_peer *peer;
    struct kv_remote remote;
    enum kv_link_step step;
    uint64_t unlink_id;
};

void kv_link_received(struct kv_peer *peer, const struct kv_signal *signal);
void kv_unlink_received(struct kv_peer *peer, const struct kv_signal *signal);
void kv_unlink_ack_received(struct kv_peer *peer, const struct kv_signal *signal);
void kv_exit_link_received(struct kv_peer *peer, const struct kv_signal *signal);

/* Makes a link active without telling the other side, which asked for it by a spawn request. */
void kv_link_install(struct kv_process *process, struct kv_peer *peer,
                     const struct kv_remote *remote);

/* Tells the links of a process that ends with `reason`, and drops them. */
void kv_links_process_died(struct kv_process *process, struct kv_bytes reason);

/* Breaks the links to the processes of a lost peer, with reason noconnection. */
void kv_links_peer_lost(struct kv_peer *peer);

#endif
