#include "kv/durable_parts.h"

#include "base/alloc.h"
#include "kv/durable_walk.h"
#include "kv/tally.h"

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
    kv_list_init(&set->strays);
    kv_list_init(&set->roots);
    kv_list_init(&set->unwritten);
}

/* The table of that name that is in no registry, or NULL. */
static struct kv_durable *registry_named(const struct kv_durables *set, struct kv_bytes name)
{
    return name.length == 0 ? NULL : kv_durable_find(set, kv_bytes(NULL, 0), name);
}

/* The number of entries that a checkpoint tells is true for a moment, and only then an option. */
static void take_options(struct kv_durable *durable, const struct kv_stored *options)
{
    durable->options = *options;
    durable->options.entries = 0;
}

/* The limits come with kv_durables_open(), or when the table is attached. */
static struct kv_durable *add(struct kv_durables *set, const struct kv_journal_table *about,
                              const struct kv_stored *options)
{
    struct kv_durable *durable = kv_zalloc(sizeof *durable);
    const struct identity identity = {about->registry, about->name};
    const struct kv_table_options table = {
        .evict = options->evict, .gone = kv_durable_removed, .gone_context = durable};
    durable->table = kv_table_new(set->arena, &table);
    if (durable->table == NULL) {
        kv_free(durable);
        return NULL;
    }
    kv_table_expect(durable->table,
                    options->entries < set->entries_most ? options->entries : set->entries_most);
    durable->set = set;
    durable->shown = durable->table;
    durable->id = about->id;
    durable->kind = about->kind;
    durable->policy = about->policy;
    take_options(durable, options);
    kv_tally_begin(set->journal == NULL ? NULL : set->tally, &durable->counts,
                   kv_arena_time(set->arena));
    durable->registry_length = about->registry.length;
    kv_buffer_append(&durable->identity, about->registry);
    kv_buffer_append(&durable->identity, about->name);
    kv_buffer_append(&durable->meta, kv_stored_meta(about->options));
    kv_list_init(&durable->of_registry);
    kv_list_init(&durable->names);
    kv_list_init(&durable->kept);
    kv_list_init(&durable->unwritten);
    kv_list_append(&set->tables, &durable->of_set);
    kv_map_insert(&set->by_identity, &durable->by_identity, hash_of(set, &identity));
    kv_map_insert(&set->by_id, &durable->by_id, durable->id);
    kv_durable_join(durable, registry_named(set, about->registry));
    set->greatest = durable->id > set->greatest ? durable->id : set->greatest;
    return durable;
}

static void leave_set(struct kv_durable *durable)
{
    kv_durables_walk_leave(durable);
    kv_durable_part(durable);
    kv_map_remove(&durable->set->by_identity, &durable->by_identity);
    kv_map_remove(&durable->set->by_id, &durable->by_id);
    kv_list_remove(&durable->of_set);
}

/* A process that has the table until it ends still waits for its last changes. */
static void free_durable(struct kv_durable *durable)
{
    kv_list_remove(&durable->unwritten);
    if (durable->calls != NULL) {
        durable->calls->forget_kept(&durable->kept);
    }
    kv_tally_end(durable->set->tally, &durable->counts);
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
    kv_durable_free_puts(set);
    kv_map_free(&set->by_identity);
    kv_map_free(&set->by_id);
    kv_fresh_free(&set->fresh);
}

void kv_durable_move(struct kv_durable *durable, struct kv_bytes registry, struct kv_bytes name)
{
    struct kv_durables *set = durable->set;
    const struct identity identity = {registry, name};
    struct kv_buffer bytes = KV_BUFFER_INIT;
    if (has_identity(&durable->by_identity, &identity)) {
        return;
    }
    const bool leaves = !kv_bytes_equal(kv_durable_registry_name(durable), registry);
    if (leaves) {
        kv_durable_part(durable);
    }
    kv_buffer_append(&bytes, registry);
    kv_buffer_append(&bytes, name);
    kv_map_remove(&set->by_identity, &durable->by_identity);
    kv_map_insert(&set->by_identity, &durable->by_identity, hash_of(set, &identity));
    kv_buffer_free(&durable->identity);
    durable->identity = bytes;
    durable->registry_length = registry.length;
    if (leaves) {
        kv_durable_join(durable, registry_named(set, kv_durable_registry_name(durable)));
    }
}

/* ---- recovery ---------------------------------------------------------------------------------
 */

