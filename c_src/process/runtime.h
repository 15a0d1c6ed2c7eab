/* The process runtime from outside. It uses no sockets, files or clocks.
 *
 * The owner of the connections tells the runtime which peers are up, and feeds it their signals.
 * Signals to other nodes leave through the sink. Before kv_runtime_receive() returns, the runtime
 * delivers the signals between processes of this node, in order. If there are many messages among
 * them, the rest of these wait for kv_runtime_step() (KV_LOCAL_MESSAGES). */
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
    /* Carries one signal to a peer, in the order of the calls. Borrows nothing after it returns.
     * Must not call the runtime. `carrier` is the one that kv_runtime_peer_up() was given. */
    void (*send)(void *context, void *carrier, const struct kv_signal *signal);
    /* Writes one line; `line` has no newline. */
    void (*log)(void *context, enum kv_log_level level, const char *line);
    /* Sets *date to the local time. */
    void (*now)(void *context, struct kv_date *date);
    /* Returns milliseconds of a clock that never goes back. */
    uint64_t (*clock)(void *context);
    /* Returns true if a peer has so much to read that its calls should wait. May be NULL: never. */
    bool (*is_full)(void *context, const void *carrier);
    /* KV_SPAWNS_TURN processes or more have begun since kv_runtime_step(): what else the peer of
     * the present signal has sent should wait for the next turn. May be NULL. */
    void (*rest)(void *context);
};

/* A message of a hundred bytes may begin a process, which takes some 20 us. */
enum { KV_SPAWNS_TURN = 64 };

/* The answer to sys:get_state/1: the bare state, as OTP up to 26.0 expects, or {ok, State}, as from
 * 26.1 on. Nothing in the request tells which one the caller expects. */
enum kv_get_state { KV_GET_STATE_BARE, KV_GET_STATE_TAGGED };

struct kv_runtime_options {
    struct kv_bytes node; /* our "alive@host"; copied */
    /* The node that holds this one. It may be away for a while: see kv_runtime_peer_down(). Copied.
     * Empty if there is none. */
    struct kv_bytes vm;
    /* Any node whose processes own some of ours may be away for a while. */
    bool keeps_all;
    uint32_t creation;
    struct kv_hash_key hash_key; /* random */
    enum kv_get_state get_state;
    /* Takes the messages of all processes apart that are not plain: &kv_server (server/server.h).
     * Borrowed. NULL: all are plain. */
    const struct kv_generic *generic;
    struct kv_sink sink;
};

/* Never returns NULL. kv_runtime_free() ends all processes without telling other nodes. */
struct kv_runtime *kv_runtime_new(const struct kv_runtime_options *options);
void kv_runtime_free(struct kv_runtime *runtime);

/* Call this when a node is connected. Copies `name`. There must be no peer of that name. */
struct kv_peer *kv_runtime_peer_up(struct kv_runtime *runtime, struct kv_bytes name,
                                   uint32_t creation, void *carrier);

/* Call this once the carrier of a peer can carry, before the peer's first signal. If the node was
 * away, the runtime sends the kept monitors again, so that a dead owner answers DOWN. If the node
 * comes back with another creation, these monitors fire with noconnection. */
void kv_runtime_peer_ready(struct kv_peer *peer);

/* Returns the name of the peer, valid until kv_runtime_peer_down(). */
struct kv_bytes kv_runtime_peer_name(const struct kv_peer *peer);

/* Sets the answer to get_state that this peer expects, instead of the runtime's. */
void kv_runtime_peer_expects(struct kv_peer *peer, enum kv_get_state get_state);

/* The peer is a hidden node; others are visible. */
void kv_runtime_peer_is_hidden(struct kv_peer *peer);

/* The peer is lost: links to its processes break with noconnection, monitors on them fire, and its
 * monitors on ours are forgotten. Frees the peer, and sends nothing to its carrier. If the node may
 * be away, it is away from now on: the monitors of kv_monitor_owner() are kept and do not fire. */
void kv_runtime_peer_down(struct kv_runtime *runtime, struct kv_peer *peer);

/* How many nodes are away, and how many absences have begun. If neither has changed, no node has
 * gone or come back. */
struct kv_absences {
    size_t count;
    uint64_t begun;
};
struct kv_absences kv_runtime_absences(const struct kv_runtime *runtime);

/* Returns the number of the next absence after `number`, from 0 on, in the order in which they
 * began, and sets *node to the name of the node, valid until it is back. Returns 0 if there is
 * none. */
