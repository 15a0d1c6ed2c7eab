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

/* The owner's function has filled the bucket: from now on its entries are all that the owner has.
 */
static int filled(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct kv_durable *durable = bucket->contents.durable;
    (void)asked;
    if (durable == NULL) {
        return kv_answer_atom(answer, "ok");
    }
    struct kv_stored options = durable->options;
    options.unfilled = false;
    const int error = kv_durable_set_options(durable, durable->policy, &options);
    return error == KV_OK ? kv_answer_atom(answer, "ok") : kv_answer_no_room(answer, error);
}

const struct kv_operation kv_durable_operations[] = {
    KV_OPERATION("destroy", 0, KV_BY_CALL, KV_CHANGES | KV_BOUNDED, destroy, "0.2.0"),
    KV_OPERATION("filled", 0, KV_BY_CALL, KV_CHANGES | KV_BOUNDED, filled, "0.2.0"),
    KV_NO_OPERATION,
};
