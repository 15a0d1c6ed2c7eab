/* System messages, as sys sends them.
 *
 * OTP: lib/stdlib/src/sys.erl, do_cmd/6; gen_server.erl, format_status/2. */
#include "server/system.h"

#include "process/address.h"
#include "server/answer.h"
#include "server/debug.h"
#include "server/look.h"
#include "server/mailbox.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- status ---------------------------------------------------------------------------------- */

static void write_state(const struct kv_process *self, struct kv_buffer *to)
{
    if (self->behaviour->write_state != NULL) {
        self->behaviour->write_state(self, to);
    } else {
        kv_write_atom_text(to, "undefined");
    }
}

/* The caller's own node decides the form of the answer, if the node is known. */
static void write_get_state(const struct kv_process *self, const struct kv_from *from,
                            struct kv_buffer *to)
{
    const struct kv_peer *peer = kv_route(self->runtime, from->pid.node);
    enum kv_get_state expected = peer == NULL ? self->runtime->get_state : peer->get_state;
    if (expected == KV_GET_STATE_TAGGED) {
        kv_write_tuple(to, 2);
        kv_write_atom_text(to, "ok");
    }
    write_state(self, to);
}

/* Begins {Key, Value}, where Key is a charlist. The caller writes the value. */
static void write_item(struct kv_buffer *to, const char *key)
{
    kv_write_tuple(to, 2);
    kv_write_string(to, key);
}

/* Begins {data, [...]} of `count` items. The caller writes the items, then nil. */
static void write_data(struct kv_buffer *to, uint32_t count)
{
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "data");
    kv_write_list(to, count);
}

/* As gen_server:format_status/2: a header, data about the process, data about its state. */
static void write_misc(const struct kv_process *self, const struct kv_pid *pid, const char *status,
                       const struct kv_shown *shown, struct kv_buffer *to)
{
    char header[128];
    (void)snprintf(header, sizeof header, "Status for native process %s <%" PRIu32 ".%" PRIu32 ">",
                   self->behaviour->module, pid->id, pid->serial);
    kv_write_list(to, 3);
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "header");
    kv_write_string(to, header);
    write_data(to, shown == NULL ? 3 : 4);
    write_item(to, "Status");
    kv_write_atom_text(to, status);
    write_item(to, "Parent");
    kv_write_term(to, kv_buffer_bytes(&self->parent));
    write_item(to, "Logged events");
    kv_write_nil(to);
    if (shown != NULL) {
        write_item(to, "Last requests");
        kv_write_term(to, shown->requests);
    }
    kv_write_nil(to);
    write_data(to, 1);
    write_item(to, "State");
    if (shown != NULL && shown->state.length > 0) {
        kv_write_term(to, shown->state);
    } else {
        write_state(self, to);
    }
    kv_write_nil(to);
    kv_write_nil(to);
}

/* {status, Pid, {module, gen_server}, [PDict, SysState, Parent, Debug, Misc]} */
void kv_process_write_status(const struct kv_process *self, const struct kv_shown *shown,
                             struct kv_buffer *to)
{
    const char *status = kv_const_server_of(self)->suspended ? "suspended" : "running";
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
    kv_write_term(to, kv_buffer_bytes(&self->parent));
    kv_write_nil(to);
    write_misc(self, &pid, status, shown, to);
    kv_write_nil(to);
}

/* ---- requests -------------------------------------------------------------------------------- */

/* Takes {Kind, Term} apart. */
static bool is_pair(struct kv_bytes request, const char *kind, struct kv_bytes *term)
{
    struct kv_reader reader = kv_reader(request);
    return kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_this_atom(&reader, kind) == KV_OK &&
           kv_read_any(&reader, term) == KV_OK;
}

/* {change_code, Module, OldVsn, Extra} */
static bool is_change_code(struct kv_bytes request)
{
    struct kv_reader reader = kv_reader(request);
    return kv_read_tuple_of(&reader, 4) == KV_OK &&
           kv_read_this_atom(&reader, "change_code") == KV_OK;
}

/* {error, {callback_failed, {Module, system_replace_state}, {error, notsup}}}: a native process
 * cannot run the fun. */
static void write_replace_state_failed(struct kv_buffer *to)
{
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "error");
    kv_write_tuple(to, 3);
    kv_write_atom_text(to, "callback_failed");
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "gen_server");
    kv_write_atom_text(to, "system_replace_state");
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "error");
    kv_write_atom_text(to, "notsup");
}

/* Appends the answer to a request other than `terminate`. */
static void write_answer(struct kv_process *self, const struct kv_from *from,
                         struct kv_bytes request, struct kv_buffer *to)
{
    struct kv_bytes term = kv_bytes(NULL, 0);
    if (kv_term_is_atom(request, "get_state")) {
        write_get_state(self, from, to);
    } else if (kv_term_is_atom(request, "get_status")) {
        kv_process_write_status(self, NULL, to);
    } else if (is_pair(request, "replace_state", &term)) {
        write_replace_state_failed(to);
    } else if (is_pair(request, "debug", &term)) {
        kv_debug_request(self, term, to);
    } else if (kv_term_is_atom(request, "suspend")) {
        kv_mailbox_suspend(self);
        kv_write_atom_text(to, "ok");
    } else if (kv_term_is_atom(request, "resume")) {
        kv_mailbox_resume(self);
        kv_write_atom_text(to, "ok");
    } else if (kv_server_of(self)->suspended && is_change_code(request)) {
        kv_write_atom_text(to,
                           "ok"); /* the code is part of the program: there is nothing to change */
    } else {
        kv_write_error(to, "unknown_system_msg", request);
    }
}

void kv_system_message(struct kv_process *self, const struct kv_from *from, struct kv_bytes request)
{
    struct kv_bytes reason = kv_bytes(NULL, 0);
    struct kv_buffer answer = KV_BUFFER_INIT;
    if (is_pair(request, "terminate", &reason)) {
        kv_write_atom_text(&answer, "ok");
        kv_process_exit(self, reason);
    } else {
        write_answer(self, from, request, &answer);
    }
    kv_answer(self, from, kv_buffer_bytes(&answer));
    kv_buffer_free(&answer);
}
