/* Operations that change one key, and that depend on or return the value that is there. */
#include "kv/bucket.h"
#include "kv/kv.h"

/* Puts the value in that argument if the key is as the operation wants it, and answers `true`. */
static int put_value(struct kv_process *self, const struct kv_asked *asked, unsigned value,
                     uint64_t expiry, struct kv_answer *answer)
{
    int error = kv_bucket_put(self, asked->arguments[0], asked->arguments[value], expiry);
    return error == KV_OK ? kv_answer_bool(answer, true) : kv_answer_no_room(answer, error);
}

/* ---- pop ---------------------------------------------------------------------------------------
 */

/* Begins the answer {ok, Value}. The value no longer depends on the table. */
static void answer_old(struct kv_process *self, struct kv_item item, struct kv_answer *answer)
{
    kv_write_tuple(answer->term, 2);
    kv_write_atom_text(answer->term, "ok");
    kv_bucket_answer(self, answer, item);
    kv_answer_settle(answer);
}

static int pop(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct kv_item item;
    if (!kv_bucket_look(self, asked->arguments[0], &item, NULL)) {
        return kv_answer_atom(answer, "error");
    }
    answer_old(self, item, answer);
    const struct kv_change gone = {.kind = KV_CHANGE_DELETE,
                                   .key = kv_bucket_key(self, asked->arguments[0])};
    (void)kv_contents_change(&bucket->contents, &gone);
    return KV_OK;
}

/* ---- swap, replace -----------------------------------------------------------------------------
 */

static int swap_until(struct kv_process *self, const struct kv_asked *asked, uint64_t expiry,
                      struct kv_answer *answer)
{
    struct kv_item item;
    bool there = !answer->unheard && kv_bucket_look(self, asked->arguments[0], &item, NULL);
    if (there) {
        answer_old(self, item, answer);
    }
    int error = kv_bucket_put(self, asked->arguments[0], asked->arguments[1], expiry);
    if (error != KV_OK) {
        return kv_answer_no_room(answer, error);
    }
    return there ? KV_OK : kv_answer_atom(answer, "error");
}

static int swap(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    return swap_until(self, asked, kv_bucket_default_expiry(self, asked), answer);
}

static int swap_for(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    return kv_bucket_for(self, asked, 2, swap_until, answer);
}

static int replace_until(struct kv_process *self, const struct kv_asked *asked, uint64_t expiry,
                         struct kv_answer *answer)
{
    struct kv_item item;
    return kv_bucket_look(self, asked->arguments[0], &item, NULL)
               ? put_value(self, asked, 1, expiry, answer)
               : kv_answer_bool(answer, false);
}

static int replace(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    return replace_until(self, asked, kv_bucket_default_expiry(self, asked), answer);
}

static int replace_for(struct kv_process *self, const struct kv_asked *asked,
                       struct kv_answer *answer)
{
    return kv_bucket_for(self, asked, 2, replace_until, answer);
}

/* ---- comparing ---------------------------------------------------------------------------------
 */

static int compare_and_put_until(struct kv_process *self, const struct kv_asked *asked,
                                 uint64_t expiry, struct kv_answer *answer)
{
    return kv_bucket_holds(self, asked->arguments[0], asked->arguments[1])
               ? put_value(self, asked, 2, expiry, answer)
               : kv_answer_bool(answer, false);
}

static int compare_and_put(struct kv_process *self, const struct kv_asked *asked,
                           struct kv_answer *answer)
{
    return compare_and_put_until(self, asked, kv_bucket_default_expiry(self, asked), answer);
}

static int compare_and_put_for(struct kv_process *self, const struct kv_asked *asked,
                               struct kv_answer *answer)
{
    return kv_bucket_for(self, asked, 3, compare_and_put_until, answer);
}

static int compare_and_delete(struct kv_process *self, const struct kv_asked *asked,
                              struct kv_answer *answer)
{
    return kv_answer_bool(answer, kv_bucket_holds(self, asked->arguments[0], asked->arguments[1]) &&
                                      kv_bucket_delete(self, asked->arguments[0]));
}

enum {
    CALL = KV_BY_CALL | KV_BY_TRANSACTION,
    EITHER = KV_BY_CALL | KV_BY_CAST | KV_BY_TRANSACTION,
    WRITES = KV_CHANGES | KV_BOUNDED | KV_BY_KEY | KV_BRIEF,
    TAKES = KV_CHANGES | KV_BOUNDED | KV_BY_KEY | KV_SHOWS,
};

const struct kv_operation kv_conditional_operations[] = {
    KV_OPERATION("pop", 1, CALL, TAKES, pop, "0.2.0"),
    KV_OPERATION("swap", 2, EITHER, TAKES, swap, "0.2.0"),
    KV_OPERATION("swap", 3, EITHER, TAKES, swap_for, "0.2.0"),
    KV_OPERATION("replace", 2, EITHER, WRITES, replace, "0.2.0"),
    KV_OPERATION("replace", 3, EITHER, WRITES, replace_for, "0.2.0"),
    KV_OPERATION("compare_and_put", 3, EITHER, WRITES, compare_and_put, "0.2.0"),
    KV_OPERATION("compare_and_put", 4, EITHER, WRITES, compare_and_put_for, "0.2.0"),
    KV_OPERATION("compare_and_delete", 2, EITHER, WRITES, compare_and_delete, "0.2.0"),
    KV_NO_OPERATION,
};
