/* Changes of durable tables: how they are recorded, and for which batch an answer waits. */
#include "kv/durable_parts.h"

#include "base/endian.h"
#include "base/later.h"
#include "kv/durable_walk.h"

enum {
    TOUCHED_PARTS = 16, /* of a life: an expiry is recorded when it passes from one to the next */
};

/* ---- records of changes that may still be taken back ------------------------------------------
 */

enum deferred { DEFERRED_PUT, DEFERRED_GONE, DEFERRED_EXPIRY };

/* kind, form of the key, form of the value, expiry, and two lengths */
enum { DEFERRED_HEADER = 3 + 8 + 4 + 4 };

static void defer(struct kv_durable *durable, enum deferred kind,
                  const struct kv_table_entry *entry)
{
    struct kv_buffer *to = &durable->deferred;
    uint8_t *at = kv_buffer_reserve(to, DEFERRED_HEADER);
    at[0] = (uint8_t)kind;
    at[1] = entry->key.form;
    at[2] = entry->value.form;
    kv_set64(at + 3, entry->expiry);
    kv_set32(at + 11, (uint32_t)entry->key.bytes.length);
    kv_set32(at + 15, (uint32_t)entry->value.bytes.length);
    to->length += DEFERRED_HEADER;
    kv_buffer_append(to, entry->key.bytes);
    kv_buffer_append(to, entry->value.bytes);
    durable->deferred_count++;
}

static enum deferred next_deferred(const struct kv_buffer *from, size_t *at,
                                   struct kv_table_entry *entry)
{
    const uint8_t *header = from->data + *at;
    const uint8_t *key = header + DEFERRED_HEADER;
    const uint32_t key_length = kv_get32(header + 11);
    const uint32_t value_length = kv_get32(header + 15);
    entry->key = (struct kv_item){.bytes = kv_bytes(key, key_length), .form = header[1]};
    entry->value =
        (struct kv_item){.bytes = kv_bytes(key + key_length, value_length), .form = header[2]};
    entry->expiry = kv_get64(header + 3);
    *at += DEFERRED_HEADER + (size_t)key_length + value_length;
    return (enum deferred)header[0];
}

static void forget_deferred(struct kv_durable *durable)
{
    kv_buffer_free_later(&durable->deferred);
    durable->deferred_count = 0;
}

/* ---- recording --------------------------------------------------------------------------------
 */

/* The last batch for which nothing of the table waits. */
static uint64_t done(const struct kv_durable *durable)
{
    return durable->policy == KV_POLICY_COMMIT ? durable->set->durable : durable->set->written;
}

/* Readers of this host ask the process in a change, and for keys that are not durable yet. */
static void show(struct kv_durable *durable)
{
    const bool waits = !kv_list_is_empty(&durable->unwritten) && !durable->options.latest;
    kv_table_heed_marks(durable->shown, waits);
    kv_table_ask_owner(durable->shown, durable->suspended || durable->changing ||
                                           (waits && durable->whole > done(durable)));
}

void kv_durable_begin(struct kv_durable *durable)
{
    durable->changing = true;
    show(durable);
}

void kv_durable_end(struct kv_durable *durable)
{
    durable->changing = false;
    show(durable);
}

void kv_durable_hold(const struct kv_durable *durable, struct kv_process *process)
{
    if (durable->policy == KV_POLICY_COMMIT) {
        kv_process_hold_until(process, durable->batch);
    } else {
        kv_process_hold_until_written(process, durable->batch);
    }
}

bool kv_durable_waits(const struct kv_durable *durable, uint64_t batch)
{
    return batch > done(durable);
}

/* The first change of the table in a batch. */
static void enter(struct kv_durable *durable, uint64_t batch)
{
    durable->batch = batch;
    durable->keys = 0;
    if (kv_list_is_empty(&durable->unwritten)) {
        kv_list_append(&durable->set->unwritten, &durable->unwritten);
    }
    if (durable->process != NULL) {
        kv_durable_hold(durable, durable->process);
    }
}

/* Returns false if the key is one too many. */
static bool remember(struct kv_durable *durable, struct kv_item key)
{
    const uint64_t hash = kv_table_hash(durable->table, key.bytes);
    if (durable->keys++ >= KV_DURABLE_KEYS ||
        !kv_fresh_add(&durable->set->fresh, durable->batch, kv_fresh_mark(durable->id, hash),
                      durable->policy == KV_POLICY_COMMIT)) {
        return false;
    }
    kv_table_mark(durable->table, hash, kv_fresh_set_of(durable->batch));
    return true;
}

