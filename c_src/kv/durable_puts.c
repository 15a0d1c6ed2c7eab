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
        error = kv_table_put_at(puts->durable->table, &puts->lookups[i], puts->values[i],
                                puts->expiries[i]);
    }
    puts->count = 0;
    return error;
}

static struct kv_durable_puts *begin(struct kv_durables *set, struct kv_durable *durable)
{
    if (set->puts == NULL) {
        set->puts = kv_zalloc(sizeof *set->puts);
    }
    set->puts->durable = durable;
    return set->puts;
}

/* No put of this table waits: finds it. */
static int other_table(struct kv_durables *set, uint64_t id)
{
    struct kv_durable *durable = kv_durable_of_id(set, id);
    const int error = kv_durables_settle(set);
    if (error == KV_OK && durable != NULL) {
        (void)begin(set, durable);
    }
    return durable == NULL && error == KV_OK ? KV_ENOENT : error;
}

int kv_durables_put(struct kv_durables *set, uint64_t id, const struct kv_table_entry *entry)
{
    const bool is_same = set->puts != NULL && set->puts->count > 0 && set->puts->durable->id == id;
    const int error = is_same ? KV_OK : other_table(set, id);
    if (error != KV_OK) {
        return error == KV_ENOENT ? KV_OK : error;
    }
    struct kv_durable_puts *puts = set->puts;
    puts->lookups[puts->count].key = entry->key;
    puts->values[puts->count] = entry->value;
    puts->expiries[puts->count] = entry->expiry;
    puts->count++;
    return puts->count == KV_DURABLE_PUTS ? kv_durables_settle(set) : KV_OK;
}
