/* Durable tables that have a name in a registry, and the tables of registries. */
#include "kv/durable_parts.h"

int kv_durable_rename(struct kv_durable *durable, struct kv_bytes name)
{
    int error = kv_durable_may_record(durable, name.length);
    if (error == KV_OK) {
        kv_durable_move(durable, kv_durable_registry_name(durable), name);
        kv_durable_record(durable);
    }
    return error;
}

int kv_durable_describe(struct kv_durable *durable, struct kv_bytes meta, bool anyway)
{
    int error = kv_durable_may_record(durable, meta.length);
    if (error == KV_OK || anyway) {
        kv_buffer_free(&durable->meta);
        kv_buffer_append(&durable->meta, meta);
        kv_durable_record(durable);
    }
    return anyway ? KV_OK : error;
}

void kv_durable_attach_registry(struct kv_durable *durable, struct kv_process *self,
                                struct kv_table *shown, const struct kv_durable_registry *calls)
{
    durable->calls = calls;
    durable->process = self;
    durable->shown = shown;
    durable->next_name = durable->names.next;
    kv_process_hold_until(self, durable->batch);
}

bool kv_durable_is_gathering(const struct kv_durable *durable)
{
    const struct kv_journal *journal = durable->set->journal;
    return durable->batch == journal->batch(journal->context);
}
