#include "kv/contents.h"
#include "base/alloc.h"
#include "kv/kv.h"

static void count_gone(void *context, enum kv_gone why, struct kv_item key)
{
    struct kv_counts *counts = context;
    (void)key;
    counts->expirations += why == KV_GONE_EXPIRED;
    counts->evictions += why == KV_GONE_EVICTED;
}

int kv_contents_open(struct kv_contents *contents, const struct kv_process *self, bool names,
                     const struct kv_table_options *options, struct kv_buffer *reason)
{
    struct kv_arena *arena = kv_store_of(self)->arena;
    const struct kv_pid pid = kv_process_pid(self);
    const enum kv_published what = names ? KV_PUBLISHED_NAMES : KV_PUBLISHED_VALUES;
    struct kv_table_options counting = *options;
    contents->counts = kv_zalloc(sizeof *contents->counts);
    contents->counts->since = kv_arena_time(arena);
    counting.gone = count_gone;
    counting.gone_context = contents->counts;
    contents->table = kv_table_new(arena, &counting);
    if (contents->table == NULL ||
        kv_arena_publish(arena, pid.id, pid.serial, what, contents->table) != KV_OK) {
        kv_contents_close(contents);
        kv_write_atom_text(reason, "enomem");
        return KV_ENOMEM;
    }
    return KV_OK;
}

void kv_contents_close(struct kv_contents *contents)
{
    kv_table_free(contents->table);
    contents->table = NULL;
    kv_free(contents->counts);
    contents->counts = NULL;
}

uint64_t kv_contents_kept(const struct kv_contents *contents, const struct kv_change *change)
{
    const struct kv_item key = change->ahead != NULL ? change->ahead->key : change->key;
    uint64_t expiry = KV_NEVER;
    return kv_table_expiry(contents->table, key, &expiry) ? expiry : change->expiry & ~KV_KEEPING;
}
