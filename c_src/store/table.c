#include "store/table.h"

#include "base/assert.h"
#include "base/siphash_inline.h"
#include "base/word.h"
#include "store/account.h"
#include "store/evict.h"
#include "store/expiry.h"
#include "store/heap.h"
#include "store/room.h"
#include "store/snapshot.h"
#include "store/stripes.h"
#include "store/sweep.h"
#include "store/undo.h"

#include <kv/error.h>

#include <string.h>

enum {
    ROOM_TRIES = 32,     /* to make room for one entry, */
    ROOM_EFFORT = 8192,  /* which end when so many entries were looked at */
    EVICTED_MOST = 1024, /* entries that one write evicts for the table's own limits */
    LENT_FACTOR = 2,     /* a put of a batch may take so many times the pages that it will free, */
    LENT_MORE = 2,       /* and so many more: pages are not filled to the end */
    COUNT_STEPS = 32,    /* segments swept to count a small table */
    LENGTH_MAX = 1 << 30,
    OVERWRITTEN_MOST = 2 << 20 /* bytes of an entry: that takes some tenths of a millisecond */
};

uint64_t kv_table_hash(const struct kv_table *table, struct kv_bytes key)
{
    return kv_arena_hash(table->arena, key);
}

static inline struct kv_lookup lookup_of(const struct kv_table *table, struct kv_item key)
{
    return (struct kv_lookup){.key = key, .hash = kv_arena_hash(table->arena, key.bytes)};
}

/* ---- removing ---------------------------------------------------------------------------------
 */

/* Removes an entry that the caller has found expired. */
static void expire(struct kv_table *table, uint64_t hash, struct kv_place place,
                   const struct kv_entry *entry)
{
    kv_table_lose(table, KV_GONE_EXPIRED, hash, place, entry);
    kv_table_tidy(table, entry->size);
}

static int delete_any(struct kv_table *table, const struct kv_lookup *lookup)
{
    struct kv_entry entry;
    struct kv_place place = kv_index_find(table, lookup, &entry);
    if (place.group == NULL) {
        return KV_ENOENT;
    }
    if (kv_entry_has_expired(&entry, kv_table_time(table))) {
        expire(table, lookup->hash, place, &entry);
        return KV_ENOENT;
    }
    kv_snapshots_before(table, lookup->hash);
    kv_table_drop(table, lookup->hash, place, &entry);
    kv_table_tidy(table, entry.size);
    return KV_OK;
}

/* ---- reading ----------------------------------------------------------------------------------
 */

void kv_table_look_ahead(const struct kv_table *table, struct kv_lookup *lookups, unsigned count)
{
    const struct kv_hash_key hash_key = table->arena->hash_key;
    const uint64_t shape = table->shape;
    const uint64_t moves = table->moves;
    for (unsigned i = 0; i < count; i++) {
        lookups[i].hash = kv_siphash_inline(&hash_key, lookups[i].key.bytes);
        lookups[i].shape = shape;
        lookups[i].moves = moves;
    }
    kv_index_look_ahead(table, lookups, count);
}

/* clang-tidy does not see that the builtin writes. */
/* NOLINTNEXTLINE(readability-non-const-parameter) */
static void stamp(const struct kv_table *table, uint8_t *use)
{
    uint32_t now = (uint32_t)table->arena->now;
    for (unsigned i = 0; i < KV_ENTRY_USE_SIZE; i++) {
        KV_STORE_RELAXED(use[i], (uint8_t)(now >> (8 * i)));
    }
}

/* The start of the entry that was found ahead, if it still has the key and a short head. NULL means
 * nothing: kv_index_find() has the answer. */
static inline uint8_t *found_ahead(const struct kv_table *table, const struct kv_lookup *lookup,
                                   uint32_t *head)
{
    const uint32_t looked_at =
        KV_HEAD_LONG | KV_ENTRY_KEY_FORM | (uint32_t)KV_HEAD_LENGTH << KV_HEAD_KEY_SHIFT;
    const struct kv_bytes key = lookup->key.bytes;
    if (lookup->entry == 0 || lookup->moves != table->moves || key.length > KV_HEAD_LENGTH) {
        return NULL;
    }
    uint8_t *start = kv_at(table->arena, lookup->entry);
    *head = kv_entry_head(start);
    bool may_be =
        (*head & looked_at) == (lookup->key.form | (uint32_t)key.length << KV_HEAD_KEY_SHIFT);
    return may_be && kv_same(start + KV_HEAD_SIZE, key.data, key.length) ? start : NULL;
}

