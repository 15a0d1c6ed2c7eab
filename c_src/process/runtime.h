/* The process runtime from outside: what carries signals in and out. No sockets, files or clocks.
 *
 * Whoever owns the connections tells the runtime which peers there are and feeds it their signals;
 * what the processes send to other nodes leaves through the sink. Signals between processes of this
 * node are delivered, in order, before kv_runtime_receive() returns. */
#ifndef KV_RUNTIME_H
#define KV_RUNTIME_H

#include "base/siphash.h"
#include "process/inspect.h"
#include "term/call_shape.h"

#include <kv/log.h>
#include <kv/process.h>

struct kv_generic;
struct kv_peer; /* another node, while it is connected */

/* A moment in local time. */
struct kv_date {
    int year;
    int month; /* 1 to 12 */
    int day;
    int hour;
    int minute;
    int second;
};

struct kv_sink {
    void *context;
    /* Carries one signal to a peer, in the order of the calls; borrows nothing after it returns.
     * `carrier` is what kv_runtime_peer_up() was given. It must not call the runtime. */
    void (*send)(void *context, void *carrier, const struct kv_signal *signal);
    /* One line, without a newline. */
    void (*log)(void *context, enum kv_log_level level, const char *line);
    /* The local time now. */
    void (*now)(void *context, struct kv_date *date);
    /* Milliseconds of a clock that never goes back. */
    uint64_t (*clock)(void *context);
    /* Whether a peer has so much to read that what it asks for is to wait. May be NULL: never. */
    bool (*is_full)(void *context, const void *carrier);
};

/* What `get_state` of sys is answered with: the state, which is what OTP up to 26.0 expects, or
 * {ok, State}, as from 26.1 on. Nothing that a caller sends says which it is. */
enum kv_get_state { KV_GET_STATE_BARE, KV_GET_STATE_TAGGED };

struct kv_runtime_options {
    struct kv_bytes node; /* our "alive@host"; copied */
    /* The node whose processes own ours, and which may be away for a while: see
     * kv_runtime_peer_down(). Copied; empty: there is none. */
    struct kv_bytes vm;
    uint32_t creation;
    struct kv_hash_key hash_key; /* random */
    enum kv_get_state get_state;
    /* Takes the messages of processes apart that are not plain: &kv_server (server/server.h).
     * Borrowed. NULL: all are plain. */
    const struct kv_generic *generic;
    struct kv_sink sink;
};

/* Never NULL. Freed with kv_runtime_free(), which ends all processes without telling anybody. */
struct kv_runtime *kv_runtime_new(const struct kv_runtime_options *options);
void kv_runtime_free(struct kv_runtime *runtime);

/* How many processes of such a behaviour there are. O(offers), which are few. */
size_t kv_runtime_count(const struct kv_runtime *runtime, const struct kv_behaviour *behaviour);

/* The init of a process of which a node has one: registers it under the name of its behaviour. */
int kv_service_init(struct kv_process *self, struct kv_bytes options, struct kv_buffer *reason);

/* Adds the behaviour, as kv_add_behaviour(), and starts such a process. KV_OK, or KV_EEXIST when
 * there is one of its name. */
int kv_runtime_start_service(struct kv_runtime *runtime, const struct kv_behaviour *behaviour,
                             void *context);

/* A node is connected. `name` is copied. There must be no peer of that name. */
struct kv_peer *kv_runtime_peer_up(struct kv_runtime *runtime, struct kv_bytes name,
                                   uint32_t creation, void *carrier);

/* To be called once the carrier of a peer can carry, and before the peer's first signal is handled.
 * If the peer is the VM and was away, with the same creation: the monitors that were kept are sent
 * anew, so that an owner that is dead answers DOWN. With another creation they fire with
 * noconnection. */
void kv_runtime_peer_ready(struct kv_peer *peer);

/* The name it was given, valid until kv_runtime_peer_down(). */
struct kv_bytes kv_runtime_peer_name(const struct kv_peer *peer);

/* The peer is known to expect this answer to get_state, whatever the runtime was made with. */
void kv_runtime_peer_expects(struct kv_peer *peer, enum kv_get_state get_state);

/* It is no more: links to its processes break with noconnection, monitors on them fire, its
 * monitors on ours are forgotten. The peer is freed; nothing is sent to its carrier. If it is the
 * VM, it is away from now on: monitors made by kv_monitor_owner() do not fire, but are kept. */
void kv_runtime_peer_down(struct kv_runtime *runtime, struct kv_peer *peer);

/* Whether the VM was connected, and has been lost since. */
bool kv_runtime_vm_is_away(const struct kv_runtime *runtime);

/* The VM has been away for too long: what was kept fires with noconnection. */
void kv_runtime_vm_expired(struct kv_runtime *runtime);

/* Handles one signal of a peer. KV_OK, or KV_EPROTOCOL when the connection must be closed. */
int kv_runtime_receive(struct kv_runtime *runtime, struct kv_peer *peer,
                       const struct kv_incoming *incoming);

/* Why a message is not taken though the connection goes on. */
struct kv_refusal {
    int error;       /* as kv_is_refusal() knows them */
    uint64_t amount; /* bytes of the message; of KV_EDEPTH the levels that it may have */
};

/* Handles what is there of a signal that is refused: kv_control_decode_refused(). A request to a
 * process is answered {error, Why}, at once, also while the process is suspended; exit signals and
 * DOWN act, with the reason Why; a spawn request fails with system_limit. Why is {too_large,
 * Bytes}, {too_deep, Levels}, {too_much_pending, Bytes} or {unsupported_term, record or integer}.
 * Any other message is dropped. *told: somebody has heard of it, or is dead. KV_OK, or
 * KV_EPROTOCOL and the errors of kv_term_validate() when the connection must be closed. */
int kv_runtime_refuse(struct kv_runtime *runtime, struct kv_peer *peer,
                      const struct kv_signal *signal, const struct kv_refusal *refusal, bool *told);

/* One turn of a process that is resumed. */
enum { KV_RESUME_MESSAGES = 256, KV_RESUME_BYTES = 1 << 20 };

/* Lets each process that was resumed handle some of the messages that waited meanwhile; behind them
 * wait those that have come since. One whose next message is of a node that has much to read
 * (is_full) waits, too. To be called at the end of every turn of the loop; true: there is more to
 * do, so the next turn is not to be waited for. */
bool kv_runtime_step(struct kv_runtime *runtime);

/* The log says that all batches up to this one are durable: what processes have sent under
 * kv_process_hold_until() with one of them leaves now, each process's signals in their order, and
 * what is for processes of this node is handled. A number that is not greater than before changes
 * nothing. Must not be called from a callback. */
void kv_runtime_release(struct kv_runtime *runtime, uint64_t batch);

/* How many signals wait for that. */
size_t kv_runtime_waiting(const struct kv_runtime *runtime);

#define KV_NO_TIMER UINT64_MAX

/* Runs the timers whose time has come, and answers in how many milliseconds to call again;
 * KV_NO_TIMER: none is set. A call of any other function may set one. */
uint64_t kv_runtime_run_timers(struct kv_runtime *runtime);

/* Counts of what is there now. */
size_t kv_runtime_process_count(const struct kv_runtime *runtime);
size_t kv_runtime_peer_count(const struct kv_runtime *runtime);

#endif
