/* Frames of an established connection: a length of 4 bytes and the content. Length 0 is a tick.
 *
 * The content has one of two forms, depending on KV_DFLAG_FRAGMENTS, which both sides must have:
 *
 *     without   112, 131, control term [, 131, payload term]
 *     with      131, 68, 0, control term [, payload term]           a whole message
 *               131, 69, sequence:8, id:8, 0, control term, bytes   the first fragment of one
 *               131, 70, sequence:8, id:8, bytes                    a further fragment
 *
 * The 0 is the number of atom cache references: this node negotiates no cache. The id counts down
 * to 1. OTP: erts/emulator/beam/external.c,
 * erts_encode_ext_dist_header_finalize() and erts_encode_ext_dist_header_fragment(). */
#ifndef KV_WIRE_FRAME_H
#define KV_WIRE_FRAME_H

#include "base/endian.h"

#include <kv/buffer.h>
#include <kv/bytes.h>
#include <kv/error.h>
#include <kv/term.h>

enum {
    KV_FRAME_HEADER = 4,
    KV_FRAME_PASS_THROUGH = 112,
    KV_FRAME_WHOLE = 68,
    KV_FRAME_FIRST = 69,
    KV_FRAME_OTHER = 70,
    KV_WHOLE_HEADER = 3,          /* 131, 68, 0 */
    KV_FRAGMENT_HEADER = 18,      /* 131, 69 or 70, sequence, id */
    KV_FRAGMENT_SIZE = 64 * 1024, /* bytes of terms in one fragment, as OTP sends them */
    KV_HEAD_MAX = 64 * 1024,      /* bytes kept of a refused message */
};

/* Finds the first frame in `input`.
 *
 * Returns KV_OK and sets *frame to the content (length 0: a tick), borrowed from `input`, and
 * *consumed to the length of the frame with its header. Returns KV_ETRUNCATED if more bytes are
 * needed; *consumed then is the length of the whole frame, or 0 if this is not known yet. Returns
 * KV_ESIZE if the content is longer than `limit`; a struct kv_long_frame can skip such a frame. */
static inline int kv_frame_next(struct kv_bytes input, size_t limit, struct kv_bytes *frame,
                                size_t *consumed)
{
    *consumed = 0;
    if (input.length < KV_FRAME_HEADER) {
        return KV_ETRUNCATED;
    }
    size_t length = kv_get32(input.data);
    if (length > limit) {
        return KV_ESIZE;
    }
    *consumed = KV_FRAME_HEADER + length;
    if (input.length < *consumed) {
        return KV_ETRUNCATED;
    }
    *frame = kv_bytes(input.data + KV_FRAME_HEADER, length);
    return KV_OK;
}

/* A frame over the limit, while it arrives. Zeroed: none. */
struct kv_long_frame {
    struct kv_buffer head; /* its first KV_HEAD_MAX bytes */
    size_t length;         /* of its content */
    size_t left;           /* bytes still to arrive */
};

/* Begins to skip the frame at the front of `input`, for which kv_frame_next() returned KV_ESIZE.
 * Returns the length of the header. Give the bytes behind it to kv_long_frame_take(). */
size_t kv_long_frame_begin(struct kv_long_frame *frame, struct kv_bytes input);

/* Takes the bytes at the front of `input` that belong to the frame, and returns their number. Once
 * `left` is 0, the head is complete, and the caller must free it. */
size_t kv_long_frame_take(struct kv_long_frame *frame, struct kv_bytes input);

/* Returns true if the content of a frame is a fragment of a message. */
static inline bool kv_is_fragment(struct kv_bytes frame)
{
    return frame.length >= 2 && frame.data[0] == KV_TERM_VERSION &&
           (frame.data[1] == KV_FRAME_FIRST || frame.data[1] == KV_FRAME_OTHER);
}

#endif
