#include "kv/bucket.h"
#include "kv/going.h"
#include "kv/kv.h"

struct kv_item kv_bucket_key(struct kv_process *self, struct kv_bytes key)
{
    struct kv_bucket *bucket = kv_process_state(self);
    if (kv_term_is_canonical(key)) {
        return kv_item_of_key(key);
    }
    kv_buffer_clear(&bucket->key);
    kv_term_canonical(key, kv_store_of(self)->zeros, &bucket->key);
    return kv_item_of_key(kv_buffer_bytes(&bucket->key));
}

bool kv_bucket_find_item(struct kv_process *self, struct kv_bytes key, struct kv_item *item)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    return kv_contents_find(&bucket->contents, kv_bucket_key(self, key), item);
}

bool kv_bucket_look(struct kv_process *self, struct kv_bytes key, struct kv_item *item,
                    uint64_t *expiry)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    uint64_t ignored = KV_NEVER;
    const bool there = kv_contents_look(&bucket->contents, kv_bucket_key(self, key), item,
                                        expiry != NULL ? expiry : &ignored);
    kv_contents_count_find(&bucket->contents, there);
    return there;
}

bool kv_bucket_find(struct kv_process *self, struct kv_bytes key, struct kv_bytes *value)
{
    struct kv_bucket *bucket = kv_process_state(self);
    struct kv_item item;
    if (!kv_bucket_find_item(self, key, &item)) {
        return false;
    }
    *value = kv_item_term(item, &bucket->value);
    return true;
}

/* Returns true if the two terms are =:=, though their bytes differ. */
static bool same_canonical(const struct kv_process *self, struct kv_bytes one,
                           struct kv_bytes other)
{
    const enum kv_zeros zeros = kv_store_of(self)->zeros;
    struct kv_buffer first = KV_BUFFER_INIT;
    struct kv_buffer second = KV_BUFFER_INIT;
    kv_term_canonical(one, zeros, &first);
    kv_term_canonical(other, zeros, &second);
    bool same = kv_bytes_equal(kv_buffer_bytes(&first), kv_buffer_bytes(&second));
    kv_buffer_free(&first);
    kv_buffer_free(&second);
    return same;
}

/* Most values that are the same have the same bytes, and a term with only one encoding differs if
 * its bytes do. */
bool kv_bucket_holds(struct kv_process *self, struct kv_bytes key, struct kv_bytes wanted)
{
    struct kv_bucket *bucket = kv_process_state(self);
    struct kv_item item;
    if (!kv_bucket_look(self, key, &item, NULL)) {
        return false;
    }
    const struct kv_item other = kv_item_of_value(wanted);
    if (item.form == other.form && kv_bytes_equal(item.bytes, other.bytes)) {
        return true;
    }
    const struct kv_bytes value = kv_item_term(item, &bucket->value);
    return !(kv_term_is_canonical(value) && kv_term_is_canonical(wanted)) &&
           same_canonical(self, value, wanted);
}

int kv_bucket_put(struct kv_process *self, struct kv_bytes key, struct kv_bytes value,
                  uint64_t expiry)
{
    const struct kv_bucket *bucket = kv_process_state(self);
    return kv_contents_change(&bucket->contents,
                              &(struct kv_change){.kind = KV_CHANGE_PUT,
                                                  .key = kv_bucket_key(self, key),
                                                  .value = kv_item_of_value(value),
                                                  .expiry = expiry});
}

bool kv_bucket_delete(struct kv_process *self, struct kv_bytes key)
{
    const struct kv_bucket *bucket = kv_process_state(self);
    return kv_contents_change(&bucket->contents,
                              &(struct kv_change){.kind = KV_CHANGE_DELETE,
                                                  .key = kv_bucket_key(self, key)}) == KV_OK;
}

bool kv_bucket_expiry(const struct kv_process *self, const struct kv_asked *asked,
                      struct kv_bytes ttl, uint64_t *expiry)
{
    struct kv_reader reader = kv_reader(ttl);
    uint64_t ms = 0;
    if (kv_term_is_atom(ttl, "infinity")) {
        *expiry = KV_NEVER;
        return true;
    }
    if (kv_term_is_atom(ttl, "keep")) {
        *expiry = kv_bucket_default_expiry(self, asked) | KV_KEEPING;
        return true;
    }
    if (kv_read_u64(&reader, &ms) != KV_OK || ms == 0 || ms > KV_TTL_MAX) {
        return false;
    }
    *expiry = asked->time + ms;
    return true;
}

int kv_bucket_bad_ttl(struct kv_answer *answer, struct kv_bytes ttl)
{
    return kv_answer_error(answer, KV_ERANGE, "bad_ttl", ttl);
}

static void unpin(void *owner, struct kv_bytes bytes)
{
    kv_arena_unpin(owner, bytes.data);
}

void kv_bucket_answer(const struct kv_process *self, struct kv_answer *answer, struct kv_item item)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    answer->value.bytes = item.bytes;
    if (item.form == KV_FORM_BINARY) {
        uint8_t *header = kv_buffer_reserve(answer->term, KV_LONG_HEADER);
        header[0] = KV_TAG_BINARY;
        kv_set32(header + 1, (uint32_t)item.bytes.length);
        answer->term->length += KV_LONG_HEADER;
    }
    /* A transaction copies the value at once, and the value may be its own. */
    if (item.bytes.length >= KV_PINNED_MIN && bucket->contents.overlay == NULL) {
        answer->value.owner = kv_store_of(self)->arena;
        answer->value.release = kv_arena_pin(answer->value.owner, item.bytes.data) ? unpin : NULL;
    }
}

