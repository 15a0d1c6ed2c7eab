/* {transaction, [Request, ...]}: operations on single keys that are done together or not at all.
 *
 * Each operation sees those before it, since all of them read and change an overlay of the table.
 * An operation that fails ends the transaction, and the overlay is dropped. The size of the answer
 * is known before the table changes. */
#include "base/alloc.h"
#include "kv/bucket.h"
#include "kv/kv.h"
#include "kv/overlay.h"
#include "kv/requests.h"

enum { OPERATIONS_MAX = 1000, BYTES_MAX = 1 << 20 };
/* More bytes than the words of an answer take, {ok, [...]}. */
enum { ANSWER_AROUND = 16 };

struct transaction {
    struct kv_process *self;
    const struct kv_asked *asked;
    struct kv_answer *answer;
    struct kv_buffer space; /* the answer of one operation */
    uint64_t bytes;         /* of the answers so far */
    bool unfit;             /* they are more than the caller has room for */
};

/* Writes {error, {Step, Reason}} instead of the answer. `space` has {error, Reason}, or nothing,
 * which stands for {error, {bad_request, Request}}. */
static void write_failure(struct transaction *t, unsigned step, struct kv_bytes request)
{
    struct kv_buffer *to = t->answer->term;
    struct kv_reader reader = kv_reader(kv_buffer_bytes(&t->space));
    struct kv_bytes reason = kv_bytes(NULL, 0);
    kv_answer_drop(t->answer);
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "error");
    kv_write_tuple(to, 2);
    kv_write_u64(to, step);
    if (kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_this_atom(&reader, "error") == KV_OK &&
        kv_read_any(&reader, &reason) == KV_OK) {
        kv_write_term(to, reason);
    } else {
        kv_write_tuple(to, 2);
        kv_write_atom_text(to, "bad_request");
        kv_write_term(to, request);
    }
}

/* Runs one operation and appends its answer. Returns KV_OK, or an error with its reason in `space`.
 */
static int run(struct transaction *t, struct kv_bytes request)
{
    struct kv_bytes arguments[KV_ARGUMENTS_MAX];
    const struct kv_operation *operation =
        kv_request_find(&kv_store_of(t->self)->bucket, request, KV_BY_TRANSACTION, arguments);
    kv_buffer_clear(&t->space);
    if (operation == NULL) {
        return KV_ETYPE;
    }
    const struct kv_asked asked = {.arguments = arguments, .time = t->asked->time};
    struct kv_answer answer = {.term = &t->space};
    int error = operation->run(t->self, &asked, &answer);
    if (error != KV_OK) {
        return error;
    }
    t->bytes += t->space.length + answer.value.bytes.length;
    t->unfit = t->asked->room > 0 && t->bytes + ANSWER_AROUND > t->asked->room;
    if (t->unfit) {
        kv_answer_drop(&answer);
        return KV_ESIZE;
    }
    if (t->bytes > KV_ANSWER_MAX) {
        return kv_answer_too_large(&answer, t->bytes);
    }
    kv_buffer_append(t->answer->term, kv_buffer_bytes(&t->space));
    kv_buffer_append(t->answer->term, answer.value.bytes);
    return KV_OK;
}

static int run_all(struct transaction *t, struct kv_overlay *overlay, struct kv_reader *list,
                   unsigned count)
{
    struct kv_bytes request = kv_bytes(NULL, 0);
    for (unsigned step = 0; step < count; step++) {
        (void)kv_read_any(list, &request);
        kv_overlay_step(overlay, step);
        int error = run(t, request);
        if (error != KV_OK) {
            write_failure(t, step, request);
            return error;
        }
    }
    if (count > 0 && kv_read_nil(list) != KV_OK) {
        kv_answer_drop(t->answer);
        return KV_ETYPE;
    }
    kv_write_nil(t->answer->term);
    return KV_OK;
}

/* Makes the changes of the overlay. */
static int finish(struct transaction *t, struct kv_overlay *overlay)
{
    struct kv_answer answer = {.term = &t->space};
    unsigned step = 0;
    int error = kv_overlay_apply(overlay, &step);
    if (error != KV_OK) {
        (void)kv_answer_no_room(&answer, error);
        write_failure(t, step, kv_bytes(NULL, 0));
    }
    return error;
}

static int run_list(struct transaction *t, struct kv_reader *list, unsigned count)
{
    struct kv_bucket *bucket = kv_process_state(t->self);
    struct kv_overlay *overlay = kv_overlay_new(&bucket->contents, t->asked->arguments[0], count);
    kv_write_tuple(t->answer->term, 2);
    kv_write_atom_text(t->answer->term, "ok");
    if (count > 0) {
        kv_write_list(t->answer->term, count);
    }
    kv_contents_overlay(&bucket->contents, overlay);
    int error = run_all(t, overlay, list, count);
    kv_contents_overlay(&bucket->contents, NULL);
    if (error == KV_OK) {
        error = finish(t, overlay);
    }
    if (t->unfit) {
        kv_answer_drop(t->answer);
    }
    kv_overlay_free(overlay);
    kv_buffer_free(&t->space);
    return error;
}

static int transaction(struct kv_process *self, const struct kv_asked *asked,
                       struct kv_answer *answer)
{
    struct transaction t = {.self = self, .asked = asked, .answer = answer};
    struct kv_reader list = kv_reader(asked->arguments[0]);
    uint32_t count = 0;
    if (asked->arguments[0].length > BYTES_MAX) {
        return kv_answer_too_large(answer, asked->arguments[0].length);
    }
    if (kv_read_list(&list, &count) != KV_OK) {
        return KV_ETYPE;
    }
    return count > OPERATIONS_MAX ? kv_answer_excess(answer, "too_many_operations", count)
                                  : run_list(&t, &list, count);
}

/* ---- checks ------------------------------------------------------------------------------------
 */

static int answer_check(struct kv_answer *answer, bool holds)
{
    return holds ? kv_answer_atom(answer, "ok")
                 : kv_answer_refusal(answer, KV_ENOENT, "check_failed");
}

static int check_absent(struct kv_process *self, const struct kv_asked *asked,
                        struct kv_answer *answer)
{
    struct kv_item item;
    return answer_check(answer, !kv_bucket_look(self, asked->arguments[0], &item, NULL));
}

static int check(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    return answer_check(answer, kv_bucket_holds(self, asked->arguments[0], asked->arguments[1]));
}

const struct kv_operation kv_transaction_operations[] = {
    KV_OPERATION("transaction", 1, KV_BY_CALL, KV_CHANGES | KV_BOUNDED | KV_BY_KEY | KV_SIZED,
                 transaction, "0.2.0"),
    KV_OPERATION("check", 2, KV_BY_TRANSACTION, KV_BY_KEY, check, "0.2.0"),
    KV_OPERATION("check_absent", 1, KV_BY_TRANSACTION, KV_BY_KEY, check_absent, "0.2.0"),
    KV_NO_OPERATION,
};
