#include "store/expiry.h"

#include "store/account.h"
#include "store/due.h"
#include "store/snapshot.h"
#include "store/stripes.h"

void kv_table_note_expiry(struct kv_table *table, uint64_t expiry)
{
    if (expiry < table->sweep_least) {
        table->sweep_least = expiry;
    }
    if (expiry < table->next_expiry) {
        kv_table_set_next_expiry(table, expiry);
        kv_due_update(table);
    } else if (table->due_place == 0) {
        kv_due_update(table);
    }
}

void kv_table_write_expiry(struct kv_table *table, uint64_t hash, struct kv_place place,
                           const struct kv_entry *entry, uint64_t expiry)
{
    kv_snapshots_before(table, hash);
    kv_stripes_lock(table, hash, hash);
    kv_entry_write_expiry(kv_at(table->arena, kv_place_offset(place)), entry, expiry);
    kv_stripes_unlock(table, hash, hash);
    kv_table_note_expiry(table, expiry);
}
