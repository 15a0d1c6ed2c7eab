/* Callbacks that run within another callback: kv_spawn() runs an init, kv_replace_owned() a
 * terminate. Each level has a scratch buffer of its own, and keeps it for the next time. */
#ifndef KV_PROCESS_FRAME_H
#define KV_PROCESS_FRAME_H

#include <kv/process.h>

struct kv_frame {
    struct kv_buffer scratch;
    struct kv_frame *outer; /* NULL: the callback is the outermost */
    struct kv_frame *inner; /* owned; NULL until a callback ran that deep */
};

/* Call these before and after a callback that may run within another one. */
void kv_frame_enter(struct kv_runtime *runtime);
void kv_frame_leave(struct kv_runtime *runtime);

void kv_frames_free(struct kv_runtime *runtime);

#endif
