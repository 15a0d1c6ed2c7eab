#include "wire/frame.h"

size_t kv_long_frame_begin(struct kv_long_frame *frame, struct kv_bytes input)
{
    frame->length = kv_get32(input.data);
    frame->left = frame->length;
    kv_buffer_clear(&frame->head);
    return KV_FRAME_HEADER;
}

size_t kv_long_frame_take(struct kv_long_frame *frame, struct kv_bytes input)
{
    size_t taken = input.length < frame->left ? input.length : frame->left;
    size_t room = KV_HEAD_MAX - frame->head.length;
    kv_buffer_append(&frame->head, kv_bytes(input.data, taken < room ? taken : room));
    frame->left -= taken;
    return taken;
}
