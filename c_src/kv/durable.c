#include "kv/durable.h"
#include "kv/registry.h"

#include "base/alloc.h"
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
    return journal->may_change(journal->context, bytes + KV_JOURNAL_RECORD * records);
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
    if (durable->destroyed) {
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
    if (!durable->destroyed) {
        journal->clear(journal->context, durable->id);
        note(durable, NULL);
    }
}

void kv_durable_touched(struct kv_durable *durable, struct kv_item key, uint64_t from, uint64_t to)
{
    const uint64_t part = durable->options.ttl / TOUCHED_PARTS + 1;
    if (from / part != to / part && !durable->destroyed &&
        kv_durable_may(durable, key.bytes.length, 1) == KV_OK) {
        record(durable, DEFERRED_EXPIRY, &(struct kv_table_entry){.key = key, .expiry = to});
    }
}

int kv_durable_settle(struct kv_durable *durable, bool puts)
{
    struct kv_table_entry entry;
    size_t at = 0;
    int error = puts && durable->deferred_count > 0
                    ? kv_durable_may(durable, durable->deferred.length, durable->deferred_count)
                    : KV_OK;
    durable->deferring = false;
    while (error == KV_OK && at < durable->deferred.length) {
        const enum deferred kind = next_deferred(&durable->deferred, &at, &entry);
        changed(durable, kind, &entry);
    }
    forget_deferred(durable);
    kv_durables_walk_settled(durable);
    return error;
}

void kv_durable_cancel(struct kv_durable *durable)
{
    durable->deferring = false;
    forget_deferred(durable);
    kv_durables_walk_settled(durable);
}

