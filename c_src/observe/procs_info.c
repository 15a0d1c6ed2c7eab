/* Observer's tab Processes: a row for each, sent in chunks.
 *
 * OTP: lib/runtime_tools/src/observer_backend.erl, procs_info/1. */
#include "observe/characters.h"
#include "observe/functions.h"
#include "observe/parts.h"
#include "process/runtime.h"

#include <stdio.h>

enum {
    CHUNK_ROWS = 1024, /* processes in one message to a collector */
    LABEL_MAX = 80,    /* bytes of a label in a row */
    FUNCTION_MAX = 160,
};

struct collector {
    struct kv_buffer target; /* a pid as a term */
    struct kv_walk walk;
    struct kv_term_list rows;
};

/* Older Observers can sort names only if they are atoms or {M, F, A}, and labels must not become
 * atoms. What is in the column of functions may be any term, and a list of characters is shown as
 * text (observer_lib:to_str/1): there the label comes first. */
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
static void add_row(void *context, const struct kv_process *process)
{
    struct collector *collector = context;
    struct kv_buffer *to = &collector->rows.elements;
    struct kv_process_info info;
    kv_process_inspect(process, &info);
    collector->rows.count++;
    kv_write_tuple(to, 8);
    kv_write_atom_text(to, "etop_proc_info");
    kv_write_pid(to, &info.pid);
    kv_write_u64(to, info.memory);
    kv_write_u64(to, info.reductions);
    if (info.name.length > 0) {
        kv_write_atom(to, info.name);
    } else {
        kv_write_initial_call(to, &info);
    }
    kv_write_u64(to, 0);
    write_function(to, &info);
    kv_write_u64(to, info.queue);
}

static int collector_init(struct kv_process *self, struct kv_bytes argument,
                          struct kv_buffer *reason)
{
    struct collector *collector = kv_process_state(self);
    struct kv_pid pid;
    struct kv_reader reader = kv_reader(argument);
    if (kv_read_pid(&reader, &pid) != KV_OK) {
        kv_write_atom_text(reason, "badarg");
        return KV_ETYPE;
    }
    kv_write_term(&collector->target, argument);
    kv_walk_begin(&collector->walk, kv_process_runtime(self));
    kv_process_set_timer(self, 0);
    return KV_OK;
}

/* {procs_info, Self, Rows} */
static void send_rows(struct kv_process *self, struct collector *collector)
{
    struct kv_pid own = kv_process_pid(self);
    struct kv_buffer message = KV_BUFFER_INIT;
    kv_write_tuple(&message, 3);
    kv_write_atom_text(&message, "procs_info");
    kv_write_pid(&message, &own);
    kv_term_list_close(&collector->rows, &message);
    collector->rows = (struct kv_term_list){0};
    kv_send_to(self, kv_buffer_bytes(&collector->target), kv_buffer_bytes(&message));
    kv_buffer_free(&message);
}

static void collector_timer(struct kv_process *self)
{
    struct collector *collector = kv_process_state(self);
    bool more = kv_walk_step(&collector->walk, KV_SURVEY_SLICE, add_row, collector);
    if (!more || collector->rows.count >= CHUNK_ROWS) {
        send_rows(self, collector);
    }
    if (more) {
        kv_process_set_timer(self, 0);
    } else {
        kv_process_exit_atom(self, "normal");
    }
}

static void collector_terminate(struct kv_process *self, struct kv_bytes reason)
{
    struct collector *collector = kv_process_state(self);
    (void)reason;
    kv_walk_end(&collector->walk);
    kv_buffer_free(&collector->target);
    kv_buffer_free(&collector->rows.elements);
}

const struct kv_behaviour kv_procs_info_behaviour = {
    .module = "observer_backend",
    .function = "procs_info",
    .arity = 1,
    .state_size = sizeof(struct collector),
    .init = collector_init,
    .handle_call = kv_reply_bad_request,
    .handle_timer = collector_timer,
    .terminate = collector_terminate,
};
