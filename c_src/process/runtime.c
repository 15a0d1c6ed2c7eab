#include "process/runtime.h"

#include "base/alloc.h"
#include "process/state.h"

#include <stdarg.h>
#include <stdio.h>

enum { LOG_LINE_MAX = 512 };

/* ---- the runtime -------------------------------------------------------------------------------
 */

static void peer_init(struct kv_peer *peer, struct kv_runtime *runtime, struct kv_bytes name,
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

struct kv_runtime *kv_runtime_new(const struct kv_runtime_options *options)
{
    struct kv_runtime *runtime = kv_zalloc(sizeof *runtime);
    kv_buffer_append(&runtime->node, options->node);
    runtime->creation = options->creation;
    runtime->hash_key = options->hash_key;
    runtime->get_state = options->get_state;
    runtime->sink = options->sink;
    kv_list_init(&runtime->process_list);
    kv_list_init(&runtime->walks);
    kv_list_init(&runtime->peer_list);
    kv_list_init(&runtime->signals);
    kv_list_init(&runtime->timers);
    kv_list_init(&runtime->resuming);
    kv_list_init(&runtime->spare_watches);
    kv_list_init(&runtime->offers);
    peer_init(&runtime->local, runtime, options->node, options->creation, NULL);
    peer_init(&runtime->vm, runtime, options->vm, 0, NULL);
    runtime->vm.lost = true;
    return runtime;
}

static void peer_free(struct kv_peer *peer)
{
    kv_map_free(&peer->links);
    kv_map_free(&peer->watches);
    kv_buffer_free(&peer->name);
}

/* Takes the relations of one peer apart without telling anybody. */
static void forget_relations(struct kv_peer *peer)
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

void kv_runtime_free(struct kv_runtime *runtime)
{
    KV_LIST_FOREACH (entry, &runtime->process_list) {
        struct kv_process *process = KV_LIST_OF(entry, struct kv_process, of_runtime);
        if (process->behaviour->terminate != NULL) {
            process->behaviour->terminate(process, kv_bytes(NULL, 0));
        }
        kv_process_free(process);
    }
    KV_LIST_FOREACH (entry, &runtime->peer_list) {
        struct kv_peer *peer = KV_LIST_OF(entry, struct kv_peer, of_runtime);
        forget_relations(peer);
        kv_free(peer);
    }
    forget_relations(&runtime->local);
    forget_relations(&runtime->vm);
    KV_LIST_FOREACH (entry, &runtime->signals) {
        kv_kept_free(KV_LIST_OF(entry, struct kv_kept, link));
    }
    kv_monitors_drop_spares(runtime);
    kv_offers_free(runtime);
    kv_map_free(&runtime->processes);
    kv_map_free(&runtime->names);
    kv_map_free(&runtime->peers);
    kv_map_free(&runtime->monitors);
    kv_map_free(&runtime->lineages);
    kv_buffer_free(&runtime->node);
    kv_buffer_free(&runtime->scratch);
    kv_free(runtime);
}

size_t kv_runtime_process_count(const struct kv_runtime *runtime)
{
    return runtime->processes.count;
}

size_t kv_runtime_peer_count(const struct kv_runtime *runtime)
{
    return runtime->peers.count;
}

void kv_log_line(struct kv_runtime *runtime, enum kv_log_level level, const char *format, ...)
{
    char line[LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    runtime->sink.log(runtime->sink.context, level, line);
}

/* ---- what a process asks of itself -------------------------------------------------------------
 */

void *kv_process_state(struct kv_process *self)
{
    return self->state;
}

const void *kv_process_const_state(const struct kv_process *self)
{
    return self->state;
}

struct kv_runtime *kv_process_runtime(const struct kv_process *self)
{
    return self->runtime;
}

void *kv_process_context(const struct kv_process *self)
{
    return self->context;
}

struct kv_pid kv_process_pid(const struct kv_process *self)
{
    return kv_pid_of(self->runtime, self->number);
}

struct kv_buffer *kv_process_scratch(struct kv_process *self)
{
    kv_buffer_clear(&self->runtime->scratch);
    return &self->runtime->scratch;
}

/* ---- signals -----------------------------------------------------------------------------------
 */

static void deliver(struct kv_runtime *runtime, struct kv_process *process,
                    const struct kv_signal *signal, enum kv_call_shape shape)
{
    runtime->latest = process; /* before the message, which may end it */
    if (process != NULL) {
        kv_server_message(process, signal, shape);
    } else {
        kv_server_undelivered(runtime, signal);
    }
}

static void lead(struct kv_process *process, const struct kv_signal *signal)
{
    if (process != NULL) {
        kv_buffer_clear(&process->group_leader);
        kv_write_pid(&process->group_leader, &signal->from);
    }
}

int kv_signal_handle(struct kv_peer *peer, const struct kv_signal *signal, enum kv_call_shape shape)
{
    struct kv_runtime *runtime = peer->runtime;
    switch (signal->kind) {
    case KV_SIGNAL_MESSAGE:
        deliver(runtime, kv_process_find(runtime, &signal->to), signal, shape);
        break;
    case KV_SIGNAL_MESSAGE_NAME:
        deliver(runtime, kv_process_named(runtime, signal->name), signal, shape);
        break;
    case KV_SIGNAL_LINK:
        kv_link_received(peer, signal);
        break;
    case KV_SIGNAL_UNLINK:
        kv_unlink_received(peer, signal);
        break;
    case KV_SIGNAL_UNLINK_ACK:
        kv_unlink_ack_received(peer, signal);
        break;
    case KV_SIGNAL_EXIT_LINK:
        kv_exit_link_received(peer, signal);
        break;
    case KV_SIGNAL_EXIT:
        kv_exit_received(peer, signal);
        break;
    case KV_SIGNAL_MONITOR:
        return kv_monitor_received(peer, signal);
    case KV_SIGNAL_DEMONITOR:
        kv_demonitor_received(peer, signal);
        break;
    case KV_SIGNAL_DOWN:
        kv_down_received(peer, signal);
        break;
    case KV_SIGNAL_GROUP_LEADER:
        lead(kv_process_find(runtime, &signal->to), signal);
        break;
    case KV_SIGNAL_SPAWN_REQUEST:
        kv_spawn_received(peer, signal);
        break;
    case KV_SIGNAL_MESSAGE_ALIAS: /* no process of ours makes aliases */
    case KV_SIGNAL_EXIT_ALIAS:
    case KV_SIGNAL_SPAWN_REPLY: /* or spawns on other nodes */
        break;
    }
    return KV_OK;
}

void kv_signals_deliver(struct kv_runtime *runtime)
{
    while (!kv_list_is_empty(&runtime->signals)) {
        struct kv_kept *kept = KV_LIST_OF(runtime->signals.next, struct kv_kept, link);
        kv_list_remove(&kept->link);
        (void)kv_signal_handle(&runtime->local, &kept->signal, KV_CALL_UNKNOWN);
        kv_kept_free(kept);
    }
}

int kv_runtime_receive(struct kv_runtime *runtime, struct kv_peer *peer,
                       const struct kv_incoming *incoming)
{
    runtime->speaking = peer;
    int error = kv_signal_handle(peer, &incoming->signal, incoming->call);
    if (!kv_list_is_empty(&runtime->signals)) {
        kv_signals_deliver(runtime);
    }
    runtime->speaking = NULL;
    return error;
}

/* ---- what waited for resume -------------------------------------------------------------------
 */

/* One turn of a process, which may be gone afterwards; whether there is more that it could do. */
static bool take_turn(struct kv_runtime *runtime, struct kv_process *process)
{
    struct kv_pid pid = kv_process_pid(process);
    size_t budget = KV_RESUME_BYTES;
    for (unsigned i = 0; i < KV_RESUME_MESSAGES && process != NULL; i++) {
        enum kv_turn turn = kv_server_turn(process, &budget);
        kv_signals_deliver(runtime);
        if (turn != KV_TURN_MORE || budget == 0) {
            return turn == KV_TURN_MORE;
        }
        process = kv_process_find(runtime, &pid);
    }
    return process != NULL;
}

bool kv_runtime_step(struct kv_runtime *runtime)
{
    bool more = false;
    struct kv_list turns;
    if (kv_list_is_empty(&runtime->resuming)) {
        return false;
    }
    kv_list_init(&turns);
    KV_LIST_FOREACH (link, &runtime->resuming) {
        kv_list_remove(link);
        kv_list_append(&turns, link);
    }
    while (!kv_list_is_empty(&turns)) {
        struct kv_list *link = turns.next;
        kv_list_remove(link);
        kv_list_append(&runtime->resuming, link);
        more = take_turn(runtime, KV_LIST_OF(link, struct kv_process, of_resuming)) || more;
    }
    return more;
}

/* ---- timers ---------------------------------------------------------------------------------- */

uint64_t kv_runtime_clock(const struct kv_runtime *runtime)
{
    return runtime->sink.clock(runtime->sink.context);
}

void kv_process_set_timer(struct kv_process *self, uint64_t delay)
{
    self->due = kv_runtime_clock(self->runtime) + delay;
    kv_list_remove(&self->of_timers);
    kv_list_append(&self->runtime->timers, &self->of_timers);
}

static void fire_timer(struct kv_process *process)
{
    kv_list_remove(&process->of_timers);
    if (process->behaviour->handle_timer != NULL) {
        process->behaviour->handle_timer(process);
        kv_process_settle(process);
    }
}

static uint64_t until_next(const struct kv_runtime *runtime, uint64_t now)
{
    uint64_t least = KV_NO_TIMER;
    KV_LIST_FOREACH (link, &runtime->timers) {
        const struct kv_process *process = KV_LIST_OF(link, const struct kv_process, of_timers);
        uint64_t left = process->due > now ? process->due - now : 0;
        least = left < least ? left : least;
    }
    return least;
}

uint64_t kv_runtime_run_timers(struct kv_runtime *runtime)
{
    uint64_t now = kv_runtime_clock(runtime);
    struct kv_list due;
    kv_list_init(&due);
    KV_LIST_FOREACH (link, &runtime->timers) {
        if (KV_LIST_OF(link, struct kv_process, of_timers)->due <= now) {
            kv_list_remove(link);
            kv_list_append(&due, link);
        }
    }
    while (!kv_list_is_empty(&due)) {
        fire_timer(KV_LIST_OF(due.next, struct kv_process, of_timers));
        kv_signals_deliver(runtime);
    }
    return until_next(runtime, now);
}

/* ---- peers -------------------------------------------------------------------------------------
 */

struct kv_peer *kv_runtime_peer_up(struct kv_runtime *runtime, struct kv_bytes name,
                                   uint32_t creation, void *carrier)
{
    struct kv_peer *peer = kv_zalloc(sizeof *peer);
    peer_init(peer, runtime, name, creation, carrier);
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
    } else { /* its processes are not those that ours know */
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
    peer_free(peer);
    kv_free(peer);
}
