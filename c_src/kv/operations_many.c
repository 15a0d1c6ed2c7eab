/* Operations on many keys in one message.
 *
 * A request is checked before it changes anything, so a malformed request does nothing. A request
 * of up to 1,024 keys and 256 KiB runs to its end before the node handles another message: some 20
 * us for a thousand keys. A larger one goes on in the next turns (going.h). The size of a message
 * bounds the number of keys. */
#include "base/endian.h"
#include "kv/bucket.h"
#include "kv/going.h"

#include <kv/stride.h>

/* ---- lists -------------------------------------------------------------------------------------
 * A list of small integers comes as a string. next_item() makes a term of each element. */

enum { STRING_HEADER = 3 };

struct items {
    const uint8_t *next;
    const uint8_t *end; /* of the whole term */
    uint32_t left;
    bool string;
    bool map;
    uint8_t element[2];
    struct kv_stride stride;
};

static bool open_list(struct kv_bytes term, struct items *items)
{
    struct kv_reader reader = kv_reader(term);
    items->map = false;
    items->stride = (struct kv_stride){0};
    items->end = term.data + term.length;
    items->string = term.data[0] == KV_TAG_STRING;
    if (items->string) {
        items->left = kv_get16(term.data + 1);
        items->next = term.data + STRING_HEADER;
        return true;
    }
    bool is_list = kv_read_list(&reader, &items->left) == KV_OK;
    items->next = term.data + reader.offset;
    return is_list;
}

static inline struct kv_bytes next_term(struct items *items)
{
    struct kv_bytes term = kv_bytes(items->next, kv_term_size(items->next));
    items->next += term.length;
    return term;
}

/* Returns the next element. Valid until the next call. */
static inline struct kv_bytes next_item(struct items *items)
{
    items->left--;
    if (items->string) {
        items->element[0] = KV_TAG_SMALL_INTEGER;
        items->element[1] = *items->next++;
        return kv_bytes(items->element, sizeof items->element);
    }
    const uint8_t *item = items->next;
    if (kv_stride_fits(&items->stride, item, items->end)) {
        items->next += items->stride.size;
        return kv_bytes(item, items->stride.size);
    }
    const struct kv_bytes term = next_term(items);
    kv_stride_take(&items->stride, item, items->next, items->end);
    return term;
}

/* Behind the last element: returns true if the list ends with nil, or is a string. */
static bool ends_properly(const struct items *items)
{
    struct kv_reader rest = kv_reader(kv_bytes(items->next, (size_t)(items->end - items->next)));
    return kv_reader_at_end(&rest) || kv_read_nil(&rest) == KV_OK;
}

/* Skips up to `most` elements and some `bytes`. Returns true if there are more. */
static bool skip_items(struct items *items, unsigned most, size_t bytes)
{
    const uint8_t *begin = items->next;
    for (; items->left > 0 && most > 0 && (size_t)(items->next - begin) < bytes; most--) {
        (void)next_item(items);
    }
    return items->left > 0;
}

static bool is_proper_list(struct kv_bytes term)
{
    struct items items;
    if (!open_list(term, &items)) {
        return false;
    }
    while (skip_items(&items, UINT32_MAX, SIZE_MAX)) {
    }
    return ends_properly(&items);
}

/* ---- entries: a list of pairs, or a map ----------------------------------------------------- */

/* Returns the first element of a pair, or NULL if the term is no pair. Reads the byte behind the
 * tag only if the tag is one of a tuple, since other terms may be one byte long. */
static inline const uint8_t *into_pair(const uint8_t *element)
{
    if (element[0] == KV_TAG_SMALL_TUPLE) {
        return element[1] == 2 ? element + KV_STRIDE_PAIR : NULL;
    }
    bool is_pair = element[0] == KV_TAG_LARGE_TUPLE && kv_get32(element + 1) == 2;
    return is_pair ? element + KV_LONG_HEADER : NULL;
}

/* Takes the next entry of a list or map that are_entries() accepted. */
static inline void next_entry(struct items *items, struct kv_bytes *key, struct kv_bytes *value)
{
    const struct kv_stride *stride = &items->stride;
    const uint8_t *pair = items->next;
    items->left--;
    if (kv_stride_fits(stride, pair, items->end)) {
        *key = kv_bytes(pair + KV_STRIDE_PAIR, stride->value_at - KV_STRIDE_PAIR);
        *value = kv_bytes(pair + stride->value_at, stride->size - stride->value_at);
        items->next += stride->size;
        return;
    }
    if (!items->map) {
        items->next = into_pair(pair);
    }
    *key = next_term(items);
    *value = next_term(items);
    if (!items->map) {
        kv_stride_take(&items->stride, pair, items->next, items->end);
    }
}

