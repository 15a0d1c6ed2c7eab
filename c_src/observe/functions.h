/* The functions that other nodes may call by name. All others do not exist. */
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

/* Runs a function and appends its value. A function that takes many turns is only begun:
 * inquiry->survey is not NULL then, and the caller goes on with kv_inquiry_step() and
 * kv_inquiry_end(). Of a call of erlang:apply/2,3, *call becomes the call that is meant. Appends
 * nothing on an error. KV_OK; KV_ENOENT: no function of that name and arity; KV_ETYPE: wrong
 * arguments (badarg); KV_ECLOSURE: the call is of a closure. */
int kv_function_apply(struct kv_process *self, struct kv_invocation *call,
                      struct kv_inquiry *inquiry, struct kv_buffer *value);

/* Returns true if a function of this name and arity may be called or spawned: `has_function` of the
 * world. */
bool kv_function_exists(struct kv_bytes module, struct kv_bytes function, uint32_t arity);

/* A function runs in the process that was spawned for the call. It reads its arguments one after
 * the other from `arguments` and appends its value. KV_OK or KV_ETYPE. */
typedef int (*kv_run_function)(struct kv_process *self, struct kv_reader arguments,
                               struct kv_buffer *value);

struct kv_function {
    const char *module;
    const char *function;
    kv_run_function run; /* NULL: every call is for the survey */
    uint32_t arity;
    const struct kv_survey *survey; /* or NULL */
    const char *value;              /* in words, for docs/functions.md */
};

/* One table for each subject. A NULL module ends it. */
extern const struct kv_function kv_node_functions[];    /* nodes.c */
extern const struct kv_function kv_time_functions[];    /* times.c */
extern const struct kv_function kv_item_functions[];    /* items.c */
extern const struct kv_function kv_module_functions[];  /* modules.c */
extern const struct kv_function kv_ask_functions[];     /* ask.c */
extern const struct kv_function kv_system_functions[];  /* system.c */
extern const struct kv_function kv_process_functions[]; /* process_info.c */
extern const struct kv_function kv_window_functions[];  /* window.c */
extern const struct kv_function kv_table_functions[];   /* tables.c */
extern const struct kv_function kv_socket_functions[];  /* sockets.c */
extern const struct kv_function kv_app_functions[];     /* applications.c */
extern const struct kv_function kv_own_functions[];     /* own.c */

/* All these tables. NULL ends the list. */
extern const struct kv_function *const kv_function_tables[];

/* Functions that other nodes may spawn: they send their findings in bounded chunks. */
extern const struct kv_behaviour kv_fetch_stats_behaviour; /* charts.c */
extern const struct kv_behaviour kv_procs_info_behaviour;  /* procs_info.c */

/* spawn_opt(Node, kv_node, processes, [To], [monitor]) sends To, a pid, a row for every process of
 * the node but itself, in messages
 *
 *     {kv_processes, Self, [{Pid, Module, Label, Memory, Reductions, Queue}]}
 *
 * and then ends with reason `normal`. A message has fewer than 1,280 rows and may have none. Rows
 * come in the order in which the processes began. Self is the spawned pid. Module is an atom:
 * kv_bucket, kv_registry, net_kernel, rex, or the module of another behaviour. Label is a binary of
 * at most KV_LABEL_SHOWN bytes, or `undefined`. Memory is in bytes: of a table those
 * that count against its limit, of any other process all. Reductions counts callbacks,
 * and Queue counts messages that wait for sys:resume/1. If To is no pid, the process ends with
 * `badarg`. */
extern const struct kv_behaviour kv_processes_behaviour; /* own.c */

/* The process that draws the tree of an application for a viewer. */
extern const struct kv_behaviour kv_appmon_behaviour; /* applications.c */

#endif
