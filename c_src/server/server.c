/* What gen_server does on a BEAM: takes messages apart, and answers.
 *
 * OTP: lib/stdlib/src/gen.erl, do_call/4 and reply/2; gen_server.erl. */
#include "base/alloc.h"
#include "base/endian.h"
#include "base/word.h"
#include "process/state.h"

/* ---- From --------------------------------------------------------------------------------------
 */

/* [alias | Ref] */
static bool read_alias(struct kv_reader *reader, struct kv_ref *ref)
{
    uint32_t count = 0;
    return kv_read_list(reader, &count) == KV_OK && count == 1 &&
           kv_read_this_atom(reader, "alias") == KV_OK && kv_read_ref(reader, ref) == KV_OK;
}

/* A tag is an alias when it is [alias | Ref] or [[alias | Ref] | _]. */
static bool tag_alias(struct kv_bytes tag, struct kv_ref *ref)
{
    struct kv_reader reader = kv_reader(tag);
    if (read_alias(&reader, ref)) {
        return true;
    }
    uint32_t count = 0;
    reader = kv_reader(tag);
    return kv_read_list(&reader, &count) == KV_OK && count > 0 && read_alias(&reader, ref);
}

/* The From of a $kv_call: an alias and nothing else. */
static bool read_bare_alias(struct kv_bytes term, struct kv_from *from)
{
    struct kv_reader reader = kv_reader(term);
    if (kv_read_ref(&reader, &from->ref) != KV_OK) {
        return false;
    }
    from->pid = (struct kv_pid){.node = from->ref.node, .creation = from->ref.creation};
    from->tag = term;
    from->bytes = term;
    from->alias = true;
    from->unwatched = true;
    return true;
}

int kv_from_read(struct kv_bytes term, struct kv_from *from)
{
    struct kv_reader reader = kv_reader(term);
    if (read_bare_alias(term, from)) {
        return KV_OK;
    }
    if (kv_read_tuple_of(&reader, 2) != KV_OK || kv_read_pid(&reader, &from->pid) != KV_OK ||
        kv_read_any(&reader, &from->tag) != KV_OK) {
        return KV_ETYPE;
    }
    from->bytes = term;
    from->ref = (struct kv_ref){.count = 0};
    from->alias = tag_alias(from->tag, &from->ref);
    from->unwatched = false;
    return KV_OK;
}

/* ---- sending -----------------------------------------------------------------------------------
 */

static void send_signal(struct kv_process *self, struct kv_bytes node, struct kv_signal *signal)
{
    struct kv_peer *peer = kv_route(self->runtime, node);
    if (peer == NULL) {
        kv_log_line(self->runtime, KV_LOG_DEBUG, "dropped a message to %.*s: not connected",
                    (int)node.length, (const char *)node.data);
        return;
    }
    signal->from = kv_process_pid(self);
    kv_emit(peer, signal);
}

void kv_send(struct kv_process *self, const struct kv_pid *to, struct kv_bytes message)
{
    struct kv_signal signal = {
        .kind = KV_SIGNAL_MESSAGE, .to = *to, .payload = {message}, .payload_parts = 1};
    send_signal(self, to->node, &signal);
}

void kv_send_name(struct kv_process *self, struct kv_bytes node, struct kv_bytes name,
                  struct kv_bytes message)
{
    struct kv_signal signal = {
        .kind = KV_SIGNAL_MESSAGE_NAME, .name = name, .payload = {message}, .payload_parts = 1};
    send_signal(self, node, &signal);
}

void kv_send_to(struct kv_process *self, struct kv_bytes process, struct kv_bytes message)
{
    struct kv_pid pid;
    struct kv_bytes name;
    struct kv_bytes node;
    struct kv_reader reader = kv_reader(process);
    if (kv_read_pid(&reader, &pid) == KV_OK) {
        kv_send(self, &pid, message);
    } else if (kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_atom(&reader, &name) == KV_OK &&
               kv_read_atom(&reader, &node) == KV_OK) {
        kv_send_name(self, node, name, message);
    }
}

