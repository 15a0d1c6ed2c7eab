/* What leaves for one peer, in which order: signals become frames, large ones fragments.
 *
 * A signal whose payload fits into one fragment is a frame that can leave at once. A larger one
 * becomes a stream of fragments; streams take turns, and frames go between their fragments, so that
 * a large value delays a small one by what is ready and no more.
 *
 * The one order that OTP promises, and that callers count on, is kept: signals from one process to
 * one process leave in the order in which they were sent. So a signal between two processes that
 * have a stream waits in it, behind what is there. One that goes to a name may be for any process
 * of the peer: it waits until all streams of its sender are done, and what that sender sends
 * afterwards waits behind it.
 *
 *     kv_outgoing_signal() -- nothing of that pair under way, and small --> `ready`
 *                          -- otherwise --> its stream -- kv_outgoing_fill(), in turns --> `ready`
 *
 * The owner writes what is ready, and has it filled with little more than the peer takes at once:
 * what is ready is what a small signal waits for. */
#ifndef KV_WIRE_OUTGOING_H
#define KV_WIRE_OUTGOING_H

#include "base/list.h"
#include "base/map.h"
#include "base/siphash.h"
#include "wire/codec.h"
#include "wire/slices.h"

#include <kv/signal.h>

/* Zeroed, it is empty and may be freed; once initialised it must stay where it is. */
struct kv_outgoing {
    const struct kv_codec *codec; /* the owner's */
    struct kv_hash_key key;
    struct kv_map senders;     /* those with streams */
    struct kv_map streams;     /* by sender and receiver */
    struct kv_list turns;      /* streams that may go on, the next one first */
    struct kv_payload *recent; /* the pinned payload that came last, while it waits; or NULL */
    uint64_t last_sequence;
    size_t length;
    size_t small_length;
    size_t large_count;
};

/* codec: borrowed for as long as the outgoing is used; without KV_DFLAG_FRAGMENTS every signal is
 * one frame. key: random, since peers choose the pids that streams are found by. */
void kv_outgoing_init(struct kv_outgoing *outgoing, const struct kv_codec *codec,
                      const struct kv_hash_key *key);

/* Drops what waits. */
void kv_outgoing_free(struct kv_outgoing *outgoing);

/* Sends a signal: appends its frame to `ready`, or keeps it in a stream; what is pinned in a large
 * one, or shared, is taken over, and released when the last slice of it is dropped. False: the peer
 * has no form for it, and it is dropped. */
bool kv_outgoing_signal(struct kv_outgoing *outgoing, const struct kv_signal *signal,
                        struct kv_buffer *ready);

/* Lets streams go on in turns until `ready` holds at least `ahead` bytes, all of them whole frames,
 * or nothing waits any more. One turn is KV_FRAGMENT_SIZE bytes, and the end of the frame that
 * passes them. There is always one, so that no number of small messages stops the large ones.
 *
 * What is pinned comes as `slices` of `ready`; no room for another ends it, too. NULL: it is
 * copied. */
void kv_outgoing_fill(struct kv_outgoing *outgoing, size_t ahead, struct kv_buffer *ready,
                      struct kv_slices *slices);

/* Bytes of memory that the streams hold, a payload that messages share once; and how many of them
 * are of small messages, which wait behind large ones. */
size_t kv_outgoing_length(const struct kv_outgoing *outgoing);
size_t kv_outgoing_small_length(const struct kv_outgoing *outgoing);

/* Messages that leave, or will leave, in fragments. */
size_t kv_outgoing_large_count(const struct kv_outgoing *outgoing);

#endif
