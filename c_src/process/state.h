/* The structs of the process room. Outside of it only server/ includes this header.
 *
 * Every relation between a process of ours and another process is a record in two lists: the
 * process's, which it walks when it dies, and the peer's, which is walked when the connection is
 * lost. Processes of this node are behind a peer, too (`local`), so there is one state machine for
 * links and one for monitors. */
#ifndef KV_PROCESS_STATE_H
#define KV_PROCESS_STATE_H

#include "base/list.h"
#include "base/map.h"
#include "process/address.h"
#include "process/frame.h"
#include "process/inspect.h"
#include "process/runtime.h"
#include "process/timers.h"

struct kv_peer {
    struct kv_runtime *runtime;
    struct kv_map_node by_name;
    struct kv_list of_runtime;
    struct kv_buffer name; /* owned text */
    uint32_t creation;
    uint64_t absence;            /* the number of it, if the peer stands for an absent node */
    void *carrier;               /* the owner's; unused for the local peer */
    enum kv_get_state get_state; /* of sys on that node */
    bool lost;                   /* the connection is gone: nothing is sent any more */
    bool hidden;                 /* the node is a hidden one */
    struct kv_map links;         /* struct kv_link, by both ends */
    struct kv_map watches;       /* struct kv_watch, by reference */
    struct kv_list link_list;
    struct kv_list watch_list;
    struct kv_list monitor_list;
};

struct kv_process {
    struct kv_runtime *runtime;
    struct kv_map_node by_number;
    struct kv_list of_runtime;
    uint64_t number;
    const struct kv_behaviour *behaviour;
    const struct kv_generic *generic;
    void *context;         /* of its behaviour */
    struct kv_buffer name; /* empty when it has none */
    struct kv_map_node by_name;
    struct kv_list links;
    struct kv_list watches;
    struct kv_list monitors;
    uint32_t related[KV_RELATIONS]; /* the length of each list, for tools */
    struct kv_list of_turns;        /* in turns, or alone */
    struct kv_list timers;          /* struct kv_timer */
    uint64_t usual_timer; /* the number of kv_process_set_timer()'s timer, which may have fired */
    struct kv_buffer group_leader; /* a pid as a term */
    struct kv_buffer parent;       /* a pid as a term: of the process that spawned it, or its own */
    struct kv_lineage *lineage;    /* shared; NULL if it has no ancestors */
    uint64_t reductions;           /* callbacks that ran */
    bool exiting;
    struct kv_leaving *leaving; /* it ends in pieces: life.c; else NULL */
    struct kv_buffer exit_reason;
    void *state;
};

struct kv_runtime {
    struct kv_buffer node; /* owned text of our name */
    uint32_t creation;
    struct kv_hash_key hash_key;
    enum kv_get_state get_state;
    const struct kv_generic *generic; /* of behaviours that are not plain */
    const struct kv_generic *plain;   /* of those that are */
    struct kv_sink sink;
    struct kv_map processes;   /* by number */
    struct kv_process *latest; /* got the last message; or NULL */
    struct kv_map names;
    struct kv_map peers; /* by name, without the local one */
    struct kv_peer
        *speaking;          /* its signal is being handled; a short cut for kv_route(); else NULL */
    struct kv_shared *lent; /* the memory of the message that is handled; NULL: it has none */
    struct kv_map monitors; /* by number */
    struct kv_map lineages; /* struct kv_lineage, by their bytes */
    struct kv_list process_list;
    struct kv_list walks; /* struct kv_walk: those that have not ended */
    struct kv_list peer_list;
    struct kv_timers timers;
    struct kv_list signals;   /* struct kv_kept: between processes of this node */
    struct kv_list turns;     /* processes that want turns of kv_runtime_step() */
    struct kv_list leaving;   /* struct kv_leaving: processes that end in pieces */
    struct kv_shared *reason; /* of the process that is ending, if the reason is large; else NULL */
    struct kv_list spare_watches; /* struct kv_watch, by of_peer */
    size_t spare_watch_count;
    struct kv_peer local;
    struct kv_buffer vm; /* owned text: the name of the VM that holds this node, or empty */
    bool keeps_all;      /* any node whose processes own some of ours may be away */
    /* Peers that stand for nodes that are away, the one that left first in front. Each has the
     * name and the creation of its node, and the kept monitors. kv_route() does not find them, and
     * nothing is sent to them. */
    struct kv_list absent_list;
    struct kv_absences absences;
    uint64_t next_process;
    unsigned spawned; /* processes, since kv_runtime_step() */
    uint64_t next_monitor;
    uint64_t next_unlink;
    struct kv_list offers;  /* struct kv_offer */
    struct kv_buffer reply; /* for terms that are built and sent at once */
    struct kv_frame outermost;
    struct kv_frame *frame; /* of the present callback */
    /* Signals that wait: emit.c. */
    struct kv_map outboxes; /* by the number of the process */
    struct kv_list outbox_list;
    struct kv_map receivers; /* of signals that wait, by both ends */
    size_t waiting;
    uint64_t waiting_bytes;
    bool at_once;       /* nothing waits: kv_process_hold_nothing() */
    bool turns_wanted;  /* a process has asked for turns since the last ones were given */
    bool service_ended; /* and is to be started again */
    uint64_t teller;    /* the number of the process that has called kv_process_hold_for(), or 0, */
    uint64_t told;      /* and the batch */
    uint64_t written;   /* the greatest batch that is written, */
    uint64_t durable;   /* and durable */
    size_t detours; /* reasons why a signal may not go straight to its peer: one for each outbox,
                       one for `reason` */
};

/* The bytes that the generic part keeps for a process. */
static inline void *kv_process_generic(struct kv_process *process)
{
    return process + 1;
}

static inline const void *kv_process_const_generic(const struct kv_process *process)
{
    return process + 1;
}

#endif