/* What the kind has no use for is not set: this is most of a call. */
static void begin_answer(const struct kv_from *from, struct kv_signal *signal)
{
    static const uint8_t pair[] = {KV_TAG_SMALL_TUPLE, 2};
    signal->kind = from->alias ? KV_SIGNAL_MESSAGE_ALIAS : KV_SIGNAL_MESSAGE;
    signal->by_name = false;
    signal->to = from->pid;
    signal->name = kv_bytes(NULL, 0);
    signal->ref = from->ref;
    signal->payload[0] = kv_bytes(pair, sizeof pair);
    signal->payload[1] = from->tag;
    signal->payload_parts = 2;
    signal->pinned = NULL;
}

static void send_answer(struct kv_process *self, const struct kv_from *from,
                        struct kv_signal *signal)
{
    send_signal(self, from->alias ? from->ref.node : from->pid.node, signal);
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
    if (self->asked == from) {
        self->asked = NULL;
    }
    kv_answer(self, from, reply);
    kv_debug_out(self, from, reply, kv_bytes(NULL, 0));
}

void kv_reply_pinned(struct kv_process *self, const struct kv_from *from, struct kv_bytes prefix,
                     struct kv_pinned *pinned)
{
    struct kv_signal signal;
    if (self->asked == from) {
        self->asked = NULL;
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
    struct kv_buffer *term = kv_process_scratch(self);
    kv_write_atom_text(term, reply);
    kv_reply(self, from, kv_buffer_bytes(term));
}

void kv_write_error(struct kv_buffer *to, const char *kind, struct kv_bytes request)
{
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "error");
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, kind);
    kv_write_term(to, request);
}

void kv_reply_error(struct kv_process *self, const struct kv_from *from, const char *kind,
                    struct kv_bytes detail)
{
    struct kv_buffer *term = kv_process_scratch(self);
    kv_write_error(term, kind, detail);
    kv_reply(self, from, kv_buffer_bytes(term));
}

void kv_reply_bad_request(struct kv_process *self, const struct kv_from *from,
                          struct kv_bytes request)
{
    kv_reply_error(self, from, "bad_request", request);
}

/* ---- calls that get no answer ------------------------------------------------------------------
 * Whoever sends {'$kv_call', Alias, Request} has no monitor here, which saves two of three frames.
 * So it is told: {Alias, down, Reason}, which no answer looks like, since those are pairs. */

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
    if (from->unwatched && reason.length > 0) { /* no reason: the whole runtime ends */
        tell_down(self->runtime, &own, from, reason);
    }
}

/* ---- messages ----------------------------------------------------------------------------------
 */

/* Takes {Kind, From, Request} apart. The From of a $kv_call is a bare alias, that of others never.
 */
static bool is_request(struct kv_bytes message, const char *kind, struct kv_from *from,
                       struct kv_bytes *request)
{
    struct kv_bytes from_term;
    struct kv_reader reader = kv_reader(message);
    return kv_read_tuple_of(&reader, 3) == KV_OK && kv_read_this_atom(&reader, kind) == KV_OK &&
           kv_read_any(&reader, &from_term) == KV_OK && kv_read_any(&reader, request) == KV_OK &&
           kv_from_read(from_term, from) == KV_OK && !from->unwatched;
}

static bool is_kv_call(struct kv_bytes message, struct kv_from *from, struct kv_bytes *request)
{
    struct kv_bytes alias = kv_bytes(NULL, 0);
    struct kv_reader reader = kv_reader(message);
    return kv_read_tuple_of(&reader, 3) == KV_OK &&
           kv_read_this_atom(&reader, "$kv_call") == KV_OK &&
           kv_read_any(&reader, &alias) == KV_OK && kv_read_any(&reader, request) == KV_OK &&
           read_bare_alias(alias, from);
}

static bool is_cast(struct kv_bytes message, struct kv_bytes *request)
{
    struct kv_reader reader = kv_reader(message);
    return kv_read_tuple_of(&reader, 2) == KV_OK &&
           kv_read_this_atom(&reader, "$gen_cast") == KV_OK &&
           kv_read_any(&reader, request) == KV_OK;
}