/* Finds an entry that has not expired, and counts that as a use. */
static inline bool find_live(struct kv_table *table, const struct kv_lookup *lookup,
                             struct kv_place *place, struct kv_entry *entry)
{
    *place = kv_index_find(table, lookup, entry);
    if (place->group == NULL) {
        return false;
    }
    if (kv_entry_has_expired(entry, kv_table_time(table))) {
        if (!table->frozen) {
            expire(table, lookup->hash, *place, entry);
        }
        return false;
    }
    if (entry->use != NULL) {
        stamp(table, entry->use);
    }
    return true;
}

/* Not inlined, so that the common case of kv_table_get_at() needs few registers. */
__attribute__((noinline)) static bool get_any(struct kv_table *table,
                                              const struct kv_lookup *lookup, struct kv_item *value)
{
    struct kv_entry entry;
    struct kv_place place;
    if (!find_live(table, lookup, &place, &entry)) {
        return false;
    }
    if (table->touch != 0 && (entry.flags & KV_ENTRY_EXPIRES) != 0) {
        kv_table_write_expiry(table, lookup->hash, place, &entry,
                              kv_table_time(table) + table->touch);
    }
    *value = (struct kv_item){.bytes = entry.value, .form = kv_entry_value_form(&entry)};
    return true;
}

bool kv_table_get_at(struct kv_table *table, const struct kv_lookup *lookup, struct kv_item *value)
{
    uint32_t head;
    const uint8_t *start = found_ahead(table, lookup, &head);
    if (start == NULL) {
        return get_any(table, lookup, value);
    }
    value->bytes =
        kv_bytes(start + KV_HEAD_SIZE + lookup->key.bytes.length, head >> KV_HEAD_VALUE_SHIFT);
    value->form = (uint8_t)(head >> KV_ENTRY_VALUE_FORM_SHIFT) & KV_ENTRY_KEY_FORM;
    return true;
}

bool kv_table_get(struct kv_table *table, struct kv_item key, struct kv_item *value)
{
    const struct kv_lookup lookup = lookup_of(table, key);
    return get_any(table, &lookup, value);
}

uint64_t kv_table_touched(const struct kv_table *table)
{
    return table->touch == 0 ? KV_NEVER : kv_table_time(table) + table->touch;
}

bool kv_table_find(struct kv_table *table, struct kv_item key, struct kv_item *value,
                   uint64_t *expiry)
{
    const struct kv_lookup lookup = lookup_of(table, key);
    struct kv_entry entry;
    struct kv_place place;
    if (!find_live(table, &lookup, &place, &entry)) {
        return false;
    }
    *value = (struct kv_item){.bytes = entry.value, .form = kv_entry_value_form(&entry)};
    *expiry = (entry.flags & KV_ENTRY_EXPIRES) != 0 ? entry.expiry : KV_NEVER;
    return true;
}

/* ---- writing ----------------------------------------------------------------------------------
 */

struct put {
    const struct kv_lookup *lookup;
    struct kv_entry entry; /* to be */
    struct kv_entry old;
    struct kv_place place; /* of the old one */
};

static inline void find_old(const struct kv_table *table, struct put *put)
{
    put->place = kv_index_find(table, put->lookup, &put->old);
}

static inline void plan_entry(const struct kv_table *table, struct kv_item key,
                              struct kv_item value, uint64_t expiry, struct kv_entry *entry)
{
    entry->flags = (uint8_t)(key.form | (value.form << KV_ENTRY_VALUE_FORM_SHIFT) |
                             (expiry != KV_NEVER ? KV_ENTRY_EXPIRES : 0) |
                             (table->evict == KV_EVICT_LRU ? KV_ENTRY_HAS_USE : 0));
    entry->key = key.bytes;
    entry->value = value.bytes;
    entry->expiry = expiry;
    kv_entry_measure(entry);
}

