/* How a bucket gets its name, and loses it.
 *
 * With a creator: `create` finds no entry. It adds one that is CREATING, sends {create_bucket,
 * Self, Name} to the creator, and parks. Later requests about the name park in the entry, too. The
 * creator answers {bucket_created, Name, Pid}. The registry monitors the bucket, makes the entry
 * LIVE, sends the event, and answers the parked requests in order.
 *
 * When it fails: the creator answers {bucket_failed, Name, Reason}, or is gone. The registry drops
 * the entry. Parked `create`s get {error, Reason}, parked `lookup`s get `error`. A bucket that died
 * before {bucket_created, ...} becomes LIVE and dies at once, through its monitor.
 *
 * The end of a bucket arrives as a signal within this node. It is handled before the next request
 * of any peer, so nobody who has heard of the end still finds the name. */
#include "kv/registry.h"
#include "kv/kv.h"
#include "kv/park.h"

#include "base/alloc.h"
#include "base/siphash.h"

enum { NAME_MAX_BYTES = 64 * 1024 };

/* The `question` of a parked call. */
enum { QUESTION_LOOKUP, QUESTION_CREATE };

/* ---- entries -----------------------------------------------------------------------------------
 */

static size_t size_of(const struct kv_entry *entry)
{
    return sizeof *entry + entry->name_length;
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

static struct kv_entry *add(struct kv_process *self, struct kv_bytes name)
{
    struct kv_registry *registry = kv_process_state(self);
    struct kv_entry *entry = kv_zalloc(sizeof *entry + name.length);
    entry->step = KV_ENTRY_CREATING;
    entry->name_length = name.length;
    if (name.length > 0) {
        memcpy(entry->name, name.data, name.length);
    }
    kv_list_init(&entry->waiting);
    kv_map_insert(&registry->names, &entry->by_name, hash_of(self, name));
    kv_list_append(&registry->entries, &entry->of_registry);
    registry->entry_bytes += size_of(entry);
    return entry;
}

/* ---- the names that readers of this host see
 * ----------------------------------------------------- A reader asks the registry about a name
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
    (void)kv_contents_change(
        &registry->shown,
        &(struct kv_change){.kind = KV_CHANGE_PUT,
                            .key = shown_name(entry),
                            .value = {.bytes = kv_buffer_bytes(pid), .form = KV_FORM_TERM},
                            .expiry = KV_NEVER});
}

static void conceal(struct kv_process *self, const struct kv_entry *entry)
{
    const struct kv_registry *registry = kv_process_state(self);
    (void)kv_contents_change(
        &registry->shown, &(struct kv_change){.kind = KV_CHANGE_DELETE, .key = shown_name(entry)});
}

static void drop(struct kv_process *self, struct kv_entry *entry)
{
    struct kv_registry *registry = kv_process_state(self);
    KV_LIST_FOREACH (link, &entry->waiting) {
        kv_unpark(KV_LIST_OF(link, struct kv_parked, link));
    }
    if (entry->step == KV_ENTRY_LIVE) {
        conceal(self, entry);
        kv_map_remove(&registry->monitors, &entry->by_monitor);
        registry->live--;
        registry->live_bytes -= entry->name_length;
    }
    registry->entry_bytes -= size_of(entry);
    kv_map_remove(&registry->names, &entry->by_name);
    kv_list_remove(&entry->of_registry);
    kv_free(entry);
}

/* ---- events ------------------------------------------------------------------------------------
 */

/* Sends {notify, {Kind, Name, Pid}}, as gen_event:notify/2 does. */
static void notify(struct kv_process *self, const struct kv_entry *entry, const char *kind)
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

/* ---- answers -----------------------------------------------------------------------------------
 */

/* Writes {ok, Pid} for a `lookup`, Pid for a `create`. */
static void write_pid(struct kv_buffer *to, unsigned question, const struct kv_pid *pid)
{
    if (question == QUESTION_LOOKUP) {
        kv_write_tuple(to, 2);
        kv_write_atom_text(to, "ok");
    }
    kv_write_pid(to, pid);
}

/* Writes `error` for a `lookup`, {error, Reason} for a `create`. */
static void write_failure(struct kv_buffer *to, unsigned question, struct kv_bytes reason)
{
    if (question == QUESTION_CREATE) {
        kv_write_tuple(to, 2);
        kv_write_atom_text(to, "error");
        kv_write_term(to, reason);
    } else {
        kv_write_atom_text(to, "error");
    }
}

/* Answers the calls that wait for an entry, in order: the pid, or the reason of the failure. */
static void answer_waiting(struct kv_process *self, struct kv_entry *entry, struct kv_bytes reason)
{
    KV_LIST_FOREACH (link, &entry->waiting) {
        struct kv_parked *parked = KV_LIST_OF(link, struct kv_parked, link);
        const struct kv_from from = kv_parked_from(parked);
        struct kv_buffer *term = kv_process_scratch(self);
        if (entry->step == KV_ENTRY_LIVE) {
            write_pid(term, parked->question, &entry->pid);
        } else {
            write_failure(term, parked->question, reason);
        }
        kv_reply(self, &from, kv_buffer_bytes(term));
        kv_unpark(parked);
    }
}

/* ---- creating ----------------------------------------------------------------------------------
 */

void kv_registry_created(struct kv_process *self, struct kv_entry *entry, const struct kv_pid *pid)
{
    struct kv_registry *registry = kv_process_state(self);
    struct kv_pid own = kv_process_pid(self);
    entry->step = KV_ENTRY_LIVE;
    entry->pid = *pid;
    entry->pid.node = own.node; /* outlives the message that `pid` borrows from */
    entry->monitor = kv_monitor(self, &entry->pid);
    kv_map_insert(&registry->monitors, &entry->by_monitor, entry->monitor);
    registry->live++;
    registry->live_bytes += entry->name_length;
    show(self, entry);
    notify(self, entry, "create");
    answer_waiting(self, entry, kv_bytes(NULL, 0));
}

void kv_registry_failed(struct kv_process *self, struct kv_entry *entry, struct kv_bytes reason)
{
    answer_waiting(self, entry, reason);
    drop(self, entry);
}

void kv_registry_ask_creator(struct kv_process *self, const struct kv_entry *entry)
{
    const struct kv_registry *registry = kv_process_state(self);
    struct kv_pid own = kv_process_pid(self);
    struct kv_buffer *term = kv_process_scratch(self);
    kv_write_tuple(term, 3);
    kv_write_atom_text(term, "create_bucket");
    kv_write_pid(term, &own);
    kv_write_binary(term, kv_entry_name(entry));
    kv_send_to(self, kv_buffer_bytes(&registry->creator), kv_buffer_bytes(term));
}

/* Without a creator: spawns the bucket with [{owner, Self}, {label, Name}]. */
static void create_here(struct kv_process *self, struct kv_entry *entry)
{
    struct kv_pid own = kv_process_pid(self);
    struct kv_pid pid;
    struct kv_buffer options = KV_BUFFER_INIT;
    struct kv_buffer reason = KV_BUFFER_INIT;
    kv_write_list(&options, 2);
    kv_write_tuple(&options, 2);
    kv_write_atom_text(&options, "owner");
    kv_write_pid(&options, &own);
    kv_write_tuple(&options, 2);
    kv_write_atom_text(&options, "label");
    kv_write_binary(&options, kv_entry_name(entry));
    kv_write_nil(&options);
    if (kv_spawn(kv_process_runtime(self), &kv_bucket_behaviour, kv_buffer_bytes(&options), &pid,
                 &reason) == KV_OK) {
        kv_registry_created(self, entry, &pid);
    } else {
        kv_registry_failed(self, entry, kv_buffer_bytes(&reason));
    }
    kv_buffer_free(&options);
    kv_buffer_free(&reason);
}

static bool read_name(struct kv_bytes term, struct kv_bytes *name)
{
    struct kv_reader reader = kv_reader(term);
    return kv_read_binary(&reader, name) == KV_OK;
}

/* {error, {name_too_long, Bytes}} */
static int answer_name_too_long(struct kv_answer *answer, size_t bytes)
{
    struct kv_buffer detail = KV_BUFFER_INIT;
    kv_write_u64(&detail, bytes);
    (void)kv_answer_error(answer, KV_ESIZE, "name_too_long", kv_buffer_bytes(&detail));
    kv_buffer_free(&detail);
    return KV_ESIZE;
}

/* Adds a name. Parks the call first, since create_here() answers at once. */
static void make(struct kv_process *self, const struct kv_asked *asked, struct kv_bytes name,
                 struct kv_answer *answer)
{
    const struct kv_registry *registry = kv_process_state(self);
    struct kv_entry *entry = add(self, name);
    kv_park(asked, answer, QUESTION_CREATE, &entry->waiting);
    if (registry->creator.length > 0) {
        kv_registry_ask_creator(self, entry);
    } else {
        create_here(self, entry);
    }
}

int kv_registry_create(struct kv_process *self, const struct kv_asked *asked,
                       struct kv_answer *answer)
{
    struct kv_bytes name;
    if (!read_name(asked->arguments[0], &name)) {
        return kv_answer_error(answer, KV_ETYPE, "bad_name", asked->arguments[0]);
    }
    if (name.length > NAME_MAX_BYTES) {
        return answer_name_too_long(answer, name.length);
    }
    struct kv_entry *entry = kv_registry_find(self, name);
    if (entry == NULL) {
        make(self, asked, name, answer);
    } else if (entry->step == KV_ENTRY_LIVE) {
        write_pid(answer->term, QUESTION_CREATE, &entry->pid);
    } else {
        kv_park(asked, answer, QUESTION_CREATE, &entry->waiting);
    }
    return KV_OK;
}

int kv_registry_lookup(struct kv_process *self, const struct kv_asked *asked,
                       struct kv_answer *answer)
{
    struct kv_bytes name;
    if (!read_name(asked->arguments[0], &name)) {
        return kv_answer_error(answer, KV_ETYPE, "bad_name", asked->arguments[0]);
    }
    struct kv_entry *entry = kv_registry_find(self, name);
    if (entry == NULL) {
        write_failure(answer->term, QUESTION_LOOKUP, kv_bytes(NULL, 0));
    } else if (entry->step == KV_ENTRY_LIVE) {
        write_pid(answer->term, QUESTION_LOOKUP, &entry->pid);
    } else {
        kv_park(asked, answer, QUESTION_LOOKUP, &entry->waiting);
    }
    return KV_OK;
}

/* ---- the end of a bucket, and of the registry --------------------------------------------------
 */

void kv_registry_ended(struct kv_process *self, struct kv_entry *entry)
{
    /* In this order: a reader that has heard the event must not find the name any more. */
    conceal(self, entry);
    notify(self, entry, "exit");
    drop(self, entry);
}

void kv_registry_abandon(struct kv_process *self, struct kv_entry *entry, struct kv_bytes reason)
{
    KV_LIST_FOREACH (link, &entry->waiting) {
        const struct kv_from from = kv_parked_from(KV_LIST_OF(link, struct kv_parked, link));
        kv_abandon(self, &from, reason);
    }
    drop(self, entry);
}
