/* How processes begin and end.
 *
 * OTP: dist.c, erts_net_message(), DOP_SPAWN_REQUEST; erl_process.c, erts_continue_exit_process().
 */
#include "process/life.h"

#include "base/alloc.h"
#include "process/address.h"
#include "process/generic.h"
#include "process/lineage.h"
#include "process/links.h"
#include "process/monitors.h"
#include "process/names.h"
#include "process/offers.h"
#include "process/shared.h"
#include "process/state.h"
#include "process/walk.h"

enum { LEAVE_PIECE = 64 }; /* others that hear of the end of a process in one turn */

/* A process that ends in pieces. No map has it, and it gets no signal. */
struct kv_leaving {
    struct kv_list of_runtime;
    struct kv_process *process;
    struct kv_bytes reason;
    struct kv_shared *shared; /* holds the reason; or NULL */
    bool terminated;
    struct kv_list last; /* struct kv_watch: watchers that hear of the end after all others */
};

/* ---- beginning ---------------------------------------------------------------------------------
 */

struct kv_process *kv_process_create(struct kv_runtime *runtime,
                                     const struct kv_behaviour *behaviour)
{
    const struct kv_generic *generic = behaviour->plain ? runtime->plain : runtime->generic;
    /* A plain process may call kv_reply(), which writes to these bytes: so every process has them.
     */
    struct kv_process *process = kv_zalloc(sizeof *process + runtime->generic->size);
    process->generic = generic;
    process->runtime = runtime;
    process->number = ++runtime->next_process;
    process->behaviour = behaviour;
    const struct kv_offer *offer = kv_offer_of(runtime, behaviour);
    process->context = offer != NULL ? offer->context : NULL;
    process->state = kv_zalloc(behaviour->state_size);
    kv_list_init(&process->links);
    kv_list_init(&process->watches);
    kv_list_init(&process->monitors);
    kv_list_init(&process->of_turns);
    kv_list_init(&process->timers);
    generic->created(process);
    kv_map_insert(&runtime->processes, &process->by_number, process->number);
    kv_list_append(&runtime->process_list, &process->of_runtime);
    if (++runtime->spawned >= KV_SPAWNS_TURN && runtime->sink.rest != NULL) {
        runtime->sink.rest(runtime->sink.context);
    }
    return process;
}

void kv_process_free(struct kv_process *process)
{
    process->generic->freed(process);
    kv_timers_drop(process);
    kv_buffer_free(&process->name);
    kv_buffer_free(&process->group_leader);
    kv_buffer_free(&process->parent);
    kv_lineage_drop(process);
    kv_buffer_free(&process->exit_reason);
    kv_free(process->state);
    kv_free(process);
}

/* Signals that end with the reason of a process share it, until hush(). Returns the one before. */
static struct kv_shared *speak(struct kv_runtime *runtime, struct kv_shared *shared)
{
    struct kv_shared *before = runtime->reason;
    runtime->reason = shared;
    runtime->detours += shared != NULL;
    return before;
}

static void hush(struct kv_runtime *runtime, const struct kv_shared *shared,
                 struct kv_shared *before)
{
    runtime->detours -= shared != NULL;
    runtime->reason = before;
}

/* Frees a piece of the state. Returns true if there is more. */
static bool leave(struct kv_process *process, struct kv_bytes reason)
{
    bool more = false;
    if (process->behaviour->leave != NULL) {
        kv_frame_enter(process->runtime);
        more = process->behaviour->leave(process, reason);
        kv_frame_leave(process->runtime);
    }
    return more;
}

static void terminate(struct kv_process *process, struct kv_bytes reason)
{
    if (process->behaviour->terminate != NULL) {
        kv_frame_enter(process->runtime);
        process->behaviour->terminate(process, reason);
        kv_frame_leave(process->runtime);
    }
}

/* No signal reaches the process from here on. */
static void withdraw(struct kv_process *process)
{
    struct kv_runtime *runtime = process->runtime;
    kv_map_remove(&runtime->processes, &process->by_number);
    runtime->latest = NULL;
    kv_walks_pass(process);
    kv_list_remove(&process->of_runtime);
    kv_list_remove(&process->of_turns);
    kv_timers_drop(process);
    if (process->name.length > 0) {
        kv_offer_ended(process);
    }
    kv_name_leave(process);
}

static void begin_to_leave(struct kv_process *process, struct kv_bytes reason,
                           struct kv_shared *shared)
{
    struct kv_leaving *leaving = kv_zalloc(sizeof *leaving);
    leaving->process = process;
    leaving->reason = reason;
    leaving->shared = shared;
    kv_list_init(&leaving->last);
    kv_list_append(&process->runtime->leaving, &leaving->of_runtime);
    process->leaving = leaving;
}

/* OTP, too, tells links before monitors. */
static void finish(struct kv_process *process, bool initialised)
{
    struct kv_runtime *runtime = process->runtime;
    struct kv_bytes reason =
        kv_buffer_bytes(&process->exit_reason); /* kv_share() does not move the bytes */
    struct kv_shared *shared = kv_share(&process->exit_reason);
    struct kv_shared *before = speak(runtime, shared);
    const bool more = initialised && leave(process, reason);
    if (initialised && !more) {
        terminate(process, reason);
    }
    withdraw(process);
    if (more) {
        begin_to_leave(process, reason, shared);
        hush(runtime, shared, before);
        return;
    }
    kv_links_process_died(process, reason);
    kv_monitors_process_died(process, reason);
    process->generic->died(process, reason);
    hush(runtime, shared, before);
    kv_shared_drop(shared);
    kv_process_free(process);
}