bool kv_table_grows(const struct kv_table *table, struct kv_item key, struct kv_item value,
                    uint64_t expiry)
{
    const struct kv_lookup lookup = lookup_of(table, key);
    struct put put = {.lookup = &lookup};
    if (table->max_memory == 0) {
        return false;
    }
    plan_entry(table, key, value, expiry, &put.entry);
    find_old(table, &put);
    return put.place.group == NULL || put.entry.size > put.old.size;
}

static struct kv_need_of_put need_of(const struct put *put)
{
    const bool had_old = put->place.group != NULL;
    const uint64_t old = had_old ? put->old.size : 0;
    return (struct kv_need_of_put){
        .bytes = put->entry.size > old ? put->entry.size - old : 0,
        .entry = !had_old,
    };
}

/* Keeps the table's own limits. May evict any entry, even the old one of the put. */
static int fit_limits(struct kv_table *table, struct put *put)
{
    int error = kv_room_allows(table, need_of(put));
    if (error == KV_OK) {
        return KV_OK;
    }
    if (kv_room_is_hopeless(table, need_of(put))) {
        return KV_ENOMEM;
    }
    (void)kv_table_count_live(table); /* removes what has expired, if the table is small */
    find_old(table, put);
    error = kv_room_allows(table, need_of(put));
    for (unsigned i = 0; error != KV_OK && i < EVICTED_MOST && kv_evict_one(table); i++) {
        find_old(table, put);
        error = kv_room_allows(table, need_of(put));
    }
    return error;
}

static void write_entry(struct kv_table *table, const struct put *put, uint64_t offset)
{
    kv_entry_write(kv_at(table->arena, offset), &put->entry, (uint32_t)table->arena->now);
}

/* Overwrites only the value. Flags, lengths and key stay as they are, so readers of other keys are
 * not affected and only the stripe of this key is locked. */
static void write_value(struct kv_table *table, const struct put *put)
{
    kv_stripes_lock(table, put->lookup->hash, put->lookup->hash);
    kv_entry_write_value(kv_at(table->arena, kv_place_offset(put->place)), &put->old, &put->entry,
                         (uint32_t)table->arena->now);
    kv_stripes_unlock(table, put->lookup->hash, put->lookup->hash);
}

/* Not if the old value is being sent. Readers of the stripe wait meanwhile, so a very long value is
 * written elsewhere. */
static bool may_write_over(const struct kv_table *table, const struct put *put)
{
    return put->place.group != NULL && put->old.size == put->entry.size && table->pending == NULL &&
           put->old.size <= OVERWRITTEN_MOST &&
           !kv_heap_is_pinned(table, kv_place_offset(put->place), put->old.size);
}

/* Overwrites the old entry if both take the same space. */
static bool write_over(struct kv_table *table, const struct put *put)
{
    if (!may_write_over(table, put)) {
        return false;
    }
    if (put->old.flags == put->entry.flags && put->old.value.length == put->entry.value.length) {
        write_value(table, put);
        return true;
    }
    uint64_t first;
    uint64_t last;
    kv_index_range(table, put->lookup->hash, &first, &last);
    kv_stripes_lock(table, first, last);
    write_entry(table, put, kv_place_offset(put->place));
    kv_stripes_unlock(table, first, last);
    return true;
}

/* The entry at `offset` has replaced the one at `old`, which may come back if the changes are
 * pending: unless it is itself one of them. */
static void retire(struct kv_table *table, const struct put *put, uint64_t old, uint64_t offset)
{
    if (table->pending == NULL) {
        kv_heap_drop(table, old, put->old.size);
    } else if (kv_undo_find(table->pending, old) != NULL) {
        kv_undo_moved(table->pending, old, offset);
        kv_heap_drop(table, old, put->old.size);
    } else {
        kv_undo_add(table->pending, old, offset);
        table->pending->old_bytes += put->old.size;
    }
}

/* The bytes that the end of the batch frees for a put. */
static uint64_t freed_later(const struct kv_table *table, const struct put *put)
{
    const struct kv_undo *pending = table->pending;
    const uint64_t old = put->place.group == NULL ? 0 : pending->old_bytes + put->old.size;
    return pending->lent_bytes + old;
}

/* Room for the new entry. While changes are pending, the old entries still take theirs. */
static uint64_t take(struct kv_table *table, const struct put *put)
{
    const uint64_t freed = table->pending == NULL ? 0 : freed_later(table, put);
    if (freed > 0) {
        table->arena->lent_pages = LENT_FACTOR * freed / KV_ARENA_PAGE + LENT_MORE;
    }
    const uint64_t offset = kv_heap_take(table, put->entry.size);
    table->arena->lent_pages = 0;
    return offset;
}