int kv_durables_table(struct kv_durables *set, const struct kv_journal_table *about)
{
    struct kv_durable *durable = find_id(set, about->id);
    struct kv_stored options;
    const int error = kv_durables_settle(set);
    if (error != KV_OK) {
        return error;
    }
    kv_stored_read(about->options, &options);
    if (durable == NULL) {
        return add(set, about, &options) == NULL ? KV_ENOMEM : KV_OK;
    }
    durable->policy = about->policy;
    take_options(durable, &options);
    kv_buffer_free(&durable->meta);
    kv_buffer_append(&durable->meta, kv_stored_meta(about->options));
    kv_durable_move(durable, about->registry, about->name);
    return KV_OK;
}

int kv_durables_put(struct kv_durables *set, uint64_t id, const struct kv_table_entry *entry)
{
    struct kv_durable *durable = kv_durable_putting(set);
    if (durable == NULL || durable->id != id) {
        durable = find_id(set, id);
    }
    return durable == NULL ? KV_OK : kv_durable_put_later(durable, entry);
}

int kv_durables_expiry(struct kv_durables *set, uint64_t id, struct kv_item key, uint64_t expiry)
{
    const struct kv_durable *durable = find_id(set, id);
    int error = kv_durables_settle(set);
    if (error == KV_OK && durable != NULL) {
        error = kv_table_set_expiry(durable->table, key, expiry);
    }
    return error;
}

int kv_durables_gone(struct kv_durables *set, uint64_t id, struct kv_item key)
{
    const struct kv_durable *durable = find_id(set, id);
    const int error = kv_durables_settle(set);
    if (error == KV_OK && durable != NULL) {
        (void)kv_table_delete(durable->table, key);
    }
    return error;
}

int kv_durables_clear(struct kv_durables *set, uint64_t id)
{
    const struct kv_durable *durable = find_id(set, id);
    const int error = kv_durables_settle(set);
    if (error == KV_OK && durable != NULL) {
        kv_table_clear(durable->table);
        kv_table_expect(durable->table, 0);
    }
    return error;
}

int kv_durables_drop(struct kv_durables *set, uint64_t id)
{
    struct kv_durable *durable = find_id(set, id);
    const int error = kv_durables_settle(set);
    if (error == KV_OK && durable != NULL) {
        leave_set(durable);
        free_durable(durable);
    }
    return error;
}

/* Frees the names of one registry. Those in the list may be of another. */
static void drop_names(const struct kv_list *names, struct kv_bytes registry)
{
    KV_LIST_FOREACH (link, names) {
        struct kv_durable *durable = KV_LIST_OF(link, struct kv_durable, of_registry);
        if (kv_bytes_equal(identity_of(durable).registry, registry)) {
            leave_set(durable);
            free_durable(durable);
        }
    }
}

/* Its names may be those of another registry of this name, which comes after it: so a checkpoint
 * may have it. The records of these names follow, too. */
int kv_durables_drop_registry(struct kv_durables *set, uint64_t id, struct kv_bytes name)
{
    struct kv_durable *durable = find_id(set, id);
    const struct kv_durable *holder = registry_named(set, name);
    const int error = kv_durables_settle(set);
    if (error != KV_OK) {
        return error;
    }
    drop_names(&set->strays, name);
    if (holder != NULL) {
        drop_names(&holder->names, name);
    }
    if (durable != NULL) {
        drop_names(&durable->names, name);
        leave_set(durable);
        free_durable(durable);
    }
    return KV_OK;
}

static void apply_limits(struct kv_durable *durable)
{
    const struct kv_stored *options = &durable->options;
    kv_table_set_limits(durable->table, options->max_memory, options->max_entries,
                        options->touch_on_read ? options->ttl : 0);
}

void kv_durables_open(struct kv_durables *set, const struct kv_journal *journal, uint64_t greatest)
{
    kv_assert(set->puts == NULL || set->puts->count == 0);
    kv_durable_free_puts(set);
    set->journal = journal;
    set->entries_most = 0;
    set->greatest = greatest > set->greatest ? greatest : set->greatest;
    KV_LIST_FOREACH (link, &set->tables) {
        struct kv_durable *durable = KV_LIST_OF(link, struct kv_durable, of_set);
        kv_durable_record_evicted(durable);
        kv_table_expect(durable->table, 0);
        apply_limits(durable);
        kv_tally_begin(set->tally, &durable->counts, kv_arena_time(set->arena));
    }
}

