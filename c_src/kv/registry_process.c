/* The behaviour of a registry: its operations, how it starts and ends, and its state for tools. */
#include "kv/adopt.h"
#include "kv/durable.h"
#include "kv/going.h"
#include "kv/kv.h"
#include "kv/registry.h"
#include "kv/requests.h"
#include "kv/start.h"

#include <kv/log.h>

KV_STATE_GOES_ON(struct kv_registry);

enum { PID_BYTES = 15 }; /* of a pid as a term, without the name of its node */

static void write_name(const struct kv_entry *entry, struct kv_buffer *to)
{
    kv_write_binary(to, kv_entry_name(entry));
    if (entry->step == KV_ENTRY_LIVE) {
        kv_write_pid(to, &entry->pid);
    } else {
        kv_write_atom_text(to, "dormant");
    }
}

/* #{Name => Pid}, or `dormant` instead of a pid */
static void write_state(const struct kv_process *self, struct kv_buffer *to)
{
    const struct kv_registry *registry = kv_process_const_state(self);
    const size_t each = KV_LONG_HEADER + PID_BYTES + kv_process_pid(self).node.length;
    const size_t bytes = registry->there_bytes + registry->there * each;
    if (bytes > KV_ANSWER_MAX) {
        kv_write_too_large(to, bytes);
        return;
    }
    kv_write_map(to, (uint32_t)registry->there);
    KV_LIST_FOREACH (link, &registry->entries) {
        const struct kv_entry *entry = KV_LIST_OF(link, struct kv_entry, of_registry);
        if (entry->there) {
            write_name(entry, to);
        }
    }
}

/* ---- operations --------------------------------------------------------------------------------
 */

static int generation(struct kv_process *self, const struct kv_asked *asked,
                      struct kv_answer *answer)
{
    const struct kv_registry *registry = kv_process_const_state(self);
    (void)asked;
    return kv_answer_number(answer, registry->generation);
}

static int stop(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    (void)asked;
    kv_process_exit_atom(self, "normal");
    return kv_answer_atom(answer, "ok");
}

/* {error, {already_created, Pid}} */
static int answer_already_created(struct kv_answer *answer, const struct kv_pid *pid)
{
    struct kv_buffer detail = KV_BUFFER_INIT;
    kv_write_pid(&detail, pid);
    (void)kv_answer_error(answer, KV_EEXIST, "already_created", kv_buffer_bytes(&detail));
    kv_buffer_free(&detail);
    return KV_EEXIST;
}

/* {bucket_created, Name, Pid} from the creator. Answers `ok` if the bucket has the name now. */
static int bucket_created(struct kv_process *self, const struct kv_asked *asked,
                          struct kv_answer *answer)
{
    struct kv_bytes name;
    struct kv_pid pid;
    struct kv_reader names_reader = kv_reader(asked->arguments[0]);
    struct kv_reader pids_reader = kv_reader(asked->arguments[1]);
    if (kv_read_binary(&names_reader, &name) != KV_OK || kv_read_pid(&pids_reader, &pid) != KV_OK) {
        return KV_ETYPE;
    }
    struct kv_entry *entry = kv_registry_find(self, name);
    if (entry == NULL || entry->step == KV_ENTRY_DORMANT) {
        return kv_answer_refusal(answer, KV_ENOENT, "unknown_name");
    }
    if (entry->step == KV_ENTRY_CREATING) {
        kv_registry_created(self, entry, &pid);
    } else if (!kv_pid_equal(&entry->pid, &pid)) {
        return answer_already_created(answer, &entry->pid);
    }
    kv_answer_drop(answer); /* sending used the scratch buffer that the term lies in */
    return kv_answer_atom(answer, "ok");
}