static int write_new(struct kv_table *table, struct put *put)
{
    uint64_t offset = take(table, put);
    if (offset == 0) {
        return KV_ENOMEM;
    }
    write_entry(table, put, offset);
    if (put->place.group != NULL) {
        uint64_t old = kv_place_offset(put->place);
        kv_index_replace(table, put->lookup->hash, put->place, offset);
        retire(table, put, old, offset);
        return KV_OK;
    }
    int error = kv_index_insert(table, put->lookup->hash, offset);
    if (error != KV_OK) {
        kv_heap_drop(table, offset, put->entry.size);
    } else if (table->pending != NULL) {
        kv_undo_add(table->pending, 0, offset);
    }
    return error;
}

static int write_or_make_room(struct kv_table *table, struct put *put)
{
    const uint64_t most = table->arena->effort + ROOM_EFFORT;
    int error = write_new(table, put);
    for (unsigned i = 0;
         error != KV_OK && i < ROOM_TRIES && table->arena->effort < most && kv_room_make(table);
         i++) {
        find_old(table, put);
        error = write_new(table, put);
    }
    return error;
}

static void note_expiry(struct kv_table *table, const struct put *put, bool had_old, bool expired)
{
    table->expiring -= had_old && expired;
    if ((put->entry.flags & KV_ENTRY_EXPIRES) != 0) {
        table->expiring++;
        kv_table_note_expiry(table, put->entry.expiry);
    }
}

/* Overwrites a value of the same length and form. The caller knows that nothing expires and that no
 * limit applies. This is the common case of a key that is put again and again. */
static inline bool put_ahead(struct kv_table *table, const struct kv_lookup *lookup,
                             struct kv_item value)
{
    uint32_t head;
    uint8_t *start = found_ahead(table, lookup, &head);
    if (start == NULL || head >> KV_HEAD_VALUE_SHIFT != value.bytes.length ||
        (head >> KV_ENTRY_VALUE_FORM_SHIFT & KV_ENTRY_KEY_FORM) != value.form) {
        return false;
    }
    kv_stripes_lock(table, lookup->hash, lookup->hash);
    kv_copy(start + KV_HEAD_SIZE + lookup->key.bytes.length, value.bytes.data, value.bytes.length);
    kv_stripes_unlock(table, lookup->hash, lookup->hash);
    if (kv_heap_is_dusty(table)) {
        kv_table_tidy(table, 0);
    }
    return true;
}

/* Before a put, so that the entry itself is not what goes. */
__attribute__((noinline)) static void attend(struct kv_table *table, uint64_t hash)
{
    if (table->evict != KV_EVICT_NONE) {
        kv_room_relieve(table);
    }
    kv_snapshots_before(table, hash);
}

__attribute__((noinline)) static int put_any(struct kv_table *table, const struct kv_lookup *lookup,
                                             struct kv_item value, uint64_t expiry)
{
    const struct kv_item key = lookup->key;
    struct put put;
    put.lookup = lookup;
    if (key.bytes.length > LENGTH_MAX || value.bytes.length > LENGTH_MAX) {
        return KV_ENOMEM;
    }
    plan_entry(table, key, value, expiry, &put.entry);
    if (table->attends) {
        attend(table, lookup->hash);
    }
    find_old(table, &put);
    int error = fit_limits(table, &put);
    if (error == KV_OK && !write_over(table, &put)) {
        error = write_or_make_room(table, &put);
    }
    if (error != KV_OK) {
        return error;
    }
    /* put.old was read before the write, so its sizes and flags are still those of the old entry.
     */
    bool had_old = put.place.group != NULL;
    note_expiry(table, &put, had_old, had_old && (put.old.flags & KV_ENTRY_EXPIRES) != 0);
    kv_table_count_entries(table, !had_old,
                           kv_entry_bytes(&put.entry) - (had_old ? kv_entry_bytes(&put.old) : 0));
    if (had_old && table->pending == NULL && kv_entry_has_expired(&put.old, table->arena->now)) {
        kv_table_report(table, KV_GONE_EXPIRED, key); /* before the request was */
    }
    kv_table_tidy(table, had_old ? put.old.size : 0);
    return KV_OK;
}

