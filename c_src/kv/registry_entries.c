/* The names of a registry: its entries, the table in which readers of this host see them, and the
 * events of their buckets. registry.c says when an entry changes. */
#include "kv/durable.h"
#include "kv/kv.h"
#include "kv/registry.h"

#include "base/alloc.h"
#include "base/siphash.h"

/* ---- entries -----------------------------------------------------------------------------------
 */

static size_t size_of(const struct kv_entry *entry)
{
    return sizeof *entry + entry->name_length + entry->options.capacity + entry->meta.capacity;
}

static bool has_name(const struct kv_map_node *node, const void *key)
{
    const struct kv_entry *entry = KV_MAP_OF(node, const struct kv_entry, by_name);
    return kv_bytes_equal(kv_entry_name(entry), *(const struct kv_bytes *)key);
}

static uint64_t hash_of(const struct kv_process *self, struct kv_bytes name)
{
    return kv_siphash(&kv_store_of(self)->hash_key, name);
}

struct kv_entry *kv_registry_find(struct kv_process *self, struct kv_bytes name)
{
    const struct kv_registry *registry = kv_process_state(self);
    struct kv_map_node *found = kv_map_find(&registry->names, hash_of(self, name), has_name, &name);
    return found == NULL ? NULL : KV_MAP_OF(found, struct kv_entry, by_name);
}

static bool has_monitor(const struct kv_map_node *node, const void *key)
{
    return KV_MAP_OF(node, const struct kv_entry, by_monitor)->monitor == *(const uint64_t *)key;
}

struct kv_entry *kv_registry_monitored(struct kv_process *self, uint64_t monitor)
{
    const struct kv_registry *registry = kv_process_state(self);
    struct kv_map_node *found = kv_map_find(&registry->monitors, monitor, has_monitor, &monitor);
    return found == NULL ? NULL : KV_MAP_OF(found, struct kv_entry, by_monitor);
}

static void be_there(struct kv_registry *registry, struct kv_entry *entry, bool there)
{
    if (entry->there != there) {
        entry->there = there;
        registry->there = there ? registry->there + 1 : registry->there - 1;
        registry->there_bytes = there ? registry->there_bytes + entry->name_length
                                      : registry->there_bytes - entry->name_length;
    }
}

struct kv_entry *kv_registry_add(struct kv_process *self, struct kv_bytes name, bool dormant)
{
    struct kv_registry *registry = kv_process_state(self);
    struct kv_entry *entry = kv_zalloc(sizeof *entry + name.length);
    entry->step = dormant ? KV_ENTRY_DORMANT : KV_ENTRY_CREATING;
    entry->round = registry->round;
    entry->name_length = name.length;
    be_there(registry, entry, dormant);
    if (name.length > 0) {
        memcpy(entry->name, name.data, name.length);
    }
    kv_list_init(&entry->waiting);
    kv_map_insert(&registry->names, &entry->by_name, hash_of(self, name));
    kv_list_append(&registry->entries, &entry->of_registry);
    registry->entry_bytes += size_of(entry);
    return entry;
}

/* ---- the names that readers of this host see ---------------------------------------------------
 * A reader asks the registry about a name
 * that it does not find, so a name for which the table had no room is still found. */

static struct kv_item shown_name(const struct kv_entry *entry)
{
    return (struct kv_item){.bytes = kv_entry_name(entry), .form = KV_FORM_BINARY};
}

static void show(struct kv_process *self, const struct kv_entry *entry)
{
    const struct kv_registry *registry = kv_process_state(self);
    struct kv_buffer *pid = kv_process_scratch(self);
    kv_write_pid(pid, &entry->pid);
    const struct kv_item value = {.bytes = kv_buffer_bytes(pid), .form = KV_FORM_TERM};
    (void)kv_table_put(registry->shown, shown_name(entry), value, KV_NEVER);
}

static void conceal(struct kv_process *self, const struct kv_entry *entry)
{
    const struct kv_registry *registry = kv_process_state(self);
    (void)kv_table_delete(registry->shown, shown_name(entry));
}

void kv_registry_unpark(struct kv_process *self, struct kv_parked *parked)
{
    struct kv_registry *registry = kv_process_state(self);
    registry->parked_bytes -= kv_parked_size(parked);
    kv_unpark(parked);
}

/* The bucket of an entry is gone, if it has one, and the entry changes or is freed. */
static void leave_bucket(struct kv_process *self, struct kv_entry *entry)
{
    struct kv_registry *registry = kv_process_state(self);
    kv_registry_list_leaving(self, entry);
    if (entry->step == KV_ENTRY_LIVE) {
        conceal(self, entry);
        kv_map_remove(&registry->monitors, &entry->by_monitor);
    }
}

void kv_registry_drop(struct kv_process *self, struct kv_entry *entry)
{
    struct kv_registry *registry = kv_process_state(self);
    leave_bucket(self, entry);
    be_there(registry, entry, false);
    registry->entry_bytes -= size_of(entry);
    kv_map_remove(&registry->names, &entry->by_name);
    kv_list_remove(&entry->of_registry);
    kv_buffer_free(&entry->options);
    kv_buffer_free(&entry->meta);
    kv_free(entry);
}

