/* What the files of the process room share. Nobody else includes this.
 *
 * Every relation between a process of ours and another process is a record that hangs in two lists:
 * that of the process, which goes over them when it dies, and that of the peer, which goes over
 * them when the connection is lost. Processes of this node are behind a peer like all others
 * (`local`), so that there is one state machine for links and one for monitors. */
#ifndef KV_PROCESS_STATE_H
#define KV_PROCESS_STATE_H

#include "base/list.h"
#include "base/map.h"
#include "process/inspect.h"
#include "process/runtime.h"

/* A process of another node (or of ours, behind the local peer): the node is the peer's. */
struct kv_remote {
    uint32_t id;
    uint32_t serial;
    uint32_t creation;
};

struct kv_peer {
    struct kv_runtime *runtime;
    struct kv_map_node by_name;
    struct kv_list of_runtime;
    struct kv_buffer name; /* owned text */
    uint32_t creation;
    void *carrier;               /* the owner's; unused for the local peer */
    enum kv_get_state get_state; /* what its sys expects */
    bool lost;                   /* its connection is gone: nothing is sent any more */
    struct kv_map links;         /* struct kv_link, by both ends */
    struct kv_map watches;       /* struct kv_watch, by reference */
    struct kv_list link_list;
    struct kv_list watch_list;
    struct kv_list monitor_list;
};

enum kv_link_step { KV_LINK_ACTIVE, KV_LINK_UNLINKING };

struct kv_link {
    struct kv_map_node by_ends;
    struct kv_list of_process;
    struct kv_list of_peer;
    struct kv_process *process;
    struct kv_peer *peer;
    struct kv_remote remote;
    enum kv_link_step step;
    uint64_t unlink_id;
};

/* A monitor that somebody holds on a process of ours. */
struct kv_watch {
    struct kv_map_node by_ref;
    struct kv_list of_process;
    struct kv_list of_peer;
    struct kv_process *process;
    struct kv_peer *peer;
    struct kv_remote watcher;
    bool by_name;
    bool spare;        /* of the size that the runtime keeps for the next one */
    struct kv_ref ref; /* its node's text is the peer's name, or lies behind the struct */
};

/* Watches that are done and wait to be used again: a call takes one and gives it back. */
enum { KV_SPARE_WATCHES_MAX = 4096 };

/* A monitor that a process of ours holds. */
struct kv_monitor {
    struct kv_map_node by_number;
    struct kv_list of_process;
    struct kv_list of_peer;
    struct kv_process *process;
    struct kv_peer *peer;
    struct kv_remote target;
    uint64_t number;
    bool kept; /* while the VM that holds the node is away: see kv_monitor_owner() */
};

/* A signal on its way between two processes of this node, or a message that its process will handle
 * later. */
struct kv_kept {
    struct kv_list link;
    struct kv_signal signal;
    struct kv_shared *shared; /* what the payload is borrowed from; NULL: it is in `bytes` */
    uint64_t number;          /* of a message: the place among all that its process has kept */
    uint8_t bytes[];          /* payload, then name */
};

/* What sys:log/2 and sys:statistics/2 keep of a process. */
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

/* A behaviour that the runtime was told of. */
struct kv_offer {
    struct kv_list link;
    const struct kv_behaviour *behaviour;
    void *context;
    bool to_peers;    /* which may spawn it */
    size_t processes; /* that there are */
};

