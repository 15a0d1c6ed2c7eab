/* Copies of signals: on their way between two processes of this node, or kept for later. */
#ifndef KV_PROCESS_QUEUE_H
#define KV_PROCESS_QUEUE_H

#include "base/list.h"

#include <kv/process.h>

struct kv_peer;

struct kv_kept {
    struct kv_list link;
    struct kv_signal signal;
    struct kv_shared *shared; /* holds the payload; NULL: the payload is in `bytes` */
    uint64_t number;          /* of its list's owner */
    uint8_t bytes[];          /* payload, then name */
};

/* Returns a copy of a signal with its payload and name. Its identifiers still borrow the names of
 * their nodes. Freed with kv_kept_free(). */
struct kv_kept *kv_signal_keep(const struct kv_signal *signal);

/* As kv_signal_keep(), but holds a payload that is runtime->reason instead of copying it. */
struct kv_kept *kv_signal_keep_shared(const struct kv_runtime *runtime,
                                      const struct kv_signal *signal);

/* As kv_signal_keep(), but holds the message that is handled, if it has memory of its own, instead
 * of copying it. */
struct kv_kept *kv_signal_keep_lent(const struct kv_runtime *runtime,
                                    const struct kv_signal *signal);

void kv_kept_free(struct kv_kept *kept);

/* Carries a signal to a peer, or queues it if the peer is the local one. Drops a signal to a lost
 * peer. */
void kv_signal_carry(struct kv_peer *peer, const struct kv_signal *signal);

/* Frees the queued signals for processes of this node. */
void kv_signals_free(struct kv_runtime *runtime);

#endif
