/* Links: per process of ours and remote process, absent, active or unlinking(Id).
 *
 * OTP: the link protocol of erl_dist_protocol ("Link Protocol"); dist.c, erts_net_message(),
 * DOP_LINK, DOP_UNLINK_ID, DOP_UNLINK_ID_ACK; erl_proc_sig_queue.c. */
#include "process/links.h"

#include "base/alloc.h"
#include "process/address.h"
#include "process/atoms.h"
#include "process/emit.h"
#include "process/life.h"
#include "process/state.h"

struct ends {
    const struct kv_process *process;
    struct kv_remote remote;
};

static uint64_t hash_of(const struct ends *ends)
{
    uint64_t words[3] = {ends->process->number,
                         ((uint64_t)ends->remote.serial << 32) | ends->remote.id,
                         ends->remote.creation};
    return kv_siphash(&ends->process->runtime->hash_key, kv_bytes(words, sizeof words));
}

static bool has_ends(const struct kv_map_node *node, const void *key)
{
    const struct kv_link *link = KV_MAP_OF(node, const struct kv_link, by_ends);
    const struct ends *ends = key;
    return link->process == ends->process && kv_remote_equal(&link->remote, &ends->remote);
}

static struct kv_link *find(const struct kv_peer *peer, const struct kv_process *process,
                            const struct kv_remote *remote)
{
    struct ends ends = {.process = process, .remote = *remote};
    struct kv_map_node *found = kv_map_find(&peer->links, hash_of(&ends), has_ends, &ends);
    return found == NULL ? NULL : KV_MAP_OF(found, struct kv_link, by_ends);
}

static struct kv_link *add(struct kv_peer *peer, struct kv_process *process,
                           const struct kv_remote *remote)
{
    struct ends ends = {.process = process, .remote = *remote};
    struct kv_link *link = kv_zalloc(sizeof *link);
    link->process = process;
    link->peer = peer;
    link->remote = *remote;
    link->step = KV_LINK_ACTIVE;
    kv_map_insert(&peer->links, &link->by_ends, hash_of(&ends));
    kv_list_append(&process->links, &link->of_process);
    process->related[KV_RELATION_LINK]++;
    kv_list_append(&peer->link_list, &link->of_peer);
    return link;
}

static void drop(struct kv_link *link)
{
    kv_map_remove(&link->peer->links, &link->by_ends);
    link->process->related[KV_RELATION_LINK]--;
    kv_list_remove(&link->of_process);
    kv_list_remove(&link->of_peer);
    kv_free(link);
}

/* An OTP node closes the connection on a link signal to a process of an earlier run of itself
 * (dist.c, erts_net_message()): so none is sent. */
static void emit(struct kv_peer *peer, enum kv_signal_kind kind, const struct kv_pid *from,
                 const struct kv_remote *to, uint64_t unlink_id, struct kv_bytes reason)
{
    if (to->creation != peer->creation) {
        return;
    }
    struct kv_signal signal = {
        .kind = kind,
        .from = *from,
        .to = kv_remote_pid(peer, to),
        .unlink_id = unlink_id,
        .payload = {reason},
        .payload_parts = reason.length > 0 ? 1 : 0,
    };
    kv_emit(peer, &signal);
}

static void emit_noproc(struct kv_peer *peer, const struct kv_pid *from, const struct kv_remote *to)
{
    emit(peer, KV_SIGNAL_EXIT_LINK, from, to, 0, kv_atom_noproc);
}

void kv_link_received(struct kv_peer *peer, const struct kv_signal *signal)
{
    struct kv_process *process = kv_process_find(peer->runtime, &signal->to);
    struct kv_remote remote = kv_remote_of(&signal->from);
    if (process == NULL) {
        emit_noproc(peer, &signal->to, &remote);
    } else if (find(peer, process, &remote) == NULL) {
        (void)add(peer, process, &remote);
    }
}

void kv_link_install(struct kv_process *process, struct kv_peer *peer,
                     const struct kv_remote *remote)
{
    if (find(peer, process, remote) == NULL) {
        (void)add(peer, process, remote);
    }
}

