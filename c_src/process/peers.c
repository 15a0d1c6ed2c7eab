/* Other nodes: up, ready, down; and those that may be away for a while. */
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

/* ---- nodes that are away ----------------------------------------------------------------------
 */

static bool may_be_away(const struct kv_peer *peer)
{
    const struct kv_runtime *runtime = peer->runtime;
    return kv_bytes_equal(kv_buffer_bytes(&peer->name), kv_buffer_bytes(&runtime->vm)) ||
           (runtime->keeps_all && kv_monitors_are_kept(peer));
}

static struct kv_peer *begin_absence(struct kv_runtime *runtime, struct kv_bytes name)
{
    struct kv_peer *absent = kv_zalloc(sizeof *absent);
    kv_peer_init(absent, runtime, name, 0, NULL);
    absent->lost = true;
    absent->absence = ++runtime->absences.begun;
    kv_list_append(&runtime->absent_list, &absent->of_runtime);
    runtime->absences.count++;
    return absent;
}

static void leave(struct kv_runtime *runtime, struct kv_peer *peer)
{
    struct kv_peer *absent = kv_absent(runtime, kv_buffer_bytes(&peer->name));
    if (absent == NULL) {
        absent = begin_absence(runtime, kv_buffer_bytes(&peer->name));
    }
    absent->creation = peer->creation;
    kv_monitors_keep(peer, absent);
}

/* The monitors that are left fire with noconnection. */
static void end_absence(struct kv_runtime *runtime, struct kv_peer *absent)
{
    runtime->absences.count--;
    kv_list_remove(&absent->of_runtime);
    kv_monitors_peer_lost(absent);
    peer_free(absent);
    kv_free(absent);
    kv_signals_deliver(runtime);
}

struct kv_absences kv_runtime_absences(const struct kv_runtime *runtime)
{
    return runtime->absences;
}

uint64_t kv_runtime_next_absence(const struct kv_runtime *runtime, uint64_t number,
                                 struct kv_bytes *node)
{
    KV_LIST_FOREACH (entry, &runtime->absent_list) {
        const struct kv_peer *absent = KV_LIST_OF(entry, struct kv_peer, of_runtime);
        if (absent->absence > number) {
            *node = kv_buffer_bytes(&absent->name);
            return absent->absence;
        }
    }
    return 0;
}

void kv_runtime_absence_expired(struct kv_runtime *runtime, uint64_t number)
{
    KV_LIST_FOREACH (entry, &runtime->absent_list) {
        struct kv_peer *absent = KV_LIST_OF(entry, struct kv_peer, of_runtime);
        if (absent->absence == number) {
            end_absence(runtime, absent);
            return;
        }
    }
}

void kv_runtime_peer_ready(struct kv_peer *peer)
{
    struct kv_runtime *runtime = peer->runtime;
    struct kv_bytes name = kv_buffer_bytes(&peer->name);
    struct kv_peer *absent = kv_absent(runtime, name);
    if (absent == NULL) {
        return;
    }
    if (peer->creation == absent->creation) {
        kv_monitors_back(absent, peer);
    } else { /* ours do not know the processes of this run */
        kv_log_line(runtime, KV_LOG_NOTICE,
                    "the VM is back as another run: what the last one "
                    "had started ends");
    }
    end_absence(runtime, absent);
}

/* ---- the end of a peer ------------------------------------------------------------------------
 */

void kv_runtime_peer_down(struct kv_runtime *runtime, struct kv_peer *peer)
{
    kv_map_remove(&runtime->peers, &peer->by_name);
    kv_list_remove(&peer->of_runtime);
    peer->lost = true;
    if (may_be_away(peer)) {
        leave(runtime, peer);
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
