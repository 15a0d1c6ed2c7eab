/* The functions that may be called by name. Everything that is not in the list does not exist. */
#ifndef KV_FUNCTIONS_H
#define KV_FUNCTIONS_H

#include <kv/process.h>

struct kv_call {
    struct kv_bytes module;
    struct kv_bytes function;
    struct kv_bytes arguments; /* a proper list, or a string */
};

/* Runs a function and appends its value. KV_OK; KV_ENOENT: there is none of that name and arity;
 * KV_ETYPE: not with these arguments (badarg); KV_ECLOSURE: the call is of a fun. Nothing is
 * appended unless it is KV_OK. */
int kv_function_apply(struct kv_process *self, const struct kv_call *call, struct kv_buffer *value);

/* Whether there is a function of that name and arity. */
bool kv_function_exists(struct kv_bytes module, struct kv_bytes function, uint32_t arity);

/* A function gets its arguments one after the other in `arguments`, runs in the process that was
 * spawned for the call, and appends its value. KV_OK or KV_ETYPE. */
typedef int (*kv_run_function)(struct kv_process *self, struct kv_reader arguments,
                               struct kv_buffer *value);

struct kv_function {
    const char *module;
    const char *function;
    kv_run_function run;
    uint32_t arity;
};

/* One table for each subject, ended by a NULL module. */
extern const struct kv_function kv_system_functions[];  /* system.c */
extern const struct kv_function kv_process_functions[]; /* processes.c */
extern const struct kv_function kv_table_functions[];   /* tables.c */
extern const struct kv_function kv_socket_functions[];  /* sockets.c */
extern const struct kv_function kv_app_functions[];     /* applications.c */

/* What may be spawned besides: collectors that send what they find, in bounded chunks. */
extern const struct kv_behaviour kv_fetch_stats_behaviour; /* system.c */
extern const struct kv_behaviour kv_procs_info_behaviour;  /* processes.c */

#endif
