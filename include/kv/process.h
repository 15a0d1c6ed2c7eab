/* Native processes: what a programmer needs who writes one.
 *
 * A process is a behaviour (a table of callbacks) and a state. It has a pid that every node of the
 * cluster can call, link, monitor and kill. The runtime calls one callback at a time and never two
 * at once, so a process needs no locks; a callback must not block.
 *
 * The generic part does what gen_server does: it takes calls, casts and system messages (get_state,
 * get_status, suspend, resume, terminate) apart and keeps what comes while suspended. */
#ifndef KV_PROCESS_H
#define KV_PROCESS_H

#include <kv/signal.h>

struct kv_runtime;
struct kv_process;

/* The From of a call: who asks, and the tag to put in front of the answer. Borrowed; a process that
 * answers later keeps a copy of `bytes` and makes it a kv_from again with kv_from_read(). */
struct kv_from {
    struct kv_pid pid;     /* of a bare reference only its node and creation are known */
    struct kv_bytes tag;   /* the term to echo */
    struct kv_bytes bytes; /* {Pid, Tag} whole, or the bare reference of a $kv_call */
    bool alias;            /* the answer goes to the alias `ref` */
    bool unwatched;        /* a $kv_call: its caller has no monitor on the process it asks */
    struct kv_ref ref;
};

/* Reads a From where it lies. KV_ETYPE if it is none. */
int kv_from_read(struct kv_bytes term, struct kv_from *from);

/* What a process shows as a table, to tools: the rows are {Key, Value}. */
struct kv_view {
    size_t (*count)(const struct kv_process *self);
    /* Visits some rows and moves *cursor on, which starts as 0 and is 0 again at the end. Between
     * two calls the table may change: a row that is there all the time is visited at least once. */
    void (*scan)(const struct kv_process *self, uint64_t *cursor,
                 void (*visit)(void *context, struct kv_bytes key, struct kv_bytes value),
                 void *context);
    bool (*get)(struct kv_process *self, struct kv_bytes key, struct kv_bytes *value);
    /* KV_OK, or KV_ENOMEM: nothing has changed then. */
    int (*put)(struct kv_process *self, struct kv_bytes key, struct kv_bytes value);
    /* False when there was no such row. */
    bool (*delete)(struct kv_process *self, struct kv_bytes key);
};

struct kv_behaviour {
    const char *module;   /* the name that status reports and spawn requests use: "kv_bucket" */
    const char *function; /* what spawn requests name; NULL: "init" */
    uint32_t arity;       /* its arguments; 0: one */
    size_t state_size;    /* bytes of zeroed state that each process gets */
    /* The process is no server: every message goes to handle_info as it came, calls, casts and
     * those of sys, too. handle_call and handle_cast are not used then. */
    bool plain;

    /* Sets the state up. `options` is its argument, validated; of a function of several
     * arguments it is their list. On failure the
     * reason of the exit is appended to `reason`, and terminate is not called: the callback has
     * released what it took. */
    int (*init)(struct kv_process *self, struct kv_bytes options, struct kv_buffer *reason);

    /* A call; answered with kv_reply() now or later. */
    void (*handle_call)(struct kv_process *self, const struct kv_from *from,
                        struct kv_bytes request);
    /* A cast. May be NULL: casts are ignored. */
    void (*handle_cast)(struct kv_process *self, struct kv_bytes request);
    /* Any other message. May be NULL: ignored. */
    void (*handle_info)(struct kv_process *self, struct kv_bytes message);
    /* A message was refused, for a limit say, that is none of the requests that the generic part
     * answers then. `beginning` is what was kept of it and was not validated: it is for
     * kv_read_beginning() only. `why` is the term that says why. Answers whether somebody was told.
     * May be NULL. */
    bool (*handle_refused)(struct kv_process *self, struct kv_bytes beginning, struct kv_bytes why);
    /* A process that was monitored is gone. May be NULL. */
    void (*handle_down)(struct kv_process *self, uint64_t monitor, struct kv_bytes reason);
    /* The VM that holds this node was away, and the monitor of that number, one of those of
     * kv_monitor_owner(), has just been sent to it anew: what was on its way to or from the process
     * it is on may have been lost. Called after all such monitors were sent. May be NULL. */
    void (*handle_back)(struct kv_process *self, uint64_t monitor);
    /* The time of a timer has come. `tag` is what kv_timer_start() was given; 0 is that of
     * kv_process_set_timer(). May be NULL: ignored. */
    void (*handle_timer)(struct kv_process *self, uint64_t tag);
    /* An exit signal. With this callback a process traps exits; without it, it dies of them. */
    void (*handle_exit)(struct kv_process *self, const struct kv_pid *from, struct kv_bytes reason);
    /* It has been suspended by way of sys; or resumed, and has handled what waited. Called before
     * the next answer is sent. May be NULL. */
    void (*handle_suspend)(struct kv_process *self, bool suspended);
    /* Bytes that the state owns. May be NULL. */
    size_t (*memory)(const struct kv_process *self);
    /* What tools call the process: the bytes of a binary. May be NULL. */
    struct kv_bytes (*label)(const struct kv_process *self);
    const struct kv_view *view; /* NULL: the process is no table */
    /* Appends the state as a term, for sys:get_state/1 and sys:get_status/1. May be NULL. */
    void (*write_state)(const struct kv_process *self, struct kv_buffer *to);
    /* Releases what the state owns. May be NULL. */
    void (*terminate)(struct kv_process *self, struct kv_bytes reason);
};