struct kv_process {
    struct kv_runtime *runtime;
    struct kv_map_node by_number;
    struct kv_list of_runtime;
    uint64_t number;
    const struct kv_behaviour *behaviour;
    struct kv_offer *offer; /* of its behaviour, which counts it; NULL: nobody added that */
    void *context;          /* of its behaviour */
    struct kv_buffer name;  /* empty when it has none */
    struct kv_map_node by_name;
    struct kv_list links;
    struct kv_list watches;
    struct kv_list monitors;
    uint32_t related[KV_RELATIONS]; /* how many there are of each, for tools */
    /* Messages that wait: those of sys apart, which are handled while it is suspended, too. */
    struct kv_list kept;
    struct kv_list kept_system;
    size_t kept_count;          /* of both */
    uint64_t kept_number;       /* of the last one, ever */
    struct kv_list of_resuming; /* in resuming, or alone */
    struct kv_list of_timers;   /* in timers, or alone */
    uint64_t due;
    struct kv_buffer group_leader; /* a pid as a term */
    struct kv_buffer parent;       /* a pid as a term: who spawned it; its own, if nobody did */
    struct kv_lineage *lineage;    /* shared; NULL when nobody said what is above it */
    struct kv_debug debug;
    uint64_t reductions;         /* callbacks that ran */
    const struct kv_from *asked; /* the call being handled, until it is answered */
    bool suspended;
    bool holding; /* messages are kept: it is suspended, or has not done with what was kept then */
    bool exiting;
    struct kv_buffer exit_reason;
    void *state;
};

struct kv_runtime {
    struct kv_buffer node; /* owned text of our name */
    uint32_t creation;
    struct kv_hash_key hash_key;
    enum kv_get_state get_state;
    struct kv_sink sink;
    struct kv_map processes;   /* by number */
    struct kv_process *latest; /* the one that got the last message, or NULL */
    struct kv_map names;
    struct kv_map peers;      /* by name, without the local one */
    struct kv_peer *speaking; /* whose signal is handled now, for kv_route(); else NULL */
    struct kv_map monitors;   /* by number */
    struct kv_map lineages;   /* struct kv_lineage, by their bytes */
    struct kv_list process_list;
    struct kv_list walks; /* struct kv_walk: those over process_list that are at work */
    struct kv_list peer_list;
    struct kv_list timers;    /* of the few processes that have one */
    struct kv_list signals;   /* struct kv_kept: between processes of this node */
    struct kv_list resuming;  /* processes that have kept messages which they may handle */
    struct kv_shared *reason; /* of the process that ends now, if it is a large one; else NULL */
    struct kv_list spare_watches; /* struct kv_watch, by of_peer */
    size_t spare_watch_count;
    struct kv_peer local;
    /* In place of the VM that holds this node, while it is away: nothing finds it by its name and
     * nothing is sent to it, but it has the VM's name and creation and the monitors that are kept.
     * Its name is empty when no VM was named. */
    struct kv_peer vm;
    bool vm_is_away;
    uint64_t next_process;
    uint64_t next_monitor;
    uint64_t next_unlink;
    struct kv_list offers; /* struct kv_offer */
    struct kv_buffer scratch;
};

/* ---- pids and routes: route.c ------------------------------------------------------------------
 */

struct kv_pid kv_pid_of(const struct kv_runtime *runtime, uint64_t number);
struct kv_pid kv_remote_pid(const struct kv_peer *peer, const struct kv_remote *remote);
struct kv_remote kv_remote_of(const struct kv_pid *pid);
bool kv_remote_equal(const struct kv_remote *a, const struct kv_remote *b);

/* The peer behind which a node's processes are (the local one for ours); NULL: not connected. */
struct kv_peer *kv_route(struct kv_runtime *runtime, struct kv_bytes node);

/* The living process of ours with that pid; NULL when it is dead, of an earlier run, or not ours.
 */
struct kv_process *kv_process_find(const struct kv_runtime *runtime, const struct kv_pid *pid);

struct kv_process *kv_process_named(const struct kv_runtime *runtime, struct kv_bytes name);

/* Sends a signal to a peer, or queues it when the peer is the local one. */
void kv_emit(struct kv_peer *peer, const struct kv_signal *signal);

/* A copy of a signal with its payload and name; its identifiers still borrow their node's text. */
struct kv_kept *kv_signal_keep(const struct kv_signal *signal);
void kv_kept_free(struct kv_kept *kept);

/* ---- terms that many signals end with: shared.c ------------------------------------------------
 */

struct kv_shared;

/* Takes a term over, and holds it once: the bytes stay where they are. NULL, and nothing is taken:
 * it is so small that a copy for each is cheaper. */
