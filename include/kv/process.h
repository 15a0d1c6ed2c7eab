/* Everything that a native process is written with.
 *
 * A process is a behaviour (a table of callbacks) and a state. It has a pid that every node of the
 * cluster can call, link, monitor and kill. The runtime calls one callback at a time, so a process
 * needs no locks. A callback must not block.
 *
 * The generic part does what gen_server does. It takes calls, casts and system messages (get_state,
 * get_status, suspend, resume, terminate) apart, and keeps the messages that come while the process
 * is suspended. */
#ifndef KV_PROCESS_H
#define KV_PROCESS_H

#include <kv/signal.h>

struct kv_runtime;
struct kv_process;
struct kv_shared;

/* The From of a call: the caller, and the tag to put in front of the answer. Borrowed. A process
 * that answers later keeps a copy of `bytes` and calls kv_from_read() on the copy. */
struct kv_from {
    struct kv_pid pid;     /* of a caller that is no pid only the node is set, if one is known */
    struct kv_bytes tag;   /* the term to echo */
    struct kv_bytes bytes; /* the whole {To, Tag}, or the bare reference of a $kv_call */
    bool alias;            /* the answer goes to the alias `ref` */
    struct kv_bytes name;  /* without an alias: not empty if the answer goes to {name, pid.node} */
    bool unwatched;        /* a $kv_call: the caller does not monitor the process */
    struct kv_ref ref;
};

/* Reads a From, which borrows from `term`. KV_ETYPE if the term is no From. */
int kv_from_read(struct kv_bytes term, struct kv_from *from);

/* The process as a table, for tools. The rows are {Key, Value}. The functions must not call
 * kv_process_scratch(). */
struct kv_view {
    size_t (*count)(const struct kv_process *self);
    /* Visits some rows and moves *cursor on. *cursor starts as 0 and is 0 again at the end. The
     * table may change between two calls: a row that stays all the time is visited at least once.
     */
    void (*scan)(const struct kv_process *self, uint64_t *cursor,
                 void (*visit)(void *context, struct kv_bytes key, struct kv_bytes value),
                 void *context);
    bool (*get)(struct kv_process *self, struct kv_bytes key, struct kv_bytes *value);
    /* KV_OK, or KV_ENOMEM if nothing has changed. */
    int (*put)(struct kv_process *self, struct kv_bytes key, struct kv_bytes value);
    /* Returns false if there was no such row. */
    bool (*delete)(struct kv_process *self, struct kv_bytes key);
    /* The bytes that count against the limit of the table, and that limit; 0: it has none. Either
     * both or none may be NULL: then nothing counts. */
    uint64_t (*counted)(const struct kv_process *self);
    uint64_t (*limit)(const struct kv_process *self);
    /* Returns the word for how the rows are kept on disk, an atom that tools show; or NULL: they
     * are not. May be NULL. */
    const char *(*kept)(const struct kv_process *self);
};

struct kv_behaviour {
    const char *module;   /* the name in status reports and spawn requests: "kv_bucket" */
    const char *function; /* the function in spawn requests; NULL: "init" */
    uint32_t arity;       /* the number of its arguments; 0: one */
    size_t state_size;    /* bytes of zeroed state for each process */
    /* The process is no server: handle_info gets every message unchanged, calls, casts and those of
     * sys, too. handle_call and handle_cast are not used. */
    bool plain;

    /* Sets up the state. `options` is the argument of the spawn, validated; if arity is greater
     * than 1, it is the list of arguments. KV_OK; or an error, with the reason of the exit appended
     * to `reason`. On an error the callback must free everything that it has taken: terminate is
     * not called. */
    int (*init)(struct kv_process *self, struct kv_bytes options, struct kv_buffer *reason);

