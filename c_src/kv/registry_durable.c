/* A durable registry: its table, and the names that outlive its process.
 *
 * The names of durable buckets are the tables that have this registry. Those of volatile buckets,
 * and which buckets are LIVE, stay in the memory of the node, with the table of the registry: so a
 * registry that ends alone loses no name, and its successor monitors the same buckets.
 *
 * The successor takes many names over in pieces, in several turns (kv/going.h). Requests wait
 * meanwhile, so each of them finds all names. */
#include "kv/durable.h"
#include "kv/going.h"
#include "kv/kv.h"
#include "kv/registry.h"
#include "kv/start.h"

#include "base/alloc.h"

/* ---- the start --------------------------------------------------------------------------------
 */

static int make(struct kv_process *self, const struct kv_start_options *options,
                struct kv_durable **made, struct kv_buffer *reason)
{
    const struct kv_journal_table about = {
        .policy = options->policy, .kind = KV_JOURNAL_REGISTRY, .name = options->identity};
    const struct kv_stored stored = {.generation = options->generation};
    int error = kv_durable_make(kv_store_of(self)->durables, &about, &stored, made);
    return error == KV_OK ? KV_OK : kv_start_refuse_room(reason, error);
}

/* The policy is that of the last start: it is for the buckets to come. */
static int change_policy(struct kv_durable *durable, enum kv_policy policy,
                         struct kv_buffer *reason)
{
    if (durable->policy == policy) {
        return KV_OK;
    }
    int error = kv_durable_may_record(durable, 0);
    if (error != KV_OK) {
        return kv_start_refuse_room(reason, error);
    }
    durable->policy = policy;
    kv_durable_record(durable);
    return KV_OK;
}

static int find_durable(struct kv_process *self, struct kv_start_options *options,
                        struct kv_durable **found, struct kv_buffer *reason)
{
    const struct kv_durables *set = kv_store_of(self)->durables;
    if (options->identity.length == 0 || options->registry.length > 0) {
        return kv_start_refuse(reason, KV_ENAME, "no_name",
                               "a durable registry needs a name, by which it is found again");
    }
    if (set == NULL) {
        return kv_start_refuse(reason, KV_ENOENT, "no_data_dir",
                               "this node keeps nothing on disk; give it a data_dir");
    }
    *found = kv_durable_find(set, kv_bytes(NULL, 0), options->identity);
    if (*found == NULL && options->existing) {
        return kv_start_refuse_absent(reason);
    }
    if (*found == NULL) {
        return make(self, options, found, reason);
    }
    if ((*found)->kind != KV_JOURNAL_REGISTRY) {
        return kv_start_refuse(reason, KV_EEXIST, "is_durable",
                               "the data_dir has a durable bucket of this name; choose another "
                               "name, or destroy that bucket");
    }
    if ((*found)->process != NULL) {
        kv_process_leave_now((*found)->process);
    }
    if ((*found)->process != NULL) {
        return kv_start_refuse_second(reason, (*found)->process);
    }
    options->attached = true;
    options->generation = (*found)->options.generation;
    return options->existing ? KV_OK : change_policy(*found, options->policy, reason);
}

/* A registry without names must not hide one that has some. */
static int refuse_hiding(const struct kv_process *self, const struct kv_start_options *options,
                         struct kv_buffer *reason)
{
    const struct kv_durables *set = kv_store_of(self)->durables;
    const struct kv_durable *found =
        set == NULL ? NULL : kv_durable_find(set, options->registry, options->identity);
    return found == NULL || found->kind != KV_JOURNAL_REGISTRY
               ? KV_OK
               : kv_start_refuse(reason, KV_EEXIST, "is_durable",
                                 "the data_dir has a durable registry of this name; give the "
                                 "option durable, or choose another name");
}

static bool creates(struct kv_process *self, struct kv_bytes name, struct kv_bytes *meta)
{
    const struct kv_entry *entry = kv_registry_find(self, name);
    if (entry == NULL || entry->step != KV_ENTRY_CREATING) {
        return false;
    }
    *meta = kv_buffer_bytes(&entry->meta);
    return true;
}