struct kv_shared *kv_share(struct kv_buffer *term);
struct kv_shared *kv_shared_keep(struct kv_shared *shared);
void kv_shared_drop(struct kv_shared *shared); /* may be NULL */
struct kv_bytes kv_shared_bytes(const struct kv_shared *shared);
/* Whether the last part of the payload of a signal is that term. */
bool kv_shared_ends(const struct kv_shared *shared, const struct kv_signal *signal);
/* Holds it once more, until `pinned` is released. */
void kv_shared_pin(struct kv_shared *shared, struct kv_pinned *pinned);

/* Handles a signal of a peer, but for those to our own processes that follow from it. */
int kv_signal_handle(struct kv_peer *peer, const struct kv_signal *signal,
                     enum kv_call_shape shape);
/* Handles those. */
void kv_signals_deliver(struct kv_runtime *runtime);

/* ---- links: links.c ----------------------------------------------------------------------------
 */

void kv_link_received(struct kv_peer *peer, const struct kv_signal *signal);
void kv_unlink_received(struct kv_peer *peer, const struct kv_signal *signal);
void kv_unlink_ack_received(struct kv_peer *peer, const struct kv_signal *signal);
void kv_exit_link_received(struct kv_peer *peer, const struct kv_signal *signal);
/* Makes a link active without telling the other side: a spawn request with `link` did. */
void kv_link_install(struct kv_process *process, struct kv_peer *peer,
                     const struct kv_remote *remote);
void kv_links_process_died(struct kv_process *process, struct kv_bytes reason);
void kv_links_peer_lost(struct kv_peer *peer);

/* ---- monitors: monitors.c ----------------------------------------------------------------------
 */

int kv_monitor_received(struct kv_peer *peer, const struct kv_signal *signal);
void kv_demonitor_received(struct kv_peer *peer, const struct kv_signal *signal);
void kv_down_received(struct kv_peer *peer, const struct kv_signal *signal);
void kv_watch_install(struct kv_process *process, struct kv_peer *peer,
                      const struct kv_pid *watcher, const struct kv_ref *ref, bool by_name);
void kv_monitors_process_died(struct kv_process *process, struct kv_bytes reason);
/* The peer is lost, or its kept monitors are waited for no longer. */
void kv_monitors_peer_lost(struct kv_peer *peer);
/* The VM is away: runtime->vm takes over what is kept of the monitors on its processes. */
void kv_monitors_vm_away(struct kv_peer *peer);
/* The VM is back: its peer takes them over again, and each is sent anew. */
void kv_monitors_vm_back(struct kv_peer *peer);
/* Releases the watches that are kept for later. */
void kv_monitors_drop_spares(struct kv_runtime *runtime);

/* ---- life and death: life.c --------------------------------------------------------------------
 */

struct kv_process *kv_process_create(struct kv_runtime *runtime,
                                     const struct kv_behaviour *behaviour);
/* Runs init; false: it failed, `reason` says why, and the process is gone. */
bool kv_process_initialise(struct kv_process *process, struct kv_bytes options,
                           struct kv_buffer *reason);
/* Ends a process with `reason`, whatever it traps. */
void kv_process_kill(struct kv_process *process, struct kv_bytes reason);
/* Applies an exit signal: a process that traps exits hears of it, another dies unless the reason is
 * `normal`. */
void kv_process_exit_signal(struct kv_process *process, const struct kv_pid *from,
                            struct kv_bytes reason);
void kv_exit_received(struct kv_peer *peer, const struct kv_signal *signal);
/* Ends a process whose callback asked for it; to be called after every callback. */
void kv_process_settle(struct kv_process *process);
void kv_process_free(struct kv_process *process);

/* ---- what tools are told: lineage.c, recent.c, inspect.c ---------------------------------------
 */

/* What was said to be above a process; of length 0: nothing. */
struct kv_bytes kv_lineage_bytes(const struct kv_process *process);
/* Forgets what is above a process, and with its last process what was shared. */
void kv_lineage_drop(struct kv_process *process);