uint64_t kv_runtime_next_absence(const struct kv_runtime *runtime, uint64_t number,
                                 struct kv_bytes *node);

/* A node has been away for too long: the kept monitors fire with noconnection. Does nothing if that
 * absence is over. */
void kv_runtime_absence_expired(struct kv_runtime *runtime, uint64_t number);

/* Handles one signal of a peer. KV_OK, or KV_EPROTOCOL if the connection must be closed. */
int kv_runtime_receive(struct kv_runtime *runtime, struct kv_peer *peer,
                       const struct kv_incoming *incoming);

/* As kv_runtime_receive(), for a signal whose bytes lie in `memory`. Takes the memory over: the
 * receiver may keep it, instead of a copy. */
int kv_runtime_receive_long(struct kv_runtime *runtime, struct kv_peer *peer,
                            const struct kv_incoming *incoming, struct kv_buffer *memory);

/* The cause of a refusal; the connection goes on. */
struct kv_refusal {
    int error;       /* one that kv_is_refusal() knows */
    uint64_t amount; /* bytes of the message; for KV_EDEPTH the allowed levels */
};

/* Handles a refused signal, as kv_codec_decode_refused() returns it. Sets *told if somebody has
 * heard of the refusal, or the receiver is dead.
 *
 * - A request to a process gets the answer {error, Why} at once, even while the process is
 * suspended.
 * - Exit signals and DOWN act, with the reason Why.
 * - A spawn request fails with system_limit.
 * - Any other message is dropped.
 *
 * Why is {too_large, Bytes}, {too_deep, Levels}, {too_much_pending, Bytes} or {unsupported_term,
 * record or integer}. KV_OK; or KV_EPROTOCOL or an error of kv_term_validate() if the connection
 * must be closed. */
int kv_runtime_refuse(struct kv_runtime *runtime, struct kv_peer *peer,
                      const struct kv_signal *signal, const struct kv_refusal *refusal, bool *told);

/* Limits of one turn of a resumed process. */
enum { KV_RESUME_MESSAGES = 256, KV_RESUME_BYTES = 1 << 20, KV_LONG_TURNS = 2 };

/* Messages between processes of this node that are handled at once: so many, and so many bytes.
 * Later ones wait in the mailboxes of their receivers, for turns of kv_runtime_step(): processes
 * that send one another messages without end would keep the node from all else. Plain processes
 * have no mailbox, and are handed all at once. */
enum { KV_LOCAL_MESSAGES = 1024, KV_LOCAL_BYTES = 1 << 20 };

/* Lets each process handle some of the messages that waited, while it was suspended for example,
 * and a process that goes on with a long request do a piece of it. After KV_LONG_TURNS such pieces,
 * or as many processes that handled KV_RESUME_BYTES, the others have to wait for the next step.
 * Messages that come later wait behind these. A process waits, too, while the node of its next
 * caller has much to read (is_full). Starts services again that have ended. Call this at the end of
 * every turn of the loop. Returns true if there is more to do: the next turn should come at once.
 */
bool kv_runtime_step(struct kv_runtime *runtime);

/* Returns true if kv_runtime_step() has something to do that was not there when it was last called.
 * Call this after kv_runtime_peer_down() and kv_runtime_release() at the end of a turn. */
bool kv_runtime_has_more(const struct kv_runtime *runtime);

/* All batches up to `batch` are durable: sends the signals that waited for one of them, those from
 * one process to another in their order, and handles those for processes of this node. Does nothing
 * if `batch` is not greater than before. Must not be called from a callback. */
void kv_runtime_release(struct kv_runtime *runtime, uint64_t batch);

/* As kv_runtime_release(), for signals that wait only until their batch is written. */
void kv_runtime_release_written(struct kv_runtime *runtime, uint64_t batch);

/* Return the number of signals that wait for a batch, and the bytes of their payloads, with what
 * they pin. Each signal takes half a KiB beside its payload. */
size_t kv_runtime_waiting(const struct kv_runtime *runtime);
uint64_t kv_runtime_waiting_bytes(const struct kv_runtime *runtime);

#define KV_NO_TIMER UINT64_MAX

/* Runs the timers that are due, and returns in how many milliseconds to call it again, or
 * KV_NO_TIMER if no timer is set. Every other function may set a timer. */
uint64_t kv_runtime_run_timers(struct kv_runtime *runtime);

/* Return the number of living processes, and of connected peers. */
size_t kv_runtime_process_count(const struct kv_runtime *runtime);
size_t kv_runtime_peer_count(const struct kv_runtime *runtime);

#endif