static const struct kv_durable_registry calls = {
    .hears = kv_registry_hears, .creates = creates, .forget_kept = kv_registry_forget_kept};

static int open_shown(struct kv_process *self, struct kv_buffer *reason)
{
    struct kv_registry *registry = kv_process_state(self);
    struct kv_arena *arena = kv_store_of(self)->arena;
    const struct kv_pid pid = kv_process_pid(self);
    registry->shown = kv_table_new(arena, &(struct kv_table_options){.internal = true});
    if (registry->shown == NULL ||
        kv_arena_publish(arena, pid.id, pid.serial, KV_PUBLISHED_NAMES, registry->shown) != KV_OK) {
        kv_table_free(registry->shown);
        kv_write_atom_text(reason, "enomem");
        return KV_ENOMEM;
    }
    return KV_OK;
}

int kv_registry_open(struct kv_process *self, struct kv_start_options *options,
                     struct kv_buffer *reason)
{
    struct kv_registry *registry = kv_process_state(self);
    struct kv_durable *durable = NULL;
    int error = options->policy == KV_POLICY_VOLATILE
                    ? refuse_hiding(self, options, reason)
                    : find_durable(self, options, &durable, reason);
    if (error == KV_OK) {
        error = open_shown(self, reason);
        if (error != KV_OK && durable != NULL && !options->attached) {
            kv_durable_destroy(durable); /* it was made for this start */
        }
    }
    if (error == KV_OK && durable != NULL) {
        registry->durable = durable;
        kv_durable_attach_registry(durable, self, registry->shown, &calls);
    }
    return error;
}

/* ---- names that outlive the process -----------------------------------------------------------
 */

void kv_registry_forget_kept(struct kv_list *kept)
{
    KV_LIST_FOREACH (link, kept) {
        struct kv_entry *entry = KV_LIST_OF(link, struct kv_entry, of_registry);
        kv_list_remove(link);
        kv_buffer_free(&entry->options);
        kv_buffer_free(&entry->meta);
        kv_free(entry);
    }
}

/* Takes over the LIVE names first. Returns false if there is no more. */
static bool adopt_one(struct kv_process *self)
{
    const struct kv_registry *registry = kv_process_const_state(self);
    struct kv_durable *durable = registry->durable;
    if (!kv_list_is_empty(&durable->kept)) {
        struct kv_list *link = durable->kept.next;
        kv_list_remove(link);
        durable->kept_count--;
        kv_registry_add_kept(self, KV_LIST_OF(link, struct kv_entry, of_registry));
        return true;
    }
    const struct kv_durable *table = kv_durable_next_name(durable);
    if (table != NULL) {
        kv_registry_hears(self, kv_durable_name(table), true);
    }
    return table != NULL;
}

static bool adopt_some(struct kv_process *self)
{
    for (unsigned i = 0; i < KV_REGISTRY_PIECE; i++) {
        if (!adopt_one(self)) {
            return false;
        }
    }
    return true;
}

static bool piece(struct kv_process *self, struct kv_going *going, struct kv_answer *answer)
{
    (void)going;
    (void)answer;
    return adopt_some(self);
}

void kv_registry_adopt(struct kv_process *self)
{
    const struct kv_registry *registry = kv_process_const_state(self);
    const struct kv_asked nobody = {.from = NULL};
    struct kv_answer none = {.unheard = true};
    if (registry->durable == NULL) {
        return;
    }
    if (adopt_some(self)) {
        (void)kv_go_on(self, &nobody, 0, &none, piece, 0);
    }
}

void kv_registry_hears(struct kv_process *self, struct kv_bytes name, bool there)
{
    struct kv_entry *entry = kv_registry_find(self, name);
    if (there && entry == NULL) {
        (void)kv_registry_add(self, name, true);
    } else if (!there && entry != NULL && entry->step == KV_ENTRY_DORMANT) {
        kv_registry_drop(self, entry);
    }
}
