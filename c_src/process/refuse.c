/* Messages that are over a limit: whoever waits for an answer, or for a process to end, hears of
 * it; the process that a message was for does not. */
#include "process/state.h"

/* ---- what there is of a message --------------------------------------------------------------
 */

/* The bytes of the header of a tuple of `arity` elements; 0: it is none. */
static size_t tuple_header(struct kv_bytes tuple, uint32_t arity)
{
    struct kv_reader reader = kv_reader(tuple);
    size_t header = tuple.length > 0 && tuple.data[0] == KV_TAG_SMALL_TUPLE ? 2 : 5;
    return tuple.length >= header && kv_read_tuple_of(&reader, arity) == KV_OK ? header : 0;
}

int kv_read_beginning(struct kv_bytes tuple, uint32_t arity, struct kv_bytes *elements, size_t most,
                      size_t *count)
{
    static const struct kv_term_limits limits = KV_TERM_LIMITS_DEFAULT;
    size_t at = tuple_header(tuple, arity);
    *count = 0;
    while (at > 0 && *count < most) {
        struct kv_bytes rest = kv_bytes(tuple.data + at, tuple.length - at);
        size_t length = 0;
        int error = kv_term_validate(rest, &limits, &length);
        if (error != KV_OK) {
            return error;
        }
        elements[(*count)++] = kv_bytes(rest.data, length);
        at += length;
    }
    return KV_OK;
}

/* A request {Kind, From, _}; `unwatched` of its From says that it is a $kv_call. False, and maybe
 * an error: it is none, or From is not there whole. */
static bool is_request(struct kv_bytes message, struct kv_from *from, int *error)
{
    struct kv_bytes elements[2];
    size_t count = 0;
    *error = kv_read_beginning(message, 3, elements, 2, &count);
    if (kv_is_refusal(*error) || *error == KV_ETRUNCATED) {
        *error = KV_OK; /* the end of what was kept, or not to be kept */
    }
    if (count < 2 || kv_from_read(elements[1], from) != KV_OK) {
        return false;
    }
    return kv_term_is_atom(elements[0], "$kv_call") == from->unwatched &&
           (from->unwatched || kv_term_is_atom(elements[0], "$gen_call") ||
            kv_term_is_atom(elements[0], "system"));
}

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

static void answer(struct kv_process *process, const struct kv_from *from, struct kv_bytes why)
{
    struct kv_buffer *reply = kv_process_scratch(process);
    kv_write_tuple(reply, 2);
    kv_write_atom_text(reply, "error");
    kv_write_term(reply, why);
    kv_answer(process, from, kv_buffer_bytes(reply));
}

static int refuse_message(struct kv_peer *peer, const struct kv_signal *signal,
                          struct kv_process *process, struct kv_bytes why, bool *told)
{
    struct kv_bytes message = signal->payload[0];
    struct kv_from from = {0};
    int error = KV_OK;
    *told = process == NULL;
    bool request = is_request(message, &from, &error);
    if (request && process == NULL && from.unwatched) {
        kv_server_no_process(peer->runtime, signal, &from);
    }
    if (process == NULL || error != KV_OK) {
        return error;
    }
    if (process->behaviour->handle_refused != NULL) {
        *told = process->behaviour->handle_refused(process, message, why);
        kv_process_settle(process);
    }
    if (!*told && request) {
        answer(process, &from, why);
        *told = true;
    }
    return error;
}

/* An exit signal, or a DOWN, with the reason `why`. */
static int act(struct kv_peer *peer, const struct kv_signal *signal, struct kv_bytes why)
{
    struct kv_signal acting = *signal;
    acting.payload[0] = why;
    acting.payload_parts = 1;
    return kv_signal_handle(peer, &acting, KV_CALL_UNKNOWN);
}

static int refuse(struct kv_peer *peer, const struct kv_signal *signal, struct kv_bytes why,
                  bool *told)
{
    struct kv_runtime *runtime = peer->runtime;
    *told = true;
    switch (signal->kind) {
    case KV_SIGNAL_MESSAGE:
        return refuse_message(peer, signal, kv_process_find(runtime, &signal->to), why, told);
    case KV_SIGNAL_MESSAGE_NAME:
        return refuse_message(peer, signal, kv_process_named(runtime, signal->name), why, told);
    case KV_SIGNAL_EXIT_LINK:
    case KV_SIGNAL_EXIT:
    case KV_SIGNAL_EXIT_ALIAS:
    case KV_SIGNAL_DOWN:
        return act(peer, signal, why);
    case KV_SIGNAL_SPAWN_REQUEST: /* its answer has room for an atom only */
        kv_spawn_refuse(peer, signal, "system_limit");
        return KV_OK;
    default: /* identifiers only, of which nothing was left out */
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
