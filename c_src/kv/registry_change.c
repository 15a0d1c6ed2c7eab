/* Changes of a name between its creation and its end: its bucket gets another name, or is
 * deleted, or the name is described. A request about a name that is being created waits. */
#include "kv/durable.h"
#include "kv/kv.h"
#include "kv/registry.h"
#include "kv/start.h"

/* The answers of this file do not depend on why a creation has failed. */
enum { NO_QUESTION = 0 };

/* Sending and showing use the scratch buffer that the answer lies in, so the answer comes last. */
static int answer_ok(struct kv_answer *answer)
{
    kv_answer_drop(answer);
    return kv_answer_atom(answer, "ok");
}

/* Why the table of a name cannot change, if there is an error. */
static int answer_change(struct kv_answer *answer, int error)
{
    return error == KV_OK ? answer_ok(answer)
                          : kv_answer_refusal(answer, error, kv_start_no_room(error));
}

/* The table of a name has changed, or is gone: what this process sends waits until that is durable,
 * whatever the policy of the registry is. */
static void note(struct kv_process *self)
{
    const struct kv_registry *registry = kv_process_state(self);
    kv_durable_note(registry->durable);
    kv_process_hold_until(self, registry->durable->batch);
}

/* ---- rename and delete -------------------------------------------------------------------------
 */

static int move(struct kv_process *self, struct kv_entry *entry, struct kv_bytes name)
{
    struct kv_durable *table = kv_registry_table(self, kv_entry_name(entry));
    int error = table == NULL ? KV_OK : kv_durable_rename(table, name);
    if (error == KV_OK && table != NULL) {
        note(self);
    }
    if (error == KV_OK) {
        kv_registry_move(self, entry, name);
    }
    return error;
}

/* {rename, Old, New} */
static int rename_to(struct kv_process *self, const struct kv_asked *asked,
                     struct kv_answer *answer)
{
    static const struct kv_parking parking = {rename_to, 2, NO_QUESTION};
    struct kv_bytes name;
    struct kv_entry *entry;
    int error = kv_registry_read_name(asked->arguments[1], answer, &name);
    if (error == KV_OK) {
        error = kv_registry_check_size(name.length, KV_NAME_MAX_BYTES, "name_too_long", answer);
    }
    if (error != KV_OK) {
        return error;
    }
    error = kv_registry_find_settled(self, asked, &parking, answer, &entry);
    if (entry == NULL) {
        return error;
    }
    const struct kv_entry *holder = kv_registry_find(self, name);
    if (holder != NULL && holder != entry) {
        return kv_answer_refusal(answer, KV_EEXIST, "name_taken");
    }
    return answer_change(answer, holder == NULL ? move(self, entry, name) : KV_OK);
}

/* As sys:terminate/2. The answer goes to the bucket itself, which has ended by then. */
void kv_registry_stop_bucket(struct kv_process *self, const struct kv_pid *pid)
{
    struct kv_buffer *term = kv_process_scratch(self);
    kv_write_tuple(term, 3);
    kv_write_atom_text(term, "system");
    kv_write_tuple(term, 2);
    kv_write_pid(term, pid);
    kv_write_atom_text(term, "deleted");
    kv_write_tuple(term, 2);
    kv_write_atom_text(term, "terminate");
    kv_write_atom_text(term, "normal");
    kv_send(self, pid, kv_buffer_bytes(term));
}

/* Drops the data of a name. A DORMANT entry is freed with it: kv_registry_hears(). */
static void destroy(struct kv_process *self, const struct kv_entry *entry)
{
    struct kv_durable *table = kv_registry_table(self, kv_entry_name(entry));
    if (table != NULL) {
        kv_durable_destroy(table);
        note(self);
    }
}

/* {delete, Name}. The bucket ends before any peer is served again, or behind a request that it is
 * in the middle of. */
static int delete_name(struct kv_process *self, const struct kv_asked *asked,
                       struct kv_answer *answer)
{
    static const struct kv_parking parking = {delete_name, 1, NO_QUESTION};
    struct kv_entry *entry;
    int error = kv_registry_find_settled(self, asked, &parking, answer, &entry);
    if (entry == NULL) {
        return error;
    }
    const struct kv_durable *table = kv_registry_table(self, kv_entry_name(entry));
    const bool lives = entry->step == KV_ENTRY_LIVE;
    error = table == NULL ? KV_OK : kv_durable_may_free(table, 0, 1, true);
    if (error != KV_OK) {
        return answer_change(answer, error);
    }
    destroy(self, entry);
    if (lives) {
        kv_demonitor(self, entry->monitor);
        kv_registry_stop_bucket(self, &entry->pid);
        kv_registry_ended(self, entry);
    }
    return answer_ok(answer);
}

/* ---- metadata ----------------------------------------------------------------------------------
 */

/* {meta, Name} */
static int meta(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    static const struct kv_parking parking = {meta, 1, NO_QUESTION};
    struct kv_entry *entry;
    int error = kv_registry_find_settled(self, asked, &parking, answer, &entry);
    if (entry == NULL) {
        return error;
    }
    const struct kv_durable *table = kv_registry_table(self, kv_entry_name(entry));
    const struct kv_bytes term = kv_buffer_bytes(table != NULL ? &table->meta : &entry->meta);
    if (term.length == 0) {
        return kv_answer_atom(answer, "error");
    }
    kv_write_tuple(answer->term, 2);
    kv_write_atom_text(answer->term, "ok");
    kv_write_term(answer->term, term);
    return KV_OK;
}

/* {put_meta, Name, Meta} */
static int put_meta(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    static const struct kv_parking parking = {put_meta, 2, NO_QUESTION};
    struct kv_entry *entry;
    int error = kv_registry_check_size(asked->arguments[1].length, KV_META_MAX_BYTES,
                                       "meta_too_large", answer);
    if (error != KV_OK) {
        return error;
    }
    error = kv_registry_find_settled(self, asked, &parking, answer, &entry);
    if (entry == NULL) {
        return error;
    }
    struct kv_durable *table = kv_registry_table(self, kv_entry_name(entry));
    if (table == NULL) {
        kv_registry_describe(self, entry, asked->arguments[1]);
        return kv_answer_atom(answer, "ok");
    }
    error = kv_durable_describe(table, asked->arguments[1], false);
    if (error == KV_OK) {
        note(self);
    }
    return answer_change(answer, error);
}

enum { CALL = KV_BY_CALL, CAST = KV_BY_CAST, WRITES = KV_CHANGES | KV_BOUNDED | KV_PARKS };

const struct kv_operation kv_registry_change_operations[] = {
    KV_OPERATION("rename", 2, CALL | CAST, WRITES, rename_to, "0.2.0"),
    KV_OPERATION("delete", 1, CALL | CAST, WRITES, delete_name, "0.2.0"),
    KV_OPERATION("meta", 1, CALL, KV_PARKS, meta, "0.2.0"),
    KV_OPERATION("put_meta", 2, CALL | CAST, WRITES, put_meta, "0.2.0"),
    KV_NO_OPERATION,
};
