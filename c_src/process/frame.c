#include "process/frame.h"

#include "base/alloc.h"
#include "process/state.h"

void kv_frame_enter(struct kv_runtime *runtime)
{
    struct kv_frame *outer = runtime->frame;
    if (outer->inner == NULL) {
        outer->inner = kv_zalloc(sizeof *outer->inner);
        outer->inner->outer = outer;
    }
    runtime->frame = outer->inner;
}

void kv_frame_leave(struct kv_runtime *runtime)
{
    runtime->frame = runtime->frame->outer;
}

void kv_frames_free(struct kv_runtime *runtime)
{
    struct kv_frame *frame = &runtime->outermost;
    kv_buffer_free(&frame->scratch);
    for (frame = frame->inner; frame != NULL;) {
        struct kv_frame *inner = frame->inner;
        kv_buffer_free(&frame->scratch);
        kv_free(frame);
        frame = inner;
    }
}
