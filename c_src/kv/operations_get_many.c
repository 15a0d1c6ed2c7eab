/* `get_many`: the values of many keys in one message.
 *
 * A request of up to 1,024 keys and 256 KiB is answered at once, if its values have no more than
 * that. A larger one goes on in the next turns (going.h). All of it is of one moment. A request
 * with little room is measured first, so that no read of it counts if it must come again. */
#include "kv/bucket.h"
#include "kv/going.h"
#include "kv/items.h"

/* A request that goes on. */
struct reading {
    struct kv_items items;
    struct kv_bytes absent;
    size_t bytes; /* of values */
};

/* Appends the value of each key of a batch, or `absent`, and adds their bytes. Stops behind the
 * value with which `to` has `most` bytes. Returns the number of keys that are done. The list may
 * repeat a key, so the bucket's size does not bound the answer: values above the limit are only
 * counted. */
static unsigned write_batch(struct kv_process *self, const struct kv_batch *batch,
                            struct kv_bytes absent, size_t most, struct kv_buffer *to,
                            size_t *bytes)
{
    const struct kv_item none = {.bytes = absent, .form = KV_FORM_TERM};
    const struct kv_bucket *bucket = kv_process_const_state(self);
    for (unsigned i = 0; i < batch->count; i++) {
        const struct kv_lookup *want = batch->found[i];
        struct kv_item value;
        if (want != NULL ? !kv_contents_find_at(&bucket->contents, want, &value)
                         : !kv_bucket_find_item(self, batch->keys[i], &value)) {
            value = none;
        }
        *bytes += kv_item_size(value);
        if (*bytes <= KV_ANSWER_MAX) {
            kv_write_item(to, value);
        }
        if (to->length >= most) {
            return i + 1;
        }
    }
    return batch->count;
}

/* Adds the bytes of the values of all keys that are left. No read in the sense of `touch_on_read`
 * and of statistics. */
static void measure_values(struct kv_process *self, struct kv_items *items, struct kv_bytes absent,
                           size_t *bytes)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct kv_batch batch;
    while (kv_items_next_keys(bucket->contents.table, items, &batch)) {
        for (unsigned i = 0; i < batch.count; i++) {
            uint64_t expiry;
            struct kv_item value;
            const struct kv_item key =
                batch.found[i] != NULL ? batch.found[i]->key : kv_bucket_key(self, batch.keys[i]);
            *bytes += kv_contents_look(&bucket->contents, key, &value, &expiry)
                          ? kv_item_size(value)
                          : absent.length;
        }
    }
}

/* Returns true if the answer fits. */
static bool has_room(struct kv_process *self, const struct kv_asked *asked,
                     const struct kv_items *keys, struct kv_bytes absent)
{
    struct kv_items items = *keys;
    size_t bytes = KV_LONG_HEADER + 1; /* of a list */
    if (asked->room > 0) {
        measure_values(self, &items, absent, &bytes);
    }
    return asked->room == 0 || bytes <= asked->room;
}

/* Ends the list of values, or replaces it by an error. */
static int end_values(const struct kv_items *keys, struct kv_bytes argument, size_t bytes,
                      struct kv_answer *answer)
{
    if (!kv_items_end_properly(keys)) {
        return kv_answer_error(answer, KV_ETYPE, "bad_keys", argument);
    }
    if (bytes > KV_ANSWER_MAX) {
        return kv_answer_too_large(answer, bytes);
    }
    kv_write_nil(answer->term);
    return KV_OK;
}

static bool get_piece(struct kv_process *self, struct kv_going *going, struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct reading *reading = going->work;
    const size_t most = answer->term->length + KV_PIECE_BYTES;
    struct kv_batch batch;
    for (unsigned i = 0; i < KV_PIECE_KEYS / KV_BATCH && answer->term->length < most; i++) {
        struct kv_items here = reading->items;
        if (!kv_items_next_keys(bucket->contents.table, &reading->items, &batch)) {
            kv_table_thaw(bucket->contents.table);
            (void)end_values(&reading->items, going->arguments[0], reading->bytes, answer);
            return false;
        }
        const unsigned done =
            write_batch(self, &batch, reading->absent, most, answer->term, &reading->bytes);
        if (done < batch.count) {
            (void)kv_items_skip(&here, done, SIZE_MAX);
            reading->items = here;
        }
    }
    return true;
}

