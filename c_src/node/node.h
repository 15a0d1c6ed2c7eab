/* The node: all parts of the program. program.c reads the command line, and node.c brings the parts
 * up, step by step:
 *
 *     leash reads options and cookie --> the host is resolved --> listening --> EPMD knows the name
 *     and gave a creation --> the durable tables are recovered --> processes can run, peers are let
 *     in: "ready"
 *
 * A failure in any step ends the program with a "fatal" line. So does, without that line, the end
 * of standard input, or SIGTERM and SIGINT without a leash. Then everything that is open is closed,
 * the loop ends, and the memory is freed. Once the node is up, turn.c says what it does. */
#ifndef KV_NODE_NODE_H
#define KV_NODE_NODE_H

#include "host/confine.h"
#include "host/core_dump.h"
#include "host/log.h"
#include "kv/kv.h"
#include "net/connections.h"
#include "net/epmd_client.h"
#include "net/listener.h"
#include "net/net.h"
#include "net/pending.h"
#include "net/ticks.h"
#include "node/backups.h"
#include "node/data.h"
#include "node/lanes.h"
#include "node/leash.h"
#include "node/memory.h"
#include "node/metrics.h"
#include "node/options.h"
#include "node/service.h"
#include "node/tls.h"
#include "node/turn.h"
#include "observe/world.h"

#include <kv/node.h>

enum { KV_VERSIONS_MAX = 160, KV_MACHINE_MAX = 160 };

struct kv_node {
    uv_loop_t loop;
    struct kv_options options;
    struct kv_log log;
    struct kv_leash leash;
    struct kv_net net;
    struct kv_connections connections;
    struct kv_pending pending;
    struct kv_ticks ticks;
    struct kv_listener listener;
    struct kv_epmd_client epmd_client;
    struct kv_memory memory;
    struct kv_turn turn;
    struct kv_node_tls tls;
    struct kv_lanes lanes;
    struct kv_data data; /* what is kept on disk; zeroed: nothing */
    struct kv_node_backups backups;
    struct kv_service service;
    struct kv_node_metrics metrics;
    struct kv_core_dump core_dump;
    struct kv_confine confine;
    struct kv_store store; /* the context of kv/ */
    struct kv_world world; /* the context of observe/ */
    const struct kv_node_setup *setup;
    uv_signal_t terminate;
    uv_signal_t interrupt;
    uv_getaddrinfo_t resolving;
    bool is_resolving;
    struct kv_list absences; /* struct kv_absence: away.c */
    struct kv_absences seen; /* of the runtime, when they were listed last */
    uint64_t since;          /* when the node was published, on the clock of the loop */
    uint64_t recovery_began; /* on that clock */
    uint64_t recovery_ms;    /* how long it took */
    char versions[KV_VERSIONS_MAX];
    char machine[KV_MACHINE_MAX];
    int status; /* of the exit */
};

/* node.c. The life of a node, with options of which `options_ok` says whether they are right, and
 * `wrong` why not. Returns the exit status. */
int kv_node_run(struct kv_node *node, bool options_ok, const struct kv_option_error *wrong);

/* running.c. Makes the runtime, and starts the services in it. Returns KV_OK; KV_ERANDOM; or the
 * error of a service. */
int kv_node_start_runtime(struct kv_node *node);

/* report.c. The figures that tools may ask for. Borrows the node. */
struct kv_world kv_node_world(struct kv_node *node);

/* away.c. The end of a turn: notices which VMs are away, or back, and logs it. */
void kv_node_watch_vms(struct kv_node *node);
/* away.c. Frees what is known of those that are away. The loop has closed the handles. */
void kv_node_forget_vms(struct kv_node *node);

#endif
