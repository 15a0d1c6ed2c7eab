/* Operations on the time to live of one key. An entry stores only the instant of its end, by
 * kv_arena_time(). */
#include "kv/bucket.h"
#include "kv/kv.h"

static int ttl(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    uint64_t expiry = KV_NEVER;
    if (!kv_contents_expiry(&bucket->contents, kv_bucket_key(self, asked->arguments[0]), &expiry)) {
        return kv_answer_atom(answer, "error");
    }
    kv_write_tuple(answer->term, 2);
    kv_write_atom_text(answer->term, "ok");
    return expiry == KV_NEVER ? kv_answer_atom(answer, "infinity")
                              : kv_answer_number(answer, expiry - asked->time);
}

/* Gives the key an expiry, and answers `true`, or `false` if there is no such key. */
static int end_at(struct kv_process *self, const struct kv_asked *asked, uint64_t expiry,
                  struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    int error = kv_contents_change(
        &bucket->contents, &(struct kv_change){.kind = KV_CHANGE_EXPIRY,
                                               .key = kv_bucket_key(self, asked->arguments[0]),
                                               .expiry = expiry});
    return error == KV_OK || error == KV_ENOENT ? kv_answer_bool(answer, error == KV_OK)
                                                : kv_answer_no_room(answer, error);
}

static int expire(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    const struct kv_bytes ms = asked->arguments[1];
    uint64_t expiry = KV_NEVER;
    return kv_bucket_expiry(self, asked, ms, &expiry) && (expiry & KV_KEEPING) == 0
               ? end_at(self, asked, expiry, answer)
               : kv_bucket_bad_ttl(answer, ms);
}

/* The time is converted once, now: a later step of the wall clock does not move the expiry. */
static int expire_at(struct kv_process *self, const struct kv_asked *asked,
                     struct kv_answer *answer)
{
    const struct kv_store *store = kv_store_of(self);
    struct kv_reader reader = kv_reader(asked->arguments[1]);
    int64_t at = 0;
    if (store->unix_time == NULL || kv_read_i64(&reader, &at) != KV_OK) {
        return kv_answer_error(answer, KV_ERANGE, "bad_time", asked->arguments[1]);
    }
    const uint64_t now = store->unix_time();
    if (at < 0 || (uint64_t)at <= now) {
        return kv_answer_bool(answer, kv_bucket_delete(self, asked->arguments[0]));
    }
    return (uint64_t)at - now <= KV_TTL_MAX
               ? end_at(self, asked, asked->time + ((uint64_t)at - now), answer)
               : kv_answer_error(answer, KV_ERANGE, "bad_time", asked->arguments[1]);
}

static int persist(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    return end_at(self, asked, KV_NEVER, answer);
}

/* Counts as a use. An entry that never expires, and each entry of a bucket without a default, keeps
 * its expiry. */
static int touch(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    const uint64_t again = kv_bucket_default_expiry(self, asked);
    struct kv_item item;
    uint64_t expiry = KV_NEVER;
    if (!kv_bucket_look(self, asked->arguments[0], &item, &expiry)) {
        return kv_answer_bool(answer, false);
    }
    return again == KV_NEVER || expiry == KV_NEVER ? kv_answer_bool(answer, true)
                                                   : end_at(self, asked, again, answer);
}

enum {
    EITHER = KV_BY_CALL | KV_BY_CAST | KV_BY_TRANSACTION,
    WRITES = KV_CHANGES | KV_BOUNDED | KV_BY_KEY | KV_BRIEF,
};

const struct kv_operation kv_time_operations[] = {
    KV_OPERATION("ttl", 1, KV_BY_CALL | KV_BY_TRANSACTION, KV_BY_KEY | KV_BRIEF, ttl, "0.2.0"),
    KV_OPERATION("expire", 2, EITHER, WRITES, expire, "0.2.0"),
    KV_OPERATION("expire_at", 2, EITHER, WRITES, expire_at, "0.2.0"),
    KV_OPERATION("persist", 1, EITHER, WRITES, persist, "0.2.0"),
    KV_OPERATION("touch", 1, EITHER, WRITES, touch, "0.2.0"),
    KV_NO_OPERATION,
};
