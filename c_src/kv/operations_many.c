/* Changes of many keys in one message. operations_get_many.c has the reads.
 *
 * A request is checked before it changes anything, so a malformed request does nothing. A request
 * of up to 1,024 keys and 256 KiB runs to its end before the node handles another message: some 20
 * us for a thousand keys. A larger one goes on in the next turns (going.h). The size of a message
 * bounds the number of keys. */
#include "kv/bucket.h"
#include "kv/durable.h"
#include "kv/going.h"
#include "kv/items.h"

static int put_batch(struct kv_process *self, const struct kv_batch *batch, uint64_t expiry)
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
static uint64_t hold_batch(struct kv_process *self, const struct kv_batch *batch)
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
    struct kv_items items;
    struct kv_batch batch;
    uint64_t bytes = 0;
    if (!kv_table_evicts(table)) {
        return KV_OK;
    }
    kv_items_open_entries(entries, &items);
    const uint32_t keys = items.left;
    while (kv_items_next_entries(table, &items, &batch)) {
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
    struct kv_items items;
    struct kv_batch batch;
    kv_items_open_entries(entries, &items);
    int error = kv_contents_reserve(&bucket->contents, entries.length, items.left);
    if (error != KV_OK) {
        return error;
    }
    const bool surely = kv_table_has_room(table, items.left, entries.length);
    const uint64_t puts = bucket->contents.counts->puts;
    kv_table_begin_changes(table);
    if (!surely) {
        kv_contents_begin(&bucket->contents);
        kv_table_begin_all(table, items.left);
        error = hold_entries(self, entries);
    }
    while (error == KV_OK && kv_items_next_entries(table, &items, &batch)) {
        error = put_batch(self, &batch, expiry);
    }
    error = kv_contents_settle(&bucket->contents, error);
    while (!surely && kv_table_end_all(table, error == KV_OK, UINT32_MAX)) {
    }
    kv_table_end_changes(table);
    if (error != KV_OK) {
        bucket->contents.counts->puts = puts;
    }
    return error;
}

static size_t delete_batch(struct kv_process *self, const struct kv_batch *batch)
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
    struct kv_items items;
    struct kv_batch batch;
    (void)kv_items_open_list(keys, &items);
    kv_table_begin_changes(bucket->contents.table);
    while (kv_items_next_keys(bucket->contents.table, &items, &batch)) {
        deleted += delete_batch(self, &batch);
    }
    kv_table_end_changes(bucket->contents.table);
    return deleted;
}

/* Returns true if the bucket has one of the keys. */
static bool has_batch(struct kv_process *self, const struct kv_batch *batch)
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

/* ---- requests that go on -----------------------------------------------------------------------
 * The bucket takes no message meanwhile. Readers of this host ask the owner while something
 * changes. Nothing expires, so all of a request is of one moment. */

struct long_work {
    struct kv_items items;
    uint64_t expiry; /* put_many, put_new_many */
    uint64_t puts;   /* counted before */
    size_t count;    /* of deleted keys, or the bytes of entries */
    int error;
    bool checking;  /* the list, before anything changes */
    bool is_new;    /* put_new_many, */
    bool looking;   /* which looks for the keys first */
    bool there;     /* one was found */
    bool holding;   /* the keys, as a put may evict others */
    bool recording; /* the deletes of a durable bucket, which are made once all are on record */
    bool ending;
};

/* So many keys are checked in one turn: some 0.1 ms. */
enum { CHECKED_KEYS = 8 * KV_PIECE_KEYS, CHECKED_BYTES = 8 * KV_PIECE_BYTES };

static void begin_puts(const struct kv_contents *contents, struct kv_going *going)
{
    struct kv_table *table = contents->table;
    struct long_work *work = going->work;
    kv_contents_begin(contents);
    work->checking = false;
    kv_items_open_entries(going->arguments[0], &work->items);
    work->holding = kv_table_evicts(table) &&
                    !kv_table_has_room(table, work->items.left, going->arguments[0].length);
    kv_table_begin_changes(table);
    kv_table_begin_all(table, work->items.left);
}

/* A durable bucket first records all deletes in one turn, if there is room for them, and then makes
 * them: they cannot be taken back. */
