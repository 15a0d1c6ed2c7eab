/* The functions that may be called by name. Everything that is not in the list does not exist. */
#ifndef KV_OBSERVE_FUNCTIONS_H
#define KV_OBSERVE_FUNCTIONS_H

#include "observe/survey.h"
#include "observe/world.h"

struct kv_invocation {
    struct kv_bytes module;
    struct kv_bytes function;
    struct kv_bytes arguments; /* any term */
};

/* ---- calling ---------------------------------------------------------------------------------
 */

/* Runs a function and appends its value; one that takes many turns is begun: inquiry->survey is not
 * NULL then, and kv_inquiry_step() and kv_inquiry_end() are to follow.
 * KV_OK; KV_ENOENT: there is none of that name and arity; KV_ETYPE: not with these arguments
 * (badarg); KV_ECLOSURE: the call is of a fun. Nothing is appended unless it is KV_OK. */
int kv_function_apply(struct kv_process *self, const struct kv_invocation *call,
                      struct kv_inquiry *inquiry, struct kv_buffer *value);

/* Returns true if a function of this name and arity may be called or spawned: `has_function` of the
 * world. */
bool kv_function_exists(struct kv_bytes module, struct kv_bytes function, uint32_t arity);

/* A function gets its arguments one after the other in `arguments`, runs in the process that was
 * spawned for the call, and appends its value. KV_OK or KV_ETYPE. */
typedef int (*kv_run_function)(struct kv_process *self, struct kv_reader arguments,
                               struct kv_buffer *value);

struct kv_function {
    const char *module;
    const char *function;
    kv_run_function run; /* NULL: every call is the survey's */
    uint32_t arity;
    const struct kv_survey *survey; /* or NULL */
};

/* One table for each subject, ended by a NULL module. */
extern const struct kv_function kv_node_functions[];    /* functions.c */
extern const struct kv_function kv_system_functions[];  /* system.c */
extern const struct kv_function kv_process_functions[]; /* process_info.c */
extern const struct kv_function kv_window_functions[];  /* window.c */
extern const struct kv_function kv_table_functions[];   /* tables.c */
extern const struct kv_function kv_socket_functions[];  /* sockets.c */
extern const struct kv_function kv_app_functions[];     /* applications.c */
extern const struct kv_function kv_own_functions[];     /* own.c */

/* All of them, ended by NULL. */
extern const struct kv_function *const kv_function_tables[];

/* What may be spawned besides: collectors that send what they find, in bounded chunks. */
extern const struct kv_behaviour kv_fetch_stats_behaviour; /* charts.c */
extern const struct kv_behaviour kv_procs_info_behaviour;  /* procs_info.c */

/* spawn_opt(Node, kv_node, processes, [To], [monitor]) sends To, a pid, every process of the node
 * but itself once, in messages
 *
 *     {kv_processes, Self, [{Pid, Module, Label, Memory, Reductions, Queue}]}
 *
 * of fewer than 1,280 rows each, in the order of their beginning, and then ends with reason
 * `normal`. The list may be empty. Self is the pid that was spawned. Module is an atom: kv_bucket,
 * kv_registry, net_kernel, rex, or the module of any other behaviour. Label is a binary of at most
 * KV_LABEL_SHOWN bytes, or `undefined`. The others are integers: bytes, callbacks that ran, and
 * messages that wait for sys:resume/1. An argument that is no pid ends it with `badarg`. */
extern const struct kv_behaviour kv_processes_behaviour; /* own.c */

/* What `rex` starts to draw the tree of an application. */
extern const struct kv_behaviour kv_appmon_behaviour; /* applications.c */

#endif
