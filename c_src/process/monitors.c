/* Monitors in both directions: watches (others on ours) and monitors (ours on others).
 *
 * OTP: dist.c, erts_net_message(), DOP_MONITOR_P, DOP_DEMONITOR_P, DOP_MONITOR_P_EXIT. */
#include "process/monitors.h"

#include "base/alloc.h"
#include "base/word.h"
#include "process/address.h"
#include "process/atoms.h"
#include "process/emit.h"
#include "process/life.h"
#include "process/names.h"
#include "process/state.h"

/* ---- watches -----------------------------------------------------------------------------------
 */

struct watch_key {
    const struct kv_remote *watcher;
    const struct kv_ref *ref;
};

/* A keyed hash, cheaper than SipHash: a peer's runtime counts its references, so its users cannot
 * choose them. */
static inline uint64_t hash_of_ref(const struct kv_runtime *runtime, const struct kv_ref *ref)
{
    const uint64_t factor = runtime->hash_key.k1 | 1;
    uint64_t hash = runtime->hash_key.k0 ^ ref->count;
    for (uint32_t i = 0; i < ref->count; i += 2) { /* two words at a time */
        uint64_t second = i + 1 < ref->count ? ref->words[i + 1] : 0;
        hash = (hash ^ ref->words[i] ^ second << 32) * factor;
        hash ^= hash >> 32;
    }
    return hash;
}

static bool is_watch(const struct kv_map_node *node, const void *key)
{
    const struct kv_watch *watch = KV_MAP_OF(node, const struct kv_watch, by_ref);
    const struct watch_key *wanted = key;
    const struct kv_ref *ref = wanted->ref;
    return kv_remote_equal(&watch->watcher, wanted->watcher) && watch->ref.count == ref->count &&
           watch->ref.creation == ref->creation &&
           kv_same((const uint8_t *)watch->ref.words, (const uint8_t *)ref->words,
                   ref->count * sizeof ref->words[0]) &&
           watch->ref.node.length == ref->node.length &&
           kv_same(watch->ref.node.data, ref->node.data, ref->node.length);
}

static struct kv_watch *find_watch(const struct kv_peer *peer, const struct kv_remote *watcher,
                                   const struct kv_ref *ref, uint64_t hash)
{
    struct watch_key key = {.watcher = watcher, .ref = ref};
    struct kv_map_node *found = kv_map_find(&peer->watches, hash, is_watch, &key);
    return found == NULL ? NULL : KV_MAP_OF(found, struct kv_watch, by_ref);
}

static void drop_watch(struct kv_watch *watch)
{
    struct kv_runtime *runtime = watch->peer->runtime;
    kv_map_remove(&watch->peer->watches, &watch->by_ref);
    watch->process->related[KV_RELATION_MONITORED_BY]--;
    kv_list_remove(&watch->of_process);
    kv_list_remove(&watch->of_peer);
    if (watch->spare && runtime->spare_watch_count < KV_SPARE_WATCHES_MAX) {
        kv_list_append(&runtime->spare_watches, &watch->of_peer);
        runtime->spare_watch_count++;
    } else {
        kv_free(watch);
    }
}

void kv_monitors_drop_spares(struct kv_runtime *runtime)
{
    KV_LIST_FOREACH (link, &runtime->spare_watches) {
        kv_list_remove(link);
        kv_free(KV_LIST_OF(link, struct kv_watch, of_peer));
    }
    runtime->spare_watch_count = 0;
}

/* Almost every reference belongs to the watcher's own node, whose name the peer has already. */
static struct kv_watch *new_watch(const struct kv_peer *peer, const struct kv_ref *ref)
{
    struct kv_runtime *runtime = peer->runtime;
    struct kv_bytes name = kv_buffer_bytes(&peer->name);
    bool usual = ref->node.length == name.length && kv_same(ref->node.data, name.data, name.length);
    struct kv_watch *watch;
    if (usual && runtime->spare_watch_count > 0) {
        watch = KV_LIST_OF(runtime->spare_watches.next, struct kv_watch, of_peer);
        kv_list_remove(&watch->of_peer);
        runtime->spare_watch_count--;
    } else {
        watch = kv_alloc(sizeof *watch + (usual ? 0 : ref->node.length));
    }
    if (!usual) {
        memcpy(watch + 1, ref->node.data, ref->node.length);
        name = kv_bytes(watch + 1, ref->node.length);
    }
    watch->spare = usual;
    watch->ref = *ref;
    watch->ref.node = name;
    return watch;
}