/* A change of a key was recorded in the batch that gathers now; NULL: of the whole table. */
static void note(struct kv_durable *durable, const struct kv_item *key)
{
    const struct kv_journal *journal = durable->set->journal;
    const uint64_t batch = journal->batch(journal->context);
    if (durable->policy == KV_POLICY_COMMIT) {
        journal->sync(journal->context);
    }
    if (durable->batch != batch) {
        enter(durable, batch);
    }
    if (durable->whole != batch && (key == NULL || !remember(durable, *key))) {
        durable->whole = batch;
    }
    durable->tells = batch;
    show(durable);
}

void kv_durable_note(struct kv_durable *durable)
{
    note(durable, NULL);
}

void kv_durable_tell_key(struct kv_durable *durable, struct kv_item key)
{
    const uint64_t mark = kv_fresh_mark(durable->id, kv_table_hash(durable->table, key.bytes));
    const uint64_t batch =
        durable->whole > done(durable) ? durable->batch : kv_fresh_find(&durable->set->fresh, mark);
    durable->tells = batch > durable->tells ? batch : durable->tells;
}

int kv_durable_may(const struct kv_durable *durable, uint64_t bytes, uint64_t records)
{
    const struct kv_journal *journal = durable->set->journal;
    const uint64_t wanted = bytes + KV_JOURNAL_RECORD * records;
    const bool evicts = bytes > 0 && kv_table_evicts(durable->table); /* other keys for these */
    return journal->may_change(journal->context, evicts ? 2 * wanted : wanted);
}

int kv_durable_may_free(const struct kv_durable *durable, uint64_t bytes, uint64_t records,
                        bool whole)
{
    const struct kv_journal *journal = durable->set->journal;
    return journal->may_free(journal->context, bytes + KV_JOURNAL_RECORD * records, whole);
}

/* As for a change of the whole table in the batch that has the end of the registry. */
void kv_durable_wait_for_registry(struct kv_durable *durable)
{
    const uint64_t batch = durable->registry->batch;
    if (kv_durable_waits(durable, batch) && durable->batch != batch) {
        enter(durable, batch);
    }
    if (durable->process != NULL) {
        kv_process_hold_until(durable->process, batch);
    }
    durable->whole = batch;
    durable->tells = batch;
    show(durable);
}

bool kv_durable_records(struct kv_durable *durable)
{
    if (durable->registry != NULL && durable->registry->destroyed) {
        kv_durable_wait_for_registry(durable);
        return false;
    }
    if (durable->destroyed) {
        kv_durable_tell_all(durable); /* of its end */
    }
    return !durable->destroyed;
}

static void record(struct kv_durable *durable, enum deferred kind,
                   const struct kv_table_entry *entry)
{
    const struct kv_journal *journal = durable->set->journal;
    switch (kind) {
    case DEFERRED_PUT:
        journal->put(journal->context, durable->id, entry);
        break;
    case DEFERRED_GONE:
        journal->gone(journal->context, durable->id, entry->key);
        break;
    case DEFERRED_EXPIRY:
        journal->expiry(journal->context, durable->id, entry->key, entry->expiry);
        break;
    }
}

static void changed(struct kv_durable *durable, enum deferred kind,
                    const struct kv_table_entry *entry)
{
    if (durable->ahead || !kv_durable_records(durable)) {
        return;
    }
    if (durable->deferring) {
        defer(durable, kind, entry);
        return;
    }
    record(durable, kind, entry);
    note(durable, &entry->key);
}

void kv_durable_put(struct kv_durable *durable, const struct kv_table_entry *entry)
{
    changed(durable, DEFERRED_PUT, entry);
}

void kv_durable_gone(struct kv_durable *durable, struct kv_item key)
{
    changed(durable, DEFERRED_GONE, &(struct kv_table_entry){.key = key});
}

void kv_durable_expiry(struct kv_durable *durable, struct kv_item key, uint64_t expiry)
{
    changed(durable, DEFERRED_EXPIRY, &(struct kv_table_entry){.key = key, .expiry = expiry});
}

void kv_durable_clear(struct kv_durable *durable)
{
    const struct kv_journal *journal = durable->set->journal;
    if (kv_durable_records(durable)) {
        journal->clear(journal->context, durable->id);
        note(durable, NULL);
    }
}