/* What follows takes apart the two calls that almost every message is, in the one shape in which a
 * BEAM writes them. Lengths of what is validated need no check once the tags are known. */

/* Behind the tag of a reference, which has at most 255 words. What is known to be of the sender's
 * node borrows its name from where all do that are: whoever compares it sees that it is the same.
 */
static const uint8_t *usual_ref(const struct kv_signal *signal, enum kv_call_shape shape,
                                const uint8_t *at, struct kv_ref *ref)
{
    ref->count = at[1];
    ref->node = shape != KV_CALL_UNKNOWN ? signal->from.node : kv_bytes(at + 4, at[3]);
    at += 4 + at[3];
    ref->creation = kv_get32(at);
    at += 4;
    for (uint32_t i = 0; i < ref->count; i++, at += 4) {
        ref->words[i] = kv_get32(at);
    }
    return at;
}

static bool begins(const uint8_t *at, const uint8_t *end, const char *with, size_t length)
{
    return (size_t)(end - at) > length && kv_same(at, (const uint8_t *)with, length);
}

/* A message of which the decoder knows the shape needs no look at its bytes. */
static bool is_head(struct kv_bytes message, enum kv_call_shape shape, enum kv_call_shape wanted,
                    const char *head, size_t length)
{
    return shape == KV_CALL_UNKNOWN
               ? begins(message.data, message.data + message.length, head, length)
               : shape == wanted;
}

/* {'$gen_call', {Pid, [alias | Ref]}, Request} */
static bool usual_call(const struct kv_signal *signal, enum kv_call_shape shape,
                       struct kv_from *from, struct kv_bytes *request)
{
    static const char head[] = KV_GEN_CALL_HEAD "\x58\x77";
    static const char alias[] = KV_GEN_CALL_ALIAS "\x5a\0";
    enum { HEAD = sizeof head - 1, FROM = HEAD - 4, ALIAS = sizeof alias - 1 };
    struct kv_bytes message = signal->payload[0];
    const uint8_t *at = message.data;
    const uint8_t *end = at + message.length;
    if (!is_head(message, shape, KV_CALL_GEN, head, HEAD)) {
        return false;
    }
    at += HEAD;
    from->pid.node = kv_bytes(at + 1, *at);
    at += 1 + *at;
    from->pid.id = kv_get32(at);
    from->pid.serial = kv_get32(at + 4);
    from->pid.creation = kv_get32(at + 8);
    from->tag.data = at += 12;
    if (shape == KV_CALL_UNKNOWN &&
        (!begins(at, end, alias, ALIAS) || at[ALIAS + 1] != KV_TAG_SMALL_ATOM_UTF8)) {
        return false;
    }
    at = usual_ref(signal, shape, at + ALIAS - 1, &from->ref);
    from->tag.length = (size_t)(at - from->tag.data);
    from->bytes = kv_bytes(message.data + FROM, (size_t)(at - message.data) - FROM);
    from->alias = true;
    from->unwatched = false;
    *request = kv_bytes(at, (size_t)(end - at));
    return true;
}

/* {'$kv_call', Alias, Request} */
static bool usual_kv_call(const struct kv_signal *signal, enum kv_call_shape shape,
                          struct kv_from *from, struct kv_bytes *request)
{
    static const char head[] = KV_KV_CALL_HEAD "\x5a\0";
    enum { HEAD = sizeof head - 1, TAG = HEAD - 2 };
    struct kv_bytes message = signal->payload[0];
    const uint8_t *at = message.data;
    const uint8_t *end = at + message.length;
    if (!is_head(message, shape, KV_CALL_KV, head, HEAD) ||
        at[HEAD + 1] != KV_TAG_SMALL_ATOM_UTF8) {
        return false;
    }
    at = usual_ref(signal, shape, at + HEAD - 1, &from->ref);
    from->pid = (struct kv_pid){.node = from->ref.node, .creation = from->ref.creation};
    from->tag = kv_bytes(message.data + TAG, (size_t)(at - message.data) - TAG);
    from->bytes = from->tag;
    from->alias = true;
    from->unwatched = true;
    *request = kv_bytes(at, (size_t)(end - at));
    return true;
}

