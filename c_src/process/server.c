/* What gen_server and sys do on a BEAM: takes messages apart and answers system messages.
 *
 * OTP: lib/stdlib/src/gen.erl, do_call/4 and reply/2; sys.erl, do_cmd/6. */
#include "base/alloc.h"
#include "process/state.h"

#include <inttypes.h>
#include <stdio.h>

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

int kv_from_read(struct kv_bytes term, struct kv_from *from)
{
    struct kv_reader reader = kv_reader(term);
    if (kv_read_tuple_of(&reader, 2) != KV_OK || kv_read_pid(&reader, &from->pid) != KV_OK ||
        kv_read_any(&reader, &from->tag) != KV_OK) {
        return KV_ETYPE;
    }
    from->bytes = term;
    from->alias = tag_alias(from->tag, &from->ref);
    return KV_OK;
}

/* ---- sending -----------------------------------------------------------------------------------
 */

static void send_signal(struct kv_process *self, struct kv_bytes node, struct kv_signal *signal)
{
    struct kv_peer *peer = kv_route(self->runtime, node);
    if (peer == NULL) {
        kv_runtime_log(self->runtime, KV_LOG_DEBUG, "dropped a message to %.*s: not connected",
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

void kv_reply(struct kv_process *self, const struct kv_from *from, struct kv_bytes reply)
{
    static const uint8_t pair[] = {KV_TAG_SMALL_TUPLE, 2};
    struct kv_signal signal = {
        .kind = from->alias ? KV_SIGNAL_MESSAGE_ALIAS : KV_SIGNAL_MESSAGE,
        .to = from->pid,
        .ref = from->ref,
        .payload = {kv_bytes(pair, sizeof pair), from->tag, reply},
        .payload_parts = 3,
    };
    send_signal(self, from->alias ? from->ref.node : from->pid.node, &signal);
}

void kv_reply_atom(struct kv_process *self, const struct kv_from *from, const char *reply)
{
    struct kv_buffer *term = kv_process_scratch(self);
    kv_write_atom_text(term, reply);
    kv_reply(self, from, kv_buffer_bytes(term));
}

/* {error, {Kind, Request}} */
static void reply_error(struct kv_process *self, const struct kv_from *from, const char *kind,
                        struct kv_bytes request)
{
    struct kv_buffer *term = kv_process_scratch(self);
    kv_write_tuple(term, 2);
    kv_write_atom_text(term, "error");
    kv_write_tuple(term, 2);
    kv_write_atom_text(term, kind);
    kv_write_term(term, request);
    kv_reply(self, from, kv_buffer_bytes(term));
}

void kv_reply_bad_request(struct kv_process *self, const struct kv_from *from,
                          struct kv_bytes request)
{
    reply_error(self, from, "bad_request", request);
}

/* ---- system messages ---------------------------------------------------------------------------
 */

static void write_state(const struct kv_process *self, struct kv_buffer *to)
{
    if (self->behaviour->write_state != NULL) {
        self->behaviour->write_state(self, to);
    } else {
        kv_write_atom_text(to, "undefined");
    }
}

/* {Key, Value} with a charlist for a key; the value is to be written next. */
static void write_item(struct kv_buffer *to, const char *key)
{
    kv_write_tuple(to, 2);
    kv_write_string(to, key);
}

/* {data, [...]} of `count` items, which are to be written next, then nil. */
static void write_data(struct kv_buffer *to, uint32_t count)
{
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "data");
    kv_write_list(to, count);
}

/* What gen_server:format_status/2 makes: a header, data about the process, data about its state. */
static void write_misc(const struct kv_process *self, const struct kv_pid *pid, const char *status,
                       struct kv_buffer *to)
{
    char header[128];
    (void)snprintf(header, sizeof header, "Status for native process %s <%" PRIu32 ".%" PRIu32 ">",
                   self->behaviour->module, pid->id, pid->serial);
    kv_write_list(to, 3);
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "header");
    kv_write_string(to, header);
    write_data(to, 3);
    write_item(to, "Status");
    kv_write_atom_text(to, status);
    write_item(to, "Parent");
    kv_write_pid(to, pid);
    write_item(to, "Logged events");
    kv_write_nil(to);
    kv_write_nil(to);
    write_data(to, 1);
    write_item(to, "State");
    write_state(self, to);
    kv_write_nil(to);
    kv_write_nil(to);
}

/* {status, Pid, {module, gen_server}, [PDict, SysState, Parent, Debug, Misc]} */
static void write_status(const struct kv_process *self, struct kv_buffer *to)
{
    const char *status = self->suspended ? "suspended" : "running";
    struct kv_pid pid = kv_process_pid(self);
    kv_write_tuple(to, 4);
    kv_write_atom_text(to, "status");
    kv_write_pid(to, &pid);
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "module");
    kv_write_atom_text(to, "gen_server");
    kv_write_list(to, 5);
    kv_write_list(to, 1);
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "$initial_call");
    kv_write_tuple(to, 3);
    kv_write_atom_text(to, self->behaviour->module);
    kv_write_atom_text(to, "init");
    kv_write_i64(to, 1);
    kv_write_nil(to);
    kv_write_atom_text(to, status);
    kv_write_pid(to, &pid);
    kv_write_nil(to);
    write_misc(self, &pid, status, to);
    kv_write_nil(to);
}

