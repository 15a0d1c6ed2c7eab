/* The signals that leave for one peer, and their order: signals become frames, large ones
 * fragments.
 *
 * A signal whose payload fits one fragment becomes a frame that can leave at once. A larger one
 * becomes a stream of fragments. Streams take turns, and small frames go between their fragments,
 * so a large value delays a small one only by the bytes that are ready.
 *
 * OTP guarantees one order, and callers rely on it: signals from one process to another leave in
 * the order in which they were sent. So a signal between two processes that have a stream waits in
 * this stream, behind the messages that are there. A signal to a name may be for any process of the
 * peer: it waits until all streams of its sender are done, and everything that this sender sends
 * afterwards waits behind it.
 *
 *     kv_outgoing_signal() -- small, and the pair has no stream --> `ready`
 *                          -- otherwise --> its stream -- kv_outgoing_fill(), in turns --> `ready`
 *
 * The owner writes `ready`, and has it filled with little more than the peer takes at once: a small
 * signal waits for all the bytes that are ready. */
#ifndef KV_WIRE_OUTGOING_H
#define KV_WIRE_OUTGOING_H

#include "base/list.h"
#include "base/map.h"
#include "base/siphash.h"
#include "wire/codec.h"
#include "wire/slices.h"

#include <kv/signal.h>

/* Empty when zeroed, and may be freed then. Must not be moved once it is initialised. */
struct kv_outgoing {
    const struct kv_codec *codec; /* the owner's */
    struct kv_hash_key key;
    struct kv_map senders;     /* those with streams */
    struct kv_map streams;     /* by sender and receiver */
    struct kv_list turns;      /* streams that may go on, the next one first */
    struct kv_payload *recent; /* the last pinned payload, while it waits; else NULL */
    uint64_t last_sequence;
    size_t length;
    size_t small_length;
    size_t large_count;
};

/* Borrows `codec` until it is freed. Without KV_DFLAG_FRAGMENTS each signal becomes one frame. key:
 * random, because peers choose the pids that are hashed to find streams. */
void kv_outgoing_init(struct kv_outgoing *outgoing, const struct kv_codec *codec,
                      const struct kv_hash_key *key);

/* Drops all waiting messages and frees the memory. */
void kv_outgoing_free(struct kv_outgoing *outgoing);

/* Sends a signal: appends its frame to `ready`, or keeps the signal in a stream. Takes over pinned
 * bytes that are large or shared, and releases them with their last slice. Returns false, and drops
 * the signal, if it has no form that the peer knows. */
bool kv_outgoing_signal(struct kv_outgoing *outgoing, const struct kv_signal *signal,
                        struct kv_buffer *ready);

/* Lets streams go on in turns until `ready` has at least `ahead` bytes, or nothing waits any more.
 * `ready` then ends with a whole frame. A turn is KV_FRAGMENT_SIZE bytes, rounded up to the end of
 * a frame. Each call gives at least one turn, so small messages cannot stop the large ones.
 *
 * Pinned bytes become `slices` of `ready`; a full array of slices also ends the call. NULL: copies
 * them. */
void kv_outgoing_fill(struct kv_outgoing *outgoing, size_t ahead, struct kv_buffer *ready,
                      struct kv_slices *slices);

/* The memory of all streams, in bytes; a payload that messages share counts once. And the part of
 * it that belongs to small messages waiting behind large ones. */
size_t kv_outgoing_length(const struct kv_outgoing *outgoing);
size_t kv_outgoing_small_length(const struct kv_outgoing *outgoing);

/* The number of waiting messages that leave in fragments. */
size_t kv_outgoing_large_count(const struct kv_outgoing *outgoing);

#endif
