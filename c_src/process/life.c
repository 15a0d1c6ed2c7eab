/* How processes begin and end.
 *
 * OTP: dist.c, erts_net_message(), DOP_SPAWN_REQUEST; erl_process.c, erts_continue_exit_process().
 */
#include "base/alloc.h"
#include "process/state.h"

/* A behaviour that peers may spawn. */
struct kv_offer {
    struct kv_list link;
    const struct kv_behaviour *behaviour;
};

void kv_runtime_offer(struct kv_runtime *runtime, const struct kv_behaviour *behaviour)
{
    struct kv_offer *offer = kv_zalloc(sizeof *offer);
    offer->behaviour = behaviour;
    kv_list_append(&runtime->offers, &offer->link);
}

void kv_offers_free(struct kv_runtime *runtime)
{
    KV_LIST_FOREACH (link, &runtime->offers) {
        kv_list_remove(link);
        kv_free(KV_LIST_OF(link, struct kv_offer, link));
    }
}

/* ---- beginning ---------------------------------------------------------------------------------
 */

static struct kv_process *create(struct kv_runtime *runtime, const struct kv_behaviour *behaviour)
{
    struct kv_process *process = kv_zalloc(sizeof *process);
    process->runtime = runtime;
    process->number = ++runtime->next_process;
    process->behaviour = behaviour;
    process->state = kv_zalloc(behaviour->state_size);
    kv_list_init(&process->links);
    kv_list_init(&process->watches);
    kv_list_init(&process->monitors);
    kv_list_init(&process->kept);
    kv_map_insert(&runtime->processes, &process->by_number, process->number);
    kv_list_append(&runtime->process_list, &process->of_runtime);
    return process;
}

void kv_process_free(struct kv_process *process)
{
    kv_server_drop_kept(process);
    kv_buffer_free(&process->name);
    kv_buffer_free(&process->group_leader);
    kv_buffer_free(&process->exit_reason);
    kv_free(process->state);
    kv_free(process);
}

/* From here on no signal reaches the process; links are told before monitors, as OTP does. */
static void finish(struct kv_process *process, bool initialised)
{
    struct kv_runtime *runtime = process->runtime;
    struct kv_bytes reason = kv_buffer_bytes(&process->exit_reason);
    if (initialised && process->behaviour->terminate != NULL) {
        process->behaviour->terminate(process, reason);
    }
    kv_map_remove(&runtime->processes, &process->by_number);
    kv_list_remove(&process->of_runtime);
    if (process->name.length > 0) {
        kv_map_remove(&runtime->names, &process->by_name);
    }
    kv_links_process_died(process, reason);
    kv_monitors_process_died(process, reason);
    kv_process_free(process);
}

/* Runs init/1; false: it failed, `reason` says why, and the process is gone. */
static bool initialise(struct kv_process *process, struct kv_bytes options,
                       struct kv_buffer *reason)
{
    size_t start = reason->length;
    if (process->behaviour->init(process, options, reason) == KV_OK) {
        kv_process_settle(process);
        return true;
    }
    kv_process_exit(process, kv_bytes(reason->data + start, reason->length - start));
    finish(process, false);
    return false;
}

int kv_spawn(struct kv_runtime *runtime, const struct kv_behaviour *behaviour,
             struct kv_bytes options, struct kv_pid *pid, struct kv_buffer *reason)
{
    struct kv_process *process = create(runtime, behaviour);
    *pid = kv_pid_of(runtime, process->number);
    return initialise(process, options, reason) ? KV_OK : KV_ENOENT;
}

static const struct kv_behaviour *offered(const struct kv_runtime *runtime,
                                          const struct kv_mfa *mfa)
{
    if (!kv_bytes_is(mfa->function, "init") || mfa->arity != 1) {
        return NULL;
    }
    KV_LIST_FOREACH (link, &runtime->offers) {
        const struct kv_offer *offer = KV_LIST_OF(link, struct kv_offer, link);
        if (kv_bytes_is(mfa->module, offer->behaviour->module)) {
            return offer->behaviour;
        }
    }
    return NULL;
}

