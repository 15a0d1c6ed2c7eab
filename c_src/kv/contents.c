#include "kv/contents.h"
#include "base/alloc.h"
#include "kv/durable.h"
#include "kv/kv.h"
#include "kv/tally.h"

static void count_gone(void *context, enum kv_gone why, struct kv_item key)
{
    struct kv_counts *counts = context;
    (void)key;
    counts->expirations += why == KV_GONE_EXPIRED;
    counts->evictions += why == KV_GONE_EVICTED;
}

int kv_contents_open(struct kv_contents *contents, const struct kv_process *self,
                     const struct kv_table_options *options, struct kv_buffer *reason)
{
    struct kv_arena *arena = kv_store_of(self)->arena;
    const struct kv_pid pid = kv_process_pid(self);
    struct kv_table_options counting = *options;
    contents->counts = kv_zalloc(sizeof *contents->counts);
    kv_tally_begin(kv_store_of(self)->tally, contents->counts, kv_arena_time(arena));
    counting.gone = count_gone;
    counting.gone_context = contents->counts;
    contents->table = kv_table_new(arena, &counting);
    if (contents->table == NULL || kv_arena_publish(arena, pid.id, pid.serial, KV_PUBLISHED_VALUES,
                                                    contents->table) != KV_OK) {
        kv_contents_close(contents, self);
        kv_write_atom_text(reason, "enomem");
        return KV_ENOMEM;
    }
    return KV_OK;
}

int kv_contents_attach(struct kv_contents *contents, struct kv_process *self,
                       struct kv_durable *durable, struct kv_buffer *reason)
{
    int error = kv_durable_attach(durable, self);
    if (error != KV_OK) {
        kv_write_atom_text(reason, "enomem");
        return error;
    }
    contents->table = durable->table;
    contents->counts = &durable->counts;
    contents->durable = durable;
    contents->apart = true;
    return KV_OK;
}

void kv_contents_close(struct kv_contents *contents, const struct kv_process *self)
{
    if (contents->durable != NULL) {
        kv_durable_detach(contents->durable);
    } else {
        kv_table_free(contents->table);
        kv_tally_end(kv_store_of(self)->tally, contents->counts);
        kv_free(contents->counts);
    }
    *contents = (struct kv_contents){.table = NULL};
}

void kv_contents_overlay(struct kv_contents *contents, struct kv_overlay *overlay)
{
    contents->overlay = overlay;
    contents->apart = overlay != NULL || contents->durable != NULL;
}

int kv_contents_reserve(const struct kv_contents *contents, uint64_t bytes, uint64_t records)
{
    struct kv_durable *durable = contents->durable;
    if (durable == NULL) {
        return KV_OK;
    }
    int error = kv_durable_may(durable, bytes, records);
    durable->reserved = error == KV_OK;
    return error;
}

void kv_contents_begin(const struct kv_contents *contents)
{
    if (contents->durable != NULL) {
        contents->durable->deferring = true;
    }
}

int kv_contents_settle(const struct kv_contents *contents, int error)
{
    struct kv_durable *durable = contents->durable;
    if (durable == NULL) {
        return error;
    }
    durable->reserved = false;
    if (error == KV_OK) {
        return kv_durable_settle(durable);
    }
    kv_durable_cancel(durable);
    kv_durable_tell_all(durable); /* of how full it is */
    return error;
}

int kv_contents_record_ahead(const struct kv_contents *contents)
{
    return kv_durable_record_ahead(contents->durable);
}

void kv_contents_caught_up(const struct kv_contents *contents)
{
    if (contents->durable != NULL) {
        kv_durable_caught_up(contents->durable);
    }
}

void kv_contents_tell_all(const struct kv_contents *contents)
{
    if (contents->durable != NULL) {
        kv_durable_tell_all(contents->durable);
    }
}

bool kv_contents_expiry_apart(const struct kv_contents *contents, struct kv_item key,
                              uint64_t *expiry)
{
    if (contents->overlay != NULL) {
        return kv_overlay_expiry(contents->overlay, key, expiry);
    }
    kv_durable_tell(contents->durable, key);
    return kv_table_expiry(contents->table, key, expiry);
}