/* The first elements of a tuple of `arity` elements that was not validated and may end early:
 * elements[0] to elements[most - 1], as far as they are there, each validated. *count says how many
 * that is; 0 if it is no such tuple. KV_OK, or what is wrong with the one behind them. */
int kv_read_beginning(struct kv_bytes tuple, uint32_t arity, struct kv_bytes *elements, size_t most,
                      size_t *count);

/* The state_size bytes of this process; they stay where they are while it lives. */
void *kv_process_state(struct kv_process *self);
const void *kv_process_const_state(const struct kv_process *self);

struct kv_runtime *kv_process_runtime(const struct kv_process *self);

/* The context that the behaviour of this process was added or offered with; NULL if it was not. */
void *kv_process_context(const struct kv_process *self);

/* The pid; its node name is valid as long as the runtime. */
struct kv_pid kv_process_pid(const struct kv_process *self);

/* The buffer of the present callback for building a term, emptied: what is built in it is valid
 * until the callback returns, or calls this again. A callback that runs within this one (kv_spawn()
 * runs an init) has another, and kv_reply_atom() and the like use none. */
struct kv_buffer *kv_process_scratch(struct kv_process *self);

/* Ends this process with `reason` (a term) as soon as the present callback returns. The first
 * reason counts. */
void kv_process_exit(struct kv_process *self, struct kv_bytes reason);
void kv_process_exit_atom(struct kv_process *self, const char *reason);

/* Gives this process a name on this node. KV_EEXIST if another process has it, or this process has
 * one already. It is given back when the process ends. */
int kv_process_register(struct kv_process *self, struct kv_bytes name);

/* Tells tools what is above this process, the nearest first: `list` is a list of pids, or {Name,
 * Pid} with an atom, each of any node. It is copied; processes of the same ancestors share one
 * copy. */
void kv_process_set_ancestors(struct kv_process *self, struct kv_bytes list);

/* The process registered as `name`; false when there is none. */
bool kv_whereis(const struct kv_runtime *runtime, struct kv_bytes name, struct kv_pid *pid);

/* Whether a process of this node with that pid is alive now. */
bool kv_is_alive(const struct kv_runtime *runtime, const struct kv_pid *pid);

/* Sends a term. Never fails: what cannot be delivered vanishes, as in Erlang. */
void kv_send(struct kv_process *self, const struct kv_pid *to, struct kv_bytes message);

/* Sends a term to the process registered as `name` on `node`. */
void kv_send_name(struct kv_process *self, struct kv_bytes node, struct kv_bytes name,
                  struct kv_bytes message);

/* Sends a term to a process that is known by a term: a pid, or {Name, Node}. Any other term, and no
 * bytes at all, stand for nobody. */
void kv_send_to(struct kv_process *self, struct kv_bytes process, struct kv_bytes message);

/* Answers a call: {Tag, Reply} to the caller, by way of its alias when it gave one. */
void kv_reply(struct kv_process *self, const struct kv_from *from, struct kv_bytes reply);
/* The same with a term that is `prefix` and, behind it, what is pinned, which leaves without a copy
 * when the answer is large, and stays pinned then even when this process ends. What has no release
 * (NULL) is copied. It is released exactly once, perhaps before this returns: when it has
 * left, or never will because the caller's node is gone or this one stops. */