/* Skips up to `most` pairs and some `bytes`. Returns false in front of an element that is none. */
static bool skip_pairs(struct items *items, unsigned most, size_t bytes)
{
    const uint8_t *begin = items->next;
    const uint8_t *next = begin;
    for (; items->left > 0 && most > 0 && (size_t)(next - begin) < bytes; most--, items->left--) {
        const uint8_t *pair = next;
        if (kv_stride_fits(&items->stride, pair, items->end)) {
            next += items->stride.size;
            continue;
        }
        next = into_pair(pair);
        if (next == NULL) {
            return false;
        }
        next += kv_term_size(next);
        next += kv_term_size(next);
        kv_stride_take(&items->stride, pair, next, items->end);
    }
    items->next = next;
    return true;
}

static bool are_entries(struct kv_bytes term)
{
    struct items items;
    return term.data[0] == KV_TAG_MAP ||
           (open_list(term, &items) && (!items.string || items.left == 0) &&
            skip_pairs(&items, UINT32_MAX, SIZE_MAX) && ends_properly(&items));
}

static void open_entries(struct kv_bytes entries, struct items *items)
{
    struct kv_reader reader = kv_reader(entries);
    if (kv_read_map(&reader, &items->left) != KV_OK) {
        (void)open_list(entries, items);
        return;
    }
    items->next = entries.data + reader.offset;
    items->end = entries.data + entries.length;
    items->string = false;
    items->map = true;
    items->stride = (struct kv_stride){0};
}

/* ---- batches -----------------------------------------------------------------------------------
 * kv_table_look_ahead() prefetches the memory for all keys of a batch, so that the cache misses
 * overlap. */

enum { BATCH = 64 };

struct batch {
    struct kv_bytes keys[BATCH];
    struct kv_bytes values[BATCH];
    uint8_t elements[BATCH][2]; /* the keys, if the list is a string */
    unsigned count;
    unsigned wanted;
    const struct kv_lookup *found[BATCH]; /* NULL: the key is not canonical yet */
    struct kv_lookup wants[BATCH];
};

static inline void begin_batch(const struct items *items, struct batch *batch)
{
    batch->count = items->left < BATCH ? items->left : BATCH;
    batch->wanted = 0;
}

static inline void add_key(struct batch *batch, unsigned i, struct kv_bytes key)
{
    batch->keys[i] = key;
    batch->found[i] = NULL;
    if (kv_term_is_canonical(key)) {
        struct kv_lookup *want = &batch->wants[batch->wanted++];
        want->key = kv_item_of_key(key);
        batch->found[i] = want;
    }
}

/* Takes the next keys of a list. Returns false if there are no more. */
static bool next_keys(const struct kv_bucket *bucket, struct items *items, struct batch *batch)
{
    begin_batch(items, batch);
    for (unsigned i = 0; i < batch->count; i++) {
        struct kv_bytes key = next_item(items);
        if (items->string) {
            memcpy(batch->elements[i], key.data, sizeof batch->elements[i]);
            key.data = batch->elements[i];
        }
        add_key(batch, i, key);
    }
    kv_table_look_ahead(bucket->contents.table, batch->wants, batch->wanted);
    return batch->count > 0;
}

static bool next_entries(const struct kv_bucket *bucket, struct items *items, struct batch *batch)
{
    begin_batch(items, batch);
    const uint8_t *begin = items->next;
    for (unsigned i = 0; i < batch->count; i++) {
        struct kv_bytes key;
        next_entry(items, &key, &batch->values[i]);
        add_key(batch, i, key);
        if (items->next - begin > KV_PIECE_BYTES) {
            batch->count = i + 1;
        }
    }
    kv_table_look_ahead(bucket->contents.table, batch->wants, batch->wanted);
    return batch->count > 0;
}

static int put_batch(struct kv_process *self, const struct batch *batch, uint64_t expiry)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    int error = KV_OK;
    for (unsigned i = 0; i < batch->count && error == KV_OK; i++) {
        const struct kv_change change = {.kind = KV_CHANGE_PUT,
                                         .ahead = batch->found[i],
                                         .value = kv_item_of_value(batch->values[i]),
                                         .expiry = expiry};
        error = change.ahead != NULL
                    ? kv_contents_change(&bucket->contents, &change)
                    : kv_bucket_put(self, batch->keys[i], batch->values[i], expiry);
    }
    return error;
}

