/* The table that a process holds, and the one way in which a request changes it. */
#ifndef KV_CONTENTS_H
#define KV_CONTENTS_H

#include <kv/table.h>

#include <kv/process.h>

struct kv_contents {
    struct kv_table *table;
};

/* Makes the table, where readers of this host find it by the pid of `self`; `names` if what lies in
 * it are the names of a registry. KV_OK, or KV_ENOMEM with the reason appended; nothing is to be
 * closed then. */
int kv_contents_open(struct kv_contents *contents, const struct kv_process *self, bool names,
                     const struct kv_table_options *options, struct kv_buffer *reason);
void kv_contents_close(struct kv_contents *contents);

enum kv_change_kind { KV_CHANGE_PUT, KV_CHANGE_DELETE, KV_CHANGE_CLEAR };

struct kv_change {
    enum kv_change_kind kind;
    const struct kv_lookup
        *ahead; /* of PUT and DELETE: a key that was looked ahead for; or NULL: */
    struct kv_item key;
    struct kv_item value; /* of PUT */
    uint64_t expiry;      /* of PUT: the kv_arena_time() at which it is gone, or KV_NEVER */
};

/* Every change of a table that somebody asked for is made here. (What expires or has to make room
 * goes by itself, inside the store.) KV_OK; of a PUT, KV_ENOMEM: nothing has changed; of a DELETE,
 * KV_ENOENT: there was none. Inline, as the kind is known where it is called. */
__attribute__((always_inline)) static inline int
kv_contents_change(const struct kv_contents *contents, const struct kv_change *change)
{
    struct kv_table *table = contents->table;
    bool there = false;
    switch (change->kind) {
    case KV_CHANGE_PUT:
        return change->ahead != NULL
                   ? kv_table_put_at(table, change->ahead, change->value, change->expiry)
                   : kv_table_put(table, change->key, change->value, change->expiry);
    case KV_CHANGE_DELETE:
        there = change->ahead != NULL ? kv_table_delete_at(table, change->ahead)
                                      : kv_table_delete(table, change->key);
        return there ? KV_OK : KV_ENOENT;
    case KV_CHANGE_CLEAR:
        kv_table_clear(table);
        return KV_OK;
    }
    return KV_ETYPE;
}

#endif
