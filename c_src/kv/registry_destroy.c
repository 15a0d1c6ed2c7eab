/* How a durable registry ends together with its names and their entries.
 *
 * One record drops all of them: after a crash the registry is there whole, or gone. The names go
 * bit by bit after that (kv/going.h), while requests to the registry wait, and others are served.
 * A bucket ends before any peer is served again, or behind a request that it is in the middle of.
 * The registry ends last: until then nobody starts another one in its place. */
#include "kv/durable.h"
#include "kv/going.h"
#include "kv/kv.h"
#include "kv/registry.h"
#include "kv/start.h"

/* Tells those who wait for a bucket that is being created. */
static void abandon(struct kv_process *self, struct kv_entry *entry)
{
    struct kv_buffer normal = KV_BUFFER_INIT;
    kv_write_atom_text(&normal, "normal");
    kv_registry_abandon(self, entry, kv_buffer_bytes(&normal));
    kv_buffer_free(&normal);
}

/* The bucket of a name. It may be one that the registry does not know (yet). */
static bool find_bucket(const struct kv_entry *entry, const struct kv_durable *table,
                        struct kv_pid *pid)
{
    if (entry->step == KV_ENTRY_LIVE) {
        *pid = entry->pid;
        return true;
    }
    if (table != NULL && table->process != NULL) {
        *pid = kv_process_pid(table->process);
        return true;
    }
    return false;
}

static void end_name(struct kv_process *self, struct kv_entry *entry)
{
    struct kv_pid bucket;
    struct kv_durable *table = kv_registry_table(self, kv_entry_name(entry));
    const bool is_there = find_bucket(entry, table, &bucket);
    if (table != NULL) {
        kv_durable_free_name(table);
    }
    if (is_there) {
        kv_registry_stop_bucket(self, &bucket);
    }
    if (entry->step == KV_ENTRY_LIVE) {
        kv_demonitor(self, entry->monitor);
        kv_registry_ended(self, entry);
    } else {
        abandon(self, entry);
    }
}

static bool piece(struct kv_process *self, struct kv_going *going, struct kv_answer *answer)
{
    struct kv_registry *registry = kv_process_state(self);
    (void)going;
    for (unsigned i = 0; i < KV_REGISTRY_PIECE; i++) {
        if (kv_list_is_empty(&registry->entries)) {
            break;
        }
        end_name(self, KV_LIST_OF(registry->entries.next, struct kv_entry, of_registry));
    }
    if (!kv_list_is_empty(&registry->entries) ||
        kv_durable_free_names(registry->durable, KV_REGISTRY_PIECE)) {
        return true;
    }
    kv_process_exit_atom(self, "normal");
    (void)kv_answer_atom(answer, "ok");
    return false;
}

static int refuse_volatile(struct kv_answer *answer)
{
    struct kv_buffer text = KV_BUFFER_INIT;
    kv_write_binary_text(&text, "the registry keeps nothing on disk; stop ends it, and its names");
    const int error = kv_answer_error(answer, KV_ENOENT, "not_durable", kv_buffer_bytes(&text));
    kv_buffer_free(&text);
    return error;
}

/* This process sends nothing until the record is durable, under any policy. */
static int destroy(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    const struct kv_registry *registry = kv_process_const_state(self);
    struct kv_durable *durable = registry->durable;
    if (durable == NULL) {
        return refuse_volatile(answer);
    }
    const int error = kv_durable_may_free(durable, kv_durable_name(durable).length, 1, true);
    if (error != KV_OK) {
        return kv_answer_refusal(answer, error, kv_start_no_room(error));
    }
    kv_durable_destroy_registry(durable);
    kv_process_hold_until(self, durable->batch);
    (void)kv_go_on(self, asked, 0, answer, piece, 0);
    return KV_OK;
}

const struct kv_operation kv_registry_destroy_operations[] = {
    KV_OPERATION("destroy_registry", 0, KV_BY_CALL, KV_CHANGES | KV_BOUNDED | KV_CONTINUES, destroy,
                 "0.2.0"),
    KV_NO_OPERATION,
};
