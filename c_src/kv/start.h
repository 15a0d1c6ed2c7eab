/* The options that buckets and registries are started with: a list of {Key, Value}. */
#ifndef KV_OPTIONS_H
#define KV_OPTIONS_H

#include <kv/process.h>
#include <kv/table.h>

/* All values borrow from the list; an option that was not given has length 0. */
struct kv_start_options {
    struct kv_bytes owner;         /* a pid, as a term */
    struct kv_bytes name;          /* the text of an atom */
    struct kv_bytes label;         /* the bytes of a binary */
    struct kv_bytes ancestors;     /* a list of pids and {Name, Pid}, as a term */
    struct kv_bytes creator;       /* a pid, as a term */
    struct kv_bytes event_manager; /* a pid or {Name, Node}, as a term */
    uint64_t generation;           /* what callers tell one life of a name from the next by */
    bool only;                     /* others of the same owner are to end first */
    struct kv_table_options table; /* max_memory, evict */
};

enum kv_option_set { KV_BUCKET_OPTIONS, KV_REGISTRY_OPTIONS };

/* What else a process needs before it serves: KV_OK, or an error with Reason appended. */
typedef int kv_start_open(struct kv_process *self, const struct kv_start_options *options,
                          struct kv_buffer *reason);

/* Reads the list, ends with reason `replaced` the other processes of the same behaviour and owner
 * if `only` says so, registers the name, opens, monitors the owner (its monitor in *owner, 0
 * without one) and tells it: {ack, Self, {ok, Self}} or {ack, Self, {error, Reason}}. KV_OK; or an
 * error, with Reason appended: {bad_option, Option}, {already_registered, Pid}, or that of `open`.
 */
int kv_start(struct kv_process *self, struct kv_bytes list, enum kv_option_set set,
             kv_start_open *open, struct kv_start_options *options, uint64_t *owner,
             struct kv_buffer *reason);

#endif