/* ---- processes --------------------------------------------------------------------------------
 */

void kv_durable_about(const struct kv_durable *durable, bool entries, struct kv_buffer *options,
                      struct kv_journal_table *about)
{
    const struct identity identity = identity_of(durable);
    struct kv_stored stored = durable->options;
    stored.entries = entries ? kv_table_count(durable->table) : 0;
    kv_stored_write(&stored, kv_buffer_bytes(&durable->meta), options);
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
    if (!kv_durable_records(durable)) {
        return;
    }
    kv_durable_about(durable, false, &options, &about);
    journal->table(journal->context, &about);
    kv_buffer_free(&options);
    kv_durable_note(durable);
}

enum { OPTIONS_MAX = 256 }; /* bytes of the term of struct kv_stored, without the metadata */

int kv_durable_may_record(const struct kv_durable *durable, uint64_t more)
{
    return kv_durable_may(durable,
                          durable->identity.length + durable->meta.length + more + OPTIONS_MAX, 1);
}

/* The registry of that name, or NULL if none has a process. */
static const struct kv_durable *registry_of(const struct kv_durables *set, struct kv_bytes name)
{
    const struct kv_durable *registry = registry_named(set, name);
    return registry != NULL && registry->calls != NULL && registry->process != NULL &&
                   !registry->destroyed
               ? registry
               : NULL;
}

/* Tells the process of its registry, if there is one, that the name is there, or is not any more.
 */
static void tell_registry(const struct kv_durable *durable, bool there)
{
    const struct kv_durable *registry = registry_of(durable->set, identity_of(durable).registry);
    if (registry != NULL) {
        registry->calls->hears(registry->process, kv_durable_name(durable), there);
    }
}

/* Only its registry makes a name. A bucket that was asked for before the end of the program, and
 * that starts in the next one, would make a name that nobody has created. The metadata is in the
 * first record of the table: a crash leaves no name without it. */
static int ask_registry(const struct kv_durables *set, const struct kv_journal_table *about,
                        struct kv_bytes *meta)
{
    const struct kv_durable *registry = registry_of(set, about->registry);
    *meta = kv_bytes(NULL, 0);
    return about->registry.length == 0 ||
                   (registry != NULL &&
                    registry->calls->creates(registry->process, about->name, meta))
               ? KV_OK
               : KV_ENOENT;
}

int kv_durable_make(struct kv_durables *set, const struct kv_journal_table *about,
                    const struct kv_stored *options, struct kv_durable **made)
{
    struct kv_journal_table wanted = *about;
    struct kv_bytes meta;
    wanted.id = set->greatest + 1;
    int error = ask_registry(set, about, &meta);
    if (error != KV_OK) {
        return error;
    }
    error = set->journal->may_change(set->journal->context, about->registry.length +
                                                                about->name.length + meta.length +
                                                                OPTIONS_MAX + KV_JOURNAL_RECORD);
    if (error != KV_OK) {
        return error;
    }
    *made = add(set, &wanted, options);
    if (*made == NULL) {
        return KV_ENOMEM;
    }
    apply_limits(*made);
    kv_buffer_append(&(*made)->meta, meta);
    kv_durable_record(*made);
    tell_registry(*made, true);
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
           one->latest == other->latest && one->unfilled == other->unfilled &&
           one->generation == other->generation;
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
        kv_durable_note(durable);
        leave_set(durable);
        durable->destroyed = true;
        tell_registry(durable, false);
        if (durable->process == NULL) {
            free_durable(durable);
        }
    }
}

void kv_durable_destroy_registry(struct kv_durable *registry)
{
    const struct kv_journal *journal = registry->set->journal;
    journal->drop_registry(journal->context, registry->id, kv_durable_name(registry));
    journal->sync(journal->context);
    kv_durable_note(registry);
    registry->destroyed = true;
}

void kv_durable_free_name(struct kv_durable *durable)
{
    kv_durable_wait_for_registry(durable);
    leave_set(durable);
    durable->destroyed = true;
    if (durable->process == NULL) {
        free_durable(durable);
    }
}

bool kv_durable_free_names(struct kv_durable *registry, unsigned most)
{
    for (unsigned i = 0; i < most; i++) {
        if (kv_list_is_empty(&registry->names)) {
            leave_set(registry);
            return false;
        }
        kv_durable_free_name(KV_LIST_OF(registry->names.next, struct kv_durable, of_registry));
    }
    return true;
}