/* {bucket_failed, Name, Reason} from the creator. */
static int bucket_failed(struct kv_process *self, const struct kv_asked *asked,
                         struct kv_answer *answer)
{
    struct kv_bytes name;
    struct kv_reader reader = kv_reader(asked->arguments[0]);
    if (kv_read_binary(&reader, &name) != KV_OK) {
        return KV_ETYPE;
    }
    struct kv_entry *entry = kv_registry_find(self, name);
    if (entry == NULL || entry->step != KV_ENTRY_CREATING) {
        return kv_answer_refusal(answer, KV_ENOENT, "unknown_name");
    }
    kv_registry_failed(self, entry, asked->arguments[1]);
    kv_answer_drop(answer);
    return kv_answer_atom(answer, "ok");
}

/* The cast {bucket_created, Name, Pid}. If Pid is no pid, the name has failed with that term as the
 * reason: the sender of a cast hears of no error, and parked calls must not wait forever. */
static int bucket_made(struct kv_process *self, const struct kv_asked *asked,
                       struct kv_answer *answer)
{
    int error = bucket_created(self, asked, answer);
    return error == KV_ETYPE ? bucket_failed(self, asked, answer) : error;
}

enum { CALL = KV_BY_CALL, CAST = KV_BY_CAST, WRITES = KV_CHANGES | KV_BOUNDED };

const struct kv_operation kv_registry_operations[] = {
    KV_OPERATION("lookup", 1, CALL, KV_PARKS, kv_registry_lookup, "0.1.0"),
    KV_OPERATION("create", 1, CALL | CAST, WRITES | KV_PARKS, kv_registry_create, "0.1.0"),
    KV_OPERATION("create", 2, CALL | CAST, WRITES | KV_PARKS, kv_registry_create_with, "0.2.0"),
    KV_OPERATION("create", 3, CALL | CAST, WRITES | KV_PARKS, kv_registry_create_described,
                 "0.2.0"),
    KV_OPERATION("generation", 0, CALL, 0, generation, "0.1.0"),
    KV_OPERATION("stop", 0, CALL, WRITES, stop, "0.1.0"),
    KV_OPERATION("bucket_created", 2, CALL, WRITES, bucket_created, "0.1.0"),
    KV_OPERATION("bucket_created", 2, CAST, WRITES, bucket_made, "0.1.0"),
    KV_OPERATION("bucket_failed", 2, CAST, WRITES, bucket_failed, "0.1.0"),
    KV_NO_OPERATION,
};

/* ---- callbacks ---------------------------------------------------------------------------------
 */

static int init(struct kv_process *self, struct kv_bytes list, struct kv_buffer *reason)
{
    struct kv_registry *registry = kv_process_state(self);
    struct kv_start_options options = {0};
    kv_list_init(&registry->entries);
    int error = kv_start(self, list, KV_REGISTRY_OPTIONS, kv_registry_open, &options,
                         &registry->owner, reason);
    if (error != KV_OK) {
        return error;
    }
    kv_store_of(self)->registries += registry->durable == NULL;
    registry->generation = options.generation;
    registry->adoptable = options.adoptable;
    kv_buffer_append(&registry->creator, options.creator);
    kv_buffer_append(&registry->event_manager, options.event_manager);
    kv_buffer_append(&registry->owner_pid, options.owner);
    kv_registry_adopt(self);
    struct kv_pid creator;
    struct kv_reader reader = kv_reader(options.creator);
    if (kv_read_pid(&reader, &creator) == KV_OK) {
        registry->creator_monitor = kv_monitor_owner(self, &creator);
    }
    return KV_OK;
}

static bool is_destroyed(const struct kv_registry *registry)
{
    return registry->durable != NULL && registry->durable->destroyed;
}

/* terminate() does the rest of a destroy(). */
static bool leave(struct kv_process *self, struct kv_bytes reason)
{
    struct kv_registry *registry = kv_process_state(self);
    if (is_destroyed(registry)) {
        return false;
    }
    kv_going_stop(self, reason, false);
    for (unsigned i = 0; i < KV_REGISTRY_PIECE; i++) {
        if (kv_list_is_empty(&registry->entries)) {
            return false;
        }
        kv_registry_abandon(self, KV_LIST_OF(registry->entries.next, struct kv_entry, of_registry),
                            reason);
    }
    if (!registry->hidden) {
        registry->hidden = true;
        kv_table_withdraw(registry->shown);
    }
    return true;
}

