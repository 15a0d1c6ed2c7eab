/* A process that sends a row for each process of the node, in chunks, and then ends with `normal`.
 *
 * Each kind of row has a behaviour. Its init calls kv_collector_init(); its other callbacks are
 * those below. */
#ifndef KV_OBSERVE_COLLECTOR_H
#define KV_OBSERVE_COLLECTOR_H

#include "observe/list.h"
#include "process/inspect.h"

struct kv_rows {
    const char *tag; /* chunks are {Tag, Self, Rows} */
    bool with_self;  /* the collector has a row, too */
    /* Appends one row. */
    void (*write)(const struct kv_process_info *info, struct kv_buffer *to);
};

struct kv_collector {
    const struct kv_process *self;
    const struct kv_rows *rows;
    struct kv_buffer target; /* a pid as a term */
    struct kv_walk walk;
    struct kv_term_list chunk;
};

/* Sends the chunks to `target`, the term of a pid. The state of `self` is a struct kv_collector.
 * KV_OK; or KV_ETYPE, with badarg appended to `reason`, if `target` is no pid. */
int kv_collector_init(struct kv_process *self, struct kv_bytes target, const struct kv_rows *rows,
                      struct kv_buffer *reason);
void kv_collector_timer(struct kv_process *self, uint64_t tag);
void kv_collector_terminate(struct kv_process *self, struct kv_bytes reason);

#endif