/* by_name: the watcher asked for `name`, and gets it back. */
static void emit_down(struct kv_peer *peer, const struct kv_pid *from, bool by_name,
                      struct kv_bytes name, const struct kv_remote *watcher,
                      const struct kv_ref *ref, struct kv_bytes reason)
{
    struct kv_signal signal = {
        .kind = KV_SIGNAL_DOWN,
        .by_name = by_name,
        .from = *from,
        .name = name,
        .to = kv_remote_pid(peer, watcher),
        .ref = *ref,
        .payload = {reason},
        .payload_parts = 1,
    };
    kv_emit(peer, &signal);
}

static void add_watch(struct kv_process *process, struct kv_peer *peer,
                      const struct kv_remote *watcher, const struct kv_ref *ref, bool by_name,
                      uint64_t hash)
{
    struct kv_watch *watch = new_watch(peer, ref);
    watch->process = process;
    watch->peer = peer;
    watch->watcher = *watcher;
    watch->by_name = by_name;
    kv_map_insert(&peer->watches, &watch->by_ref, hash);
    kv_list_append(&process->watches, &watch->of_process);
    process->related[KV_RELATION_MONITORED_BY]++;
    kv_list_append(&peer->watch_list, &watch->of_peer);
}

void kv_watch_install(struct kv_process *process, struct kv_peer *peer,
                      const struct kv_pid *watcher, const struct kv_ref *ref, bool by_name)
{
    struct kv_remote remote = kv_remote_of(watcher);
    add_watch(process, peer, &remote, ref, by_name, hash_of_ref(peer->runtime, ref));
}

int kv_monitor_received(struct kv_peer *peer, const struct kv_signal *signal)
{
    struct kv_runtime *runtime = peer->runtime;
    struct kv_process *process = signal->by_name ? kv_process_named(runtime, signal->name)
                                                 : kv_process_find(runtime, &signal->to);
    struct kv_remote watcher = kv_remote_of(&signal->from);
    uint64_t hash = hash_of_ref(runtime, &signal->ref);
    if (find_watch(peer, &watcher, &signal->ref, hash) != NULL) {
        return KV_EPROTOCOL; /* a reference may name one monitor only */
    }
    if (process != NULL) {
        add_watch(process, peer, &watcher, &signal->ref, signal->by_name, hash);
        return KV_OK;
    }
    struct kv_pid nobody = {.id = 0};
    emit_down(peer, signal->by_name ? &nobody : &signal->to, signal->by_name, signal->name,
              &watcher, &signal->ref, kv_atom_noproc);
    return KV_OK;
}

void kv_demonitor_received(struct kv_peer *peer, const struct kv_signal *signal)
{
    struct kv_remote watcher = kv_remote_of(&signal->from);
    struct kv_watch *watch =
        find_watch(peer, &watcher, &signal->ref, hash_of_ref(peer->runtime, &signal->ref));
    if (watch != NULL) {
        drop_watch(watch);
    }
}

/* ---- monitors ----------------------------------------------------------------------------------
 */

/* Our references have three words; OTP keeps 18 bits of the first one. */
static struct kv_ref ref_of(const struct kv_runtime *runtime, uint64_t number)
{
    return (struct kv_ref){
        .node = kv_runtime_node(runtime),
        .creation = runtime->creation,
        .count = 3,
        .words = {(uint32_t)(number & 0x3ffff), (uint32_t)(number >> 18), (uint32_t)(number >> 50)},
    };
}

static uint64_t number_of(const struct kv_ref *ref)
{
    return ref->words[0] | ((uint64_t)ref->words[1] << 18) | ((uint64_t)ref->words[2] << 50);
}

