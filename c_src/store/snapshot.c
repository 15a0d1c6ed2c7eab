#include "store/snapshot.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "store/account.h"
#include "store/graves.h"
#include "store/saved.h"
#include "store/walk.h"

#include <kv/error.h>

/* A hash is visited if it is below `cursor`, or in `saved`. The entries of all other hashes are
 * still what they were at the begin. */
struct kv_snapshot {
    struct kv_arena *arena;
    struct kv_list of_arena;
    struct kv_table *of;         /* whose changes it must see; NULL: none any more */
    struct kv_snapshot *next;    /* of the same table */
    const struct kv_table *from; /* what it visits; NULL: it has visited all */
    struct kv_grave *grave;      /* that holds what it visits; or NULL */
    uint64_t cursor;
    uint64_t time;
    uint64_t limit;
    int error; /* KV_OK, or why it has failed */
    /* A walk reads this of a table that has been emptied: where its contents are. */
    struct kv_table emptied;
    struct kv_table_slot emptied_slot;
    struct kv_saved saved;
};

struct kv_snapshot *kv_snapshot_new(struct kv_table *table, uint64_t limit)
{
    if (table->pending != NULL) {
        return NULL;
    }
    struct kv_snapshot *snapshot = kv_zalloc(sizeof *snapshot);
    snapshot->arena = table->arena;
    snapshot->of = table;
    snapshot->from = table;
    snapshot->next = table->snapshots;
    snapshot->time = kv_table_time(table);
    snapshot->limit = limit;
    kv_saved_init(&snapshot->saved, table->arena);
    table->snapshots = snapshot;
    kv_list_append(&table->arena->snapshots, &snapshot->of_arena);
    kv_table_note_plain(table);
    return snapshot;
}

/* The table need not say any more what changes. */
static void leave_table(struct kv_snapshot *snapshot)
{
    struct kv_table *table = snapshot->of;
    if (table == NULL) {
        return;
    }
    struct kv_snapshot **place = &table->snapshots;
    while (*place != snapshot) {
        place = &(*place)->next;
    }
    *place = snapshot->next;
    snapshot->of = NULL;
    kv_table_note_plain(table);
}

static void leave_grave(struct kv_snapshot *snapshot)
{
    if (snapshot->grave != NULL) {
        kv_grave_release(snapshot->arena, snapshot->grave);
        snapshot->grave = NULL;
    }
}

/* Nothing is left to visit but what is in `saved`. */
static void end_visits(struct kv_snapshot *snapshot)
{
    snapshot->from = NULL;
    leave_table(snapshot);
    leave_grave(snapshot);
}

/* Notes in the arena what the snapshot has written out, instead of `before`. */
static void count_bytes(const struct kv_snapshot *snapshot, uint64_t before)
{
    snapshot->arena->snapshot_bytes += snapshot->saved.bytes - before;
}

static void drop_saved(struct kv_snapshot *snapshot)
{
    const uint64_t before = snapshot->saved.bytes;
    kv_saved_free(&snapshot->saved);
    count_bytes(snapshot, before);
}

static void fail(struct kv_snapshot *snapshot, int error)
{
    snapshot->error = error;
    end_visits(snapshot);
    drop_saved(snapshot);
}

void kv_snapshot_free(struct kv_snapshot *snapshot)
{
    if (snapshot != NULL) {
        end_visits(snapshot);
        drop_saved(snapshot);
        kv_list_remove(&snapshot->of_arena);
        kv_free(snapshot);
    }
}

uint64_t kv_snapshot_time(const struct kv_snapshot *snapshot)
{
    return snapshot->time;
}

uint64_t kv_snapshot_memory(const struct kv_snapshot *snapshot)
{
    return sizeof *snapshot + snapshot->saved.bytes;
}

/* ---- before a change ---------------------------------------------------------------------------
 */

struct saving {
    struct kv_snapshot *snapshot;
    int error;
};

static void keep(void *context, const struct kv_entry *entry)
{
    struct saving *saving = context;
    struct kv_snapshot *snapshot = saving->snapshot;
    if (saving->error != KV_OK || kv_entry_has_expired(entry, kv_table_time(snapshot->of))) {
        return;
    }
    const uint64_t before = snapshot->saved.bytes;
    if (snapshot->arena->snapshot_bytes + kv_saved_cost(entry) > snapshot->limit) {
        saving->error = KV_ESIZE;
    } else if (!kv_saved_append(&snapshot->saved, entry)) {
        saving->error = KV_ENOMEM;
    }
    count_bytes(snapshot, before);
}