    /* A call, to be answered with kv_reply() now or later. */
    void (*handle_call)(struct kv_process *self, const struct kv_from *from,
                        struct kv_bytes request);
    /* A call of a caller that shares memory with this node: docs/local.md. Answers it at once, with
     * a term of up to `room` bytes in two parts, valid until the process does something else.
     * Returns false, having changed nothing, if the call must come as a message, which handle_call
     * gets. NULL: always. Never called while the process is suspended or watched by sys, or has
     * messages that wait. */
    bool (*handle_at_once)(struct kv_process *self, struct kv_bytes request, size_t room,
                           struct kv_bytes answer[2]);
    /* A cast. If NULL, casts are ignored. */
    void (*handle_cast)(struct kv_process *self, struct kv_bytes request);
    /* The next piece of what kv_process_go_on() began. Called once in each turn of the loop, until
     * it returns false. NULL if the behaviour never calls that function. */
    bool (*handle_more)(struct kv_process *self);
    /* Any other message. If NULL, other messages are ignored. */
    void (*handle_info)(struct kv_process *self, struct kv_bytes message);
    /* A message was refused, for example because it is over a limit, and is no request that the
     * generic part answers. `beginning` is what was kept of the message; it is not validated and
     * may only be given to kv_read_beginning(). `why` is a term with the cause. Returns true if
     * somebody was told. May be NULL. */
    bool (*handle_refused)(struct kv_process *self, struct kv_bytes beginning, struct kv_bytes why);
    /* A monitored process is gone. May be NULL. */
    void (*handle_down)(struct kv_process *self, uint64_t monitor, struct kv_bytes reason);
    /* The VM of an owner was away, and a monitor of kv_monitor_owner() has been sent to it
     * again. Messages between the two processes may have been lost meanwhile. Called after all such
     * monitors were sent. May be NULL. */
    void (*handle_back)(struct kv_process *self, uint64_t monitor);
    /* A timer has fired. `tag` is the tag of kv_timer_start(), or 0 for kv_process_set_timer(). If
     * NULL, timers are ignored. */
    void (*handle_timer)(struct kv_process *self, uint64_t tag);
    /* An exit signal. A process with this callback traps exits; a process without it dies of them.
     */
    void (*handle_exit)(struct kv_process *self, const struct kv_pid *from, struct kv_bytes reason);
    /* Called when sys has suspended the process, and when it has been resumed and has handled all
     * that waited. Called before the next answer is sent. May be NULL. */
    void (*handle_suspend)(struct kv_process *self, bool suspended);
    /* Returns the bytes that the state owns. May be NULL. */
    size_t (*memory)(const struct kv_process *self);
    /* Returns the name that tools show for the process, the bytes of a binary. May be NULL. */
    struct kv_bytes (*label)(const struct kv_process *self);
    const struct kv_view *view; /* NULL: the process is no table */
    /* Appends the state as a term, for sys:get_state/1 and sys:get_status/1. May be NULL. */
    void (*write_state)(const struct kv_process *self, struct kv_buffer *to);
    /* The process ends, and gets no more signals: frees a piece of a large state. Called at once,
     * then in each turn of the loop until it returns false; terminate follows. Others hear of the
     * end after that. NULL: terminate frees all. */
    bool (*leave)(struct kv_process *self, struct kv_bytes reason);
    /* Frees everything that the state owns. May be NULL. */
    void (*terminate)(struct kv_process *self, struct kv_bytes reason);
};

/* Reads the first elements of a tuple of `arity` elements that is not validated and may be cut off.
 * Sets elements[0] to elements[most - 1], as far as they are complete, each validated, and *count
 * to their number. *count is 0 if the term is no such tuple. KV_OK, or the error of the element
 * behind them. */
int kv_read_beginning(struct kv_bytes tuple, uint32_t arity, struct kv_bytes *elements, size_t most,
                      size_t *count);

/* Return the state_size bytes of this process. They do not move while it lives. */
void *kv_process_state(struct kv_process *self);
const void *kv_process_const_state(const struct kv_process *self);

struct kv_runtime *kv_process_runtime(const struct kv_process *self);

/* Returns the context that the behaviour of this process was added or offered with; NULL if it was
 * not. */
void *kv_process_context(const struct kv_process *self);

/* Returns the pid. Its node name is valid as long as the runtime. */
struct kv_pid kv_process_pid(const struct kv_process *self);

/* Returns the buffer of the present callback, emptied, for building a term. Its content is valid
 * until the callback returns or calls this function again. A callback that runs within this one has
 * a buffer of its own: kv_spawn() runs an init, kv_replace_owned() a terminate. kv_reply_atom() and
 * the other functions of this header do not use the buffer. */
struct kv_buffer *kv_process_scratch(struct kv_process *self);

/* Keeps the memory of the present message. So `part`, bytes of the message, stay valid until
 * kv_message_drop(). Returns NULL if the message has no memory of its own, as a short one: then
 * make a copy. */
struct kv_shared *kv_message_keep(struct kv_process *self, struct kv_bytes part);

/* Ends that. `kept` may be NULL. */
void kv_message_drop(struct kv_shared *kept);

/* For a request that is too long for one turn: makes the process go on with handle_more, once in
 * each turn, beginning after the present callback. Until handle_more returns false, all messages
 * wait, those of sys too, and other processes are served. Signals act meanwhile, so the process may
 * end: terminate must call kv_abandon() then for the call that was not answered. Not for a plain
 * process. */