/* ---- the whole bucket
 * ---------------------------------------------------------------------------------
 */

static void write_entry(enum kv_bucket_shape shape, struct kv_item key, struct kv_item value,
                        struct kv_buffer *to)
{
    if (shape == KV_BUCKET_PAIRS) {
        kv_write_tuple(to, 2);
    }
    if (shape != KV_BUCKET_VALUES) {
        kv_write_item(to, key);
    }
    if (shape != KV_BUCKET_KEYS) {
        kv_write_item(to, value);
    }
}

/* Where a walk that writes the whole bucket stands. */
struct whole {
    enum kv_bucket_shape shape;
    struct kv_table_walk walk;
    uint64_t bytes; /* of the keys if the shape is keys, else of the values */
    uint32_t count;
};

static void begin_whole(struct whole *whole, enum kv_bucket_shape shape, struct kv_buffer *to)
{
    whole->shape = shape;
    if (shape == KV_BUCKET_MAP) {
        kv_write_map(to, 0);
    } else {
        kv_write_list(to, 1);
    }
}

/* Writes the next entry. Returns false at the end. */
static bool write_next(const struct kv_table *table, struct whole *whole, struct kv_buffer *to)
{
    struct kv_item key;
    struct kv_item value;
    if (!kv_table_next(table, &whole->walk, &key, &value)) {
        return false;
    }
    write_entry(whole->shape, key, value, to);
    whole->bytes += kv_item_size(whole->shape == KV_BUCKET_KEYS ? key : value);
    whole->count++;
    return true;
}

/* Writes the count last: kv_table_count() includes expired entries, which the walk leaves out. The
 * list or map begins at `start`. */
static void end_whole(const struct whole *whole, size_t start, struct kv_buffer *to)
{
    if (whole->count == 0 && whole->shape != KV_BUCKET_MAP) {
        to->length = start;
    } else {
        kv_set32(to->data + start + 1, whole->count);
    }
    if (whole->shape != KV_BUCKET_MAP) {
        kv_write_nil(to);
    }
}

static void write_entries(const struct kv_table *table, enum kv_bucket_shape shape,
                          struct kv_buffer *to)
{
    struct whole whole = {0};
    size_t start = to->length;
    begin_whole(&whole, shape, to);
    while (write_next(table, &whole, to)) {
    }
    end_whole(&whole, start, to);
}

/* Returns the bytes of all keys, or of all values. Stops above KV_ANSWER_MAX. */
static uint64_t one_side(const struct kv_table *table, enum kv_bucket_shape shape)
{
    struct kv_table_walk walk = {0};
    struct kv_item key;
    struct kv_item value;
    uint64_t bytes = 0;
    while (bytes <= KV_ANSWER_MAX && kv_table_next(table, &walk, &key, &value)) {
        bytes += kv_item_size(shape == KV_BUCKET_KEYS ? key : value);
    }
    return bytes;
}

static bool is_one_side(enum kv_bucket_shape shape)
{
    return shape == KV_BUCKET_KEYS || shape == KV_BUCKET_VALUES;
}

/* Returns the bytes that the shape takes. Looks through the table only if it must. */
static uint64_t bytes_of(const struct kv_table *table, enum kv_bucket_shape shape)
{
    uint64_t bytes = kv_table_bytes(table);
    return bytes > KV_ANSWER_MAX && is_one_side(shape) ? one_side(table, shape) : bytes;
}

int kv_bucket_write(const struct kv_process *self, enum kv_bucket_shape shape, struct kv_buffer *to)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    uint64_t bytes = bytes_of(bucket->contents.table, shape);
    if (bytes > KV_ANSWER_MAX) {
        kv_write_too_large(to, bytes);
        return KV_ESIZE;
    }
    write_entries(bucket->contents.table, shape, to);
    return KV_OK;
}

/* The next entries of the whole bucket, which is frozen. */
static bool write_piece(struct kv_process *self, struct kv_going *going, struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct kv_table *table = bucket->contents.table;
    struct whole *whole = going->work;
    const size_t most = answer->term->length + KV_PIECE_BYTES;
    for (unsigned i = 0; i < KV_PIECE_KEYS && answer->term->length < most; i++) {
        bool more = write_next(table, whole, answer->term);
        bool too_large = is_one_side(whole->shape) && whole->bytes > KV_ANSWER_MAX;
        if (more && !too_large) {
            continue;
        }
        kv_table_thaw(table);
        if (too_large) {
            (void)kv_answer_too_large(answer, whole->bytes);
        } else {
            end_whole(whole, 0, answer->term);
        }
        return false;
    }
    return true;
}

/* The most bytes around a key and its value, and around all of them. */
enum { ENTRY_AROUND = 2 * KV_LONG_HEADER + 2, LIST_AROUND = KV_LONG_HEADER + 1 };

int kv_bucket_answer_whole(struct kv_process *self, const struct kv_asked *asked,
                           enum kv_bucket_shape shape, struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct kv_table *table = bucket->contents.table;
    const uint64_t bytes = kv_table_bytes(table);
    if (asked->room > 0 &&
        bytes + kv_table_count(table) * ENTRY_AROUND + LIST_AROUND > asked->room) {
        return KV_ESIZE;
    }
    if (asked->from == NULL || !kv_is_long(kv_table_count(table), bytes) ||
        (bytes > KV_ANSWER_MAX && !is_one_side(shape))) {
        return kv_bucket_write(self, shape, answer->term);
    }
    struct kv_going *going = kv_go_on(self, asked, 0, answer, write_piece, sizeof(struct whole));
    kv_table_freeze(table);
    begin_whole(going->work, shape, &going->answer);
    return KV_OK;
}