/* Holds the keys of a batch. Returns the bytes of its keys and values. */
static uint64_t hold_batch(struct kv_process *self, const struct batch *batch)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct kv_table *table = bucket->contents.table;
    uint64_t bytes = 0;
    for (unsigned i = 0; i < batch->count; i++) {
        const struct kv_lookup *want = batch->found[i];
        const struct kv_bytes key =
            want != NULL ? want->key.bytes : kv_bucket_key(self, batch->keys[i]).bytes;
        kv_table_hold(table, want != NULL ? want->hash : kv_table_hash(table, key));
        bytes += key.length + kv_item_of_value(batch->values[i]).bytes.length;
    }
    return bytes;
}

/* Once all keys are held: returns an error if no eviction makes room for them. The bytes count only
 * if no key comes twice, as the last value of a key may be shorter. */
static int judge_held(const struct kv_table *table, uint64_t keys, uint64_t bytes)
{
    const uint64_t held = kv_table_held(table);
    return kv_table_fits(table, held, held == keys ? bytes : 0);
}

/* No put may evict an entry whose key comes later: it may keep its expiry. Returns KV_OK, or an
 * error if the entries fit in under no circumstances: then nothing should be evicted. */
static int hold_entries(struct kv_process *self, struct kv_bytes entries)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct kv_table *table = bucket->contents.table;
    struct items items;
    struct batch batch;
    uint64_t bytes = 0;
    open_entries(entries, &items);
    const uint32_t keys = items.left;
    if (!kv_table_evicts(table)) {
        return KV_OK;
    }
    while (next_entries(bucket, &items, &batch)) {
        bytes += hold_batch(self, &batch);
    }
    return judge_held(table, keys, bytes);
}

/* Puts entries in order, so that a later entry replaces an earlier one of the same key. All are put
 * or none. */
static int put_entries(struct kv_process *self, struct kv_bytes entries, uint64_t expiry)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct kv_table *table = bucket->contents.table;
    int error = KV_OK;
    struct items items;
    struct batch batch;
    open_entries(entries, &items);
    const bool surely = kv_table_has_room(table, items.left, entries.length);
    kv_table_begin_changes(table);
    if (!surely) {
        kv_table_begin_all(table, items.left);
        error = hold_entries(self, entries);
    }
    while (error == KV_OK && next_entries(bucket, &items, &batch)) {
        error = put_batch(self, &batch, expiry);
    }
    while (!surely && kv_table_end_all(table, error == KV_OK, UINT32_MAX)) {
    }
    kv_table_end_changes(table);
    return error;
}

static size_t delete_batch(struct kv_process *self, const struct batch *batch)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    size_t deleted = 0;
    for (unsigned i = 0; i < batch->count; i++) {
        const struct kv_change change = {.kind = KV_CHANGE_DELETE, .ahead = batch->found[i]};
        bool there = change.ahead != NULL ? kv_contents_change(&bucket->contents, &change) == KV_OK
                                          : kv_bucket_delete(self, batch->keys[i]);
        deleted += there ? 1 : 0;
    }
    return deleted;
}

static size_t delete_keys(struct kv_process *self, struct kv_bytes keys)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    size_t deleted = 0;
    struct items items;
    struct batch batch;
    (void)open_list(keys, &items);
    kv_table_begin_changes(bucket->contents.table);
    while (next_keys(bucket, &items, &batch)) {
        deleted += delete_batch(self, &batch);
    }
    kv_table_end_changes(bucket->contents.table);
    return deleted;
}

/* Returns true if the bucket has one of the keys. */
static bool has_batch(struct kv_process *self, const struct batch *batch)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    /* A check is no read in the sense of `touch_on_read`. */
    const bool touches = kv_table_touched(bucket->contents.table) != KV_NEVER;
    struct kv_item value;
    for (unsigned i = 0; i < batch->count; i++) {
        const struct kv_lookup *want = batch->found[i];
        if (want != NULL && !touches ? kv_contents_find_at(&bucket->contents, want, &value)
                                     : kv_bucket_look(self, batch->keys[i], &value, NULL)) {
            return true;
        }
    }
    return false;
}