static void dispatch(struct kv_process *self, struct kv_bytes message);

/* Replays, in order, what came while suspended; the process may be gone when it returns. */
static void resume(struct kv_process *self)
{
    self->suspended = false;
    while (!self->exiting && !self->suspended && !kv_list_is_empty(&self->kept)) {
        struct kv_kept *kept = KV_LIST_OF(self->kept.next, struct kv_kept, link);
        kv_list_remove(&kept->link);
        dispatch(self, kept->signal.payload[0]);
        kv_free(kept);
    }
}

void kv_server_drop_kept(struct kv_process *process)
{
    KV_LIST_FOREACH (link, &process->kept) {
        kv_list_remove(link);
        kv_free(KV_LIST_OF(link, struct kv_kept, link));
    }
}

static bool terminate_reason(struct kv_bytes request, struct kv_bytes *reason)
{
    struct kv_reader reader = kv_reader(request);
    return kv_read_tuple_of(&reader, 2) == KV_OK &&
           kv_read_this_atom(&reader, "terminate") == KV_OK &&
           kv_read_any(&reader, reason) == KV_OK;
}

static void handle_system(struct kv_process *self, const struct kv_from *from,
                          struct kv_bytes request)
{
    struct kv_bytes reason = kv_bytes(NULL, 0);
    if (kv_term_is_atom(request, "get_state")) {
        struct kv_buffer *term = kv_process_scratch(self);
        write_state(self, term);
        kv_reply(self, from, kv_buffer_bytes(term));
    } else if (kv_term_is_atom(request, "get_status")) {
        struct kv_buffer *term = kv_process_scratch(self);
        write_status(self, term);
        kv_reply(self, from, kv_buffer_bytes(term));
    } else if (kv_term_is_atom(request, "suspend")) {
        self->suspended = true;
        kv_reply_atom(self, from, "ok");
    } else if (kv_term_is_atom(request, "resume")) {
        kv_reply_atom(self, from, "ok");
        resume(self);
    } else if (terminate_reason(request, &reason)) {
        kv_reply_atom(self, from, "ok");
        kv_process_exit(self, reason);
    } else {
        reply_error(self, from, "unknown_system_msg", request);
    }
}

/* ---- messages ----------------------------------------------------------------------------------
 */

/* Takes {Kind, From, Request} apart. */
static bool is_request(struct kv_bytes message, const char *kind, struct kv_from *from,
                       struct kv_bytes *request)
{
    struct kv_bytes from_term = kv_bytes(NULL, 0);
    struct kv_reader reader = kv_reader(message);
    return kv_read_tuple_of(&reader, 3) == KV_OK && kv_read_this_atom(&reader, kind) == KV_OK &&
           kv_read_any(&reader, &from_term) == KV_OK && kv_read_any(&reader, request) == KV_OK &&
           kv_from_read(from_term, from) == KV_OK;
}

static bool is_cast(struct kv_bytes message, struct kv_bytes *request)
{
    struct kv_reader reader = kv_reader(message);
    return kv_read_tuple_of(&reader, 2) == KV_OK &&
           kv_read_this_atom(&reader, "$gen_cast") == KV_OK &&
           kv_read_any(&reader, request) == KV_OK;
}

static void dispatch(struct kv_process *self, struct kv_bytes message)
{
    const struct kv_behaviour *behaviour = self->behaviour;
    struct kv_from from = {0};
    struct kv_bytes request = kv_bytes(NULL, 0);
    if (is_request(message, "$gen_call", &from, &request)) {
        behaviour->handle_call(self, &from, request);
    } else if (is_cast(message, &request)) {
        if (behaviour->handle_cast != NULL) {
            behaviour->handle_cast(self, request);
        }
    } else if (behaviour->handle_info != NULL) {
        behaviour->handle_info(self, message);
    } else {
        kv_runtime_log(self->runtime, KV_LOG_DEBUG, "%s ignored a message of %zu bytes",
                       behaviour->module, message.length);
    }
}

void kv_server_message(struct kv_process *process, struct kv_bytes message)
{
    struct kv_from from = {0};
    struct kv_bytes request = kv_bytes(NULL, 0);
    if (is_request(message, "system", &from, &request)) {
        handle_system(process, &from, request);
    } else if (process->suspended) {
        struct kv_signal kept = {
            .kind = KV_SIGNAL_MESSAGE, .payload = {message}, .payload_parts = 1};
        kv_list_append(&process->kept, &kv_signal_keep(&kept)->link);
    } else {
        dispatch(process, message);
    }
    kv_process_settle(process);
}
