/* A call by name at work, in the process that was started for it: a part of erpc.c and rex.c. */
#ifndef KV_OBSERVE_WORK_H
#define KV_OBSERVE_WORK_H

#include "observe/functions.h"

/* The state of the process. */
struct kv_work {
    struct kv_inquiry inquiry;
    struct kv_buffer to; /* a term with the address of the answer */
    bool block;          /* rex: `to` is a From */
};

/* The two ways in which a call ends. Both end the process. */
struct kv_work_ends {
    void (*value)(struct kv_process *self, struct kv_bytes value);
    /* The function exits with `reason`. */
    void (*exits)(struct kv_process *self, struct kv_bytes reason);
};

/* Works at an inquiry for one turn, and ends the call once it is done. */
void kv_work_on(struct kv_process *self, const struct kv_work_ends *ends);

/* For handle_info, handle_down and handle_timer: the answer to the question of the inquiry, the end
 * of the process that was asked, and its time-out. Any other message is ignored. */
void kv_work_info(struct kv_process *self, struct kv_bytes message,
                  const struct kv_work_ends *ends);
void kv_work_down(struct kv_process *self, struct kv_bytes reason, const struct kv_work_ends *ends);
void kv_work_timer(struct kv_process *self, uint64_t tag, const struct kv_work_ends *ends);

/* Frees the state: terminate. */
void kv_work_terminate(struct kv_process *self, struct kv_bytes reason);

/* Reads Module, Function, Args. KV_ETYPE if the first two are no atoms. */
int kv_work_read(struct kv_reader *reader, struct kv_invocation *call);

/* Appends [{Module, Function, Args, []}]: the stack of a call that did not run. Large arguments are
 * replaced by their number. Appends [] if the call was not read. */
void kv_work_write_stack(struct kv_buffer *to, const struct kv_invocation *call);

/* Returns the reason for an error of kv_function_apply(). */
const char *kv_work_reason(int error);

#endif