void kv_unlink_received(struct kv_peer *peer, const struct kv_signal *signal)
{
    struct kv_process *process = kv_process_find(peer->runtime, &signal->to);
    struct kv_remote remote = kv_remote_of(&signal->from);
    struct kv_link *link = process == NULL ? NULL : find(peer, process, &remote);
    if (link != NULL && link->step == KV_LINK_ACTIVE) {
        drop(link);
    }
    /* Id 0 is the old UNLINK, which has no answer. OTP expects an answer to every other one, linked
     * or not. */
    if (signal->unlink_id != 0) {
        emit(peer, KV_SIGNAL_UNLINK_ACK, &signal->to, &remote, signal->unlink_id,
             kv_bytes(NULL, 0));
    }
}

void kv_unlink_ack_received(struct kv_peer *peer, const struct kv_signal *signal)
{
    struct kv_process *process = kv_process_find(peer->runtime, &signal->to);
    struct kv_remote remote = kv_remote_of(&signal->from);
    struct kv_link *link = process == NULL ? NULL : find(peer, process, &remote);
    if (link != NULL && link->step == KV_LINK_UNLINKING && link->unlink_id == signal->unlink_id) {
        drop(link);
    }
}

void kv_exit_link_received(struct kv_peer *peer, const struct kv_signal *signal)
{
    struct kv_process *process = kv_process_find(peer->runtime, &signal->to);
    struct kv_remote remote = kv_remote_of(&signal->from);
    struct kv_link *link = process == NULL ? NULL : find(peer, process, &remote);
    if (link == NULL) {
        return;
    }
    bool active = link->step == KV_LINK_ACTIVE;
    drop(link);
    if (active) {
        kv_process_exit_signal(process, &signal->from, signal->payload[0]);
    }
}

void kv_link(struct kv_process *self, const struct kv_pid *target)
{
    struct kv_peer *peer = kv_route(self->runtime, target->node);
    struct kv_remote remote = kv_remote_of(target);
    if (peer == NULL) {
        kv_process_exit_atom(self, "noconnection");
        return;
    }
    struct kv_link *link = find(peer, self, &remote);
    if (link != NULL && link->step == KV_LINK_ACTIVE) {
        return;
    }
    if (link == NULL) {
        link = add(peer, self, &remote);
    }
    link->step = KV_LINK_ACTIVE;
    struct kv_pid from = kv_process_pid(self);
    emit(peer, KV_SIGNAL_LINK, &from, &remote, 0, kv_bytes(NULL, 0));
}

void kv_unlink(struct kv_process *self, const struct kv_pid *target)
{
    struct kv_peer *peer = kv_route(self->runtime, target->node);
    struct kv_remote remote = kv_remote_of(target);
    struct kv_link *link = peer == NULL ? NULL : find(peer, self, &remote);
    if (link == NULL || link->step != KV_LINK_ACTIVE) {
        return;
    }
    link->step = KV_LINK_UNLINKING;
    link->unlink_id = ++self->runtime->next_unlink;
    struct kv_pid from = kv_process_pid(self);
    emit(peer, KV_SIGNAL_UNLINK, &from, &remote, link->unlink_id, kv_bytes(NULL, 0));
}

void kv_links_process_died(struct kv_process *process, struct kv_bytes reason)
{
    struct kv_pid from = kv_process_pid(process);
    while (!kv_list_is_empty(&process->links)) {
        struct kv_link *link = KV_LIST_OF(process->links.next, struct kv_link, of_process);
        struct kv_peer *peer = link->peer;
        struct kv_remote remote = link->remote;
        bool active = link->step == KV_LINK_ACTIVE;
        drop(link);
        if (active) {
            emit(peer, KV_SIGNAL_EXIT_LINK, &from, &remote, 0, reason);
        }
    }
}

void kv_links_peer_lost(struct kv_peer *peer)
{
    while (!kv_list_is_empty(&peer->link_list)) {
        struct kv_link *link = KV_LIST_OF(peer->link_list.next, struct kv_link, of_peer);
        struct kv_process *process = link->process;
        struct kv_pid from = kv_remote_pid(peer, &link->remote);
        bool active = link->step == KV_LINK_ACTIVE;
        drop(link);
        if (active) {
            kv_process_exit_signal(process, &from, kv_atom_noconnection);
        }
    }
}