bool kv_contents_look_apart(const struct kv_contents *contents, struct kv_item key,
                            struct kv_item *value, uint64_t *expiry)
{
    if (contents->overlay != NULL) {
        return kv_overlay_look(contents->overlay, key, value, expiry);
    }
    kv_durable_tell(contents->durable, key);
    return kv_table_find(contents->table, key, value, expiry);
}

/* A read that starts the life of an entry again is recorded. */
bool kv_contents_find_apart(const struct kv_contents *contents, struct kv_item key,
                            struct kv_item *value)
{
    if (contents->overlay != NULL) {
        return kv_overlay_find(contents->overlay, key, value);
    }
    kv_durable_tell(contents->durable, key);
    uint64_t before = KV_NEVER;
    const uint64_t again = kv_table_touched(contents->table);
    if (again != KV_NEVER) {
        (void)kv_table_expiry(contents->table, key, &before);
    }
    const bool there = kv_table_get(contents->table, key, value);
    if (there && before != KV_NEVER) {
        kv_durable_touched(contents->durable, key, before, again);
    }
    return there;
}

/* ---- changes of durable tables ----------------------------------------------------------------
 */

static struct kv_item key_of(const struct kv_change *change)
{
    return change->ahead != NULL ? change->ahead->key : change->key;
}

/* Only puts and expiries need room in the journal. */
static int may_record(const struct kv_contents *contents, const struct kv_change *change)
{
    const bool adds = change->kind == KV_CHANGE_PUT || change->kind == KV_CHANGE_EXPIRY;
    return !adds || contents->durable->deferring || contents->durable->reserved
               ? KV_OK
               : kv_durable_may(contents->durable,
                                key_of(change).bytes.length + change->value.bytes.length, 1);
}

static void record(const struct kv_contents *contents, const struct kv_change *change)
{
    struct kv_durable *durable = contents->durable;
    const struct kv_item key = key_of(change);
    switch (change->kind) {
    case KV_CHANGE_PUT:
        kv_durable_put(durable, &(struct kv_table_entry){
                                    .key = key, .value = change->value, .expiry = change->expiry});
        break;
    case KV_CHANGE_DELETE:
        kv_durable_gone(durable, key);
        break;
    case KV_CHANGE_EXPIRY:
        kv_durable_expiry(durable, key, change->expiry);
        break;
    case KV_CHANGE_CLEAR:
        kv_durable_clear(durable);
        break;
    }
}

int kv_contents_change_apart(const struct kv_contents *contents, const struct kv_change *wanted)
{
    struct kv_change change = *wanted;
    int error = KV_OK;
    if (contents->overlay != NULL) {
        error = kv_overlay_change(contents->overlay, &change);
        contents->counts->puts += error == KV_OK && change.kind == KV_CHANGE_PUT;
        contents->counts->deletes += error == KV_OK && change.kind == KV_CHANGE_DELETE;
        return error;
    }
    if (change.kind == KV_CHANGE_PUT && (change.expiry & KV_KEEPING) != 0) {
        change.expiry = kv_contents_kept(contents, &change);
    }
    if (change.kind == KV_CHANGE_CLEAR && kv_table_count(contents->table) == 0) {
        return KV_OK;
    }
    error = may_record(contents, &change);
    if (error != KV_OK) {
        return error;
    }
    kv_durable_begin(contents->durable);
    error = kv_contents_change_table(contents, &change);
    if (error == KV_OK) {
        record(contents, &change);
    } else if (error == KV_ENOENT) {
        kv_durable_tell(contents->durable, key_of(&change));
    } else {
        kv_durable_tell_all(contents->durable); /* of how full it is */
    }
    kv_durable_end(contents->durable);
    return error;
}

uint64_t kv_contents_kept(const struct kv_contents *contents, const struct kv_change *change)
{
    const struct kv_item key = change->ahead != NULL ? change->ahead->key : change->key;
    uint64_t expiry = KV_NEVER;
    return kv_table_expiry(contents->table, key, &expiry) ? expiry : change->expiry & ~KV_KEEPING;
}
