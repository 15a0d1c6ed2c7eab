#include "observe/process_terms.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    PEEK_ENTRIES = 50, /* entries of a table shown beside other data */
    PEEK_VALUE = 1024, /* bytes; a larger key or value is not shown */
    PEEK_LOOKS = 1000, /* scans of a table, to find entries that are short enough */
    MFA_ARITY = 3,
    MS_PER_SECOND = 1000,
};

int kv_read_process(struct kv_process *self, struct kv_reader *arguments,
                    struct kv_process **process)
{
    struct kv_pid pid;
    const struct kv_runtime *runtime = kv_process_runtime(self);
    int error = kv_read_pid(arguments, &pid);
    if (error == KV_OK && !kv_bytes_equal(pid.node, kv_runtime_node(runtime))) {
        return KV_ETYPE;
    }
    if (error == KV_OK) {
        *process = kv_process_at(runtime, &pid);
    }
    return error;
}

int kv_run_or_nil(struct kv_process *self, kv_run_function run, struct kv_reader arguments,
                  struct kv_buffer *value)
{
    size_t start = value->length;
    int error = run(self, arguments, value);
    if (error == KV_OK &&
        kv_term_is_atom(kv_bytes(value->data + start, value->length - start), "undefined")) {
        value->length = start;
        kv_write_atom_text(value, "nil");
    }
    return error;
}

void kv_write_mfa(struct kv_buffer *to, const char *module, const char *function, uint32_t arity)
{
    kv_write_tuple(to, MFA_ARITY);
    kv_write_atom_text(to, module);
    kv_write_atom_text(to, function);
    kv_write_u64(to, arity);
}

void kv_write_initial_call(struct kv_buffer *to, const struct kv_process_info *info)
{
    kv_write_mfa(to, info->module, info->function, info->arity);
}

void kv_write_current(struct kv_buffer *to, const struct kv_process_info *info)
{
    kv_write_mfa(to, info->module, info->suspended ? "suspended" : "waiting", 0);
}

void kv_write_label(struct kv_buffer *to, const struct kv_process_info *info)
{
    if (info->label.length > 0) {
        kv_write_binary(to, info->label);
    } else {
        kv_write_atom_text(to, "undefined");
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

/* A binary, not the atom of the request: a viewer would create every new atom it is sent. */
static void add_request(void *context, const struct kv_request *request)
{
    char text[128];
    struct kv_term_list *list = context;
    uint64_t seconds = request->age / MS_PER_SECOND;
    if (request->name.length > 0) {
        (void)snprintf(text, sizeof text, "%s %.*s/%" PRIu32 ", %" PRIu64 " s ago", request->kind,
                       (int)request->name.length, (const char *)request->name.data,
                       request->elements, seconds);
    } else {
        (void)snprintf(text, sizeof text, "%s of no name, %" PRIu64 " s ago", request->kind,
                       seconds);
    }
    list->count++;
    kv_write_binary_text(&list->elements, text);
}

void kv_write_requests(struct kv_buffer *to, const struct kv_process *process)
{
    struct kv_term_list list = {0};
    kv_recent_each(process, add_request, &list);
    kv_term_list_close(&list, to);
}

/* ---- entries of a table ---------------------------------------------------------------------- */

static void add_entry(void *context, struct kv_bytes key, struct kv_bytes value)
{
    struct kv_term_list *list = context;
    if (list->count >= PEEK_ENTRIES || key.length > PEEK_VALUE) {
        return;
    }
    list->count++;
    kv_write_tuple(&list->elements, 2);
    kv_write_term(&list->elements, key);
    if (value.length > PEEK_VALUE) {
        kv_write_atom_text(&list->elements, "too_large_to_show");
    } else {
        kv_write_term(&list->elements, value);
    }
}

void kv_add_peek(struct kv_term_list *list, const struct kv_process *process,
                 const struct kv_view *view)
{
    uint64_t cursor = 0;
    uint32_t looks = 0;
    do {
        view->scan(process, &cursor, add_entry, list);
    } while (cursor != 0 && list->count < PEEK_ENTRIES && ++looks < PEEK_LOOKS);
}
