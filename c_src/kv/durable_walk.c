#include "kv/durable_walk.h"

static struct kv_durable *present(const struct kv_durables_walk *walk)
{
    return walk->next == &walk->set->tables ? NULL
                                            : KV_LIST_OF(walk->next, struct kv_durable, of_set);
}

void kv_durables_walk_begin(struct kv_durables_walk *walk, struct kv_durables *set,
                            const struct kv_durables_visitor *visitor)
{
    kv_assert(set->walk == NULL);
    *walk = (struct kv_durables_walk){
        .set = set, .visitor = *visitor, .greatest = set->greatest, .next = set->tables.next};
    set->walk = walk;
}

void kv_durables_walk_end(struct kv_durables_walk *walk)
{
    if (walk->set != NULL) {
        walk->set->walk = NULL;
        walk->set = NULL;
    }
}

static void tell(struct kv_durables_walk *walk, const struct kv_durable *durable)
{
    struct kv_buffer options = KV_BUFFER_INIT;
    struct kv_journal_table about;
    kv_durable_about(durable, true, &options, &about);
    walk->visitor.table(walk->visitor.context, &about);
    kv_buffer_free(&options);
    walk->told = true;
}

static bool visit(void *context, const struct kv_table_entry *entry, bool may_end)
{
    const struct kv_durables_walk *walk = context;
    return walk->visitor.entry(walk->visitor.context, present(walk)->id, entry, may_end);
}

bool kv_durables_walk_step(struct kv_durables_walk *walk)
{
    const struct kv_durable *durable = present(walk);
    if (durable == NULL) {
        kv_durables_walk_end(walk);
        return false;
    }
    if (durable->id > walk->greatest || kv_durable_is_gone(durable)) {
        kv_durables_walk_move(walk, walk->next->next);
        return true;
    }
    if (!walk->told) {
        tell(walk, durable);
    }
    walk->waits = durable->deferring || durable->ahead;
    if (!walk->waits && !kv_table_small_piece(durable->table, &walk->cursor, visit, walk)) {
        kv_durables_walk_move(walk, walk->next->next);
    }
    return true;
}