/* The name outlives the process, in the memory of the node. */
static void leave_to_next(struct kv_process *self, struct kv_entry *entry)
{
    struct kv_registry *registry = kv_process_state(self);
    kv_map_remove(&registry->names, &entry->by_name);
    kv_map_remove(&registry->monitors, &entry->by_monitor);
    kv_list_remove(&entry->of_registry);
    kv_list_append(&registry->durable->kept, &entry->of_registry);
    registry->durable->kept_count++;
}

void kv_registry_keep(struct kv_process *self, struct kv_entry *entry, struct kv_buffer *to,
                      struct kv_bytes term)
{
    struct kv_registry *registry = kv_process_state(self);
    registry->entry_bytes -= size_of(entry);
    kv_buffer_free(to);
    if (term.length > 0) {
        kv_buffer_append(to, term);
    }
    registry->entry_bytes += size_of(entry);
}

void kv_registry_describe(struct kv_process *self, struct kv_entry *entry, struct kv_bytes meta)
{
    kv_registry_keep(self, entry, &entry->meta, meta);
}

void kv_registry_rest(struct kv_process *self, struct kv_entry *entry)
{
    const struct kv_bytes none = kv_bytes(NULL, 0);
    if (kv_registry_table(self, kv_entry_name(entry)) == NULL) {
        kv_registry_drop(self, entry);
        return;
    }
    leave_bucket(self, entry);
    kv_registry_keep(self, entry, &entry->options, none);
    kv_registry_keep(self, entry, &entry->meta, none);
    entry->step = KV_ENTRY_DORMANT;
    be_there(kv_process_state(self), entry, true);
}

/* ---- events ------------------------------------------------------------------------------------
 */

void kv_registry_notify(struct kv_process *self, const struct kv_entry *entry, const char *kind)
{
    const struct kv_registry *registry = kv_process_state(self);
    struct kv_buffer *term = kv_process_scratch(self);
    kv_write_tuple(term, 2);
    kv_write_atom_text(term, "notify");
    kv_write_tuple(term, 3);
    kv_write_atom_text(term, kind);
    kv_write_binary(term, kv_entry_name(entry));
    kv_write_pid(term, &entry->pid);
    kv_send_to(self, kv_buffer_bytes(&registry->event_manager), kv_buffer_bytes(term));
}

void kv_registry_live(struct kv_process *self, struct kv_entry *entry)
{
    struct kv_registry *registry = kv_process_state(self);
    entry->step = KV_ENTRY_LIVE;
    kv_map_insert(&registry->monitors, &entry->by_monitor, entry->monitor);
    be_there(registry, entry, true);
    show(self, entry);
}

void kv_registry_add_kept(struct kv_process *self, struct kv_entry *entry)
{
    struct kv_registry *registry = kv_process_state(self);
    entry->there = false;
    entry->round = registry->round;
    kv_map_insert(&registry->names, &entry->by_name, hash_of(self, kv_entry_name(entry)));
    kv_list_append(&registry->entries, &entry->of_registry);
    registry->entry_bytes += size_of(entry);
    entry->monitor = kv_monitor(self, &entry->pid);
    kv_registry_live(self, entry);
}

/* ---- another name ------------------------------------------------------------------------------
 */

void kv_registry_move(struct kv_process *self, struct kv_entry *entry, struct kv_bytes name)
{
    const bool dormant = entry->step == KV_ENTRY_DORMANT;
    struct kv_entry *moved = kv_registry_add(self, name, dormant);
    if (dormant) {
        kv_registry_drop(self, entry);
        return;
    }
    moved->pid = entry->pid;
    moved->monitor = entry->monitor;
    kv_registry_keep(self, moved, &moved->meta, kv_buffer_bytes(&entry->meta));
    kv_registry_ended(self, entry); /* readers ask between the two names, and get the new one */
    kv_registry_live(self, moved);
    kv_registry_notify(self, moved, "create");
}

/* ---- the end of a bucket, and of the registry --------------------------------------------------
 */

void kv_registry_ended(struct kv_process *self, struct kv_entry *entry)
{
    /* In this order: a reader that has heard the event must not find the name any more. */
    conceal(self, entry);
    kv_registry_notify(self, entry, "exit");
    kv_registry_rest(self, entry);
}

void kv_registry_abandon(struct kv_process *self, struct kv_entry *entry, struct kv_bytes reason)
{
    const struct kv_registry *registry = kv_process_state(self);
    KV_LIST_FOREACH (link, &entry->waiting) {
        struct kv_parked *parked = KV_LIST_OF(link, struct kv_parked, link);
        struct kv_from from;
        if (kv_parked_from(parked, &from)) {
            kv_abandon(self, &from, reason);
        }
        kv_registry_unpark(self, parked);
    }
    if (entry->step == KV_ENTRY_LIVE) {
        kv_demonitor(self, entry->monitor);
    }
    if (entry->step == KV_ENTRY_LIVE && registry->durable != NULL) {
        leave_to_next(self, entry);
    } else {
        kv_registry_drop(self, entry);
    }
}
