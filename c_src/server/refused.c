/* Requests over a limit. The caller gets an error. The process hears of it only through
 * handle_refused. */
#include "server/refused.h"

#include "process/life.h"
#include "process/state.h"
#include "server/answer.h"
#include "server/state.h"

/* Reads the beginning of a request {Kind, From, _}. from->unwatched: it is a $kv_call. Returns
 * false if the message is no request or From is cut off; sets *error if the connection must be
 * closed. */
static bool is_request(struct kv_bytes message, struct kv_from *from, int *error)
{
    struct kv_bytes elements[2];
    size_t count = 0;
    *error = kv_read_beginning(message, 3, elements, 2, &count);
    if (kv_is_refusal(*error) || *error == KV_ETRUNCATED) {
        *error = KV_OK; /* cut off here, or refused for what comes here */
    }
    if (count < 2 || kv_from_read(elements[1], from) != KV_OK) {
        return false;
    }
    return kv_term_is_atom(elements[0], "$kv_call") == from->unwatched &&
           (from->unwatched || kv_term_is_atom(elements[0], "$gen_call") ||
            kv_term_is_atom(elements[0], "system"));
}

static void answer(struct kv_process *process, const struct kv_from *from, struct kv_bytes why)
{
    struct kv_buffer *reply = &process->runtime->reply;
    kv_buffer_clear(reply);
    kv_write_tuple(reply, 2);
    kv_write_atom_text(reply, "error");
    kv_write_term(reply, why);
    kv_answer(process, from, kv_buffer_bytes(reply));
}

int kv_server_refused(struct kv_runtime *runtime, struct kv_process *process,
                      const struct kv_signal *signal, struct kv_bytes why, bool *told)
{
    struct kv_bytes message = signal->payload[0];
    struct kv_from from = {0};
    int error = KV_OK;
    *told = process == NULL;
    bool request = is_request(message, &from, &error);
    if (request && process == NULL && from.unwatched) {
        kv_call_no_process(runtime, signal, &from);
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