/* A put may move or free entries, and reads key and value after that. */
static bool is_outside(const struct kv_table *table, struct kv_bytes bytes)
{
    const uint8_t *base = table->arena->base;
    return bytes.length == 0 || bytes.data >= base + table->arena->memory.reserve ||
           bytes.data + bytes.length <= base;
}

/* Every change that a request makes goes through here. Without a value the key is deleted. KV_OK;
 * KV_ENOMEM or KV_EFULL, or KV_ENOENT if there was nothing to delete: the table is as it was. */
static inline int change(struct kv_table *table, const struct kv_lookup *lookup,
                         const struct kv_item *value, uint64_t expiry)
{
    if (value == NULL) {
        return delete_any(table, lookup);
    }
    kv_assert(is_outside(table, lookup->key.bytes) && is_outside(table, value->bytes));
    bool is_plain = expiry == KV_NEVER && table->is_plain;
    return is_plain && put_ahead(table, lookup, *value) ? KV_OK
                                                        : put_any(table, lookup, *value, expiry);
}

int kv_table_put_at(struct kv_table *table, const struct kv_lookup *lookup, struct kv_item value,
                    uint64_t expiry)
{
    return change(table, lookup, &value, expiry);
}

/* Adds an entry if no more than its own place in the index and the open page is needed to do so. */
static inline bool add_ahead(struct kv_table *table, const struct kv_lookup *lookup,
                             struct kv_item value, uint64_t expiry)
{
    struct put put = {.lookup = lookup};
    struct kv_vacancy vacancy;
    if (!table->is_plain || table->max_entries != 0 ||
        !kv_index_find_vacancy(table, lookup, &vacancy)) {
        return false;
    }
    plan_entry(table, lookup->key, value, expiry, &put.entry);
    if (!kv_heap_fits(table, put.entry.size)) {
        return false;
    }
    const uint64_t offset = kv_heap_take(table, put.entry.size);
    write_entry(table, &put, offset);
    kv_index_occupy(table, lookup->hash, &vacancy, offset);
    note_expiry(table, &put, false, false);
    kv_table_count_entries(table, 1, kv_entry_bytes(&put.entry));
    return true;
}

int kv_table_add_at(struct kv_table *table, const struct kv_lookup *lookup, struct kv_item value,
                    uint64_t expiry)
{
    kv_assert(is_outside(table, lookup->key.bytes) && is_outside(table, value.bytes));
    return add_ahead(table, lookup, value, expiry) ? KV_OK : put_any(table, lookup, value, expiry);
}

int kv_table_put(struct kv_table *table, struct kv_item key, struct kv_item value, uint64_t expiry)
{
    const struct kv_lookup lookup = lookup_of(table, key);
    return change(table, &lookup, &value, expiry);
}

bool kv_table_delete_at(struct kv_table *table, const struct kv_lookup *lookup)
{
    return change(table, lookup, NULL, KV_NEVER) == KV_OK;
}

bool kv_table_delete(struct kv_table *table, struct kv_item key)
{
    const struct kv_lookup lookup = lookup_of(table, key);
    return change(table, &lookup, NULL, KV_NEVER) == KV_OK;
}

/* ---- figures ----------------------------------------------------------------------------------
 */

uint64_t kv_table_count(const struct kv_table *table)
{
    return table->slot->count;
}

uint64_t kv_table_count_live(struct kv_table *table)
{
    for (unsigned i = 0; i < COUNT_STEPS && table->slot->count <= KV_COUNT_EXACT_MAX &&
                         table->next_expiry <= table->arena->now && !table->frozen;
         i++) {
        kv_sweep_step(table);
    }
    return table->slot->count;
}

uint64_t kv_table_count_seen(const struct kv_table *table)
{
    struct kv_table_walk walk = {0};
    struct kv_item key;
    struct kv_item value;
    uint64_t count = 0;
    if (table->slot->count > KV_COUNT_EXACT_MAX || table->next_expiry > table->arena->now) {
        return table->slot->count;
    }
    while (kv_table_next(table, &walk, &key, &value)) {
        count++;
    }
    return count;
}

uint64_t kv_table_bytes(const struct kv_table *table)
{
    return table->slot->bytes;
}