/* Which of `link` and `monitor` the caller asked for; other options are for schedulers and heaps.
 */
static uint32_t spawn_flags(struct kv_bytes options)
{
    uint32_t flags = 0;
    uint32_t count = 0;
    struct kv_reader reader = kv_reader(options);
    if (kv_read_list(&reader, &count) != KV_OK) {
        return 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (kv_read_this_atom(&reader, "link") == KV_OK) {
            flags |= KV_SPAWN_LINKED;
        } else if (kv_read_this_atom(&reader, "monitor") == KV_OK) {
            flags |= KV_SPAWN_MONITORED;
        } else if (kv_read_any(&reader, NULL) != KV_OK) {
            break;
        }
    }
    return flags;
}

/* The one element of an argument list; a list of one byte may come as a string. */
static void single_argument(struct kv_bytes arguments, struct kv_buffer *to)
{
    uint32_t count = 0;
    struct kv_bytes element = kv_bytes(NULL, 0);
    struct kv_reader reader = kv_reader(arguments);
    if (kv_read_list(&reader, &count) == KV_OK && count == 1 &&
        kv_read_any(&reader, &element) == KV_OK) {
        kv_buffer_append(to, element);
    } else {
        kv_write_term(to, arguments);
    }
}

static void reply_spawn_error(struct kv_peer *peer, const struct kv_signal *request,
                              const char *error)
{
    struct kv_signal reply = {
        .kind = KV_SIGNAL_SPAWN_REPLY,
        .by_name = true,
        .name = kv_bytes_text(error),
        .to = request->from,
        .ref = request->ref,
    };
    kv_emit(peer, &reply);
}

void kv_spawn_received(struct kv_peer *peer, const struct kv_signal *request)
{
    struct kv_runtime *runtime = peer->runtime;
    const struct kv_behaviour *behaviour = offered(runtime, &request->spawn);
    if (behaviour == NULL) {
        reply_spawn_error(peer, request, "undef");
        return;
    }
    struct kv_process *process = create(runtime, behaviour);
    struct kv_remote parent = kv_remote_of(&request->from);
    kv_write_pid(&process->group_leader, &request->group_leader);
    struct kv_signal reply = {
        .kind = KV_SIGNAL_SPAWN_REPLY,
        .from = kv_pid_of(runtime, process->number),
        .to = request->from,
        .ref = request->ref,
        .spawn_flags = spawn_flags(request->spawn_options),
    };
    if ((reply.spawn_flags & KV_SPAWN_LINKED) != 0) {
        kv_link_install(process, peer, &parent);
    }
    if ((reply.spawn_flags & KV_SPAWN_MONITORED) != 0) {
        kv_watch_install(process, peer, &request->from, &request->ref, false);
    }
    /* Whatever the new process sends must come after this. */
    kv_emit(peer, &reply);
    struct kv_buffer options = KV_BUFFER_INIT;
    struct kv_buffer reason = KV_BUFFER_INIT;
    single_argument(request->payload[0], &options);
    (void)initialise(process, kv_buffer_bytes(&options), &reason);
    kv_buffer_free(&options);
    kv_buffer_free(&reason);
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
    if (process->exiting) {
        finish(process, true);
    }
}

void kv_process_kill(struct kv_process *process, struct kv_bytes reason)
{
    kv_process_exit(process, reason);
    kv_process_settle(process);
}

void kv_exit_received(struct kv_peer *peer, const struct kv_signal *signal)
{
    struct kv_process *process = kv_process_find(peer->runtime, &signal->to);
    if (process == NULL || kv_term_is_atom(signal->payload[0], "normal")) {
        return;
    }
    if (kv_term_is_atom(signal->payload[0], "kill")) {
        kv_process_exit_atom(process, "killed");
        kv_process_settle(process);
    } else {
        kv_process_kill(process, signal->payload[0]);
    }
}
