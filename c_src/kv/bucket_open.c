/* How a bucket gets its table: a new one, or the durable one of its identity. */
#include "kv/bucket.h"
#include "kv/durable.h"
#include "kv/kv.h"
#include "kv/start.h"

static void use_options(struct kv_bucket *bucket, const struct kv_stored *options)
{
    bucket->ttl = options->ttl;
    bucket->evict = options->evict;
    bucket->touch_on_read = options->touch_on_read;
    bucket->latest = options->latest;
}

static struct kv_stored stored_of(const struct kv_start_options *options)
{
    return (struct kv_stored){.max_memory = options->table.max_memory,
                              .max_entries = options->table.max_entries,
                              .ttl = options->ttl,
                              .evict = options->table.evict,
                              .touch_on_read = options->touch_on_read,
                              .generation = options->generation,
                              .latest = options->latest,
                              .unfilled = options->fill};
}

enum kv_policy kv_bucket_policy(const struct kv_bucket *bucket)
{
    const struct kv_durable *durable = bucket->contents.durable;
    return durable == NULL ? KV_POLICY_VOLATILE : durable->policy;
}

/* ---- durable ----------------------------------------------------------------------------------
 */

/* Options that are not given stay as they are. */
static struct kv_stored merged(const struct kv_stored *old, const struct kv_start_options *options)
{
    const struct kv_stored given = stored_of(options);
    struct kv_stored wanted = *old;
    if ((options->given & KV_GIVEN_MAX_MEMORY) != 0) {
        wanted.max_memory = given.max_memory;
    }
    if ((options->given & KV_GIVEN_MAX_ENTRIES) != 0) {
        wanted.max_entries = given.max_entries;
    }
    if ((options->given & KV_GIVEN_TTL) != 0) {
        wanted.ttl = given.ttl;
    }
    if ((options->given & KV_GIVEN_EVICT) != 0) {
        wanted.evict = given.evict;
    }
    if ((options->given & KV_GIVEN_TOUCH) != 0) {
        wanted.touch_on_read = given.touch_on_read;
    }
    if ((options->given & KV_GIVEN_READS) != 0) {
        wanted.latest = given.latest;
    }
    /* An owner that fills nothing takes the entries as they are. */
    wanted.unfilled = old->unfilled && options->fill;
    wanted.generation = wanted.unfilled ? options->generation : old->generation;
    return wanted;
}

static int change_options(struct kv_durable *durable, const struct kv_start_options *options,
                          struct kv_buffer *reason)
{
    const struct kv_stored wanted = merged(&durable->options, options);
    if (wanted.evict != durable->options.evict) {
        return kv_start_refuse(
            reason, KV_EEXIST, "cannot_change",
            "a durable bucket keeps the option evict that it was created with; destroy "
            "the bucket, and create it anew");
    }
    int error = kv_durable_set_options(durable, options->policy, &wanted);
    return error == KV_OK ? KV_OK : kv_start_refuse_room(reason, error);
}

static int refuse_unknown(struct kv_buffer *reason)
{
    return kv_start_refuse(reason, KV_ENOENT, "unknown_name",
                           "the registry does not create a bucket of this name now");
}

static int make(struct kv_process *self, const struct kv_start_options *options,
                struct kv_durable **durable, struct kv_buffer *reason)
{
    const struct kv_journal_table about = {.policy = options->policy,
                                           .kind = KV_JOURNAL_BUCKET,
                                           .registry = options->registry,
                                           .name = options->identity};
    const struct kv_stored stored = stored_of(options);
    int error = kv_durable_make(kv_store_of(self)->durables, &about, &stored, durable);
    if (error == KV_ENOENT) {
        return refuse_unknown(reason);
    }
    return error == KV_OK ? KV_OK : kv_start_refuse_room(reason, error);
}

/* The entries of a function that did not end well must be gone when it is called again. */
static void empty(struct kv_durable *durable)
{
    kv_table_clear(durable->table);
    kv_durable_clear(durable);
}

/* A table that was made for a start that fails is not there, nor is its name in a registry. */
static int attach(struct kv_process *self, struct kv_durable *durable, bool found,
                  struct kv_buffer *reason)
{
    struct kv_bucket *bucket = kv_process_state(self);
    const int error = kv_contents_attach(&bucket->contents, self, durable, reason);
    if (error != KV_OK && !found) {
        kv_durable_destroy(durable);
    }
    return error;
}

/* Finds or makes the table of the identity, and attaches to it. */
static int open_durable(struct kv_process *self, struct kv_start_options *options,
                        struct kv_buffer *reason)
{
    struct kv_bucket *bucket = kv_process_state(self);
    const struct kv_durables *set = kv_store_of(self)->durables;
    if (options->identity.length == 0 && options->registry.length == 0) {
        return kv_start_refuse(reason, KV_ENAME, "no_name",
                               "a durable bucket needs a name, by which it is found again");
    }
    if (set == NULL) {
        return kv_start_refuse(reason, KV_ENOENT, "no_data_dir",
                               "this node keeps nothing on disk; give it a data_dir");
    }
    struct kv_durable *durable = kv_durable_find(set, options->registry, options->identity);
    if (durable != NULL && durable->kind != KV_JOURNAL_BUCKET) {
        return kv_start_refuse(
            reason, KV_EEXIST, "is_durable",
            "the data_dir has a durable registry of this name; choose another name");
    }
    if (durable != NULL && kv_durable_is_gone(durable)) {
        return refuse_unknown(reason);
    }
    if (durable != NULL && durable->process != NULL) {
        return kv_start_refuse_second(reason, durable->process);
    }
    const bool found = durable != NULL;
    if (!found && options->existing) {
        return kv_start_refuse_absent(reason);
    }
    options->policy = options->existing ? durable->policy : options->policy;
    options->attached = found && !(durable->options.unfilled && options->fill);
    int error =
        !found ? make(self, options, &durable, reason) : change_options(durable, options, reason);
    if (error == KV_OK && found && !options->attached) {
        empty(durable);
    }
    if (error == KV_OK) {
        error = attach(self, durable, found, reason);
    }
    if (error == KV_OK) {
        use_options(bucket, &durable->options);
        options->generation = durable->options.generation;
    }
    return error;
}

/* ---- volatile ---------------------------------------------------------------------------------
 */

static int open_volatile(struct kv_process *self, const struct kv_start_options *options,
                         struct kv_buffer *reason)
{
    struct kv_bucket *bucket = kv_process_state(self);
    const struct kv_durables *set = kv_store_of(self)->durables;
    const struct kv_stored stored = stored_of(options);
    struct kv_table_options table = options->table;
    const struct kv_durable *durable =
        set == NULL ? NULL : kv_durable_find(set, options->registry, options->identity);
    if (durable != NULL && durable->kind == KV_JOURNAL_BUCKET) {
        return kv_start_refuse(
            reason, KV_EEXIST, "is_durable",
            "the data_dir has a durable bucket of this name; give the option durable, or "
            "destroy that bucket");
    }
    use_options(bucket, &stored);
    table.touch = options->touch_on_read ? options->ttl : 0;
    return kv_contents_open(&bucket->contents, self, &table, reason);
}

int kv_bucket_open(struct kv_process *self, struct kv_start_options *options,
                   struct kv_buffer *reason)
{
    struct kv_bucket *bucket = kv_process_state(self);
    int error = options->policy == KV_POLICY_VOLATILE ? open_volatile(self, options, reason)
                                                      : open_durable(self, options, reason);
    if (error == KV_OK) {
        kv_buffer_append(&bucket->label, options->label);
    }
    return error;
}