void kv_reply_pinned(struct kv_process *self, const struct kv_from *from, struct kv_bytes prefix,
                     struct kv_pinned *pinned);
void kv_reply_atom(struct kv_process *self, const struct kv_from *from, const char *reply);

/* Says that a call will not be answered, because this process ends with `reason`. terminate calls
 * it for every call that it has kept; what has not been handled yet, and a call whose callback
 * ended the process, the runtime sees to. Only a $kv_call hears of it: other callers have a
 * monitor. */
void kv_abandon(struct kv_process *self, const struct kv_from *from, struct kv_bytes reason);

/* Answers {error, {Kind, Detail}}; `detail` is a term. */
void kv_reply_error(struct kv_process *self, const struct kv_from *from, const char *kind,
                    struct kv_bytes detail);

/* Answers {error, {bad_request, Request}}: the reply to what a process does not understand. */
void kv_reply_bad_request(struct kv_process *self, const struct kv_from *from,
                          struct kv_bytes request);

/* Starts to monitor a process. handle_down is called once with the number returned: at once (before
 * the next message) with reason noproc when it is dead, with noconnection when its node is not
 * connected or gets lost. */
uint64_t kv_monitor(struct kv_process *self, const struct kv_pid *target);

/* The same, for a process that this one belongs to or cannot do without. If it is on the VM that
 * holds this node, a lost connection alone does not fire the monitor: the monitor is kept while the
 * VM is away, for the time that the node is told to wait (--reconnect-timeout), and is sent anew
 * when the VM is back. It fires with noconnection when the VM does not come back, or comes back as
 * another run. */
uint64_t kv_monitor_owner(struct kv_process *self, const struct kv_pid *target);

/* Ends, with that reason, the other processes of the behaviour of this one that monitor `owner` as
 * by kv_monitor_owner(). Linear in what monitors processes of that node. */
void kv_replace_owned(struct kv_process *self, const struct kv_pid *owner, const char *reason);

/* Ends the monitor of that number; handle_down is not called for it any more. An unknown number is
 * ignored. */
void kv_demonitor(struct kv_process *self, uint64_t number);

/* Calls handle_timer with `tag` in `delay` milliseconds, once. Returns the number of the timer,
 * which is never 0 and never used twice. A process may have any number of timers; they end with it.
 * Of two that are due at the same millisecond the one that was started first comes first. A timer
 * that a callback starts comes in a later turn, even with a delay of 0. O(log n) of all timers. */
uint64_t kv_timer_start(struct kv_process *self, uint64_t delay, uint64_t tag);

/* Returns true if the timer was still to come: handle_timer is not called for it then. False if it
 * has come, was cancelled, or is not of this process. */
bool kv_timer_cancel(struct kv_process *self, uint64_t timer);

/* The one timer of a process that needs no more: calls handle_timer with the tag 0 in `delay`
 * milliseconds, instead of at a time set before. */
void kv_process_set_timer(struct kv_process *self, uint64_t delay);

/* What this process sends from now on (messages, answers, links, monitors, and the exit signals and
 * DOWN messages of its own end) waits until kv_runtime_release() says that `batch` is durable.
 * Signals of one process leave in the order in which it sent them, also when it has ended
 * meanwhile; what waits for a peer that is lost is dropped. Of several batches the greatest counts.
 * Returns at once if the batch is durable already. */
void kv_process_hold_until(struct kv_process *self, uint64_t batch);

/* Makes, or breaks, a link to a process. */
void kv_link(struct kv_process *self, const struct kv_pid *target);
void kv_unlink(struct kv_process *self, const struct kv_pid *target);

/* Tells the runtime of a behaviour of which only this node starts processes, by kv_spawn():
 * kv_process_context() of each of them is `context`. Both are borrowed and must outlive the
 * runtime. Processes that there are already keep the context that they have. */
void kv_add_behaviour(struct kv_runtime *runtime, const struct kv_behaviour *behaviour,
                      void *context);

/* The same, and lets peers spawn Module:Function/Arity of this behaviour, also by way of proc_lib.
 */
void kv_offer(struct kv_runtime *runtime, const struct kv_behaviour *behaviour, void *context);

/* Starts a process on this node and returns when its init has run. KV_OK and its pid; or what init
 * answered, its reason appended to `reason`. */
int kv_spawn(struct kv_runtime *runtime, const struct kv_behaviour *behaviour,
             struct kv_bytes options, struct kv_pid *pid, struct kv_buffer *reason);

#endif