static bool monitor_has_number(const struct kv_map_node *node, const void *key)
{
    return KV_MAP_OF(node, const struct kv_monitor, by_number)->number == *(const uint64_t *)key;
}

static struct kv_monitor *find_monitor(const struct kv_runtime *runtime, uint64_t number)
{
    struct kv_map_node *found =
        kv_map_find(&runtime->monitors, number, monitor_has_number, &number);
    return found == NULL ? NULL : KV_MAP_OF(found, struct kv_monitor, by_number);
}

static void drop_monitor(struct kv_monitor *monitor)
{
    kv_map_remove(&monitor->process->runtime->monitors, &monitor->by_number);
    monitor->process->related[KV_RELATION_MONITOR]--;
    kv_list_remove(&monitor->of_process);
    kv_list_remove(&monitor->of_peer);
    kv_free(monitor);
}

static struct kv_monitor *add_monitor(struct kv_process *self, struct kv_peer *peer,
                                      const struct kv_pid *target, uint64_t number)
{
    struct kv_monitor *monitor = kv_zalloc(sizeof *monitor);
    monitor->process = self;
    monitor->peer = peer;
    monitor->target = kv_remote_of(target);
    monitor->number = number;
    kv_map_insert(&self->runtime->monitors, &monitor->by_number, number);
    kv_list_append(&self->monitors, &monitor->of_process);
    self->related[KV_RELATION_MONITOR]++;
    kv_list_append(&peer->monitor_list, &monitor->of_peer);
    return monitor;
}

/* Queues a DOWN with reason noconnection. Queued, so that handle_down runs after the callback that
 * called kv_monitor(). */
static void queue_noconnection(struct kv_process *self, uint64_t number)
{
    struct kv_runtime *runtime = self->runtime;
    struct kv_pid nobody = {.id = 0}; /* no process: its signals never wait */
    struct kv_pid pid = kv_process_pid(self);
    struct kv_remote remote = kv_remote_of(&pid);
    struct kv_ref ref = ref_of(runtime, number);
    emit_down(&runtime->local, &nobody, false, kv_bytes(NULL, 0), &remote, &ref,
              kv_atom_noconnection);
}

static void emit_monitor(const struct kv_monitor *monitor, enum kv_signal_kind kind)
{
    struct kv_signal signal = {
        .kind = kind,
        .from = kv_process_pid(monitor->process),
        .to = kv_remote_pid(monitor->peer, &monitor->target),
        .ref = ref_of(monitor->process->runtime, monitor->number),
    };
    kv_emit(monitor->peer, &signal);
}

uint64_t kv_monitor(struct kv_process *self, const struct kv_pid *target)
{
    uint64_t number = ++self->runtime->next_monitor;
    struct kv_peer *peer = kv_route(self->runtime, target->node);
    if (peer == NULL) {
        (void)add_monitor(self, &self->runtime->local, target, number);
        queue_noconnection(self, number);
    } else {
        emit_monitor(add_monitor(self, peer, target, number), KV_SIGNAL_MONITOR);
    }
    return number;
}

/* The peer of a node that is away, if the pid belongs to the very run of it that has left. */
static struct kv_peer *absent_of(const struct kv_runtime *runtime, const struct kv_pid *pid)
{
    struct kv_peer *absent = kv_absent(runtime, pid->node);
    return absent != NULL && absent->creation == pid->creation ? absent : NULL;
}

uint64_t kv_monitor_owner(struct kv_process *self, const struct kv_pid *target)
{
    struct kv_runtime *runtime = self->runtime;
    struct kv_peer *absent =
        kv_route(runtime, target->node) == NULL ? absent_of(runtime, target) : NULL;
    if (absent != NULL) {
        add_monitor(self, absent, target, ++runtime->next_monitor)->kept = true;
        return runtime->next_monitor;
    }
    uint64_t number = kv_monitor(self, target);
    find_monitor(runtime, number)->kept = true;
    return number;
}

