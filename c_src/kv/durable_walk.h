/* A walk over all durable tables, in small steps between which they may change: for a checkpoint.
 * It visits each table that was there from begin to end, and of each such table the entries that
 * were there from begin to end, exactly once; of tables and entries that come or go meanwhile,
 * some. Tables that are made after the begin are left out, and so are those that are destroyed.
 *
 * No entry is visited while changes of its table may still be taken back, or are not recorded, or
 * are on record and not made yet. */
#ifndef KV_DURABLE_WALK_H
#define KV_DURABLE_WALK_H

#include "kv/durable.h"

struct kv_durables_visitor {
    void *context;
    /* A table; its entries come next. Borrowed during the call. */
    void (*table)(void *context, const struct kv_journal_table *table);
    /* An entry. Expiry is on the clock of kv_arena_time(). If `may_end` is true, the result false
     * means that the step is to end, and this entry will be the first of the next one. Otherwise
     * the entry has to be taken, whatever the result. Must not change a table. */
    bool (*entry)(void *context, uint64_t table, const struct kv_table_entry *entry, bool may_end);
    /* The walk had to wait for changes of a table that might have been taken back, and can go on
     * now, or else when it next is asked to. Called at the end of a request: a step or a few may be
     * made now. NULL: not called. */
    void (*settled)(void *context);
};

struct kv_durables_walk {
    struct kv_durables *set; /* NULL: the walk has not begun, or has ended */
    struct kv_durables_visitor visitor;
    uint64_t greatest;    /* the greatest id when it began */
    struct kv_list *next; /* the link of the present table; that of the list: the end */
    bool told;            /* of the present table */
    uint64_t cursor;      /* in it */
    bool waits;           /* until the changes of the present table are settled */
};

/* Begins a walk. The set has no other one. The walk lies at its place until it ends. */
void kv_durables_walk_begin(struct kv_durables_walk *walk, struct kv_durables *set,
                            const struct kv_durables_visitor *visitor);

/* One step: a table, or some entries of it. Returns false at the end, and the walk has ended. */
bool kv_durables_walk_step(struct kv_durables_walk *walk);

/* Ends a walk before its end. Does nothing if it has ended. */
void kv_durables_walk_end(struct kv_durables_walk *walk);

/* The walk goes on with the table of that link. */
static inline void kv_durables_walk_move(struct kv_durables_walk *walk, struct kv_list *next)
{
    walk->next = next;
    walk->told = false;
    walk->cursor = 0;
    walk->waits = false;
}

/* The table leaves the set. */
static inline void kv_durables_walk_leave(const struct kv_durable *durable)
{
    struct kv_durables_walk *walk = durable->set->walk;
    if (walk != NULL && walk->next == &durable->of_set) {
        kv_durables_walk_move(walk, durable->of_set.next);
    }
}

/* The changes of the table are settled. */
static inline void kv_durables_walk_settled(const struct kv_durable *durable)
{
    const struct kv_durables_walk *walk = durable->set->walk;
    if (walk != NULL && walk->waits && walk->next == &durable->of_set &&
        walk->visitor.settled != NULL) {
        walk->visitor.settled(walk->visitor.context);
    }
}

#endif
