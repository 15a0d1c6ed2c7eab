/* Spawn requests of peers, and the answers.
 *
 * OTP: dist.c, erts_net_message(), DOP_SPAWN_REQUEST; proc_lib.erl, spawn/4 and its kin. */
#include "process/spawn.h"

#include "base/endian.h"
#include "process/address.h"
#include "process/emit.h"
#include "process/frame.h"
#include "process/life.h"
#include "process/links.h"
#include "process/monitors.h"
#include "process/offers.h"
#include "process/state.h"

/* ---- which function ----------------------------------------------------------------------------
 */

static bool is_mfa(const struct kv_mfa *mfa, const char *module, const char *function,
                   uint32_t arity)
{
    return mfa->arity == arity && kv_bytes_is(mfa->module, module) &&
           kv_bytes_is(mfa->function, function);
}

static const struct kv_behaviour *offered(const struct kv_runtime *runtime,
                                          const struct kv_mfa *mfa)
{
    KV_LIST_FOREACH (link, &runtime->offers) {
        const struct kv_offer *offer = KV_LIST_OF(link, struct kv_offer, link);
        const struct kv_behaviour *behaviour = offer->behaviour;
        const char *function = behaviour->function == NULL ? "init" : behaviour->function;
        uint32_t arity = behaviour->arity == 0 ? 1 : behaviour->arity;
        if (offer->to_peers && is_mfa(mfa, behaviour->module, function, arity)) {
            return behaviour;
        }
    }
    return NULL;
}

/* proc_lib:init_p/5 is called with [Parent, Ancestors, Module, Function, Args]. Reads the function
 * that it would call. */
static void unwrap_proc_lib(struct kv_mfa *mfa, struct kv_bytes *arguments)
{
    uint32_t count = 0;
    struct kv_mfa inner = {0};
    struct kv_bytes inner_arguments = kv_bytes(NULL, 0);
    struct kv_reader reader = kv_reader(*arguments);
    if (is_mfa(mfa, "proc_lib", "init_p", 5) && kv_read_list(&reader, &count) == KV_OK &&
        kv_read_any(&reader, NULL) == KV_OK && kv_read_any(&reader, NULL) == KV_OK &&
        kv_read_atom(&reader, &inner.module) == KV_OK &&
        kv_read_atom(&reader, &inner.function) == KV_OK &&
        kv_read_any(&reader, &inner_arguments) == KV_OK &&
        kv_read_list_length(inner_arguments, &inner.arity) == KV_OK) {
        *mfa = inner;
        *arguments = inner_arguments;
    }
}

/* Node.spawn(node, fun) requests erlang:apply(Fun, Args), or has proc_lib call the fun. */
static bool is_closure(const struct kv_mfa *mfa)
{
    return is_mfa(mfa, "erlang", "apply", 2) || is_mfa(mfa, "proc_lib", "init_p", 3);
}

/* ---- options and arguments ---------------------------------------------------------------------
 */

/* Reads `link` and `monitor`; the other options concern schedulers and heaps. Returns false if the
 * list holds numbers only, which OTP refuses, too. */
static bool read_flags(struct kv_bytes options, uint32_t *flags)
{
    uint32_t count = 0;
    struct kv_reader reader = kv_reader(options);
    if (kv_read_list(&reader, &count) != KV_OK) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (kv_read_this_atom(&reader, "link") == KV_OK) {
            *flags |= KV_SPAWN_LINKED;
        } else if (kv_read_this_atom(&reader, "monitor") == KV_OK) {
            *flags |= KV_SPAWN_MONITORED;
        } else {
            (void)kv_read_any(&reader, NULL);
        }
    }
    return true;
}

/* Appends the argument of init: the only argument, or the list of several. A list of one byte may
 * come as a string. */
static void write_argument(const struct kv_behaviour *behaviour, struct kv_bytes arguments,
                           struct kv_buffer *to)
{
    uint32_t count = 0;
    struct kv_bytes element = kv_bytes(NULL, 0);
    struct kv_reader reader = kv_reader(arguments);
    if (behaviour->arity > 1) {
        kv_write_term(to, arguments);
    } else if (kv_read_list(&reader, &count) == KV_OK && kv_read_any(&reader, &element) == KV_OK) {
        kv_write_term(to, element);
    } else {
        kv_write_u64(to, arguments.data[arguments.length - 1]);
    }
}

/* ---- requests ----------------------------------------------------------------------------------
 */

void kv_spawn_refuse(struct kv_peer *peer, const struct kv_signal *request, const char *error)
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

/* Installs the link and the monitor, and answers. The answer must leave before anything that the
 * new process sends. */
static void announce(struct kv_process *process, struct kv_peer *peer,
                     const struct kv_signal *request, uint32_t flags)
{
    struct kv_remote parent = kv_remote_of(&request->from);
    if ((flags & KV_SPAWN_LINKED) != 0) {
        kv_link_install(process, peer, &parent);
    }
    if ((flags & KV_SPAWN_MONITORED) != 0) {
        kv_watch_install(process, peer, &request->from, &request->ref, false);
    }
    struct kv_signal reply = {
        .kind = KV_SIGNAL_SPAWN_REPLY,
        .from = kv_process_pid(process),
        .to = request->from,
        .ref = request->ref,
        .spawn_flags = flags,
    };
    kv_emit(peer, &reply);
}

static void start(struct kv_process *process, struct kv_bytes arguments)
{
    struct kv_buffer argument = KV_BUFFER_INIT;
    struct kv_buffer reason = KV_BUFFER_INIT;
    write_argument(process->behaviour, arguments, &argument);
    (void)kv_process_initialise(process, kv_buffer_bytes(&argument), &reason);
    kv_buffer_free(&argument);
    kv_buffer_free(&reason);
}

void kv_spawn_received(struct kv_peer *peer, const struct kv_signal *request)
{
    uint32_t flags = 0;
    struct kv_mfa mfa = request->spawn;
    struct kv_bytes arguments = request->payload[0];
    unwrap_proc_lib(&mfa, &arguments);
    const struct kv_behaviour *behaviour = offered(peer->runtime, &mfa);
    if (behaviour == NULL) {
        kv_spawn_refuse(peer, request, is_closure(&mfa) ? "cannot_run_closures" : "undef");
    } else if (!read_flags(request->spawn_options, &flags)) {
        kv_spawn_refuse(peer, request, "badopt");
    } else {
        struct kv_process *process = kv_process_create(peer->runtime, behaviour);
        kv_write_pid(&process->group_leader, &request->group_leader);
        kv_write_pid(&process->parent, &request->from);
        announce(process, peer, request, flags);
        start(process, arguments);
    }
}
