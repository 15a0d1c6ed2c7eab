#include "kv/contents.h"
#include "kv/kv.h"

int kv_contents_open(struct kv_contents *contents, const struct kv_process *self, bool names,
                     const struct kv_table_options *options, struct kv_buffer *reason)
{
    struct kv_arena *arena = kv_store_of(self)->arena;
    const struct kv_pid pid = kv_process_pid(self);
    const enum kv_published what = names ? KV_PUBLISHED_NAMES : KV_PUBLISHED_VALUES;
    contents->table = kv_table_new(arena, options);
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
}