/* What the table itself has removed. Expiry needs no record: the expiry itself has one. */
static void gone(void *context, enum kv_gone why, struct kv_item key)
{
    struct kv_durable *durable = context;
    durable->counts.expirations += why == KV_GONE_EXPIRED;
    durable->counts.evictions += why == KV_GONE_EVICTED;
    if (why != KV_GONE_EVICTED || durable->destroyed) {
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

/* ---- the set ----------------------------------------------------------------------------------
 */

struct identity {
    struct kv_bytes registry;
    struct kv_bytes name;
};

static struct identity identity_of(const struct kv_durable *durable)
{
    const struct kv_buffer *bytes = &durable->identity;
    return (struct identity){
        .registry = kv_bytes(bytes->data, durable->registry_length),
        .name = kv_bytes(bytes->data + durable->registry_length,
                         bytes->length - durable->registry_length),
    };
}

static bool has_identity(const struct kv_map_node *node, const void *key)
{
    const struct identity *wanted = key;
    const struct identity own = identity_of(KV_MAP_OF(node, const struct kv_durable, by_identity));
    return kv_bytes_equal(own.registry, wanted->registry) && kv_bytes_equal(own.name, wanted->name);
}

static uint64_t hash_of(const struct kv_durables *set, const struct identity *identity)
{
    return kv_siphash(&set->hash_key, identity->registry) * 31 +
           kv_siphash(&set->hash_key, identity->name);
}

static bool has_id(const struct kv_map_node *node, const void *key)
{
    return KV_MAP_OF(node, const struct kv_durable, by_id)->id == *(const uint64_t *)key;
}

static struct kv_durable *find_id(const struct kv_durables *set, uint64_t id)
{
    struct kv_map_node *found = kv_map_find(&set->by_id, id, has_id, &id);
    return found == NULL ? NULL : KV_MAP_OF(found, struct kv_durable, by_id);
}

struct kv_durable *kv_durable_find(const struct kv_durables *set, struct kv_bytes registry,
                                   struct kv_bytes name)
{
    const struct identity wanted = {registry, name};
    struct kv_map_node *found =
        kv_map_find(&set->by_identity, hash_of(set, &wanted), has_identity, &wanted);
    return found == NULL ? NULL : KV_MAP_OF(found, struct kv_durable, by_identity);
}

void kv_durables_init(struct kv_durables *set, struct kv_arena *arena,
                      const struct kv_hash_key *hash_key)
{
    *set = (struct kv_durables){.arena = arena, .hash_key = *hash_key};
    kv_list_init(&set->tables);
    kv_list_init(&set->unwritten);
}

/* The limits come with kv_durables_open(), or when the table is attached. */
static struct kv_durable *add(struct kv_durables *set, const struct kv_journal_table *about,
                              const struct kv_stored *options)
{
    struct kv_durable *durable = kv_zalloc(sizeof *durable);
    const struct identity identity = {about->registry, about->name};
    const struct kv_table_options table = {
        .evict = options->evict, .gone = gone, .gone_context = durable};
    durable->table = kv_table_new(set->arena, &table);
    if (durable->table == NULL) {
        kv_free(durable);
        return NULL;
    }
    durable->set = set;
    durable->shown = durable->table;
    durable->id = about->id;
    durable->kind = about->kind;
    durable->policy = about->policy;
    durable->options = *options;
    durable->counts.since = kv_arena_time(set->arena);
    durable->registry_length = about->registry.length;
    kv_buffer_append(&durable->identity, about->registry);
    kv_buffer_append(&durable->identity, about->name);
    kv_buffer_append(&durable->meta, kv_stored_meta(about->options));
    kv_list_init(&durable->kept);
    kv_list_init(&durable->unwritten);
    kv_list_append(&set->tables, &durable->of_set);
    kv_map_insert(&set->by_identity, &durable->by_identity, hash_of(set, &identity));
    kv_map_insert(&set->by_id, &durable->by_id, durable->id);
    set->greatest = durable->id > set->greatest ? durable->id : set->greatest;
    return durable;
}

static void leave_set(struct kv_durable *durable)
{
    kv_durables_walk_leave(durable);
    kv_map_remove(&durable->set->by_identity, &durable->by_identity);
    kv_map_remove(&durable->set->by_id, &durable->by_id);
    kv_list_remove(&durable->of_set);
    kv_list_remove(&durable->unwritten);
}

static void free_durable(struct kv_durable *durable)
{
    kv_registry_forget_kept(&durable->kept);
    kv_table_free(durable->table);
    kv_buffer_free(&durable->identity);
    kv_buffer_free(&durable->meta);
    kv_buffer_free(&durable->deferred);
    kv_free(durable);
}

void kv_durables_free(struct kv_durables *set)
{
    KV_LIST_FOREACH (link, &set->tables) {
        struct kv_durable *durable = KV_LIST_OF(link, struct kv_durable, of_set);
        leave_set(durable);
        free_durable(durable);
    }
    kv_map_free(&set->by_identity);
    kv_map_free(&set->by_id);
    kv_fresh_free(&set->fresh);
}

void kv_durable_move(struct kv_durable *durable, struct kv_bytes name)
{
    struct kv_durables *set = durable->set;
    if (kv_bytes_equal(kv_durable_name(durable), name)) {
        return;
    }
    kv_map_remove(&set->by_identity, &durable->by_identity);
    durable->identity.length = durable->registry_length;
    kv_buffer_append(&durable->identity, name);
    const struct identity identity = identity_of(durable);
    kv_map_insert(&set->by_identity, &durable->by_identity, hash_of(set, &identity));
}

/* ---- recovery ---------------------------------------------------------------------------------
 */

int kv_durables_table(struct kv_durables *set, const struct kv_journal_table *about)
{
    struct kv_durable *durable = find_id(set, about->id);
    struct kv_stored options;
    kv_stored_read(about->options, &options);
    if (durable == NULL) {
        return add(set, about, &options) == NULL ? KV_ENOMEM : KV_OK;
    }
    durable->policy = about->policy;
    durable->options = options;
    kv_buffer_free(&durable->meta);
    kv_buffer_append(&durable->meta, kv_stored_meta(about->options));
    kv_durable_move(durable, about->name);
    return KV_OK;
}

int kv_durables_put(struct kv_durables *set, uint64_t id, const struct kv_table_entry *entry)
{
    const struct kv_durable *durable = find_id(set, id);
    return durable == NULL ? KV_OK
                           : kv_table_put(durable->table, entry->key, entry->value, entry->expiry);
}

int kv_durables_expiry(struct kv_durables *set, uint64_t id, struct kv_item key, uint64_t expiry)
{
    const struct kv_durable *durable = find_id(set, id);
    int error = durable == NULL ? KV_OK : kv_table_set_expiry(durable->table, key, expiry);
    return error == KV_ENOENT ? KV_OK : error;
}

void kv_durables_gone(struct kv_durables *set, uint64_t id, struct kv_item key)
{
    const struct kv_durable *durable = find_id(set, id);
    if (durable != NULL) {
        (void)kv_table_delete(durable->table, key);
    }
}

void kv_durables_clear(struct kv_durables *set, uint64_t id)
{
    const struct kv_durable *durable = find_id(set, id);
    if (durable != NULL) {
        kv_table_clear(durable->table);
    }
}

void kv_durables_drop(struct kv_durables *set, uint64_t id)
{
    struct kv_durable *durable = find_id(set, id);
    if (durable != NULL) {
        leave_set(durable);
        free_durable(durable);
    }
}

static void apply_limits(struct kv_durable *durable)
{
    const struct kv_stored *options = &durable->options;
    kv_table_set_limits(durable->table, options->max_memory, options->max_entries,
                        options->touch_on_read ? options->ttl : 0);
}

/* Records what recovery has evicted, unless a later record has put the key again. */
static void record_evicted(struct kv_durable *durable)
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

void kv_durables_open(struct kv_durables *set, const struct kv_journal *journal, uint64_t greatest)
{
    set->journal = journal;
    set->greatest = greatest > set->greatest ? greatest : set->greatest;
    KV_LIST_FOREACH (link, &set->tables) {
        struct kv_durable *durable = KV_LIST_OF(link, struct kv_durable, of_set);
        record_evicted(durable);
        apply_limits(durable);
        durable->counts = (struct kv_counts){.since = kv_arena_time(set->arena)};
    }
}

/* ---- processes --------------------------------------------------------------------------------
 */

void kv_durable_about(const struct kv_durable *durable, struct kv_buffer *options,
                      struct kv_journal_table *about)
{
    const struct identity identity = identity_of(durable);
    kv_stored_write(&durable->options, kv_buffer_bytes(&durable->meta), options);
    *about = (struct kv_journal_table){.id = durable->id,
                                       .policy = durable->policy,
                                       .kind = durable->kind,
                                       .registry = identity.registry,
                                       .name = identity.name,
                                       .options = kv_buffer_bytes(options)};
}

void kv_durable_record(struct kv_durable *durable)
{
    const struct kv_journal *journal = durable->set->journal;
    struct kv_buffer options = KV_BUFFER_INIT;
    struct kv_journal_table about;
    kv_durable_about(durable, &options, &about);
    journal->table(journal->context, &about);
    kv_buffer_free(&options);
    note(durable, NULL);
}

enum { OPTIONS_MAX = 256 }; /* bytes of the term of struct kv_stored, without the metadata */

int kv_durable_may_record(const struct kv_durable *durable, uint64_t more)
{
    return kv_durable_may(durable,
                          durable->identity.length + durable->meta.length + more + OPTIONS_MAX, 1);
}

int kv_durable_make(struct kv_durables *set, const struct kv_journal_table *about,
                    const struct kv_stored *options, struct kv_durable **made)
{
    struct kv_journal_table wanted = *about;
    wanted.id = set->greatest + 1;
    int error = set->journal->may_change(set->journal->context,
                                         about->registry.length + about->name.length + OPTIONS_MAX +
                                             KV_JOURNAL_RECORD);
    if (error != KV_OK) {
        return error;
    }
    *made = add(set, &wanted, options);
    if (*made == NULL) {
        return KV_ENOMEM;
    }
    apply_limits(*made);
    kv_durable_record(*made);
    kv_durable_tell_registry(*made, true);
    return KV_OK;
}

int kv_durable_attach(struct kv_durable *durable, struct kv_process *self)
{
    const struct kv_pid pid = kv_process_pid(self);
    int error = kv_arena_publish(durable->set->arena, pid.id, pid.serial, KV_PUBLISHED_VALUES,
                                 durable->table);
    if (error == KV_OK) {
        durable->process = self;
        kv_durable_hold(durable, durable->process);
    }
    return error;
}

void kv_durable_detach(struct kv_durable *durable)
{
    durable->process = NULL;
    if (durable->destroyed) {
        free_durable(durable);
        return;
    }
    durable->shown = durable->table;
    kv_table_withdraw(durable->table);
    kv_durable_suspend(durable, false);
}

static bool same(const struct kv_stored *one, const struct kv_stored *other)
{
    return one->max_memory == other->max_memory && one->max_entries == other->max_entries &&
           one->ttl == other->ttl && one->touch_on_read == other->touch_on_read &&
           one->latest == other->latest;
}

int kv_durable_set_options(struct kv_durable *durable, enum kv_policy policy,
                           const struct kv_stored *options)
{
    if (durable->policy == policy && same(&durable->options, options)) {
        return KV_OK;
    }
    int error = kv_durable_may_record(durable, 0);
    if (error == KV_OK) {
        const enum kv_evict evict = durable->options.evict;
        durable->policy = policy;
        durable->options = *options;
        durable->options.evict = evict;
        apply_limits(durable);
        kv_durable_record(durable);
    }
    return error;
}

void kv_durable_destroy(struct kv_durable *durable)
{
    const struct kv_journal *journal = durable->set->journal;
    if (!durable->destroyed) {
        journal->drop(journal->context, durable->id);
        note(durable, NULL);
        leave_set(durable);
        durable->destroyed = true;
        kv_durable_tell_registry(durable, false);
        if (durable->process == NULL) {
            free_durable(durable);
        }
    }
}

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