static void begin_deletes(const struct kv_contents *contents, struct kv_going *going)
{
    struct long_work *work = going->work;
    work->checking = false;
    work->recording = contents->durable != NULL;
    (void)kv_items_open_list(going->arguments[0], &work->items);
    kv_contents_begin(contents);
    kv_table_begin_changes(contents->table);
    kv_table_freeze(contents->table);
}

/* Checks some keys, and begins to delete them once all are checked. */
static bool check_keys(struct kv_process *self, struct kv_going *going, struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct long_work *work = going->work;
    if (kv_items_skip(&work->items, CHECKED_KEYS, CHECKED_BYTES)) {
        return true;
    }
    if (!kv_items_end_properly(&work->items)) {
        (void)kv_answer_error(answer, KV_ETYPE, "bad_keys", going->arguments[0]);
        return false;
    }
    begin_deletes(&bucket->contents, going);
    return true;
}

/* Notes which keys of a batch are there: their deletes are to be recorded. */
static void note_batch(struct kv_process *self, const struct kv_batch *batch)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    uint64_t expiry = KV_NEVER;
    for (unsigned i = 0; i < batch->count; i++) {
        const struct kv_item key =
            batch->found[i] != NULL ? batch->found[i]->key : kv_bucket_key(self, batch->keys[i]);
        if (kv_table_expiry(bucket->contents.table, key, &expiry)) {
            kv_durable_gone(bucket->contents.durable, key);
        }
    }
}

/* Behind the last key: records the deletes and begins to make them, or ends. */
static bool end_keys(const struct kv_contents *contents, struct kv_going *going,
                     struct kv_answer *answer)
{
    struct long_work *work = going->work;
    if (work->recording) {
        work->recording = false;
        work->error = kv_contents_record_ahead(contents);
        (void)kv_items_open_list(going->arguments[0], &work->items);
        if (work->error == KV_OK) {
            return true;
        }
    } else {
        kv_contents_caught_up(contents);
    }
    kv_table_thaw(contents->table);
    kv_table_end_changes(contents->table);
    (void)(work->error == KV_OK ? kv_answer_number(answer, work->count)
                                : kv_answer_no_room(answer, work->error));
    return false;
}

static bool delete_piece(struct kv_process *self, struct kv_going *going, struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct long_work *work = going->work;
    struct kv_batch batch;
    if (work->checking) {
        return check_keys(self, going, answer);
    }
    for (unsigned i = 0; i < KV_PIECE_KEYS / KV_BATCH; i++) {
        if (!kv_items_next_keys(bucket->contents.table, &work->items, &batch)) {
            return end_keys(&bucket->contents, going, answer);
        }
        if (work->recording) {
            note_batch(self, &batch);
        } else {
            work->count += delete_batch(self, &batch);
        }
    }
    return true;
}

/* Checks some entries, and begins to put them once all are checked. */
static bool check_entries(struct kv_process *self, struct kv_going *going, struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct long_work *work = going->work;
    const bool are_pairs = kv_items_skip_pairs(&work->items, CHECKED_KEYS, CHECKED_BYTES);
    if (are_pairs && work->items.left > 0) {
        return true;
    }
    if (!are_pairs || !kv_items_end_properly(&work->items)) {
        (void)kv_answer_error(answer, KV_ETYPE, "bad_entries", going->arguments[0]);
        return false;
    }
    begin_puts(&bucket->contents, going);
    return true;
}

/* Evictions of a piece are recorded at once. Returns KV_OK, or why there is no room for them. */
static int may_evict(const struct kv_contents *contents)
{
    const bool evicts = contents->durable != NULL && kv_table_evicts(contents->table);
    return evicts ? kv_durable_may(contents->durable, KV_PIECE_BYTES, KV_PIECE_KEYS) : KV_OK;
}

/* Looks for some of the keys, holds some, or puts some. Returns false behind the last one, and at
 * an error. */