/* `absent` is the second argument if it is `given`, else it outlives the request. */
static struct kv_going *get_long(struct kv_process *self, const struct kv_asked *asked,
                                 struct kv_bytes absent, bool given, struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct kv_going *going =
        kv_go_on(self, asked, given ? 2 : 1, answer, get_piece, sizeof(struct reading));
    struct reading *reading = going->work;
    (void)kv_items_open_list(going->arguments[0], &reading->items);
    reading->absent = given ? going->arguments[1] : absent;
    kv_table_freeze(bucket->contents.table);
    return going;
}

/* A short list of keys with large values: goes on from `here`, behind values with so many bytes,
 * which the answer holds. */
static int get_rest(struct kv_process *self, const struct kv_asked *asked,
                    const struct kv_items *here, struct kv_bytes absent, bool given, size_t bytes,
                    struct kv_answer *answer)
{
    struct kv_items rest = *here;
    size_t sum = bytes;
    measure_values(self, &rest, absent, &sum);
    if (sum > KV_ANSWER_MAX) {
        return end_values(&rest, asked->arguments[0], sum, answer);
    }
    struct kv_going *going = get_long(self, asked, absent, given, answer);
    struct reading *reading = going->work;
    const uint8_t *keys = going->arguments[0].data;
    reading->items = *here;
    reading->items.next = keys + (here->next - asked->arguments[0].data);
    reading->items.end = keys + going->arguments[0].length;
    reading->bytes = bytes;
    kv_buffer_append(&going->answer, kv_buffer_bytes(answer->term));
    kv_answer_drop(answer);
    return KV_OK;
}

static int answer_values(struct kv_process *self, const struct kv_asked *asked,
                         struct kv_bytes absent, bool given, struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct kv_items keys;
    if (!kv_items_open_list(asked->arguments[0], &keys) || /* a refused request is no read */
        (bucket->touch_on_read && !kv_items_are_list(asked->arguments[0]))) {
        return kv_answer_error(answer, KV_ETYPE, "bad_keys", asked->arguments[0]);
    }
    if (kv_is_long(keys.left, asked->arguments[0].length)) {
        struct kv_going *going = get_long(self, asked, absent, given, answer);
        if (keys.left > 0) {
            kv_write_list(&going->answer, keys.left);
        }
        return KV_OK;
    }
    if (!has_room(self, asked, &keys, absent)) {
        return KV_ESIZE;
    }
    struct kv_batch batch;
    size_t bytes = 0;
    if (keys.left > 0) {
        kv_write_list(answer->term, keys.left);
    }
    struct kv_items here = keys;
    while (kv_items_next_keys(bucket->contents.table, &keys, &batch)) {
        const unsigned done =
            write_batch(self, &batch, absent, KV_AT_ONCE_BYTES, answer->term, &bytes);
        if (done < batch.count) {
            (void)kv_items_skip(&here, done, SIZE_MAX);
            return get_rest(self, asked, &here, absent, given, bytes, answer);
        }
        here = keys;
    }
    return end_values(&keys, asked->arguments[0], bytes, answer);
}

static int get(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    static const uint8_t nil[] = {KV_TAG_SMALL_ATOM_UTF8, 3, 'n', 'i', 'l'};
    return answer_values(self, asked, kv_bytes(nil, sizeof nil), false, answer);
}

static int get_or(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    return answer_values(self, asked, asked->arguments[1], true, answer);
}

const struct kv_operation kv_get_many_operations[] = {
    KV_OPERATION("get_many", 1, KV_BY_CALL, KV_CONTINUES | KV_BY_KEY | KV_SIZED, get, "0.1.0"),
    KV_OPERATION("get_many", 2, KV_BY_CALL, KV_CONTINUES | KV_BY_KEY | KV_SIZED, get_or, "0.1.0"),
    KV_NO_OPERATION,
};