/* Remembers the shape of a message, if somebody has looked at the process lately. */
void kv_recent_note(struct kv_process *process, struct kv_bytes message);
void kv_recent_free(struct kv_process *process);

/* The process is about to leave process_list: walks that would visit it next go on behind it. */
void kv_walks_pass(struct kv_process *process);

/* ---- spawn requests: spawn.c -------------------------------------------------------------------
 */

void kv_spawn_received(struct kv_peer *peer, const struct kv_signal *request);
/* Answers a request, of which only ref and from are set, with an error. */
void kv_spawn_refuse(struct kv_peer *peer, const struct kv_signal *request, const char *error);
void kv_offers_free(struct kv_runtime *runtime);
/* NULL when nobody added it. O(offers), which are few. */
struct kv_offer *kv_offer_of(const struct kv_runtime *runtime,
                             const struct kv_behaviour *behaviour);

/* ---- the generic server: server.c --------------------------------------------------------------
 */

/* Hands a message to a process; the process may be gone when it returns. */
void kv_server_message(struct kv_process *process, const struct kv_signal *signal,
                       enum kv_call_shape shape);
void kv_server_drop_kept(struct kv_process *process);
/* Tells those whose calls were kept that the process ends. */
void kv_server_abandon_kept(struct kv_process *process, struct kv_bytes reason);
/* A message to a process that is dead, or to a name that nobody has: a $kv_call hears of it. */
void kv_server_undelivered(struct kv_runtime *runtime, const struct kv_signal *signal);
/* The same, when its From has been read already. */
void kv_server_no_process(struct kv_runtime *runtime, const struct kv_signal *signal,
                          const struct kv_from *from);
/* From now on its messages wait, but for those of sys. */
void kv_server_suspend(struct kv_process *process);
/* Lets a process that is not suspended any more handle what waited, in turns of kv_runtime_step().
 */
void kv_server_resume(struct kv_process *process);
enum kv_turn { KV_TURN_DONE, KV_TURN_WAITS, KV_TURN_MORE };
/* Handles the message that waited longest, and takes its bytes from *budget. WAITS: the node that
 * asks has much to read first. DONE: nothing waits that could be handled. The process may be gone
 * when it returns. */
enum kv_turn kv_server_turn(struct kv_process *process, size_t *budget);
/* Answers a system message: as kv_reply(), but sys does not count it. */
void kv_answer(struct kv_process *self, const struct kv_from *from, struct kv_bytes reply);
/* Appends {error, {Kind, Request}}. */
void kv_write_error(struct kv_buffer *to, const char *kind, struct kv_bytes request);

/* ---- system messages: system.c -----------------------------------------------------------------
 */

void kv_system_message(struct kv_process *self, const struct kv_from *from,
                       struct kv_bytes request);

/* ---- what sys keeps: debug.c -------------------------------------------------------------------
 */

void kv_debug_init(struct kv_process *process);
void kv_debug_free(struct kv_process *process);
void kv_debug_note_in(struct kv_process *process, struct kv_bytes message);
void kv_debug_note_out(struct kv_process *process, const struct kv_from *to, struct kv_bytes prefix,
                       struct kv_bytes rest);

/* A message has come, or an answer, in two parts, goes. */
static inline void kv_debug_in(struct kv_process *process, struct kv_bytes message)
{
    process->debug.messages_in++;
    if (process->debug.recent != NULL || process->debug.log_limit > 0) {
        kv_debug_note_in(process, message);
    }
}

static inline void kv_debug_out(struct kv_process *process, const struct kv_from *to,
                                struct kv_bytes prefix, struct kv_bytes rest)
{
    process->debug.messages_out++;
    if (process->debug.log_limit > 0) {
        kv_debug_note_out(process, to, prefix, rest);
    }
}

/* Handles {debug, What}; appends the answer. */
void kv_debug_request(struct kv_process *process, struct kv_bytes what, struct kv_buffer *answer);

#endif
