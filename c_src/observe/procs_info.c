/* Observer's tab Processes: a row for each, sent in chunks.
 *
 * OTP: lib/runtime_tools/src/observer_backend.erl, procs_info/1. */
#include "observe/characters.h"
#include "observe/collector.h"
#include "observe/functions.h"
#include "observe/process_terms.h"

#include <stdio.h>

enum {
    LABEL_MAX = 80, /* bytes of a label in a row */
    FUNCTION_MAX = 160,
};

/* Older Observers can sort names only if these are atoms or {M, F, A}, and a label must not become
 * an atom. So the label goes into the column of functions, which may hold any term: Observer shows
 * a list of characters as text (observer_lib:to_str/1). The label comes first in that text. */
static void write_function(struct kv_buffer *to, const struct kv_process_info *info)
{
    char text[FUNCTION_MAX];
    if (info->label.length == 0) {
        kv_write_current(to, info);
        return;
    }
    size_t label = info->label.length < LABEL_MAX ? info->label.length : LABEL_MAX;
    int length =
        snprintf(text, sizeof text, "%.*s: %s:%s/0", (int)label, (const char *)info->label.data,
                 info->module, info->suspended ? "suspended" : "waiting");
    kv_write_characters(to, kv_bytes(text, (size_t)length));
}

/* {etop_proc_info, Pid, Memory, Reductions, Name, Runtime, CurrentFunction, QueueLength} */
static void write_row(const struct kv_process_info *info, struct kv_buffer *to)
{
    kv_write_tuple(to, 8);
    kv_write_atom_text(to, "etop_proc_info");
    kv_write_pid(to, &info->pid);
    kv_write_u64(to, info->memory);
    kv_write_u64(to, info->reductions);
    if (info->name.length > 0) {
        kv_write_atom(to, info->name);
    } else {
        kv_write_initial_call(to, info);
    }
    kv_write_u64(to, 0);
    write_function(to, info);
    kv_write_u64(to, info->queue);
}

static int init(struct kv_process *self, struct kv_bytes target, struct kv_buffer *reason)
{
    static const struct kv_rows rows = {.tag = "procs_info", .with_self = true, .write = write_row};
    return kv_collector_init(self, target, &rows, reason);
}

const struct kv_behaviour kv_procs_info_behaviour = {
    .module = "observer_backend",
    .function = "procs_info",
    .arity = 1,
    .state_size = sizeof(struct kv_collector),
    .init = init,
    .handle_call = kv_reply_bad_request,
    .handle_timer = kv_collector_timer,
    .terminate = kv_collector_terminate,
};