void kv_process_go_on(struct kv_process *self);

/* If the process ends in pieces (`leave`), does those that are left at once, and terminate: for one
 * that takes its place. Does nothing for a process that lives. */
void kv_process_leave_now(struct kv_process *process);

/* Ends this process with `reason`, a term, as soon as the present callback returns. The first
 * reason counts. */
void kv_process_exit(struct kv_process *self, struct kv_bytes reason);
void kv_process_exit_atom(struct kv_process *self, const char *reason);

/* Gives this process a name on this node, until it ends. KV_EEXIST if another process has the name,
 * or this process has a name already. */
int kv_process_register(struct kv_process *self, struct kv_bytes name);

/* Sets the ancestors that tools show above this process, the nearest first. `list` is a list of
 * pids, or {Name, Pid} with an atom, each of any node. Copied; processes of equal ancestors share
 * one copy. */
void kv_process_set_ancestors(struct kv_process *self, struct kv_bytes list);

/* This process belongs to the node from now on: tools no longer show the process that has spawned
 * it as its parent, but itself, as for one that the node has started. */
void kv_process_stand_alone(struct kv_process *self);

/* Sets *pid to the process registered as `name`. Returns false if there is none. */
bool kv_whereis(const struct kv_runtime *runtime, struct kv_bytes name, struct kv_pid *pid);

/* Returns true if the pid is of a living process of this node. */
bool kv_is_alive(const struct kv_runtime *runtime, const struct kv_pid *pid);

/* Sends a term. Never fails: as in Erlang, a message that cannot be delivered vanishes. */
void kv_send(struct kv_process *self, const struct kv_pid *to, struct kv_bytes message);

/* Sends a term to the process registered as `name` on `node`. */
void kv_send_name(struct kv_process *self, struct kv_bytes node, struct kv_bytes name,
                  struct kv_bytes message);

/* Sends a term to the process that `process` names: a pid, or {Name, Node}. Sends nothing if
 * `process` is another term or empty. */
void kv_send_to(struct kv_process *self, struct kv_bytes process, struct kv_bytes message);

/* Answers a call: sends {Tag, Reply} to the caller, through its alias if it has one. */
void kv_reply(struct kv_process *self, const struct kv_from *from, struct kv_bytes reply);
/* As kv_reply(), with a term in two parts: `prefix`, and behind it the pinned bytes. Large pinned
 * bytes leave without a copy and stay pinned until then, even if this process ends. Copies the
 * bytes if pinned->release is NULL. Otherwise releases them exactly once, perhaps before this
 * returns: when they have left, or when they never will because the caller's node is gone or this
 * node stops. */
void kv_reply_pinned(struct kv_process *self, const struct kv_from *from, struct kv_bytes prefix,
                     struct kv_pinned *pinned);
void kv_reply_atom(struct kv_process *self, const struct kv_from *from, const char *reply);

/* Tells the caller that its call will not be answered because this process ends with `reason`.
 * terminate calls this for every call that the process has kept. The runtime does it for messages
 * that wait, and for a call whose callback ended the process. Only a $kv_call is told: other
 * callers have a monitor. */
void kv_abandon(struct kv_process *self, const struct kv_from *from, struct kv_bytes reason);

/* Appends {error, {Kind, Detail}}; `detail` is a term. */
void kv_write_error(struct kv_buffer *to, const char *kind, struct kv_bytes detail);

/* Answers {error, {Kind, Detail}}; `detail` is a term. */
void kv_reply_error(struct kv_process *self, const struct kv_from *from, const char *kind,
                    struct kv_bytes detail);

/* Answers {error, {bad_request, Request}}, for a request that the process does not know. */
void kv_reply_bad_request(struct kv_process *self, const struct kv_from *from,
                          struct kv_bytes request);

/* Starts to monitor a process, and returns the number of the monitor. handle_down is called once
 * with that number. If the process is dead (noproc) or its node is not connected (noconnection), it
 * is called at once, before the next message. If the node is lost later, it is called with
 * noconnection. */
uint64_t kv_monitor(struct kv_process *self, const struct kv_pid *target);

/* As kv_monitor(), for a process that this one belongs to or cannot do without. If that process is
 * on a VM that may be away, the one that holds this node or without a leash any, a lost connection
 * alone does not fire the monitor. The monitor is
 * kept while the VM is away, for the time that --reconnect-timeout gives, and is sent again when
 * the VM is back. It fires with noconnection if the VM does not come back, or comes back as another
 * run. */
