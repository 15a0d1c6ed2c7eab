/* Signals: everything one process can do to another, on the same node or on another one.
 *
 * wire/ turns signals into control messages and back; process/ sends and receives them. OTP:
 * "Signals" in the reference manual's chapter on processes; the wire form is
 * erts/emulator/beam/dist.h, enum dop. */
#ifndef KV_SIGNAL_H
#define KV_SIGNAL_H

#include <kv/term.h>

enum kv_signal_kind {
    KV_SIGNAL_MESSAGE,       /* to `to`: payload */
    KV_SIGNAL_MESSAGE_NAME,  /* to the process registered as `name`: payload */
    KV_SIGNAL_MESSAGE_ALIAS, /* to the alias `ref`: payload. Outgoing: also `to`, the process that
                              * has the alias, with the id 0 if it is not known */
    KV_SIGNAL_LINK,          /* from, to */
    KV_SIGNAL_UNLINK,        /* from, to, unlink_id */
    KV_SIGNAL_UNLINK_ACK,    /* from, to, unlink_id */
    KV_SIGNAL_EXIT_LINK,     /* from, to; payload: the reason. A broken link sends it. */
    KV_SIGNAL_EXIT,          /* from, to or name; payload: the reason. exit/2 sends it. */
    KV_SIGNAL_EXIT_ALIAS,    /* from, ref; payload: the reason. exit/3 to an alias sends it. */
    KV_SIGNAL_MONITOR,       /* from, to or name, ref */
    KV_SIGNAL_DEMONITOR,     /* from, to or name, ref */
    KV_SIGNAL_DOWN,          /* from or name, to, ref; payload: the reason */
    KV_SIGNAL_GROUP_LEADER,  /* from: the leader; to */
    KV_SIGNAL_SPAWN_REQUEST, /* from, ref, spawn; payload: the list of arguments */
    KV_SIGNAL_SPAWN_REPLY,   /* to, ref, spawn_flags; from: the new process, or name: an error */
};

enum { KV_SPAWN_LINKED = 1, KV_SPAWN_MONITORED = 2 };

struct kv_mfa {
    struct kv_bytes module;
    struct kv_bytes function;
    uint32_t arity;
};

enum { KV_SIGNAL_MAX_PARTS = 4 };

/* Bytes whose owner neither moves nor changes them until `release` is called. The last holder of
 * the struct calls it, once. NULL: another holder has taken this duty over. */
struct kv_pinned {
    struct kv_bytes bytes;
    void (*release)(void *owner, struct kv_bytes bytes);
    void *owner;
    bool shared; /* more signals end with these bytes, so carriers should not copy them for each */
};

/* Releases the pinned bytes, unless another holder has taken this duty over. */
static inline void kv_pinned_release(struct kv_pinned *pinned)
{
    void (*release)(void *owner, struct kv_bytes bytes) = pinned->release;
    if (release != NULL) {
        pinned->release = NULL;
        release(pinned->owner, pinned->bytes);
    }
}

/* The list above names the fields that each kind uses; the others may hold anything. Exceptions:
 * by_name, name and payload_parts are always set, and so is pinned in outgoing signals.
 *
 * All parts are borrowed. Those of an incoming signal point into the frame and the name of the
 * peer, those of an outgoing one into memory of the sender. They are valid while the function that
 * was given the signal runs. */
struct kv_signal {
    enum kv_signal_kind kind;
    bool by_name; /* MONITOR, DEMONITOR, DOWN, EXIT: `name` for the pid; SPAWN_REPLY: an error */
    struct kv_pid from;
    struct kv_pid to;
    struct kv_bytes name; /* the text of an atom */
    struct kv_ref ref;
    uint64_t unlink_id;
    /* One term, in up to KV_SIGNAL_MAX_PARTS pieces that follow each other on the wire. The payload
     * of an incoming signal always is in one piece. */
    struct kv_bytes payload[KV_SIGNAL_MAX_PARTS];
    unsigned payload_parts;
    /* Outgoing messages: not NULL if the last part is pinned. The carrier of the signal may take
     * the pin over (and set its release to NULL) instead of copying the bytes. */
    struct kv_pinned *pinned;
    /* SPAWN_REQUEST only */
    struct kv_mfa spawn;
    struct kv_bytes spawn_options; /* the option list, as a term */
    struct kv_pid group_leader;
    /* SPAWN_REPLY: KV_SPAWN_LINKED, KV_SPAWN_MONITORED */
    uint32_t spawn_flags;
};

/* The length of the payload, over all its parts. */
static inline size_t kv_signal_payload_length(const struct kv_signal *signal)
{
    size_t length = 0;
    for (unsigned i = 0; i < signal->payload_parts; i++) {
        length += signal->payload[i].length;
    }
    return length;
}

#endif
