/* Looking at the processes of a runtime from outside, without changing them. */
#ifndef KV_INSPECT_H
#define KV_INSPECT_H

#include <kv/process.h>

/* Calls `visit` for every living process, in the order of their beginning. */
void kv_runtime_each_process(const struct kv_runtime *runtime,
                             void (*visit)(void *context, const struct kv_process *process),
                             void *context);

/* As kv_runtime_each_process(), a few at a time: *cursor starts as 0 and is 0 again at the end. A
 * process that is alive all the time is visited at least once. */
void kv_runtime_scan_processes(const struct kv_runtime *runtime, uint64_t *cursor,
                               void (*visit)(void *context, const struct kv_process *process),
                               void *context);

/* Calls `visit` with the name of every connected node. */
void kv_runtime_each_peer(const struct kv_runtime *runtime,
                          void (*visit)(void *context, struct kv_bytes name), void *context);

/* What there is to know of a process; borrowed from it. */
struct kv_process_info {
    struct kv_pid pid;
    struct kv_bytes name;  /* of length 0 when it is not registered */
    struct kv_bytes label; /* of length 0 when it has none */
    const char *module;
    const char *function;
    uint32_t arity;
    size_t memory;       /* bytes, with its state */
    uint64_t reductions; /* callbacks that ran */
    size_t queue;        /* messages that wait for resume */
    bool suspended;
    bool traps_exits;
    struct kv_bytes parent;       /* a pid as a term */
    struct kv_bytes group_leader; /* a pid as a term; of length 0 when nobody set one */
    const struct kv_view *view;   /* NULL: it is no table */
};

void kv_process_inspect(const struct kv_process *process, struct kv_process_info *info);

/* Appends what sys:get_status/1 answers, with `state` (a term) in place of the whole state unless
 * it is of length 0. */
void kv_process_write_status(const struct kv_process *self, struct kv_bytes state,
                             struct kv_buffer *to);

/* The living process of this node with that pid; NULL when there is none. */
struct kv_process *kv_process_at(const struct kv_runtime *runtime, const struct kv_pid *pid);

enum kv_relation { KV_RELATION_LINK, KV_RELATION_MONITOR, KV_RELATION_MONITORED_BY };

/* Calls `visit` for every process that a process is linked to, monitors, or is monitored by. */
void kv_process_each(const struct kv_process *process, enum kv_relation relation,
                     void (*visit)(void *context, const struct kv_pid *other), void *context);

/* The name a process is registered under; of length 0 when it has none. Valid while it lives. */
struct kv_bytes kv_process_name(const struct kv_process *process);

/* ---- the program around the runtime ---------------------------------------------------------- */

struct kv_stats {
    uint64_t uptime_ms;
    uint64_t cpu_us;        /* processor time of this program */
    uint64_t resident;      /* bytes */
    uint64_t heap_used;     /* bytes handed out by malloc */
    uint64_t heap_reserved; /* bytes malloc has of the system */
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t buffers; /* bytes of memory for input and output of connections */
    uint32_t connections;
    uint32_t connection_limit;
    uint32_t processors;
    const char *versions; /* "kv 0.1.0, libuv 1.44.2, OpenSSL 3.0" */
};

struct kv_connection_info {
    struct kv_bytes peer; /* the node's name */
    const char *local;    /* "127.0.0.1:4711" */
    const char *remote;
    int fd;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t backlog; /* bytes that the peer has not taken yet */
};

/* What the owner of the runtime knows and tools ask for. */
struct kv_world {
    void *context;
    void (*stats)(void *context, struct kv_stats *stats);
    void (*each_connection)(void *context,
                            void (*visit)(void *visitor, const struct kv_connection_info *info),
                            void *visitor);
};

/* What the runtime was made with. */
const struct kv_world *kv_runtime_world(const struct kv_runtime *runtime);

/* Milliseconds of the clock that timers run by. */
uint64_t kv_runtime_clock(const struct kv_runtime *runtime);

/* The name of this node; valid as long as the runtime. */
struct kv_bytes kv_runtime_node(const struct kv_runtime *runtime);

#endif
