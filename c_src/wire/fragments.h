/* Puts messages together that come in fragments.
 *
 *     unknown -- first fragment, id N --> unfinished, N-1 awaited -- ... id 1 --> whole
 *
 * A message that is over a limit is refused, not the connection: its fragments are counted and
 * dropped as they come, but for its first KV_HEAD_MAX bytes.
 *
 * Several sequences of one peer are unfinished at a time, with whole frames between them; a message
 * takes its place in the order of signals when its last fragment comes. Memory grows with the bytes
 * that have come, never with what an id claims.
 *
 * OTP: erts/emulator/beam/dist.c, erts_net_message(), and external.c, erts_prepare_dist_ext(). */
#ifndef KV_WIRE_FRAGMENTS_H
#define KV_WIRE_FRAGMENTS_H

#include "base/map.h"
#include "base/siphash.h"

#include <kv/buffer.h>
#include <kv/term.h>

enum {
    /* Unfinished sequences of one peer. OTP numbers a sequence by the process that sends it, so a
     * busy node has one for each of its processes with a large message under way: the bound is far
     * above that, and keeps what the sequences themselves take to some megabytes. */
    KV_SEQUENCES_MAX = 65536,
    /* Bytes that are kept of a refused message even where the limit on unfinished ones leaves no
     * room: a control message and the From of a request lie in them. */
    KV_HEAD_LEAST = 2048,
};

struct kv_fragment_limits {
    struct kv_term_limits term; /* of the control message */
    size_t message;             /* bytes of one message */
    size_t pending;             /* bytes of all unfinished messages of the peer */
};

/* A message that has come. */
struct kv_arrived {
    struct kv_bytes bytes; /* as if it had come in one frame; of a refused one the beginning */
    uint64_t length;       /* how many bytes came */
    int error;             /* KV_OK, or why it is refused: kv_is_refusal() */
};

/* Zeroed, it is empty and may be freed. */
struct kv_fragments {
    struct kv_fragment_limits limits;
    struct kv_hash_key key;
    struct kv_map sequences;
    size_t pending;
    struct kv_buffer finished;
};

/* key: random, since the peer chooses the numbers of its sequences. */
void kv_fragments_init(struct kv_fragments *fragments, const struct kv_fragment_limits *limits,
                       const struct kv_hash_key *key);

/* Drops what is unfinished. */
void kv_fragments_free(struct kv_fragments *fragments);

/* Takes the content of one frame, not a tick, of a connection with KV_DFLAG_FRAGMENTS. Of one that
 * was too long, `frame` is what was kept of it and `length` how long it was; of others that is
 * frame.length.
 *
 * KV_OK and *message is what came: the frame itself, unless that is a fragment; or the message that
 * it completed, until kv_fragments_release(); or without bytes, when more fragments must come
 * first. The payload has not been looked at. Refused is a message of more bytes than the limit, one
 * that did not fit into what is left for unfinished ones (KV_EPENDING), and one whose control
 * message kv_term_validate() refuses.
 *
 * Or what makes the connection unusable: KV_EPROTOCOL (an unknown sequence, a second first
 * fragment, another id than the one awaited, an atom cache), KV_ESIZE (too many sequences), or
 * the other errors of kv_term_validate(): the control message is malformed, or not whole in the
 * first fragment. */
int kv_fragments_take(struct kv_fragments *fragments, struct kv_bytes frame, size_t length,
                      struct kv_arrived *message);

/* The message that kv_fragments_take() gave is not needed any more. */
void kv_fragments_release(struct kv_fragments *fragments);

#endif
