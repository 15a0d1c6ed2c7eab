/* Snapshots: one table as it was at one moment, read in pieces while the table changes.
 *
 * Before an entry changes that a snapshot has not visited yet, the snapshot writes the entry out: a
 * copy of it, or of a large one a pin. So a change costs its entry once more at most, and the table
 * never waits. All that snapshots of an arena have written out and their readers have not taken has
 * a limit. Beyond it, a snapshot fails, and the table goes on.
 *
 * A table without snapshots pays nothing for them. */
#ifndef KV_SNAPSHOT_H
#define KV_SNAPSHOT_H

#include <kv/table.h>

struct kv_snapshot;

/* The bytes that the snapshots of a node may have written out. */
#define KV_SNAPSHOT_BYTES (UINT64_C(128) << 20)

/* Begins a snapshot of what the table has at this moment. It fails once it needs more while all
 * snapshots of the arena have written out `limit` bytes. Returns NULL between kv_table_begin_all()
 * and the end of that: the changes may still be taken back. The caller frees it with
 * kv_snapshot_free(), before the arena ends; the table may end earlier. */
struct kv_snapshot *kv_snapshot_new(struct kv_table *table, uint64_t limit);

/* Ends it. `snapshot` may be NULL. */
void kv_snapshot_free(struct kv_snapshot *snapshot);

/* The kv_arena_time() at which the snapshot began. */
uint64_t kv_snapshot_time(const struct kv_snapshot *snapshot);

/* Visits the next entries, as kv_table_piece() does: in no order, each key once in all pieces, with
 * value and expiry of the begin. An entry whose time has come since the begin may be left out.
 * Visits up to 2 * KV_PIECE_ENTRIES entries, perhaps none. `visit` must not change the table.
 *
 * Returns KV_OK, and sets *more to false if this was the last piece. Else the snapshot has failed,
 * and has nothing any more: KV_ESIZE, over the limit; KV_ENOMEM, the system had no memory, or the
 * arena needed what the snapshot held; KV_ENOENT, the table has ended. */
int kv_snapshot_piece(struct kv_snapshot *snapshot, kv_table_visit *visit, void *context,
                      bool *more);

/* The bytes that the snapshot has written out and that nobody has taken, with its own. */
uint64_t kv_snapshot_memory(const struct kv_snapshot *snapshot);

#endif
