#include "process/runtime.h"

#include "base/alloc.h"
#include "process/address.h"
#include "process/emit.h"
#include "process/generic.h"
#include "process/life.h"
#include "process/monitors.h"
#include "process/offers.h"
#include "process/peers.h"
#include "process/queue.h"
#include "process/service.h"
#include "process/signals.h"
#include "process/state.h"

/* ---- the runtime -------------------------------------------------------------------------------
 */

struct kv_runtime *kv_runtime_new(const struct kv_runtime_options *options)
{
    struct kv_runtime *runtime = kv_zalloc(sizeof *runtime);
    kv_buffer_append(&runtime->node, options->node);
    runtime->creation = options->creation;
    runtime->hash_key = options->hash_key;
    runtime->get_state = options->get_state;
    runtime->plain = &kv_plain;
    runtime->generic = options->generic == NULL ? &kv_plain : options->generic;
    runtime->sink = options->sink;
    kv_list_init(&runtime->process_list);
    kv_list_init(&runtime->walks);
    kv_list_init(&runtime->peer_list);
    kv_list_init(&runtime->signals);
    kv_timers_init(&runtime->timers);
    kv_list_init(&runtime->turns);
    kv_list_init(&runtime->leaving);
    kv_list_init(&runtime->outbox_list);
    runtime->frame = &runtime->outermost;
    kv_list_init(&runtime->spare_watches);
    kv_list_init(&runtime->offers);
    kv_peer_init(&runtime->local, runtime, options->node, options->creation, NULL);
    kv_list_init(&runtime->absent_list);
    kv_buffer_append(&runtime->vm, options->vm);
    runtime->keeps_all = options->keeps_all;
    return runtime;
}

static void free_peers(struct kv_list *peers)
{
    KV_LIST_FOREACH (entry, peers) {
        struct kv_peer *peer = KV_LIST_OF(entry, struct kv_peer, of_runtime);
        kv_peer_forget(peer);
        kv_free(peer);
    }
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
    kv_leaving_free(runtime);
    kv_emit_free(runtime);
    free_peers(&runtime->peer_list);
    free_peers(&runtime->absent_list);
    kv_peer_forget(&runtime->local);
    kv_signals_free(runtime);
    kv_monitors_drop_spares(runtime);
    kv_offers_free(runtime);
    kv_map_free(&runtime->processes);
    kv_map_free(&runtime->names);
    kv_map_free(&runtime->peers);
    kv_map_free(&runtime->monitors);
    kv_map_free(&runtime->lineages);
    kv_buffer_free(&runtime->node);
    kv_buffer_free(&runtime->vm);
    kv_buffer_free(&runtime->reply);
    kv_frames_free(runtime);
    kv_timers_free(&runtime->timers);
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

/* ---- what goes on by itself --------------------------------------------------------------------
 */

/* Gives a process one turn; it may be gone afterwards. True if it could do more. Adds to
 * *long_turns if it has used up its bytes, or has done a piece of a long request. */
static bool take_turn(struct kv_runtime *runtime, struct kv_process *process, unsigned *long_turns)
{
    struct kv_pid pid = kv_process_pid(process);
    size_t budget = KV_RESUME_BYTES;
    for (unsigned i = 0; i < KV_RESUME_MESSAGES && process != NULL; i++) {
        enum kv_progress turn = process->generic->turn(process, &budget);
        kv_signals_deliver(runtime);
        if (turn != KV_TURN_MORE || budget == 0) {
            *long_turns += budget == 0;
            return turn == KV_TURN_MORE;
        }
        process = kv_process_find(runtime, &pid);
    }
    return process != NULL;
}

/* Those that have had their turn go behind those that have not. */
static bool take_turns(struct kv_runtime *runtime)
{
    bool more = false;
    unsigned long_turns = 0;
    struct kv_list turns;
    if (kv_list_is_empty(&runtime->turns)) {
        return false;
    }
    kv_list_init(&turns);
    kv_list_move(&runtime->turns, &turns);
    while (!kv_list_is_empty(&turns) && long_turns < KV_LONG_TURNS) {
        struct kv_list *link = turns.next;
        kv_list_remove(link);
        kv_list_append(&runtime->turns, link);
        struct kv_process *process = KV_LIST_OF(link, struct kv_process, of_turns);
        more = take_turn(runtime, process, &long_turns) || more;
    }
    if (!kv_list_is_empty(&turns)) {
        kv_list_move(&runtime->turns, &turns);
        kv_list_move(&turns, &runtime->turns);
        more = true;
    }
    return more;
}

bool kv_runtime_step(struct kv_runtime *runtime)
{
    runtime->spawned = 0;
    kv_services_start_again(runtime);
    const bool leaving = kv_leaving_step(runtime);
    kv_signals_deliver(runtime);
    runtime->turns_wanted = false;
    return take_turns(runtime) || leaving || kv_runtime_has_more(runtime);
}

bool kv_runtime_has_more(const struct kv_runtime *runtime)
{
    return runtime->turns_wanted || runtime->service_ended || !kv_list_is_empty(&runtime->leaving);
}

uint64_t kv_runtime_run_timers(struct kv_runtime *runtime)
{
    struct kv_timers *timers = &runtime->timers;
    uint64_t now = kv_runtime_clock(runtime);
    uint64_t tag = 0;
    struct kv_process *process = NULL;
    kv_timers_collect(timers, now);
    while ((process = kv_timers_next(timers, &tag)) != NULL) {
        if (process->behaviour->handle_timer != NULL) {
            process->behaviour->handle_timer(process, tag);
            kv_process_settle(process);
        }
        kv_signals_deliver(runtime);
    }
    return kv_timers_wait(timers, now);
}

void kv_runtime_release(struct kv_runtime *runtime, uint64_t batch)
{
    kv_emit_release(runtime, batch, batch);
    kv_signals_deliver(runtime);
}

void kv_runtime_release_written(struct kv_runtime *runtime, uint64_t batch)
{
    kv_emit_release(runtime, batch, 0);
    kv_signals_deliver(runtime);
}

size_t kv_runtime_waiting(const struct kv_runtime *runtime)
{
    return runtime->waiting;
}

uint64_t kv_runtime_waiting_bytes(const struct kv_runtime *runtime)
{
    return runtime->waiting_bytes;
}
