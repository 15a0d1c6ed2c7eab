/* Other nodes: up, ready, down; and the VM, which may be away for a while. */
#include "process/peers.h"

#include "base/alloc.h"
#include "process/address.h"
#include "process/emit.h"
#include "process/links.h"
#include "process/monitors.h"
#include "process/signals.h"
#include "process/state.h"

#include <kv/log.h>

void kv_peer_init(struct kv_peer *peer, struct kv_runtime *runtime, struct kv_bytes name,
                  uint32_t creation, void *carrier)
{
    peer->runtime = runtime;
    kv_buffer_append(&peer->name, name);
    peer->creation = creation;
    peer->carrier = carrier;
    peer->get_state = runtime->get_state;
    kv_list_init(&peer->of_runtime);
    kv_list_init(&peer->link_list);
    kv_list_init(&peer->watch_list);
    kv_list_init(&peer->monitor_list);
}

static void peer_free(struct kv_peer *peer)
{
    kv_map_free(&peer->links);
    kv_map_free(&peer->watches);
    kv_buffer_free(&peer->name);
}

/* Frees the relations of a peer without telling anybody. */
void kv_peer_forget(struct kv_peer *peer)
{
    peer->lost = true;
    KV_LIST_FOREACH (link, &peer->link_list) {
        kv_free(KV_LIST_OF(link, struct kv_link, of_peer));
    }
    KV_LIST_FOREACH (watch, &peer->watch_list) {
        kv_free(KV_LIST_OF(watch, struct kv_watch, of_peer));
    }
    KV_LIST_FOREACH (monitor, &peer->monitor_list) {
        kv_free(KV_LIST_OF(monitor, struct kv_monitor, of_peer));
    }
    peer_free(peer);
}

struct kv_peer *kv_runtime_peer_up(struct kv_runtime *runtime, struct kv_bytes name,
                                   uint32_t creation, void *carrier)
{
    struct kv_peer *peer = kv_zalloc(sizeof *peer);
    kv_peer_init(peer, runtime, name, creation, carrier);
    kv_map_insert(&runtime->peers, &peer->by_name, kv_siphash(&runtime->hash_key, name));
    kv_list_append(&runtime->peer_list, &peer->of_runtime);
    return peer;
}

struct kv_bytes kv_runtime_peer_name(const struct kv_peer *peer)
{
    return kv_buffer_bytes(&peer->name);
}

void kv_runtime_peer_expects(struct kv_peer *peer, enum kv_get_state get_state)
{
    peer->get_state = get_state;
}

void kv_runtime_peer_is_hidden(struct kv_peer *peer)
{
    peer->hidden = true;
}

static bool is_vm(const struct kv_peer *peer)
{
    return kv_bytes_equal(kv_buffer_bytes(&peer->name), kv_buffer_bytes(&peer->runtime->vm.name));
}

bool kv_runtime_vm_is_away(const struct kv_runtime *runtime)
{
    return runtime->vm_is_away;
}

void kv_runtime_vm_expired(struct kv_runtime *runtime)
{
    runtime->vm_is_away = false;
    kv_monitors_peer_lost(&runtime->vm);
    kv_signals_deliver(runtime);
}

void kv_runtime_peer_ready(struct kv_peer *peer)
{
    struct kv_runtime *runtime = peer->runtime;
    if (!runtime->vm_is_away || !is_vm(peer)) {
        return;
    }
    if (peer->creation == runtime->vm.creation) {
        runtime->vm_is_away = false;
        kv_monitors_vm_back(peer);
        kv_signals_deliver(runtime);
    } else { /* ours do not know the processes of this run */
        kv_log_line(runtime, KV_LOG_NOTICE,
                    "the VM is back as another run: what the last one "
                    "had started ends");
        kv_runtime_vm_expired(runtime);
    }
}

void kv_runtime_peer_down(struct kv_runtime *runtime, struct kv_peer *peer)
{
    kv_map_remove(&runtime->peers, &peer->by_name);
    kv_list_remove(&peer->of_runtime);
    peer->lost = true;
    if (is_vm(peer)) {
        runtime->vm_is_away = true;
        runtime->vm.creation = peer->creation;
        kv_monitors_vm_away(peer);
    }
    kv_links_peer_lost(peer);
    kv_monitors_peer_lost(peer);
    kv_signals_deliver(runtime);
    kv_emit_peer_lost(peer);
    peer_free(peer);
    kv_free(peer);
}

bool kv_peer_is_full(struct kv_runtime *runtime, struct kv_bytes node)
{
    const struct kv_sink *sink = &runtime->sink;
    const struct kv_peer *peer = kv_route(runtime, node);
    return sink->is_full != NULL && peer != NULL && peer != &runtime->local &&
           sink->is_full(sink->context, peer->carrier);
}
