/* The figures of the program that tools ask for: the context of the processes of observe/. */
#ifndef KV_OBSERVE_WORLD_H
#define KV_OBSERVE_WORLD_H

#include "base/siphash.h"

#include <kv/term.h>

/* Memory of one kind: the bytes in use, of those that take memory for it. */
struct kv_memory_kind {
    const char *name; /* NULL: no more */
    uint64_t used;    /* bytes */
    uint64_t reserved;
};

enum { KV_MEMORY_KINDS = 8 };

struct kv_stats {
    uint64_t uptime_ms;
    uint64_t cpu_us;        /* processor time of this program */
    uint64_t resident;      /* bytes */
    uint64_t heap_used;     /* bytes handed out by malloc, without the records of pages */
    uint64_t heap_reserved; /* bytes that malloc has of the system, as far as they are resident */
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t buffers; /* bytes of memory for input and output of connections */
    uint32_t connections;
    uint32_t connection_limit;
    uint32_t processors;
    struct kv_memory_kind kinds[KV_MEMORY_KINDS]; /* of the stores, besides the heap */
    uint64_t messages;                            /* that peers have sent, ever */
    uint64_t context_switches;                    /* of this program, ever */
    uint64_t monotonic_ns;                        /* a clock that never goes back */
    uint64_t system_ns;                           /* since 1970 */
    uint64_t os_pid;
    uint64_t tables;
    uint64_t counted;      /* bytes of all tables that count against max_memory, */
    uint64_t memory_limit; /* and that limit */
    uint64_t output_limit; /* bytes that may wait for a peer before its connection is closed */
    const char *machine;   /* "x86_64 Linux 6.1.0" */
    const char *versions;  /* "kv 0.1.0, libuv 1.44.2, OpenSSL 3.0" */
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

/* The place where other processes of this user find the memory of the tables: docs/store-format.md.
 */
struct kv_shared_memory {
    uint64_t os_pid;
    uint64_t tables;
    int fd;
    uint64_t size;
    struct kv_bytes id;
};

/* The place of a lane: docs/native-protocol.md. */
struct kv_lane_offer {
    uint64_t os_pid;
    int fd;
    uint64_t size;
    uint32_t groups;
    uint8_t id[16];
};

/* The data_dir. Sizes are bytes, and times milliseconds. */
struct kv_disk_stats {
    const char *folder;
    uint64_t position;          /* in the log: all that was ever written to it */
    uint64_t log;               /* of it, what a recovery would read */
    uint64_t files;             /* of the log, */
    uint64_t file_size;         /* of each */
    uint64_t waiting;           /* changes that are not on the disk yet */
    uint64_t written;           /* since the program has started, */
    uint64_t syncs;             /* and so often made durable */
    bool has_synced;            /* since then, and */
    uint64_t synced_ms;         /* so long ago */
    uint64_t recovery_ms;       /* that the program took to read the folder when it started */
    uint64_t checkpoint;        /* the bytes of the last one; 0: there is none */
    uint64_t checkpoint_ms;     /* since that was begun */
    bool is_checkpoint_failing; /* the last one was given up */
    bool is_full;               /* no space: puts are refused */
};

/* A bucket or a registry of the data_dir that is in no registry. */
struct kv_durable_info {
    struct kv_bytes name;
    const char *kind;   /* "bucket" or "registry" */
    const char *policy; /* "commit" or "interval" */
    uint64_t size;      /* entries, or names */
    uint64_t memory;    /* bytes; of a registry 0 */
    bool is_dormant;    /* it has no process; else */
    struct kv_pid pid;
};

/* The figures that erlang:statistics/1 gave last: it also tells how much they have grown. */
struct kv_since {
    uint64_t reductions;
    uint64_t exact_reductions;
    uint64_t runtime;
    uint64_t wall_clock;
};

/* The program, for a VM that attaches to it: docs/native-protocol.md. */
struct kv_facts {
    const char *version;
    uint64_t port;
    uint64_t max_frame;
    uint64_t reconnect_timeout; /* milliseconds for which the processes of a VM may be away */
};

struct kv_function;

struct kv_world {
    struct kv_hash_key hash_key; /* random: for tables of what peers send */
    enum kv_zeros zeros;         /* how keys of this node compare */
    struct kv_facts facts;
    /* Set by kv_observe_start(). Functions of the list ask the list through them, which avoids a
     * circle of files. */
    bool (*has_function)(struct kv_bytes module, struct kv_bytes function, uint32_t arity);
    const struct kv_function *const *functions; /* as kv_function_tables, functions.h */
    struct kv_since since;
    void *context; /* of the functions below */
    void (*stats)(void *context, struct kv_stats *stats);
    void (*each_connection)(void *context,
                            void (*visit)(void *visitor, const struct kv_connection_info *info),
                            void *visitor);
    /* Returns false if there is no data_dir. May be NULL. */
    bool (*disk)(void *context, struct kv_disk_stats *stats);
    /* Returns false if there is no data_dir. May be NULL. */
    bool (*each_durable)(void *context,
                         void (*visit)(void *visitor, const struct kv_durable_info *info),
                         void *visitor);
    /* Returns false if the memory is not shared. May be NULL. */
    bool (*shared_memory)(void *context, struct kv_shared_memory *memory);
    /* Makes the lane of the connection to a node. Returns NULL, or a word that says why there is
     * none. May be NULL. */
    const char *(*lane)(void *context, struct kv_bytes peer, uint32_t schedulers,
                        struct kv_lane_offer *offer);
};

#endif
