#include "dist/frame.h"

#include "base/endian.h"

int kv_frame_next(struct kv_bytes input, size_t limit, struct kv_bytes *frame, size_t *consumed)
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
