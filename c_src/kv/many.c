/* Requests about many keys in one message.
 *
 * A request is looked over before it acts: one that is malformed does nothing. One that acts runs
 * to its end before the next message of anybody is handled: about 0.1 ms for a thousand keys, and
 * no more keys than one message holds. */
#include "base/endian.h"
#include "kv/bucket.h"

/* ---- lists -------------------------------------------------------------------------------------
 * A list of bytes comes as a string: its elements are then made here, one at a time. */

enum { STRING_HEADER = 3 };

struct items {
    struct kv_reader reader;
    uint32_t left;
    bool string;
    bool map;
    uint8_t element[2];
};

static bool open_list(struct kv_bytes term, struct items *items)
{
    items->reader = kv_reader(term);
    items->string = kv_read_peek(&items->reader) == KV_TAG_STRING;
    if (items->string) {
        items->left = kv_get16(term.data + 1);
        items->reader.offset = STRING_HEADER;
        return true;
    }
    return kv_read_list(&items->reader, &items->left) == KV_OK;
}

/* The next element, valid until the one after it is asked for. */
static struct kv_bytes next_item(struct items *items)
{
    struct kv_bytes item;
    items->left--;
    if (items->string) {
        items->element[0] = KV_TAG_SMALL_INTEGER;
        items->element[1] = items->reader.data[items->reader.offset++];
        return kv_bytes(items->element, sizeof items->element);
    }
    (void)kv_read_any(&items->reader, &item);
    return item;
}

/* Behind the last element: whether there is nothing, or nil. */
static bool ends_properly(struct items *items)
{
    return kv_reader_at_end(&items->reader) || kv_read_nil(&items->reader) == KV_OK;
}

static bool is_proper_list(struct kv_bytes term)
{
    struct items items;
    if (!open_list(term, &items)) {
        return false;
    }
    while (items.left > 0) {
        (void)next_item(&items);
    }
    return ends_properly(&items);
}

/* ---- entries: a list of pairs, or a map ----------------------------------------------------- */

/* The next element when it is a pair. */
static bool next_pair(struct items *items, struct kv_bytes *key, struct kv_bytes *value)
{
    items->left--;
    return !items->string && kv_read_tuple_of(&items->reader, 2) == KV_OK &&
           kv_read_any(&items->reader, key) == KV_OK && kv_read_any(&items->reader, value) == KV_OK;
}

static bool are_entries(struct kv_bytes term)
{
    struct items items;
    struct kv_bytes key = kv_bytes(NULL, 0);
    struct kv_bytes value = kv_bytes(NULL, 0);
    if (term.data[0] == KV_TAG_MAP) {
        return true;
    }
    if (!open_list(term, &items)) {
        return false;
    }
    while (items.left > 0) {
        if (!next_pair(&items, &key, &value)) {
            return false;
        }
    }
    return ends_properly(&items);
}

static void open_entries(struct kv_bytes entries, struct items *items)
{
    items->string = false;
    items->reader = kv_reader(entries);
    items->map = kv_read_map(&items->reader, &items->left) == KV_OK;
    if (!items->map) {
        (void)open_list(entries, items);
    }
}

/* ---- batches -----------------------------------------------------------------------------------
 * What the keys of a batch need of memory is asked for before the first of them is served: it comes
 * for all of them at the same time. */

enum { BATCH = 16 };

struct one {
    struct kv_bytes key;
    struct kv_bytes value;
    uint8_t element[2]; /* the key, of a string */
    bool wanted;        /* else the key is made canonical first, when its turn comes */
    struct kv_item item;
    struct kv_want want;
};

struct batch {
    struct one ones[BATCH];
    unsigned count;
};

static void look_ahead(const struct kv_bucket *bucket, struct batch *batch)
{
    for (unsigned i = 0; i < batch->count; i++) {
        struct one *one = &batch->ones[i];
        one->wanted = kv_term_is_canonical(one->key);
        if (one->wanted) {
            one->item = kv_item_of_key(one->key);
            one->want = kv_table_want(bucket->table, one->item);
        }
    }
    for (unsigned i = 0; i < batch->count; i++) {
        if (batch->ones[i].wanted) {
            kv_table_await(bucket->table, &batch->ones[i].want);
        }
    }
}

/* The next keys of a list; false when there are no more. */
static bool next_keys(const struct kv_bucket *bucket, struct items *items, struct batch *batch)
{
    batch->count = 0;
    while (items->left > 0 && batch->count < BATCH) {
        struct one *one = &batch->ones[batch->count++];
        one->key = next_item(items);
        if (items->string) {
            memcpy(one->element, one->key.data, sizeof one->element);
            one->key.data = one->element;
        }
    }
    look_ahead(bucket, batch);
    return batch->count > 0;
}

static bool next_entries(const struct kv_bucket *bucket, struct items *items, struct batch *batch)
{
    batch->count = 0;
    while (items->left > 0 && batch->count < BATCH) {
        struct one *one = &batch->ones[batch->count++];
        if (!items->map) {
            (void)next_pair(items, &one->key, &one->value);
        } else {
            items->left--;
            (void)kv_read_any(&items->reader, &one->key);
            (void)kv_read_any(&items->reader, &one->value);
        }
    }
    look_ahead(bucket, batch);
    return batch->count > 0;
}

/* Between these two, whoever reads the table without a call asks instead: a request about many keys
 * is done as a whole or not yet. */
static void begin_changes(const struct kv_bucket *bucket)
{
    kv_table_hold(bucket->table, true);
}

static void end_changes(const struct kv_bucket *bucket)
{
    kv_table_hold(bucket->table, false); /* a suspended bucket is not asked anything */
}

