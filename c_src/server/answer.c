/* Answers to calls, and the message to a caller that will get no answer. */
#include "server/answer.h"

#include "process/address.h"
#include "process/atoms.h"
#include "process/emit.h"
#include "process/send.h"
#include "process/state.h"
#include "server/debug.h"
#include "server/state.h"

/* Sets only the fields that this kind of signal uses: this is most of the cost of a call. */
static void begin_answer(const struct kv_from *from, struct kv_signal *signal)
{
    static const uint8_t pair[] = {KV_TAG_SMALL_TUPLE, 2};
    signal->kind = from->alias              ? KV_SIGNAL_MESSAGE_ALIAS
                   : from->name.length == 0 ? KV_SIGNAL_MESSAGE
                                            : KV_SIGNAL_MESSAGE_NAME;
    signal->by_name = false;
    signal->to = from->pid;
    signal->name = from->alias ? kv_bytes(NULL, 0) : from->name;
    signal->ref = from->ref;
    signal->payload[0] = kv_bytes(pair, sizeof pair);
    signal->payload[1] = from->tag;
    signal->payload_parts = 2;
    signal->pinned = NULL;
}

static void send_answer(struct kv_process *self, const struct kv_from *from,
                        struct kv_signal *signal)
{
    kv_send_signal(self, from->alias ? from->ref.node : from->pid.node, signal);
}

void kv_answer(struct kv_process *self, const struct kv_from *from, struct kv_bytes reply)
{
    struct kv_signal signal;
    begin_answer(from, &signal);
    signal.payload[signal.payload_parts++] = reply;
    send_answer(self, from, &signal);
}

void kv_reply(struct kv_process *self, const struct kv_from *from, struct kv_bytes reply)
{
    if (kv_server_of(self)->asked == from) {
        kv_server_of(self)->asked = NULL;
    }
    kv_answer(self, from, reply);
    kv_debug_out(self, from, reply, kv_bytes(NULL, 0));
}

void kv_reply_pinned(struct kv_process *self, const struct kv_from *from, struct kv_bytes prefix,
                     struct kv_pinned *pinned)
{
    struct kv_signal signal;
    if (kv_server_of(self)->asked == from) {
        kv_server_of(self)->asked = NULL;
    }
    begin_answer(from, &signal);
    signal.payload[signal.payload_parts++] = prefix;
    signal.payload[signal.payload_parts++] = pinned->bytes;
    signal.pinned = pinned->release != NULL ? pinned : NULL;
    kv_debug_out(self, from, prefix, pinned->bytes);
    send_answer(self, from, &signal);
    kv_pinned_release(pinned);
}

void kv_reply_atom(struct kv_process *self, const struct kv_from *from, const char *reply)
{
    struct kv_buffer *term = &self->runtime->reply;
    kv_buffer_clear(term);
    kv_write_atom_text(term, reply);
    kv_reply(self, from, kv_buffer_bytes(term));
}

void kv_write_error(struct kv_buffer *to, const char *kind, struct kv_bytes detail)
{
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "error");
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, kind);
    kv_write_term(to, detail);
}

void kv_reply_error(struct kv_process *self, const struct kv_from *from, const char *kind,
                    struct kv_bytes detail)
{
    struct kv_buffer *term = &self->runtime->reply;
    kv_buffer_clear(term);
    kv_write_error(term, kind, detail);
    kv_reply(self, from, kv_buffer_bytes(term));
}

void kv_reply_bad_request(struct kv_process *self, const struct kv_from *from,
                          struct kv_bytes request)
{
    kv_reply_error(self, from, "bad_request", request);
}

/* ---- calls that get no answer ------------------------------------------------------------------
 * The sender of {'$kv_call', Alias, Request} has no monitor here, which saves two of three frames.
 * So the server sends it {Alias, down, Reason}. No answer looks like this message: answers are
 * pairs. */

static void tell_down(struct kv_runtime *runtime, const struct kv_pid *callee,
                      const struct kv_from *from, struct kv_bytes reason)
{
    struct kv_peer *peer = kv_route(runtime, from->ref.node);
    struct kv_buffer message = KV_BUFFER_INIT;
    if (peer == NULL) {
        return;
    }
    kv_write_tuple(&message, 3);
    kv_write_term(&message, from->tag);
    kv_write_atom_text(&message, "down");
    struct kv_signal signal = {
        .kind = KV_SIGNAL_MESSAGE_ALIAS,
        .from = *callee,
        .ref = from->ref,
        .payload = {kv_buffer_bytes(&message), reason},
        .payload_parts = 2,
    };
    kv_emit(peer, &signal);
    kv_buffer_free(&message);
}

void kv_abandon(struct kv_process *self, const struct kv_from *from, struct kv_bytes reason)
{
    struct kv_pid own = kv_process_pid(self);
    if (from->unwatched && reason.length > 0) { /* no reason: the whole runtime is ending */
        tell_down(self->runtime, &own, from, reason);
    }
}

void kv_call_no_process(struct kv_runtime *runtime, const struct kv_signal *signal,
                        const struct kv_from *from)
{
    struct kv_pid callee = signal->kind == KV_SIGNAL_MESSAGE ? signal->to : kv_pid_of(runtime, 0);
    tell_down(runtime, &callee, from, kv_atom_noproc);
}