static bool put_some(struct kv_process *self, struct long_work *work)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    const uint8_t *begin = work->items.next;
    const bool puts = !work->looking && !work->holding;
    struct kv_batch batch;
    work->error = puts ? may_evict(&bucket->contents) : KV_OK;
    for (unsigned i = 0; work->error == KV_OK && i < KV_PIECE_KEYS / KV_BATCH &&
                         work->items.next - begin < KV_PIECE_BYTES;
         i++) {
        if (!kv_items_next_entries(bucket->contents.table, &work->items, &batch)) {
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
    return work->error == KV_OK;
}

/* Behind the last key: begins to hold them, or to put them. Returns false if nothing is to be put,
 * or all is. */
static bool begin_next(const struct kv_table *table, struct kv_going *going)
{
    struct long_work *work = going->work;
    if (work->there || work->error != KV_OK || !(work->looking || work->holding)) {
        return false;
    }
    kv_items_open_entries(going->arguments[0], &work->items);
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
    if (!work->ending) {
        work->error = kv_contents_settle(&bucket->contents, work->error);
        work->ending = true;
    }
    if (kv_table_end_all(table, work->error == KV_OK, KV_PIECE_KEYS)) {
        return true;
    }
    kv_table_end_changes(table);
    if (work->error != KV_OK) {
        bucket->contents.counts->puts = work->puts;
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
    work->puts = bucket->contents.counts->puts;
    work->is_new = work->looking = is_new;
    work->checking = going->arguments[0].data[0] != KV_TAG_MAP;
    kv_items_open_entries(going->arguments[0], &work->items);
    if (!work->checking) {
        begin_puts(&bucket->contents, going);
    }
    return KV_OK;
}

/* A long list or map. Its elements are not checked. */
static bool are_long_entries(struct kv_bytes entries)
{
    struct kv_items items = {.left = 0};
    if (entries.data[0] != KV_TAG_MAP && entries.data[0] != KV_TAG_LIST) {
        return false;
    }
    kv_items_open_entries(entries, &items);
    return kv_is_long(items.left, entries.length);
}

static int put_until(struct kv_process *self, const struct kv_asked *asked, uint64_t expiry,
                     struct kv_answer *answer)
{
    if (are_long_entries(asked->arguments[0])) {
        return put_long(self, asked, expiry, false, answer);
    }
    if (!kv_items_are_entries(asked->arguments[0])) {
        return kv_answer_error(answer, KV_ETYPE, "bad_entries", asked->arguments[0]);
    }
    int error = put_entries(self, asked->arguments[0], expiry);
    return error == KV_OK ? kv_answer_atom(answer, "ok") : kv_answer_no_room(answer, error);
}

static bool has_any(struct kv_process *self, struct kv_bytes entries)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct kv_items items;
    struct kv_batch batch;
    bool has = false;
    kv_items_open_entries(entries, &items);
    while (!has && kv_items_next_entries(bucket->contents.table, &items, &batch)) {
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
    if (!kv_items_are_entries(asked->arguments[0])) {
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
    (void)kv_items_open_list(going->arguments[0], &work->items);
    return KV_OK;
}

/* Returns KV_OK, or KV_ENOSPC: a durable bucket could not record so many deletes. */
static int may_delete(const struct kv_process *self, struct kv_bytes keys, uint32_t count)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    const struct kv_durable *durable = bucket->contents.durable;
    return durable == NULL ? KV_OK : kv_durable_may_free(durable, keys.length, count, false);
}

static int delete (struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    const struct kv_bytes keys = asked->arguments[0];
    struct kv_items items;
    const bool is_list = kv_items_open_list(keys, &items);
    const int error = is_list ? may_delete(self, keys, items.left) : KV_OK;
    if (error != KV_OK) {
        return kv_answer_no_room(answer, error);
    }
    if (is_list && kv_is_long(items.left, keys.length)) {
        return delete_long(self, asked, answer);
    }
    return is_list && kv_items_are_list(keys) ? kv_answer_number(answer, delete_keys(self, keys))
                                              : kv_answer_error(answer, KV_ETYPE, "bad_keys", keys);
}

enum {
    CALL = KV_BY_CALL,
    CAST = KV_BY_CAST,
    WRITES = KV_CHANGES | KV_BOUNDED | KV_BY_KEY | KV_CONTINUES | KV_BRIEF,
};

const struct kv_operation kv_many_operations[] = {
    KV_OPERATION("put_many", 1, CALL | CAST, WRITES, put, "0.1.0"),
    KV_OPERATION("put_many", 2, CALL | CAST, WRITES, put_for, "0.1.0"),
    KV_OPERATION("put_new_many", 1, CALL, WRITES, put_new, "0.2.0"),
    KV_OPERATION("put_new_many", 2, CALL, WRITES, put_new_for, "0.2.0"),
    KV_OPERATION("delete_many", 1, CALL | CAST, WRITES, delete, "0.1.0"),
    KV_NO_OPERATION,
};