/* In order; a later entry of the same key replaces an earlier one. Stops at the first that finds no
 * room. */
static int put_entries(struct kv_process *self, struct kv_bytes entries)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    int error = KV_OK;
    struct items items;
    struct batch batch;
    open_entries(entries, &items);
    begin_changes(bucket);
    while (error == KV_OK && next_entries(bucket, &items, &batch)) {
        for (unsigned i = 0; i < batch.count && error == KV_OK; i++) {
            const struct one *one = &batch.ones[i];
            error = one->wanted ? kv_table_put_wanted(bucket->table, &one->want, one->item,
                                                      kv_item_of_value(one->value), bucket->expiry)
                                : kv_bucket_put(self, one->key, one->value);
        }
    }
    end_changes(bucket);
    return error;
}

static size_t delete_keys(struct kv_process *self, struct kv_bytes keys)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    size_t deleted = 0;
    struct items items;
    struct batch batch;
    (void)open_list(keys, &items);
    begin_changes(bucket);
    while (next_keys(bucket, &items, &batch)) {
        for (unsigned i = 0; i < batch.count; i++) {
            const struct one *one = &batch.ones[i];
            bool there = one->wanted ? kv_table_delete_wanted(bucket->table, &one->want, one->item)
                                     : kv_bucket_delete(self, one->key);
            deleted += there ? 1 : 0;
        }
    }
    end_changes(bucket);
    return deleted;
}

/* ---- answers -----------------------------------------------------------------------------------
 */

static bool find_one(struct kv_process *self, const struct one *one, struct kv_item *value)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    return one->wanted ? kv_table_get_wanted(bucket->table, &one->want, one->item, value)
                       : kv_bucket_find_item(self, one->key, value);
}

/* Appends the value of each key, or `absent`. A key may be asked for any number of times, so the
 * sum has a limit of its own: what goes over it is only counted. */
static size_t write_values(struct kv_process *self, struct items *keys, struct kv_bytes absent,
                           struct kv_buffer *to)
{
    const struct kv_item none = {.bytes = absent, .form = KV_FORM_TERM};
    size_t bytes = 0;
    struct batch batch;
    while (next_keys(kv_process_const_state(self), keys, &batch)) {
        for (unsigned i = 0; i < batch.count; i++) {
            struct kv_item value;
            if (!find_one(self, &batch.ones[i], &value)) {
                value = none;
            }
            bytes += kv_item_size(value);
            if (bytes <= KV_BUCKET_REPLY_MAX) {
                kv_write_item(to, value);
            }
        }
    }
    return bytes;
}

static void reply_values(struct kv_process *self, const struct kv_from *from, struct kv_bytes list,
                         struct kv_bytes absent)
{
    struct items keys;
    if (!open_list(list, &keys)) {
        kv_reply_error(self, from, "bad_keys", list);
        return;
    }
    struct kv_buffer *reply = kv_process_scratch(self);
    if (keys.left > 0) {
        kv_write_list(reply, keys.left);
    }
    size_t bytes = write_values(self, &keys, absent, reply);
    if (!ends_properly(&keys)) {
        kv_reply_error(self, from, "bad_keys", list);
        return;
    }
    if (bytes > KV_BUCKET_REPLY_MAX) {
        kv_buffer_clear(reply);
        kv_bucket_write_too_large(reply, bytes);
    } else {
        kv_write_nil(reply);
    }
    kv_reply(self, from, kv_buffer_bytes(reply));
}

void kv_many_get(struct kv_process *self, const struct kv_from *from,
                 const struct kv_bytes *arguments)
{
    static const uint8_t nil[] = {KV_TAG_SMALL_ATOM_UTF8, 3, 'n', 'i', 'l'};
    reply_values(self, from, arguments[0], kv_bytes(nil, sizeof nil));
}

void kv_many_get_or(struct kv_process *self, const struct kv_from *from,
                    const struct kv_bytes *arguments)
{
    reply_values(self, from, arguments[0], arguments[1]);
}

void kv_many_put(struct kv_process *self, const struct kv_from *from,
                 const struct kv_bytes *arguments)
{
    if (!are_entries(arguments[0])) {
        kv_reply_error(self, from, "bad_entries", arguments[0]);
    } else if (put_entries(self, arguments[0]) == KV_OK) {
        kv_reply_atom(self, from, "ok");
    } else {
        kv_bucket_reply_no_memory(self, from);
    }
}

void kv_many_put_for(struct kv_process *self, const struct kv_from *from,
                     const struct kv_bytes *arguments)
{
    if (kv_bucket_keep_for(self, arguments[1])) {
        kv_many_put(self, from, arguments);
    } else {
        kv_reply_error(self, from, "bad_ttl", arguments[1]);
    }
}

void kv_many_delete(struct kv_process *self, const struct kv_from *from,
                    const struct kv_bytes *arguments)
{
    if (!is_proper_list(arguments[0])) {
        kv_reply_error(self, from, "bad_keys", arguments[0]);
        return;
    }
    size_t deleted = delete_keys(self, arguments[0]);
    struct kv_buffer *reply = kv_process_scratch(self);
    kv_write_u64(reply, deleted);
    kv_reply(self, from, kv_buffer_bytes(reply));
}

bool kv_many_cast_put(struct kv_process *self, struct kv_bytes entries)
{
    return are_entries(entries) && put_entries(self, entries) == KV_OK;
}

bool kv_many_cast_delete(struct kv_process *self, struct kv_bytes keys)
{
    if (!is_proper_list(keys)) {
        return false;
    }
    (void)delete_keys(self, keys);
    return true;
}