void kv_demonitor(struct kv_process *self, uint64_t number)
{
    struct kv_monitor *monitor = find_monitor(self->runtime, number);
    if (monitor != NULL && monitor->process == self) {
        emit_monitor(monitor, KV_SIGNAL_DEMONITOR);
        drop_monitor(monitor);
    }
}

static void fire(struct kv_monitor *monitor, struct kv_bytes reason)
{
    struct kv_process *process = monitor->process;
    uint64_t number = monitor->number;
    drop_monitor(monitor);
    if (process->behaviour->handle_down != NULL && process->leaving == NULL) {
        process->behaviour->handle_down(process, number, reason);
        kv_process_settle(process);
    }
}

void kv_down_received(struct kv_peer *peer, const struct kv_signal *signal)
{
    struct kv_monitor *monitor = find_monitor(peer->runtime, number_of(&signal->ref));
    if (monitor != NULL && monitor->peer == peer &&
        signal->ref.creation == peer->runtime->creation) {
        fire(monitor, signal->payload[0]);
    }
}

/* ---- ends --------------------------------------------------------------------------------------
 */

static void tell(struct kv_watch *watch, struct kv_bytes reason)
{
    const struct kv_process *process = watch->process;
    const struct kv_pid from = kv_process_pid(process);
    emit_down(watch->peer, &from, watch->by_name, kv_buffer_bytes(&process->name), &watch->watcher,
              &watch->ref, reason);
    drop_watch(watch);
}

static void end_monitor(struct kv_list *of_process)
{
    struct kv_monitor *monitor = KV_LIST_OF(of_process, struct kv_monitor, of_process);
    emit_monitor(monitor, KV_SIGNAL_DEMONITOR);
    drop_monitor(monitor);
}

void kv_monitors_process_died(struct kv_process *process, struct kv_bytes reason)
{
    while (!kv_list_is_empty(&process->watches)) {
        tell(KV_LIST_OF(process->watches.next, struct kv_watch, of_process), reason);
    }
    while (!kv_list_is_empty(&process->monitors)) {
        end_monitor(process->monitors.next);
    }
}

/* Returns false if there was none. */
static bool tell_one(struct kv_process *process, struct kv_list *last, struct kv_bytes reason)
{
    if (!kv_list_is_empty(&process->watches)) {
        struct kv_watch *watch = KV_LIST_OF(process->watches.next, struct kv_watch, of_process);
        if (watch->peer == &process->runtime->local) {
            tell(watch, reason);
        } else {
            kv_list_remove(&watch->of_process);
            kv_list_append(last, &watch->of_process);
        }
        return true;
    }
    if (!kv_list_is_empty(&process->monitors)) {
        end_monitor(process->monitors.next);
        return true;
    }
    if (!kv_list_is_empty(last)) {
        tell(KV_LIST_OF(last->next, struct kv_watch, of_process), reason);
        return true;
    }
    return false;
}

bool kv_monitors_tell_some(struct kv_process *process, struct kv_list *last, struct kv_bytes reason,
                           unsigned most)
{
    for (unsigned i = 0; i < most; i++) {
        if (!tell_one(process, last, reason)) {
            return false;
        }
    }
    return true;
}

static void move_monitor(struct kv_monitor *monitor, struct kv_peer *to)
{
    monitor->peer = to;
    kv_list_remove(&monitor->of_peer);
    kv_list_append(&to->monitor_list, &monitor->of_peer);
}

bool kv_monitors_are_kept(const struct kv_peer *peer)
{
    KV_LIST_FOREACH (link, &peer->monitor_list) {
        if (KV_LIST_OF(link, const struct kv_monitor, of_peer)->kept) {
            return true;
        }
    }
    return false;
}

void kv_monitors_keep(struct kv_peer *peer, struct kv_peer *absent)
{
    KV_LIST_FOREACH (link, &peer->monitor_list) {
        struct kv_monitor *monitor = KV_LIST_OF(link, struct kv_monitor, of_peer);
        if (monitor->kept) {
            move_monitor(monitor, absent);
        }
    }
}