static void call(struct kv_process *self, struct kv_bytes message, const struct kv_from *from,
                 struct kv_bytes request)
{
    self->reductions++;
    kv_debug_in(self, message);
    self->asked = from;
    self->behaviour->handle_call(self, from, request);
    if (self->exiting && self->asked == from) {
        kv_abandon(self, from, kv_buffer_bytes(&self->exit_reason));
    }
    self->asked = NULL;
}

static void dispatch(struct kv_process *self, struct kv_bytes message)
{
    const struct kv_behaviour *behaviour = self->behaviour;
    struct kv_from from;
    struct kv_bytes request;
    if (is_request(message, "$gen_call", &from, &request) || is_kv_call(message, &from, &request)) {
        call(self, message, &from, request);
        return;
    }
    self->reductions++;
    kv_debug_in(self, message);
    if (is_cast(message, &request)) {
        if (behaviour->handle_cast != NULL) {
            behaviour->handle_cast(self, request);
        }
    } else if (behaviour->handle_info != NULL) {
        behaviour->handle_info(self, message);
    } else {
        kv_log_line(self->runtime, KV_LOG_DEBUG, "%s ignored a message of %zu bytes",
                    behaviour->module, message.length);
    }
}

/* ---- messages that wait ------------------------------------------------------------------------
 * While a process is suspended all but those of sys wait, and then again until those before them
 * are done: a resumed process handles them in turns, so that what is answered can leave meanwhile.
 * As in a mailbox the order is that of arrival; a process that is suspended again goes on with the
 * messages of sys, whatever is before them. */

static struct kv_kept *first_of(const struct kv_list *list)
{
    return kv_list_is_empty(list) ? NULL : KV_LIST_OF(list->next, struct kv_kept, link);
}

static struct kv_kept *next_of(const struct kv_process *process)
{
    struct kv_kept *usual = process->suspended ? NULL : first_of(&process->kept);
    struct kv_kept *system = first_of(&process->kept_system);
    bool first = usual == NULL || (system != NULL && system->number < usual->number);
    return first ? system : usual;
}

static void keep(struct kv_process *process, struct kv_bytes message, struct kv_list *list)
{
    struct kv_signal signal = {.kind = KV_SIGNAL_MESSAGE, .payload = {message}, .payload_parts = 1};
    struct kv_kept *kept = kv_signal_keep(&signal);
    kept->number = ++process->kept_number;
    kv_list_append(list, &kept->link);
    process->kept_count++;
}

__attribute__((noinline)) static void hold(struct kv_process *process, struct kv_bytes message)
{
    struct kv_from from;
    struct kv_bytes request;
    if (!is_request(message, "system", &from, &request)) {
        keep(process, message, &process->kept);
    } else if (process->suspended && kv_list_is_empty(&process->kept_system)) {
        kv_system_message(process, &from, request);
    } else {
        keep(process, message, &process->kept_system);
    }
}

/* Whoever reads without a call, in the memory of the node, asks the process until it is done. */
static void set_holding(struct kv_process *process, bool holding)
{
    if (process->holding != holding) {
        process->holding = holding;
        if (process->behaviour->handle_suspend != NULL) {
            process->behaviour->handle_suspend(process, holding);
        }
    }
}

static void set_resuming(struct kv_process *process, bool resuming)
{
    kv_list_remove(&process->of_resuming);
    if (resuming) {
        kv_list_append(&process->runtime->resuming, &process->of_resuming);
    }
}

void kv_server_suspend(struct kv_process *process)
{
    process->suspended = true;
    set_holding(process, true);
}

void kv_server_resume(struct kv_process *process)
{
    process->suspended = false;
    set_holding(process, process->kept_count > 0);
    set_resuming(process, process->kept_count > 0);
}

