/* Assembles messages that arrive in fragments.
 *
 *     unknown -- first fragment, id N --> unfinished, N-1 awaited -- ... id 1 --> whole
 *
 * A message over a limit is refused, and its connection goes on: the remaining fragments are
 * counted and dropped as they arrive, except for the first KV_HEAD_MAX bytes of the message.
 *
 * Several sequences of a peer may be unfinished at a time, with whole frames between them. The
 * arrival of its last fragment gives a message its place in the order of signals. Memory grows with
 * the bytes received, never with the number that an id claims.
 *
 * OTP: erts/emulator/beam/dist.c, erts_net_message(), and external.c, erts_prepare_dist_ext(). */
#ifndef KV_WIRE_FRAGMENTS_H
#define KV_WIRE_FRAGMENTS_H

#include "base/map.h"
#include "base/siphash.h"

#include <kv/buffer.h>
#include <kv/term.h>

enum {
    /* Unfinished sequences of one peer. OTP numbers a sequence by the sending process, so a busy
     * node has one for each process with a large message under way. The bound is far above that,
     * and keeps the memory of the sequences themselves to some megabytes. */
    KV_SEQUENCES_MAX = 65536,
    /* Bytes kept of a refused message even if the limit on unfinished messages leaves no room. They
     * hold the control message and the From of a request. */
    KV_HEAD_LEAST = 2048,
};

struct kv_fragment_limits {
    struct kv_term_limits term; /* of the control message */
    size_t message;             /* bytes of one message */
    size_t pending;             /* bytes of all unfinished messages of the peer */
};

/* A message that has arrived. */
struct kv_arrived {
    struct kv_bytes bytes; /* as in a single frame; only the beginning of a refused message */
    uint64_t length;       /* bytes that arrived */
    int error;             /* KV_OK, or the reason for a refusal: kv_is_refusal() */
};

/* Empty when zeroed, and may be freed then. */
struct kv_fragments {
    struct kv_fragment_limits limits;
    struct kv_hash_key key;
    struct kv_map sequences;
    size_t pending;
    struct kv_buffer finished;
};

/* key: random, because the peer chooses the numbers of its sequences. */
void kv_fragments_init(struct kv_fragments *fragments, const struct kv_fragment_limits *limits,
                       const struct kv_hash_key *key);

/* Drops all unfinished messages and frees the memory. */
void kv_fragments_free(struct kv_fragments *fragments);

/* Takes the content of one frame (not a tick) of a connection with KV_DFLAG_FRAGMENTS. `length` is
 * the length of the frame; `frame` has fewer bytes if the frame was too long to be kept whole.
 *
 * Returns KV_OK and sets *message. For a frame that is no fragment: the frame itself. For the last
 * fragment of a message: the message, valid until kv_fragments_release() or the next call. For any
 * other fragment: no bytes. The payload has not been validated. message->error tells why a message
 * is refused: KV_ESIZE, more bytes than the limit; KV_EPENDING, no room among the unfinished
 * messages or no memory; or its control message is one that kv_term_validate() refuses.
 *
 * Or returns an error after which the connection must be closed: KV_EPROTOCOL (unknown sequence,
 * first fragment of a known sequence, unexpected id, atom cache), KV_ESIZE (too many sequences),
 * KV_ETRUNCATED, or another error of kv_term_validate(): the control message is malformed, or not
 * whole in the first fragment. */
int kv_fragments_take(struct kv_fragments *fragments, struct kv_bytes frame, size_t length,
                      struct kv_arrived *message);

/* Copies a message that came in one frame, as if kv_fragments_take() had completed it, and returns
 * the copy. Returns no bytes if there is no memory. */
struct kv_bytes kv_fragments_keep(struct kv_fragments *fragments, struct kv_bytes message);

/* Frees the message that kv_fragments_take() completed, or the copy. */
void kv_fragments_release(struct kv_fragments *fragments);

#endif