void kv_durable_touched(struct kv_durable *durable, struct kv_item key, uint64_t from, uint64_t to)
{
    const uint64_t part = durable->options.ttl / TOUCHED_PARTS + 1;
    if (from / part != to / part && kv_durable_records(durable) &&
        kv_durable_may(durable, key.bytes.length, 1) == KV_OK) {
        record(durable, DEFERRED_EXPIRY, &(struct kv_table_entry){.key = key, .expiry = to});
    }
}

uint64_t kv_durable_overdue(const struct kv_durable *durable)
{
    return durable->options.touch_on_read ? durable->options.ttl / TOUCHED_PARTS + 1 : 0;
}

/* Records what was deferred. */
static void record_deferred(struct kv_durable *durable)
{
    struct kv_table_entry entry;
    size_t at = 0;
    durable->deferring = false;
    while (at < durable->deferred.length) {
        const enum deferred kind = next_deferred(&durable->deferred, &at, &entry);
        changed(durable, kind, &entry);
    }
    forget_deferred(durable);
}

static uint64_t deferred_bytes(const struct kv_durable *durable)
{
    return durable->deferred.length - DEFERRED_HEADER * durable->deferred_count;
}

int kv_durable_settle(struct kv_durable *durable)
{
    const uint64_t count = durable->deferred_count;
    const int error = count > 0 ? kv_durable_may(durable, deferred_bytes(durable), count) : KV_OK;
    if (error != KV_OK) {
        kv_durable_cancel(durable);
        return error;
    }
    record_deferred(durable);
    kv_durables_walk_settled(durable);
    return KV_OK;
}

int kv_durable_record_ahead(struct kv_durable *durable)
{
    const uint64_t count = durable->deferred_count;
    const int error =
        count > 0 ? kv_durable_may_free(durable, deferred_bytes(durable), count, false) : KV_OK;
    if (error != KV_OK) {
        kv_durable_cancel(durable);
        return error;
    }
    record_deferred(durable);
    durable->ahead = true;
    return KV_OK;
}

void kv_durable_caught_up(struct kv_durable *durable)
{
    durable->ahead = false;
    kv_durables_walk_settled(durable);
}

void kv_durable_cancel(struct kv_durable *durable)
{
    durable->deferring = false;
    forget_deferred(durable);
    kv_durables_walk_settled(durable);
}

void kv_durable_removed(void *context, enum kv_gone why, struct kv_item key)
{
    struct kv_durable *durable = context;
    durable->counts.expirations += why == KV_GONE_EXPIRED;
    durable->counts.evictions += why == KV_GONE_EVICTED;
    if (why != KV_GONE_EVICTED || !kv_durable_records(durable)) {
        return;
    }
    const struct kv_table_entry entry = {.key = key};
    if (durable->set->journal == NULL) { /* during recovery: recorded at its end */
        defer(durable, DEFERRED_GONE, &entry);
        return;
    }
    record(durable, DEFERRED_GONE, &entry);
    note(durable, &key);
}

void kv_durable_record_evicted(struct kv_durable *durable)
{
    struct kv_table_entry entry;
    uint64_t expiry = KV_NEVER;
    size_t at = 0;
    while (at < durable->deferred.length) {
        (void)next_deferred(&durable->deferred, &at, &entry);
        if (!kv_table_expiry(durable->table, entry.key, &expiry)) {
            kv_durable_gone(durable, entry.key);
        }
    }
    forget_deferred(durable);
}

/* ---- what is durable ---------------------------------------------------------------------------
 */

void kv_durable_suspend(struct kv_durable *durable, bool suspended)
{
    durable->suspended = suspended;
    show(durable);
}

void kv_durables_release(struct kv_durables *set, uint64_t written, uint64_t durable)
{
    set->written = written;
    set->durable = durable;
    const unsigned emptied = kv_fresh_release(&set->fresh, written, durable);
    for (unsigned i = 0; i < KV_FRESH_SETS; i++) {
        if ((emptied >> i & 1) != 0) {
            kv_arena_unmark(set->arena, i);
        }
    }
    KV_LIST_FOREACH (link, &set->unwritten) {
        struct kv_durable *one = KV_LIST_OF(link, struct kv_durable, unwritten);
        if (one->batch <= done(one)) {
            kv_list_remove(&one->unwritten);
        }
        show(one);
    }
}