/* ---- the operations ----------------------------------------------------------------------------
 */

/* Appends the value of each key of a batch, or `absent`, and adds their bytes. The list may repeat
 * a key, so the bucket's size does not bound the answer: values above the limit are only counted.
 */
static void write_batch(struct kv_process *self, const struct batch *batch, struct kv_bytes absent,
                        struct kv_buffer *to, size_t *bytes)
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
    }
}

/* Ends the list of values, or replaces it by an error. */
static int end_values(const struct items *keys, struct kv_bytes argument, size_t bytes,
                      struct kv_answer *answer)
{
    if (!ends_properly(keys)) {
        return kv_answer_error(answer, KV_ETYPE, "bad_keys", argument);
    }
    if (bytes > KV_ANSWER_MAX) {
        return kv_answer_too_large(answer, bytes);
    }
    kv_write_nil(answer->term);
    return KV_OK;
}

/* ---- requests that go on -----------------------------------------------------------------------
 * The bucket takes no message meanwhile. Readers of this host ask the owner while something
 * changes. Nothing expires, so all of a request is of one moment. */

struct long_work {
    struct items items;
    struct kv_bytes absent; /* get_many */
    uint64_t expiry;        /* put_many, put_new_many */
    size_t count;           /* of deleted keys, or the bytes of values or of entries */
    int error;
    bool checking; /* the list, before anything changes */
    bool is_new;   /* put_new_many, */
    bool looking;  /* which looks for the keys first */
    bool there;    /* one was found */
    bool holding;  /* the keys, as there may be too many to fit in */
    bool ending;
};

static bool get_piece(struct kv_process *self, struct kv_going *going, struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct long_work *work = going->work;
    const size_t most = answer->term->length + KV_PIECE_BYTES;
    struct batch batch;
    for (unsigned i = 0; i < KV_PIECE_KEYS / BATCH && answer->term->length < most; i++) {
        if (!next_keys(bucket, &work->items, &batch)) {
            kv_table_thaw(bucket->contents.table);
            (void)end_values(&work->items, going->arguments[0], work->count, answer);
            return false;
        }
        write_batch(self, &batch, work->absent, answer->term, &work->count);
    }
    return true;
}

/* So many keys are checked in one turn: some 0.1 ms. */
enum { CHECKED_KEYS = 8 * KV_PIECE_KEYS, CHECKED_BYTES = 8 * KV_PIECE_BYTES };

static void begin_puts(struct kv_table *table, struct kv_going *going)
{
    struct long_work *work = going->work;
    work->checking = false;
    open_entries(going->arguments[0], &work->items);
    kv_table_begin_changes(table);
    kv_table_begin_all(table, work->items.left);
    work->holding = kv_table_evicts(table) &&
                    kv_table_fits(table, work->items.left, going->arguments[0].length) != KV_OK;
}

/* Checks some keys, and begins to delete them once all are checked. */
static bool check_keys(struct kv_process *self, struct kv_going *going, struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct long_work *work = going->work;
    if (skip_items(&work->items, CHECKED_KEYS, CHECKED_BYTES)) {
        return true;
    }
    if (!ends_properly(&work->items)) {
        (void)kv_answer_error(answer, KV_ETYPE, "bad_keys", going->arguments[0]);
        return false;
    }
    work->checking = false;
    (void)open_list(going->arguments[0], &work->items);
    kv_table_begin_changes(bucket->contents.table);
    kv_table_freeze(bucket->contents.table);
    return true;
}

static bool delete_piece(struct kv_process *self, struct kv_going *going, struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct long_work *work = going->work;
    struct batch batch;
    if (work->checking) {
        return check_keys(self, going, answer);
    }
    for (unsigned i = 0; i < KV_PIECE_KEYS / BATCH; i++) {
        if (!next_keys(bucket, &work->items, &batch)) {
            kv_table_thaw(bucket->contents.table);
            kv_table_end_changes(bucket->contents.table);
            (void)kv_answer_number(answer, work->count);
            return false;
        }
        work->count += delete_batch(self, &batch);
    }
    return true;
}

/* Checks some entries, and begins to put them once all are checked. */
static bool check_entries(struct kv_process *self, struct kv_going *going, struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct kv_table *table = bucket->contents.table;
    struct long_work *work = going->work;
    const bool are_pairs = skip_pairs(&work->items, CHECKED_KEYS, CHECKED_BYTES);
    if (are_pairs && work->items.left > 0) {
        return true;
    }
    if (!are_pairs || !ends_properly(&work->items)) {
        (void)kv_answer_error(answer, KV_ETYPE, "bad_entries", going->arguments[0]);
        return false;
    }
    begin_puts(table, going);
    return true;
}

