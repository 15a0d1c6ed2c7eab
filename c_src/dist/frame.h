/* Frames of an established connection: a 4-byte length and what it counts; length 0 is a tick. */
#ifndef KV_FRAME_H
#define KV_FRAME_H

#include <kv/bytes.h>
#include <kv/error.h>

enum { KV_FRAME_HEADER = 4, KV_FRAME_PASS_THROUGH = 112, KV_TERM_VERSION = 131 };

/* Finds the first frame in `input`.
 *
 * KV_OK: *frame is its content (length 0: a tick), borrowed from input, and *consumed its length
 * with the header. KV_ETRUNCATED: more bytes are needed; *consumed is how many the whole frame
 * takes, or 0 while even that is not known. KV_ESIZE: the frame is larger than `limit`. */
int kv_frame_next(struct kv_bytes input, size_t limit, struct kv_bytes *frame, size_t *consumed);

#endif
