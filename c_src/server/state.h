/* The state of the generic part for one process. Plain processes have these bytes, too, and do not
 * use them. */
#ifndef KV_SERVER_STATE_H
#define KV_SERVER_STATE_H

#include "process/state.h"

/* The state of sys:log/2 and sys:statistics/2. */
struct kv_debug {
    uint64_t log_limit; /* 0: no log */
    uint64_t log_length;
    struct kv_list log; /* struct kv_kept, each an event; the oldest first */
    bool statistics;
    struct kv_date since;
    uint64_t messages_in;
    uint64_t messages_out;
    uint64_t reductions_then;
    struct kv_recent *recent; /* owned; NULL while nobody looks at the process */
};

struct kv_server_state {
    /* Messages that wait. Those of sys are apart: a suspended process handles them. */
    struct kv_list kept;
    struct kv_list kept_system;
    size_t kept_count;    /* of both */
    uint64_t kept_number; /* of the last one, ever */
    struct kv_debug debug;
    const struct kv_from *asked; /* the call being handled, until it is answered */
    bool suspended;
    bool going;   /* handle_more has more to do */
    bool holding; /* messages wait: it is suspended or going, or has not handled all that waited */
    bool told;    /* what handle_suspend has been told */
};

static inline struct kv_server_state *kv_server_of(struct kv_process *process)
{
    return kv_process_generic(process);
}

static inline const struct kv_server_state *kv_const_server_of(const struct kv_process *process)
{
    return kv_process_const_generic(process);
}

#endif