/* ---- an end in pieces --------------------------------------------------------------------------
 */

static void end_state(struct kv_leaving *leaving)
{
    terminate(leaving->process, leaving->reason);
    kv_links_process_died(leaving->process, leaving->reason);
    leaving->terminated = true;
}

/* Returns true if there is more. */
static bool leave_on(struct kv_leaving *leaving)
{
    if (leaving->terminated) {
        return kv_monitors_tell_some(leaving->process, &leaving->last, leaving->reason,
                                     LEAVE_PIECE);
    }
    if (!leave(leaving->process, leaving->reason)) {
        end_state(leaving);
    }
    return true;
}

static void free_leaving(struct kv_leaving *leaving)
{
    struct kv_process *process = leaving->process;
    kv_list_remove(&leaving->of_runtime);
    kv_shared_drop(leaving->shared);
    kv_free(leaving);
    kv_process_free(process);
}

bool kv_leaving_step(struct kv_runtime *runtime)
{
    if (kv_list_is_empty(&runtime->leaving)) {
        return false;
    }
    struct kv_leaving *leaving = KV_LIST_OF(runtime->leaving.next, struct kv_leaving, of_runtime);
    struct kv_shared *before = speak(runtime, leaving->shared);
    const bool more = leave_on(leaving);
    if (!more) {
        leaving->process->generic->died(leaving->process, leaving->reason);
    }
    hush(runtime, leaving->shared, before);
    if (!more) {
        free_leaving(leaving);
    }
    return !kv_list_is_empty(&runtime->leaving);
}

void kv_leaving_free(struct kv_runtime *runtime)
{
    KV_LIST_FOREACH (link, &runtime->leaving) {
        struct kv_leaving *leaving = KV_LIST_OF(link, struct kv_leaving, of_runtime);
        if (!leaving->terminated) {
            terminate(leaving->process, leaving->reason);
        }
        free_leaving(leaving);
    }
}

void kv_process_leave_now(struct kv_process *process)
{
    struct kv_leaving *leaving = process->leaving;
    if (leaving == NULL || leaving->terminated) {
        return;
    }
    struct kv_shared *before = speak(process->runtime, leaving->shared);
    while (leave(process, leaving->reason)) {
    }
    end_state(leaving);
    hush(process->runtime, leaving->shared, before);
}

bool kv_process_initialise(struct kv_process *process, struct kv_bytes options,
                           struct kv_buffer *reason)
{
    size_t start = reason->length;
    kv_frame_enter(process->runtime);
    int error = process->behaviour->init(process, options, reason);
    kv_frame_leave(process->runtime);
    if (error == KV_OK) {
        kv_process_settle(process);
        return true;
    }
    kv_process_exit(process, kv_buffer_since(reason, start));
    finish(process, false);
    return false;
}

void kv_process_stand_alone(struct kv_process *self)
{
    const struct kv_pid pid = kv_process_pid(self);
    kv_buffer_clear(&self->parent);
    kv_write_pid(&self->parent, &pid);
}

int kv_spawn(struct kv_runtime *runtime, const struct kv_behaviour *behaviour,
             struct kv_bytes options, struct kv_pid *pid, struct kv_buffer *reason)
{
    struct kv_process *process = kv_process_create(runtime, behaviour);
    *pid = kv_pid_of(runtime, process->number);
    kv_write_pid(&process->parent, pid);
    return kv_process_initialise(process, options, reason) ? KV_OK : KV_ENOENT;
}

/* ---- ending ------------------------------------------------------------------------------------
 */

void kv_process_exit(struct kv_process *self, struct kv_bytes reason)
{
    if (!self->exiting) {
        self->exiting = true;
        kv_buffer_append(&self->exit_reason, reason);
    }
}

void kv_process_exit_atom(struct kv_process *self, const char *reason)
{
    if (!self->exiting) {
        self->exiting = true;
        kv_write_atom_text(&self->exit_reason, reason);
    }
}

void kv_process_settle(struct kv_process *process)
{
    if (process->exiting && process->leaving == NULL) {
        finish(process, true);
    }
}

void kv_process_kill(struct kv_process *process, struct kv_bytes reason)
{
    kv_process_exit(process, reason);
    kv_process_settle(process);
}

void kv_process_exit_signal(struct kv_process *process, const struct kv_pid *from,
                            struct kv_bytes reason)
{
    if (process->leaving != NULL) {
        return;
    }
    if (process->behaviour->handle_exit != NULL) {
        process->behaviour->handle_exit(process, from, reason);
        kv_process_settle(process);
    } else if (!kv_term_is_atom(reason, "normal")) {
        kv_process_kill(process, reason);
    }
}

void kv_exit_received(struct kv_peer *peer, const struct kv_signal *signal)
{
    struct kv_process *process = signal->by_name ? kv_process_named(peer->runtime, signal->name)
                                                 : kv_process_find(peer->runtime, &signal->to);
    if (process != NULL && kv_term_is_atom(signal->payload[0], "kill")) {
        kv_process_exit_atom(process, "killed");
        kv_process_settle(process);
    } else if (process != NULL) {
        kv_process_exit_signal(process, &signal->from, signal->payload[0]);
    }
}