/* Looks for some of the keys, holds some, or puts some. Returns false behind the last one, and at
 * an error. */
static bool put_some(struct kv_process *self, struct long_work *work)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    const uint8_t *begin = work->items.next;
    struct batch batch;
    for (unsigned i = 0; i < KV_PIECE_KEYS / BATCH && work->items.next - begin < KV_PIECE_BYTES;
         i++) {
        if (!next_entries(bucket, &work->items, &batch)) {
            return false;
        }
        if (work->looking) {
            work->there = has_batch(self, &batch);
        } else if (work->holding) {
            work->count += hold_batch(self, &batch);
        } else {
            work->error = put_batch(self, &batch, work->expiry);
        }
        if (work->there || work->error != KV_OK) {
            return false;
        }
    }
    return true;
}

/* Behind the last key: begins to hold them, or to put them. Returns false if nothing is to be put,
 * or all is. */
static bool begin_next(const struct kv_table *table, struct kv_going *going)
{
    struct long_work *work = going->work;
    if (work->there || work->error != KV_OK || !(work->looking || work->holding)) {
        return false;
    }
    open_entries(going->arguments[0], &work->items);
    if (work->looking) {
        work->looking = false;
    } else {
        work->holding = false;
        work->error = judge_held(table, work->items.left, work->count);
    }
    return work->error == KV_OK;
}

static bool put_piece(struct kv_process *self, struct kv_going *going, struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct kv_table *table = bucket->contents.table;
    struct long_work *work = going->work;
    if (work->checking) {
        return check_entries(self, going, answer);
    }
    if (!work->ending && put_some(self, work)) {
        return true;
    }
    if (!work->ending && begin_next(table, going)) {
        return true;
    }
    work->ending = true;
    if (kv_table_end_all(table, work->error == KV_OK, KV_PIECE_KEYS)) {
        return true;
    }
    kv_table_end_changes(table);
    if (work->error != KV_OK) {
        (void)kv_answer_no_room(answer, work->error);
    } else if (work->is_new) {
        (void)kv_answer_bool(answer, !work->there);
    } else {
        (void)kv_answer_atom(answer, "ok");
    }
    return false;
}

static int put_long(struct kv_process *self, const struct kv_asked *asked, uint64_t expiry,
                    bool is_new, struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct kv_going *going = kv_go_on(self, asked, 1, answer, put_piece, sizeof(struct long_work));
    struct long_work *work = going->work;
    work->expiry = expiry;
    work->is_new = work->looking = is_new;
    work->checking = going->arguments[0].data[0] != KV_TAG_MAP;
    open_entries(going->arguments[0], &work->items);
    if (!work->checking) {
        begin_puts(bucket->contents.table, going);
    }
    return KV_OK;
}

static bool is_long(uint32_t keys, struct kv_bytes argument)
{
    return kv_is_long(keys, argument.length);
}

/* A long list or map. Its elements are not checked. */
static bool are_long_entries(struct kv_bytes entries)
{
    struct items items = {.left = 0};
    if (entries.data[0] != KV_TAG_MAP && entries.data[0] != KV_TAG_LIST) {
        return false;
    }
    open_entries(entries, &items);
    return is_long(items.left, entries);
}

/* `absent` is the second argument if it is `given`, else it outlives the request. */
static int get_long(struct kv_process *self, const struct kv_asked *asked, struct kv_bytes absent,
                    bool given, struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct kv_going *going =
        kv_go_on(self, asked, given ? 2 : 1, answer, get_piece, sizeof(struct long_work));
    struct long_work *work = going->work;
    (void)open_list(going->arguments[0], &work->items);
    work->absent = given ? going->arguments[1] : absent;
    kv_table_freeze(bucket->contents.table);
    if (work->items.left > 0) {
        kv_write_list(&going->answer, work->items.left);
    }
    return KV_OK;
}