uint64_t kv_monitor_owner(struct kv_process *self, const struct kv_pid *target);

/* Ends the other processes of this process's behaviour that monitor `owner` by kv_monitor_owner(),
 * with `reason`. Linear in the monitors on processes of that node. */
void kv_replace_owned(struct kv_process *self, const struct kv_pid *owner, const char *reason);

/* Ends the monitor of that number: handle_down is not called for it any more. Ignores an unknown
 * number. */
void kv_demonitor(struct kv_process *self, uint64_t number);

/* Calls handle_timer with `tag` in `delay` milliseconds, once. Returns the number of the timer,
 * which is never 0 and never used again. A process may have any number of timers; they end with the
 * process. Timers for the same millisecond fire in the order of their start. A timer that a
 * callback starts fires in a later turn, even with a delay of 0. O(log n) of all timers. */
uint64_t kv_timer_start(struct kv_process *self, uint64_t delay, uint64_t tag);

/* Cancels a timer. Returns true if handle_timer will not be called for it. Returns false if the
 * timer has fired, was cancelled, or is not of this process. */
bool kv_timer_cancel(struct kv_process *self, uint64_t timer);

/* For a process that needs one timer only: calls handle_timer with the tag 0 in `delay`
 * milliseconds, instead of at the time set before. */
void kv_process_set_timer(struct kv_process *self, uint64_t delay);

/* Makes everything that this process sends from now on wait until kv_runtime_release() says that
 * `batch` is durable: messages, answers, links and monitors, and the exit signals and DOWN messages
 * of its own end. The signals from one process to another leave in the order in which they were
 * sent, even after the sender has ended. Signals to a peer that is lost meanwhile are dropped. Of
 * several batches the greatest counts. Does nothing if the batch is durable already. */
void kv_process_hold_until(struct kv_process *self, uint64_t batch);

/* As kv_process_hold_until(), but waits only until the batch is written:
 * kv_runtime_release_written(). A process that calls both waits until all are durable. */
void kv_process_hold_until_written(struct kv_process *self, uint64_t batch);

/* From here to kv_process_hold_all(), what this process sends tells only of changes up to `batch`;
 * 0: of none. It waits for that batch, and for what waits to the same process already, and
 * overtakes the rest. Must be called after kv_process_hold_until() for the batch.
 *
 * The process that gets an answer is that of kv_from's `pid`. An answer through an alias, as to a
 * $kv_call, may not tell: it overtakes other answers through aliases, and nothing else. That is
 * harmless, since a caller finds its answer by the alias. */
void kv_process_hold_for(struct kv_process *self, uint64_t batch);
void kv_process_hold_all(struct kv_process *self);

/* Between the calls with true and false, what this process sends leaves at once, and before signals
 * that wait. For an answer that tells of no change. */
void kv_process_hold_nothing(struct kv_process *self, bool at_once);

/* Make and break a link to a process. */
void kv_link(struct kv_process *self, const struct kv_pid *target);
void kv_unlink(struct kv_process *self, const struct kv_pid *target);

/* Adds a behaviour whose processes only this node starts, by kv_spawn(). kv_process_context() of
 * these processes is `context`. Both are borrowed and must outlive the runtime. Existing processes
 * keep the context that they have. */
void kv_add_behaviour(struct kv_runtime *runtime, const struct kv_behaviour *behaviour,
                      void *context);

/* As kv_add_behaviour(), and lets peers spawn Module:Function/Arity, also through proc_lib. */
void kv_offer(struct kv_runtime *runtime, const struct kv_behaviour *behaviour, void *context);

/* An init for a service, a process of which a node has one: registers it under the module of its
 * behaviour. KV_OK; or KV_EEXIST with the reason already_registered. */
int kv_service_init(struct kv_process *self, struct kv_bytes options, struct kv_buffer *reason);

/* Adds the behaviour of a service, as kv_add_behaviour() does, and starts it. KV_OK, or KV_EEXIST
 * if a process has its name. A service that ends is started again in the same turn of the loop. */
int kv_start_service(struct kv_runtime *runtime, const struct kv_behaviour *behaviour,
                     void *context);

/* Starts a process on this node, and returns once its init has run. KV_OK, with the pid in *pid; or
 * the error of init, with its reason appended to `reason`. */
int kv_spawn(struct kv_runtime *runtime, const struct kv_behaviour *behaviour,
             struct kv_bytes options, struct kv_pid *pid, struct kv_buffer *reason);

#endif
