/* Frames of an established connection: a 4-byte length and what it counts; length 0 is a tick.
 *
 * What a frame holds depends on whether both sides have KV_DFLAG_FRAGMENTS:
 *
 *     without   112, 131, control term [, 131, payload term]
 *     with      131, 68, 0, control term [, payload term]           a whole message
 *               131, 69, sequence:8, id:8, 0, control term, bytes   the first fragment of one
 *               131, 70, sequence:8, id:8, bytes                    one of the others
 *
 * The 0 is the number of atom cache references, of which there are none since no cache is
 * negotiated. The id counts down to 1. OTP: erts/emulator/beam/external.c,
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
    KV_HEAD_MAX = 64 * 1024,      /* bytes that are kept of a message that is refused */
};

/* Finds the first frame in `input`.
 *
 * KV_OK: *frame is its content (length 0: a tick), borrowed from input, and *consumed its length
 * with the header. KV_ETRUNCATED: more bytes are needed; *consumed is how many the whole frame
 * takes, or 0 while even that is not known. KV_ESIZE: the frame is larger than `limit`; it can be
 * passed over with a struct kv_long_frame. */
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

/* A frame that is larger than the limit, while it comes. Zeroed, there is none. */
struct kv_long_frame {
    struct kv_buffer head; /* its first KV_HEAD_MAX bytes */
    size_t length;         /* of its content */
    size_t left;           /* bytes that are still to come */
};

/* Begins with the frame at the front of `input`, for which kv_frame_next() answered KV_ESIZE.
 * Answers how many bytes its header takes; then comes what kv_long_frame_take() is to be given. */
size_t kv_long_frame_begin(struct kv_long_frame *frame, struct kv_bytes input);

/* Takes what is of the frame at the front of `input`, and answers how many bytes that is. When
 * `left` is 0 then the head is as long as it gets, and the caller's to free. */
size_t kv_long_frame_take(struct kv_long_frame *frame, struct kv_bytes input);

/* Whether the content of a frame is a part of a message. */
static inline bool kv_is_fragment(struct kv_bytes frame)
{
    return frame.length >= 2 && frame.data[0] == KV_TERM_VERSION &&
           (frame.data[1] == KV_FRAME_FIRST || frame.data[1] == KV_FRAME_OTHER);
}

#endif
