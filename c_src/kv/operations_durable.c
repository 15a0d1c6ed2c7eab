/* Operations of a durable bucket as a whole. A volatile bucket has them, too. */
#include "kv/bucket.h"
#include "kv/durable.h"

/* Drops the data, and ends the process once the answer is on its way. */
static int destroy(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    (void)asked;
    if (bucket->contents.durable != NULL) {
        kv_durable_destroy(bucket->contents.durable);
    }
    kv_process_exit_atom(self, "normal");
    return kv_answer_atom(answer, "ok");
}

const struct kv_operation kv_durable_operations[] = {
    KV_OPERATION("destroy", 0, KV_BY_CALL, KV_CHANGES | KV_BOUNDED, destroy, "0.2.0"),
    KV_NO_OPERATION,
};
