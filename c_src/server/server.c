#include "server/server.h"

#include "process/life.h"
#include "process/peers.h"
#include "server/answer.h"
#include "server/debug.h"
#include "server/mailbox.h"
#include "server/refused.h"
#include "server/request.h"
#include "server/system.h"

#include <kv/log.h>

static void call(struct kv_process *self, struct kv_bytes message, const struct kv_from *from,
                 struct kv_bytes request)
{
    self->reductions++;
    kv_debug_in(self, message);
    kv_server_of(self)->asked = from;
    self->behaviour->handle_call(self, from, request);
    if (self->exiting && kv_server_of(self)->asked == from) {
        kv_abandon(self, from, kv_buffer_bytes(&self->exit_reason));
    }
    kv_server_of(self)->asked = NULL;
}

static void dispatch(struct kv_process *self, struct kv_bytes message)
{
    const struct kv_behaviour *behaviour = self->behaviour;
    struct kv_from from;
    struct kv_bytes request;
    if (kv_request_read(message, "$gen_call", &from, &request) ||
        kv_request_read_kv_call(message, &from, &request)) {
        call(self, message, &from, request);
        return;
    }
    self->reductions++;
    kv_debug_in(self, message);
    if (kv_request_read_cast(message, &request)) {
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

__attribute__((noinline)) static void hold(struct kv_process *process, struct kv_bytes message)
{
    const struct kv_server_state *server = kv_server_of(process);
    struct kv_from from;
    struct kv_bytes request;
    if (!kv_request_read(message, "system", &from, &request)) {
        kv_mailbox_keep(process, message, false);
    } else if (server->suspended && !server->going && kv_list_is_empty(&server->kept_system)) {
        kv_system_message(process, &from, request);
    } else {
        kv_mailbox_keep(process, message, true);
    }
}

/* True if the message is a call from a node that has much to read. The call waits then until the
 * node has read, as it would wait in its socket. */
static bool must_wait(struct kv_process *process, struct kv_bytes message)
{
    struct kv_from from;
    struct kv_bytes request;
    return (kv_request_read(message, "$gen_call", &from, &request) ||
            kv_request_read_kv_call(message, &from, &request) ||
            kv_request_read(message, "system", &from, &request)) &&
           kv_peer_is_full(process->runtime, from.alias ? from.ref.node : from.pid.node);
}

static void handle_kept(struct kv_process *process, struct kv_bytes message)
{
    struct kv_from from;
    struct kv_bytes request;
    if (kv_request_read(message, "system", &from, &request)) {
        kv_system_message(process, &from, request);
    } else {
        dispatch(process, message);
    }
}

/* One piece in each turn: others are served before the next. */
static enum kv_progress go_on(struct kv_process *process, size_t *budget)
{
    *budget = 0;
    process->reductions++;
    kv_server_of(process)->going = process->behaviour->handle_more(process);
    kv_process_settle(process);
    return KV_TURN_MORE;
}

static enum kv_progress turn(struct kv_process *process, size_t *budget)
{
    if (kv_server_of(process)->going) {
        return go_on(process, budget);
    }
    struct kv_kept *kept = kv_mailbox_next(process);
    if (kept == NULL) {
        kv_mailbox_rest(process);
        return KV_TURN_DONE;
    }
    struct kv_bytes message = kept->signal.payload[0];
    if (must_wait(process, message)) {
        return KV_TURN_WAITS;
    }
    *budget -= message.length < *budget ? message.length : *budget;
    kv_mailbox_take(process, kept);
    process->runtime->lent = kept->shared;
    handle_kept(process, message);
    process->runtime->lent = NULL;
    kv_kept_free(kept);
    kv_process_settle(process);
    return KV_TURN_MORE;
}

static void created(struct kv_process *process)
{
    kv_list_init(&kv_server_of(process)->kept);
    kv_list_init(&kv_server_of(process)->kept_system);
    kv_debug_init(process);
}

/* Tells the callers of $kv_calls that still wait. */
static void died(struct kv_process *process, struct kv_bytes reason)
{
    struct kv_from from = {0};
    struct kv_bytes request = kv_bytes(NULL, 0);
    KV_LIST_FOREACH (link, &kv_server_of(process)->kept) {
        struct kv_kept *kept = KV_LIST_OF(link, struct kv_kept, link);
        if (kv_request_read_kv_call(kept->signal.payload[0], &from, &request)) {
            kv_abandon(process, &from, reason);
        }
    }
}

static void freed(struct kv_process *process)
{
    kv_mailbox_free(process);
    kv_debug_free(process);
}

static void inspect(const struct kv_process *process, struct kv_process_info *info)
{
    info->queue = kv_const_server_of(process)->kept_count;
    info->suspended = kv_const_server_of(process)->suspended;
}

/* Only a $kv_call hears of it: other callers have a monitor. */
static void undelivered(struct kv_runtime *runtime, const struct kv_signal *signal)
{
    struct kv_from from = {0};
    struct kv_bytes request = kv_bytes(NULL, 0);
    if (kv_request_read_kv_call(signal->payload[0], &from, &request)) {
        kv_call_no_process(runtime, signal, &from);
    }
}

static void message(struct kv_process *process, const struct kv_signal *signal,
                    enum kv_call_shape shape)
{
    struct kv_bytes term = signal->payload[0];
    struct kv_from from;
    struct kv_bytes request;
    if (kv_server_of(process)->holding) {
        hold(process, term);
    } else if (kv_request_read_usual(signal, shape, &from, &request)) {
        call(process, term, &from, request);
    } else if (kv_request_read(term, "system", &from, &request)) {
        kv_system_message(process, &from, request);
    } else {
        dispatch(process, term);
    }
    kv_process_settle(process);
}

const struct kv_generic kv_server = {
    .size = sizeof(struct kv_server_state),
    .created = created,
    .message = message,
    .wait = kv_mailbox_wait,
    .undelivered = undelivered,
    .refused = kv_server_refused,
    .turn = turn,
    .died = died,
    .freed = freed,
    .inspect = inspect,
};