/* A callback may end any process and its monitors, so this goes over numbers, not over monitors. */
static void tell_back(struct kv_runtime *runtime, struct kv_bytes numbers)
{
    for (size_t at = 0; at < numbers.length; at += sizeof(uint64_t)) {
        uint64_t number = 0;
        memcpy(&number, numbers.data + at, sizeof number);
        const struct kv_monitor *monitor = find_monitor(runtime, number);
        if (monitor != NULL && monitor->process->leaving == NULL) {
            struct kv_process *process = monitor->process;
            process->behaviour->handle_back(process, number);
            kv_process_settle(process);
        }
    }
}

void kv_monitors_back(struct kv_peer *absent, struct kv_peer *peer)
{
    struct kv_runtime *runtime = peer->runtime;
    struct kv_buffer numbers = KV_BUFFER_INIT; /* of the monitors whose process has a handle_back */
    KV_LIST_FOREACH (link, &absent->monitor_list) {
        struct kv_monitor *monitor = KV_LIST_OF(link, struct kv_monitor, of_peer);
        move_monitor(monitor, peer);
        emit_monitor(monitor, KV_SIGNAL_MONITOR);
        if (monitor->process->behaviour->handle_back != NULL) {
            kv_buffer_append(&numbers, kv_bytes(&monitor->number, sizeof monitor->number));
        }
    }
    tell_back(runtime, kv_buffer_bytes(&numbers));
    kv_buffer_free(&numbers);
}

/* ---- who belongs to whom -----------------------------------------------------------------------
 */

static bool is_owned_by(const struct kv_monitor *monitor, const struct kv_remote *owner,
                        const struct kv_process *but)
{
    return monitor->kept && kv_remote_equal(&monitor->target, owner) && monitor->process != but &&
           monitor->process->behaviour == but->behaviour;
}

/* Appends the pids of the processes that belong to the owner. */
static void find_owned(const struct kv_process *self, const struct kv_pid *owner,
                       struct kv_buffer *pids)
{
    struct kv_runtime *runtime = self->runtime;
    const struct kv_peer *peer = kv_route(runtime, owner->node);
    struct kv_remote remote = kv_remote_of(owner);
    if (peer == NULL) {
        peer = absent_of(runtime, owner);
    }
    if (peer == NULL) {
        return;
    }
    KV_LIST_FOREACH (link, &peer->monitor_list) {
        const struct kv_monitor *monitor = KV_LIST_OF(link, struct kv_monitor, of_peer);
        if (is_owned_by(monitor, &remote, self)) {
            struct kv_pid pid = kv_process_pid(monitor->process);
            kv_buffer_append(pids, kv_bytes(&pid, sizeof pid));
        }
    }
}

/* Finds all processes first: the list of monitors changes with each one that ends. */
void kv_replace_owned(struct kv_process *self, const struct kv_pid *owner, const char *reason)
{
    struct kv_buffer pids = KV_BUFFER_INIT;
    struct kv_buffer term = KV_BUFFER_INIT;
    find_owned(self, owner, &pids);
    kv_write_atom_text(&term, reason);
    for (size_t at = 0; at < pids.length; at += sizeof(struct kv_pid)) {
        struct kv_pid pid;
        memcpy(&pid, pids.data + at, sizeof pid);
        struct kv_process *process = kv_process_find(self->runtime, &pid);
        if (process != NULL) {
            kv_process_kill(process, kv_buffer_bytes(&term));
        }
    }
    kv_buffer_free(&pids);
    kv_buffer_free(&term);
}

/* ---- lost peers --------------------------------------------------------------------------------
 */

void kv_monitors_peer_lost(struct kv_peer *peer)
{
    while (!kv_list_is_empty(&peer->watch_list)) {
        drop_watch(KV_LIST_OF(peer->watch_list.next, struct kv_watch, of_peer));
    }
    while (!kv_list_is_empty(&peer->monitor_list)) {
        fire(KV_LIST_OF(peer->monitor_list.next, struct kv_monitor, of_peer), kv_atom_noconnection);
    }
}