static void save(struct kv_snapshot *snapshot, uint64_t hash)
{
    struct saving saving = {.snapshot = snapshot};
    const uint64_t before = snapshot->saved.bytes;
    kv_saved_add(&snapshot->saved, hash);
    count_bytes(snapshot, before);
    kv_index_each(snapshot->of, hash, keep, &saving);
    if (saving.error == KV_OK && snapshot->arena->snapshot_bytes > snapshot->limit) {
        saving.error = KV_ESIZE;
    }
    if (saving.error != KV_OK) {
        fail(snapshot, saving.error);
    }
}

void kv_snapshots_save(struct kv_table *table, uint64_t hash)
{
    struct kv_snapshot *next = NULL;
    for (struct kv_snapshot *one = table->snapshots; one != NULL; one = next) {
        next = one->next; /* `one` may fail, and leave */
        if (hash >= one->cursor && !kv_saved_has(&one->saved, hash)) {
            save(one, hash);
        }
    }
}

/* ---- when the table is emptied, or ends --------------------------------------------------------
 */

unsigned kv_snapshots_count(const struct kv_table *table)
{
    unsigned count = 0;
    for (const struct kv_snapshot *one = table->snapshots; one != NULL; one = one->next) {
        count++;
    }
    return count;
}

static void keep_emptied(struct kv_snapshot *snapshot, uint64_t root, struct kv_grave *grave)
{
    leave_table(snapshot);
    snapshot->emptied.arena = snapshot->arena;
    snapshot->emptied.slot = &snapshot->emptied_slot;
    snapshot->emptied_slot.root = root;
    snapshot->from = &snapshot->emptied;
    snapshot->grave = grave;
}

void kv_snapshots_keep(struct kv_table *table, uint64_t root, struct kv_grave *grave)
{
    while (table->snapshots != NULL) {
        struct kv_snapshot *one = table->snapshots;
        if (grave == NULL) {
            end_visits(one);
        } else {
            keep_emptied(one, root, grave);
        }
    }
}

void kv_snapshots_end(struct kv_table *table)
{
    while (table->snapshots != NULL) {
        fail(table->snapshots, KV_ENOENT);
    }
}

bool kv_snapshots_give_way(struct kv_arena *arena)
{
    KV_LIST_FOREACH (link, &arena->snapshots) {
        struct kv_snapshot *one = KV_LIST_OF(link, struct kv_snapshot, of_arena);
        if (one->grave != NULL || one->saved.pinned > 0) {
            fail(one, KV_ENOMEM);
            return true;
        }
    }
    return false;
}

/* ---- pieces ------------------------------------------------------------------------------------
 */

/* Visits entries that were written out. Returns how many; *ended: the visitor has ended the piece.
 */
static unsigned visit_saved(struct kv_snapshot *snapshot, kv_table_visit *visit, void *context,
                            bool *ended)
{
    const uint64_t before = snapshot->saved.bytes;
    struct kv_table_entry entry;
    unsigned count = 0;
    while (!*ended && count < KV_PIECE_ENTRIES && kv_saved_first(&snapshot->saved, &entry)) {
        const bool may_end = count > 0;
        *ended = !visit(context, &entry, may_end) && may_end;
        if (!*ended) {
            kv_saved_remove(&snapshot->saved);
            count++;
        }
    }
    count_bytes(snapshot, before);
    return count;
}

static void visit_table(struct kv_snapshot *snapshot, kv_table_visit *visit, void *context,
                        bool begun)
{
    const uint64_t before = snapshot->saved.bytes;
    const bool more =
        kv_walk_unsaved(snapshot->from, &snapshot->cursor, &snapshot->saved, begun, visit, context);
    kv_saved_forget(&snapshot->saved, more ? snapshot->cursor : UINT64_MAX);
    count_bytes(snapshot, before);
    if (!more) {
        end_visits(snapshot);
    }
}

int kv_snapshot_piece(struct kv_snapshot *snapshot, kv_table_visit *visit, void *context,
                      bool *more)
{
    struct kv_table_entry entry;
    bool ended = false;
    if (snapshot->error != KV_OK) {
        return snapshot->error;
    }
    const unsigned count = visit_saved(snapshot, visit, context, &ended);
    if (!ended && count < KV_PIECE_ENTRIES && snapshot->from != NULL) {
        visit_table(snapshot, visit, context, count > 0);
    }
    *more = snapshot->from != NULL || kv_saved_first(&snapshot->saved, &entry);
    return KV_OK;
}
