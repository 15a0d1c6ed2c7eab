/* The puts of a recovery. A single one waits for the memory again and again: the table is larger
 * than the caches of the processor. So some are looked up together, and then done one by one. */
#include "kv/durable_parts.h"

#include "base/alloc.h"

void kv_durable_free_puts(struct kv_durables *set)
{
    kv_free(set->puts);
    set->puts = NULL;
}

int kv_durables_settle(struct kv_durables *set)
{
    struct kv_durable_puts *puts = set->puts;
    const unsigned count = puts == NULL ? 0 : puts->count;
    int error = KV_OK;
    if (count == 0) {
        return KV_OK;
    }
    kv_table_look_ahead(puts->durable->table, puts->lookups, count);
    for (unsigned i = 0; error == KV_OK && i < count; i++) {
        error = kv_table_add_at(puts->durable->table, &puts->lookups[i], puts->values[i],
                                puts->expiries[i]);
    }
    puts->count = 0;
    return error;
}

struct kv_durable *kv_durable_putting(const struct kv_durables *set)
{
    return set->puts != NULL && set->puts->count > 0 ? set->puts->durable : NULL;
}

int kv_durable_put_later(struct kv_durable *durable, const struct kv_table_entry *entry)
{
    struct kv_durables *set = durable->set;
    const int error = kv_durable_putting(set) == durable ? KV_OK : kv_durables_settle(set);
    if (error != KV_OK) {
        return error;
    }
    if (set->puts == NULL) {
        set->puts = kv_zalloc(sizeof *set->puts);
    }
    struct kv_durable_puts *puts = set->puts;
    puts->durable = durable;
    puts->lookups[puts->count].key = entry->key;
    puts->values[puts->count] = entry->value;
    puts->expiries[puts->count] = entry->expiry;
    puts->count++;
    return puts->count == KV_DURABLE_PUTS ? kv_durables_settle(set) : KV_OK;
}