static bool is_full(struct kv_process *process, const struct kv_from *from)
{
    const struct kv_sink *sink = &process->runtime->sink;
    const struct kv_peer *peer =
        kv_route(process->runtime, from->alias ? from->ref.node : from->pid.node);
    return sink->is_full != NULL && peer != NULL && peer != &process->runtime->local &&
           sink->is_full(sink->context, peer->carrier);
}

/* Whether the node that is to get the answer has much to read: a call then waits until it has read,
 * as it would have been left in its socket. */
static bool must_wait(struct kv_process *process, struct kv_bytes message)
{
    struct kv_from from;
    struct kv_bytes request;
    return (is_request(message, "$gen_call", &from, &request) ||
            is_kv_call(message, &from, &request) ||
            is_request(message, "system", &from, &request)) &&
           is_full(process, &from);
}

static void handle_kept(struct kv_process *process, struct kv_bytes message)
{
    struct kv_from from;
    struct kv_bytes request;
    if (is_request(message, "system", &from, &request)) {
        kv_system_message(process, &from, request);
    } else {
        dispatch(process, message);
    }
}

enum kv_turn kv_server_turn(struct kv_process *process, size_t *budget)
{
    struct kv_kept *kept = next_of(process);
    if (kept == NULL) {
        set_holding(process, process->suspended);
        set_resuming(process, false);
        return KV_TURN_DONE;
    }
    struct kv_bytes message = kept->signal.payload[0];
    if (must_wait(process, message)) {
        return KV_TURN_WAITS;
    }
    *budget -= message.length < *budget ? message.length : *budget;
    kv_list_remove(&kept->link);
    process->kept_count--;
    handle_kept(process, message);
    kv_kept_free(kept);
    kv_process_settle(process);
    return KV_TURN_MORE;
}

static void drop_all(struct kv_list *list)
{
    KV_LIST_FOREACH (link, list) {
        kv_list_remove(link);
        kv_kept_free(KV_LIST_OF(link, struct kv_kept, link));
    }
}

void kv_server_drop_kept(struct kv_process *process)
{
    drop_all(&process->kept);
    drop_all(&process->kept_system);
}

void kv_server_abandon_kept(struct kv_process *process, struct kv_bytes reason)
{
    struct kv_from from = {0};
    struct kv_bytes request = kv_bytes(NULL, 0);
    KV_LIST_FOREACH (link, &process->kept) {
        if (is_kv_call(KV_LIST_OF(link, struct kv_kept, link)->signal.payload[0], &from,
                       &request)) {
            kv_abandon(process, &from, reason);
        }
    }
}

void kv_server_no_process(struct kv_runtime *runtime, const struct kv_signal *signal,
                          const struct kv_from *from)
{
    static const uint8_t noproc[] = {KV_TAG_SMALL_ATOM_UTF8, 6, 'n', 'o', 'p', 'r', 'o', 'c'};
    struct kv_pid callee = signal->kind == KV_SIGNAL_MESSAGE ? signal->to : kv_pid_of(runtime, 0);
    tell_down(runtime, &callee, from, kv_bytes(noproc, sizeof noproc));
}

void kv_server_undelivered(struct kv_runtime *runtime, const struct kv_signal *signal)
{
    struct kv_from from = {0};
    struct kv_bytes request = kv_bytes(NULL, 0);
    if (is_kv_call(signal->payload[0], &from, &request)) {
        kv_server_no_process(runtime, signal, &from);
    }
}

void kv_server_message(struct kv_process *process, const struct kv_signal *signal,
                       enum kv_call_shape shape)
{
    struct kv_bytes message = signal->payload[0];
    struct kv_from from;
    struct kv_bytes request;
    if (process->holding) {
        hold(process, message);
    } else if (usual_call(signal, shape, &from, &request) ||
               usual_kv_call(signal, shape, &from, &request)) {
        call(process, message, &from, request);
    } else if (is_request(message, "system", &from, &request)) {
        kv_system_message(process, &from, request);
    } else {
        dispatch(process, message);
    }
    kv_process_settle(process);
}