static int answer_values(struct kv_process *self, const struct kv_asked *asked,
                         struct kv_bytes absent, bool given, struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct items keys;
    if (!open_list(asked->arguments[0], &keys) || /* a refused request is no read */
        (bucket->touch_on_read && !is_proper_list(asked->arguments[0]))) {
        return kv_answer_error(answer, KV_ETYPE, "bad_keys", asked->arguments[0]);
    }
    if (is_long(keys.left, asked->arguments[0])) {
        return get_long(self, asked, absent, given, answer);
    }
    struct batch batch;
    size_t bytes = 0;
    if (keys.left > 0) {
        kv_write_list(answer->term, keys.left);
    }
    while (next_keys(bucket, &keys, &batch)) {
        write_batch(self, &batch, absent, answer->term, &bytes);
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

static int put_until(struct kv_process *self, const struct kv_asked *asked, uint64_t expiry,
                     struct kv_answer *answer)
{
    if (are_long_entries(asked->arguments[0])) {
        return put_long(self, asked, expiry, false, answer);
    }
    if (!are_entries(asked->arguments[0])) {
        return kv_answer_error(answer, KV_ETYPE, "bad_entries", asked->arguments[0]);
    }
    int error = put_entries(self, asked->arguments[0], expiry);
    return error == KV_OK ? kv_answer_atom(answer, "ok") : kv_answer_no_room(answer, error);
}

static bool has_any(struct kv_process *self, struct kv_bytes entries)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct items items;
    struct batch batch;
    bool has = false;
    open_entries(entries, &items);
    while (!has && next_entries(bucket, &items, &batch)) {
        has = has_batch(self, &batch);
    }
    return has;
}

static int put_new_until(struct kv_process *self, const struct kv_asked *asked, uint64_t expiry,
                         struct kv_answer *answer)
{
    if (are_long_entries(asked->arguments[0])) {
        return put_long(self, asked, expiry, true, answer);
    }
    if (!are_entries(asked->arguments[0])) {
        return kv_answer_error(answer, KV_ETYPE, "bad_entries", asked->arguments[0]);
    }
    if (has_any(self, asked->arguments[0])) {
        return kv_answer_bool(answer, false);
    }
    int error = put_entries(self, asked->arguments[0], expiry);
    return error == KV_OK ? kv_answer_bool(answer, true) : kv_answer_no_room(answer, error);
}

static int put_new(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    return put_new_until(self, asked, kv_bucket_default_expiry(self, asked), answer);
}

static int put_new_for(struct kv_process *self, const struct kv_asked *asked,
                       struct kv_answer *answer)
{
    return kv_bucket_for(self, asked, 1, put_new_until, answer);
}

static int put(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    return put_until(self, asked, kv_bucket_default_expiry(self, asked), answer);
}

static int put_for(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    return kv_bucket_for(self, asked, 1, put_until, answer);
}

static int delete_long(struct kv_process *self, const struct kv_asked *asked,
                       struct kv_answer *answer)
{
    struct kv_going *going =
        kv_go_on(self, asked, 1, answer, delete_piece, sizeof(struct long_work));
    struct long_work *work = going->work;
    work->checking = true;
    (void)open_list(going->arguments[0], &work->items);
    return KV_OK;
}

static int delete (struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    const struct kv_bytes keys = asked->arguments[0];
    struct items items;
    const bool is_list = open_list(keys, &items);
    if (is_list && is_long(items.left, keys)) {
        return delete_long(self, asked, answer);
    }
    return is_list && is_proper_list(keys) ? kv_answer_number(answer, delete_keys(self, keys))
                                           : kv_answer_error(answer, KV_ETYPE, "bad_keys", keys);
}

enum {
    CALL = KV_BY_CALL,
    CAST = KV_BY_CAST,
    READS = KV_CONTINUES,
    WRITES = KV_CHANGES | KV_BOUNDED | KV_CONTINUES,
};

const struct kv_operation kv_many_operations[] = {
    KV_OPERATION("get_many", 1, CALL, READS, get, "0.1.0"),
    KV_OPERATION("get_many", 2, CALL, READS, get_or, "0.1.0"),
    KV_OPERATION("put_many", 1, CALL | CAST, WRITES, put, "0.1.0"),
    KV_OPERATION("put_many", 2, CALL | CAST, WRITES, put_for, "0.1.0"),
    KV_OPERATION("put_new_many", 1, CALL, WRITES, put_new, "0.2.0"),
    KV_OPERATION("put_new_many", 2, CALL, WRITES, put_new_for, "0.2.0"),
    KV_OPERATION("delete_many", 1, CALL | CAST, WRITES, delete, "0.1.0"),
    KV_NO_OPERATION,
};
