/* Operations that change one key if its value is still the one that the caller has read. The VM
 * builds functions like `update` from these: it gets a value and its tag, runs the function, and
 * puts the result if the tag is still that of the value.
 *
 * A tag is a keyed hash of the stored value, made only when a request asks for it. Two different
 * values have the same tag once in 2^64. A value that was replaced and came back has the tag that
 * it had: nobody can tell the difference. The tag of an absent value is the atom `absent`. */
#include "kv/bucket.h"
#include "kv/kv.h"

static uint64_t tag_of(const struct kv_process *self, struct kv_item value)
{
    struct kv_hash_key key = kv_store_of(self)->hash_key;
    key.k1 ^= (uint64_t)value.form + 1; /* not the hash that places a key */
    return kv_siphash(&key, value.bytes);
}

/* Answers {tagged, Tag, Value}. */
static int answer_tagged(const struct kv_process *self, struct kv_item value,
                         struct kv_answer *answer)
{
    kv_write_tuple(answer->term, 3);
    kv_write_atom_text(answer->term, "tagged");
    kv_write_u64(answer->term, tag_of(self, value));
    kv_bucket_answer(self, answer, value);
    return KV_OK;
}

static int fetch(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    struct kv_item value;
    return kv_bucket_find_item(self, asked->arguments[0], &value)
               ? answer_tagged(self, value, answer)
               : kv_answer_atom(answer, "absent");
}

/* Returns true if the key has the value with the tag in the second argument. Otherwise writes the
 * answer of `fetch_tagged`, or {error, {bad_tag, Tag}}, and sets the result. */
static bool has_tag(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer,
                    int *result)
{
    struct kv_reader reader = kv_reader(asked->arguments[1]);
    bool absent = kv_term_is_atom(asked->arguments[1], "absent");
    uint64_t tag = 0;
    struct kv_item value;
    if (!absent && kv_read_u64(&reader, &tag) != KV_OK) {
        *result = kv_answer_error(answer, KV_ETYPE, "bad_tag", asked->arguments[1]);
        return false;
    }
    *result = KV_OK;
    if (!kv_bucket_look(self, asked->arguments[0], &value, NULL)) {
        *result = absent ? KV_OK : kv_answer_atom(answer, "absent");
        return absent;
    }
    if (absent || tag_of(self, value) != tag) {
        *result = answer_tagged(self, value, answer);
        return false;
    }
    return true;
}

static int put_until(struct kv_process *self, const struct kv_asked *asked, uint64_t expiry,
                     struct kv_answer *answer)
{
    int result = KV_OK;
    if (!has_tag(self, asked, answer, &result)) {
        return result;
    }
    const int error = kv_bucket_put(self, asked->arguments[0], asked->arguments[2], expiry);
    return error == KV_OK ? kv_answer_atom(answer, "ok") : kv_answer_no_room(answer, error);
}

static int put(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    return put_until(self, asked, kv_bucket_default_expiry(self, asked), answer);
}

static int put_for(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    return kv_bucket_for(self, asked, 3, put_until, answer);
}

static int delete (struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    int result = KV_OK;
    if (!has_tag(self, asked, answer, &result)) {
        return result;
    }
    (void)kv_bucket_delete(self, asked->arguments[0]);
    return kv_answer_atom(answer, "ok");
}

enum { CALL = KV_BY_CALL, WRITES = KV_CHANGES | KV_BOUNDED | KV_BY_KEY | KV_SHOWS };

const struct kv_operation kv_tagged_operations[] = {
    KV_OPERATION("fetch_tagged", 1, CALL, KV_BY_KEY | KV_SHOWS, fetch, "0.2.0"),
    KV_OPERATION("put_tagged", 3, CALL, WRITES, put, "0.2.0"),
    KV_OPERATION("put_tagged", 4, CALL, WRITES, put_for, "0.2.0"),
    KV_OPERATION("delete_tagged", 2, CALL, WRITES, delete, "0.2.0"),
    KV_NO_OPERATION,
};
