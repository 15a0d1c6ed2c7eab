/* Looks at the processes of a runtime without changing them. */
#ifndef KV_INSPECT_H
#define KV_INSPECT_H

#include "base/list.h"

#include <kv/process.h>

/* A walk visits the processes a few at a time, so that a node with many processes goes on serving.
 * It visits each process that lives from the beginning of the walk until its turn, once, oldest
 * first. A zeroed walk is one that has ended. */
struct kv_walk {
    struct kv_list of_runtime;
    const struct kv_runtime *runtime;
    struct kv_list *next;
    uint64_t last; /* the number of the youngest process to visit */
};

void kv_walk_begin(struct kv_walk *walk, struct kv_runtime *runtime);

/* Visits up to `count` processes. Processes must not begin or end meanwhile. Returns false once all
 * have been visited; the walk has ended then. */
bool kv_walk_step(struct kv_walk *walk, size_t count,
                  void (*visit)(void *context, const struct kv_process *process), void *context);

/* Ends a walk early. Must be called before the struct goes away. */
void kv_walk_end(struct kv_walk *walk);

/* Calls `visit` with the name of every connected node. */
void kv_runtime_each_peer(const struct kv_runtime *runtime,
                          void (*visit)(void *context, struct kv_bytes name, bool hidden),
                          void *context);

/* Returns true if a node of that name is connected. */
bool kv_runtime_has_peer(const struct kv_runtime *runtime, struct kv_bytes name);

enum { KV_LABEL_SHOWN = 512 }; /* bytes of a label that tools are shown */

/* A process as tools see it. All fields borrow from the process. */
struct kv_process_info {
    struct kv_pid pid;
    struct kv_bytes name;  /* of length 0 if the process has none */
    struct kv_bytes label; /* of length 0 if the process has none */
    const char *module;
    const char *function;
    uint32_t arity;
    size_t memory;       /* bytes, including `state` */
    size_t state;        /* bytes of its state */
    uint64_t counted;    /* of a table with a limit: bytes that count; otherwise `memory` */
    uint64_t reductions; /* callbacks that ran */
    size_t queue;        /* messages that wait for sys:resume/1 */
    bool suspended;
    bool traps_exits;
    struct kv_bytes parent;       /* a pid as a term */
    struct kv_bytes group_leader; /* a pid as a term; of length 0 if nobody set one */
    struct kv_bytes ancestors;    /* a list, see kv_process_set_ancestors(); of length 0: unknown */
    const struct kv_view *view;   /* NULL: the process is no table */
};

void kv_process_inspect(const struct kv_process *process, struct kv_process_info *info);

/* ---- relations ------------------------------------------------------------------------------ */

/* Returns the living process of this node with that pid, or NULL. */
struct kv_process *kv_process_at(const struct kv_runtime *runtime, const struct kv_pid *pid);

enum kv_relation { KV_RELATION_LINK, KV_RELATION_MONITOR, KV_RELATION_MONITORED_BY, KV_RELATIONS };

/* Returns how many processes this one is linked to, monitors, or is monitored by. O(1). */
size_t kv_process_related(const struct kv_process *process, enum kv_relation relation);

/* Calls `visit` for the first `most` of these processes. */
void kv_process_each(const struct kv_process *process, enum kv_relation relation, size_t most,
                     void (*visit)(void *context, const struct kv_pid *other), void *context);

/* Calls `visit` for every process of this node that is linked to `pid`, a process of any node.
 * O(links to the node of `pid`). */
void kv_runtime_each_linked(struct kv_runtime *runtime, const struct kv_pid *pid,
                            void (*visit)(void *context, const struct kv_process *process),
                            void *context);

/* Returns the registered name of a process; of length 0 if it has none. Valid while the process
 * lives. */
struct kv_bytes kv_process_name(const struct kv_process *process);

/* ---- the runtime ------------------------------------------------------------------------------
 */

/* Returns milliseconds of the clock that timers run by. */
uint64_t kv_runtime_clock(const struct kv_runtime *runtime);

/* Returns the name of this node, valid as long as the runtime. */
struct kv_bytes kv_runtime_node(const struct kv_runtime *runtime);

#endif
