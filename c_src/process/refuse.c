/* Refuses messages over a limit. The process does not hear of the message; its sender gets an error
 * if it waits for an answer, or for the process to end. */
#include "process/address.h"
#include "process/generic.h"
#include "process/names.h"
#include "process/signals.h"
#include "process/spawn.h"
#include "process/state.h"

/* ---- what is told ----------------------------------------------------------------------------
 */

static const char *kind_of(int error)
{
    switch (error) {
    case KV_EDEPTH:
        return "too_deep";
    case KV_EPENDING:
        return "too_much_pending";
    case KV_ERECORD:
    case KV_EBIG:
        return "unsupported_term";
    default:
        return "too_large";
    }
}

static void write_why(const struct kv_refusal *refusal, struct kv_buffer *to)
{
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, kind_of(refusal->error));
    if (refusal->error == KV_ERECORD || refusal->error == KV_EBIG) {
        kv_write_atom_text(to, refusal->error == KV_ERECORD ? "record" : "integer");
    } else {
        kv_write_u64(to, refusal->amount);
    }
}

/* An exit signal, or a DOWN, with the reason `why`. */
static int act(struct kv_peer *peer, const struct kv_signal *signal, struct kv_bytes why)
{
    struct kv_signal acting = *signal;
    acting.payload[0] = why;
    acting.payload_parts = 1;
    return kv_signal_handle(peer, &acting, KV_CALL_UNKNOWN);
}

static int refuse_message(struct kv_runtime *runtime, struct kv_process *process,
                          const struct kv_signal *signal, struct kv_bytes why, bool *told)
{
    const struct kv_generic *generic = process == NULL ? runtime->generic : process->generic;
    return generic->refused(runtime, process, signal, why, told);
}

static int refuse(struct kv_peer *peer, const struct kv_signal *signal, struct kv_bytes why,
                  bool *told)
{
    struct kv_runtime *runtime = peer->runtime;
    *told = true;
    switch (signal->kind) {
    case KV_SIGNAL_MESSAGE:
        return refuse_message(runtime, kv_process_find(runtime, &signal->to), signal, why, told);
    case KV_SIGNAL_MESSAGE_NAME:
        return refuse_message(runtime, kv_process_named(runtime, signal->name), signal, why, told);
    case KV_SIGNAL_EXIT_LINK:
    case KV_SIGNAL_EXIT:
    case KV_SIGNAL_EXIT_ALIAS:
    case KV_SIGNAL_DOWN:
        return act(peer, signal, why);
    case KV_SIGNAL_SPAWN_REQUEST: /* a spawn reply has room for an atom only */
        kv_spawn_refuse(peer, signal, "system_limit");
        return KV_OK;
    default: /* identifiers only: nothing was cut off */
        return kv_signal_handle(peer, signal, KV_CALL_UNKNOWN);
    }
}

int kv_runtime_refuse(struct kv_runtime *runtime, struct kv_peer *peer,
                      const struct kv_signal *signal, const struct kv_refusal *refusal, bool *told)
{
    struct kv_buffer why = KV_BUFFER_INIT;
    write_why(refusal, &why);
    runtime->speaking = peer;
    int error = refuse(peer, signal, kv_buffer_bytes(&why), told);
    kv_signals_deliver(runtime);
    runtime->speaking = NULL;
    kv_buffer_free(&why);
    return error;
}