static void terminate(struct kv_process *self, struct kv_bytes reason)
{
    struct kv_registry *registry = kv_process_state(self);
    kv_adoptable_end(registry->adoptable);
    kv_going_stop(self, reason, is_destroyed(registry));
    KV_LIST_FOREACH (link, &registry->entries) {
        kv_registry_abandon(self, KV_LIST_OF(link, struct kv_entry, of_registry), reason);
    }
    kv_store_of(self)->registries -= registry->durable == NULL;
    if (registry->durable != NULL) {
        kv_durable_detach(registry->durable);
    }
    kv_table_free(registry->shown);
    kv_map_free(&registry->names);
    kv_map_free(&registry->monitors);
    kv_buffer_free(&registry->creator);
    kv_buffer_free(&registry->event_manager);
    kv_buffer_free(&registry->owner_pid);
}

/* Without its creator a registry still answers lookups. CREATING names have failed. */
static void creator_down(struct kv_process *self, struct kv_bytes reason)
{
    struct kv_registry *registry = kv_process_state(self);
    KV_LIST_FOREACH (link, &registry->entries) {
        struct kv_entry *entry = KV_LIST_OF(link, struct kv_entry, of_registry);
        if (entry->step == KV_ENTRY_CREATING) {
            kv_registry_failed(self, entry, reason);
        }
    }
}

/* The VM was away, so {create_bucket, ...} or its answer may be lost: asks again. If the creator
 * has made the bucket already, `bucket_created` tells it what became of the name. */
static void handle_back(struct kv_process *self, uint64_t monitor)
{
    const struct kv_registry *registry = kv_process_const_state(self);
    if (monitor != registry->creator_monitor) {
        return;
    }
    KV_LIST_FOREACH (link, &registry->entries) {
        const struct kv_entry *entry = KV_LIST_OF(link, const struct kv_entry, of_registry);
        if (entry->step == KV_ENTRY_CREATING) {
            kv_registry_ask_creator(self, entry);
        }
    }
}

static void handle_down(struct kv_process *self, uint64_t monitor, struct kv_bytes reason)
{
    struct kv_registry *registry = kv_process_state(self);
    if (monitor == registry->owner) {
        kv_process_exit(self, reason);
        return;
    }
    if (monitor == registry->creator_monitor) {
        creator_down(self, reason);
        return;
    }
    struct kv_entry *entry = kv_registry_monitored(self, monitor);
    if (entry != NULL) {
        kv_registry_ended(self, entry);
    }
}

static void handle_suspend(struct kv_process *self, bool suspended)
{
    const struct kv_registry *registry = kv_process_state(self);
    if (registry->durable != NULL) {
        kv_durable_suspend(registry->durable, suspended);
    } else {
        kv_table_ask_owner(registry->shown, suspended);
    }
}

static void handle_call(struct kv_process *self, const struct kv_from *from,
                        struct kv_bytes request)
{
    kv_request_call(self, &kv_store_of(self)->registry, from, request);
}

static void handle_cast(struct kv_process *self, struct kv_bytes request)
{
    if (!kv_request_cast(self, &kv_store_of(self)->registry, request)) {
        kv_log_line(kv_process_runtime(self), KV_LOG_DEBUG, "a registry ignored a cast");
    }
}

static size_t memory(const struct kv_process *self)
{
    const struct kv_registry *registry = kv_process_const_state(self);
    size_t chains = registry->names.chain_count + registry->monitors.chain_count;
    return registry->entry_bytes + registry->parked_bytes + chains * sizeof(void *) +
           kv_table_memory(registry->shown);
}

const struct kv_behaviour kv_registry_behaviour = {
    .module = "kv_registry",
    .state_size = sizeof(struct kv_registry),
    .init = init,
    .handle_call = handle_call,
    .handle_cast = handle_cast,
    .handle_more = kv_going_more,
    .handle_down = handle_down,
    .handle_back = handle_back,
    .handle_suspend = handle_suspend,
    .memory = memory,
    .write_state = write_state,
    .leave = leave,
    .terminate = terminate,
};
