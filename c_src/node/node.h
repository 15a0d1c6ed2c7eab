/* The node: what the program consists of, and the steps by which it comes up.
 *
 *     leash reads options and cookie --> the host is resolved --> listening --> EPMD knows the name
 *     and gave a creation --> processes can run, peers are let in: "ready"
 *
 * Failure in any step is kv_node_fatal(); the end of standard input, and without a leash SIGTERM
 * and SIGINT, are kv_node_stop(). Both close everything that is open; then the loop ends and the
 * memory is released. */
#ifndef KV_NODE_NODE_H
#define KV_NODE_NODE_H

#include "host/log.h"
#include "host/shared_memory.h"
#include "kv/kv.h"
#include "net/connections.h"
#include "net/listener.h"
#include "net/publication.h"
#include "node/leash.h"
#include "node/options.h"
#include "observe/world.h"
#include "store/arena.h"

#include <kv/node.h>

/* Why a node ends by itself: the word on standard output and the exit status. */
#define KV_FATAL_MAP(X)                                                                            \
    X(BAD_OPTION, "bad_option", 64)                                                                \
    X(NO_COOKIE, "no_cookie", 65)                                                                  \
    X(HOST_UNRESOLVED, "host_unresolved", 68)                                                      \
    X(NO_EPMD, "no_epmd", 69)                                                                      \
    X(INTERNAL, "internal", 70)                                                                    \
    X(PORT_TAKEN, "port_taken", 73)                                                                \
    X(NAME_TAKEN, "name_taken", 74)

enum kv_fatal {
#define KV_FATAL_ENUM(name, word, status) KV_FATAL_##name = (status),
    KV_FATAL_MAP(KV_FATAL_ENUM)
#undef KV_FATAL_ENUM
};

enum { KV_VERSIONS_MAX = 160, KV_MACHINE_MAX = 160 };

/* How long the VM that holds the leash is away: away.c. */
struct kv_absence {
    uv_timer_t timer;
    bool noticed;
    uint64_t since; /* on the clock of the loop */
    uint64_t left;  /* milliseconds for which its processes are kept */
    uint64_t step;  /* of them, until the timer comes next */
};

struct kv_node {
    uv_loop_t loop;
    struct kv_options options;
    struct kv_log log;
    struct kv_leash leash;
    struct kv_listener listener;
    struct kv_publication publication;
    struct kv_connections connections;
    struct kv_identity identity;
    struct kv_runtime *runtime;  /* NULL until the node is published */
    struct kv_hash_key hash_key; /* of the runtime, of kv/ and of observe/ */
    struct kv_store store;       /* the context of kv/ */
    struct kv_world world;       /* the context of observe/ */
    struct kv_mapping mapping;
    struct kv_arena *arena; /* there as long as the runtime is */
    uv_timer_t arena_timer; /* for work that is left when nobody asks for anything, */
    uint64_t arena_due;     /* or will be then, on the clock of the arena; 0: another time */
    struct {
        uv_work_t work;
        struct kv_arena_range ranges[KV_ARENA_RANGES];
        bool ready;
    } preparation; /* of memory, in a thread of libuv's */
    const struct kv_node_setup *setup;
    uv_signal_t terminate;
    uv_signal_t interrupt;
    uv_getaddrinfo_t resolving;
    bool is_resolving;
    uv_timer_t process_timer; /* for the next timer of a process */
    struct kv_absence absence;
    uint64_t since; /* when it was published, on the clock of the loop */
    char versions[KV_VERSIONS_MAX];
    char machine[KV_MACHINE_MAX];
    bool stopping;
    int status; /* of the exit */
};

/* Steps, each called by the part that completed it. */
void kv_node_configured(struct kv_node *node);
void kv_node_published(struct kv_node *node, uint32_t creation);

/* What the runtime's tools may ask; borrows the node. */
struct kv_world kv_node_world(struct kv_node *node);

/* Makes the arena that the tables lie in; false when there is no memory, and the node ends. */
bool kv_node_open_arena(struct kv_node *node);
void kv_node_close_arena(struct kv_node *node);

/* Tells the arena what time it is. */
void kv_node_tick_arena(struct kv_node *node);

/* Does some of the work that tables have left. */
void kv_node_tend_arena(struct kv_node *node);

/* Runs the timers of processes that are due and lets resumed processes go on, and sees to it that
 * both go on. */
void kv_node_run_timers(struct kv_node *node);

/* options.cookie is another one: it is that of handshakes from now on, those under way included. */
void kv_node_cookie_changed(struct kv_node *node);

/* away.c. The end of a turn: notices that the VM is away, or back, and says so. */
void kv_node_watch_vm(struct kv_node *node);

/* Ends the program with a line that says why. Only the first call counts. */
void kv_node_fatal(struct kv_node *node, enum kv_fatal reason, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Ends the program with status 0. */
void kv_node_stop(struct kv_node *node);

#endif
