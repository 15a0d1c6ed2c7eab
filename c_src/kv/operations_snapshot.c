/* {snapshot, Pid}, {snapshot_next, Snapshot} and {snapshot_close, Snapshot}: the bucket as it is at
 * one moment, in pieces, while it changes. For kv_bucket:export/3.
 *
 * The answer to the first waits for the changes that the snapshot shows, so the pieces wait for
 * none. */
#include "kv/bucket.h"
#include "kv/durable.h"
#include "kv/pieces.h"

enum {
    PIECE_BYTES = 1 << 20, /* of keys and values in one answer; a larger entry comes alone */
    HANDLE_FORM = 2,       /* the first byte of a handle; a cursor has another */
    HANDLE_NUMBER = 1 + KV_TABLE_IDENTITY_SIZE,
    HANDLE_SIZE = HANDLE_NUMBER + (int)sizeof(uint64_t),
};

/* ---- handles -----------------------------------------------------------------------------------
 */

static void write_handle(const struct kv_table *table, uint64_t number, struct kv_buffer *to)
{
    uint8_t handle[HANDLE_SIZE] = {HANDLE_FORM};
    kv_table_identity(table, handle + 1);
    kv_set64(handle + HANDLE_NUMBER, number);
    kv_write_binary(to, kv_bytes(handle, sizeof handle));
}

/* Returns NULL if the bucket has no such snapshot (any more). */
static struct kv_opened *find(const struct kv_process *self, struct kv_bytes term)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    uint8_t identity[KV_TABLE_IDENTITY_SIZE];
    struct kv_bytes handle;
    struct kv_reader reader = kv_reader(term);
    kv_table_identity(bucket->contents.table, identity);
    if (kv_read_binary(&reader, &handle) != KV_OK || handle.length != HANDLE_SIZE ||
        handle.data[0] != HANDLE_FORM || !kv_same(handle.data + 1, identity, sizeof identity)) {
        return NULL;
    }
    return kv_snapshots_find(&bucket->snapshots, kv_get64(handle.data + HANDLE_NUMBER));
}

/* ---- begin and end -----------------------------------------------------------------------------
 */

/* Where the log of a durable bucket goes on behind the snapshot; 0: the bucket has no log. */
static uint64_t position(const struct kv_bucket *bucket)
{
    const struct kv_durable *durable = bucket->contents.durable;
    if (durable == NULL || durable->set->journal->position == NULL) {
        return 0;
    }
    return durable->set->journal->position(durable->set->journal->context);
}

static int snapshot(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    struct kv_bucket *bucket = kv_process_state(self);
    struct kv_reader reader = kv_reader(asked->arguments[0]);
    struct kv_pid owner;
    if (kv_read_pid(&reader, &owner) != KV_OK) {
        return KV_ETYPE;
    }
    const struct kv_opened *opened =
        kv_snapshots_open(&bucket->snapshots, self, bucket->contents.table, &owner);
    if (opened == NULL) {
        return kv_answer_excess(answer, "too_many_snapshots", KV_SNAPSHOTS_MAX);
    }
    kv_write_tuple(answer->term, 3);
    kv_write_atom_text(answer->term, "ok");
    write_handle(bucket->contents.table, opened->number, answer->term);
    kv_write_u64(answer->term, position(bucket));
    return KV_OK;
}

static int close(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    struct kv_bucket *bucket = kv_process_state(self);
    struct kv_opened *opened = find(self, asked->arguments[0]);
    if (opened != NULL) {
        kv_snapshots_close(&bucket->snapshots, self, opened);
    }
    return kv_answer_atom(answer, "ok");
}

/* ---- pieces ------------------------------------------------------------------------------------
 */

struct piece {
    struct kv_buffer *to;
    uint64_t begun; /* the time of the snapshot */
    uint32_t count;
    uint64_t bytes;
};

static bool visit(void *context, const struct kv_table_entry *entry, bool may_end)
{
    struct piece *piece = context;
    const uint64_t size = kv_item_size(entry->key) + kv_item_size(entry->value);
    if (may_end && (piece->count == KV_PIECE_ENTRIES || piece->bytes + size > PIECE_BYTES)) {
        return false;
    }
    piece->count++;
    piece->bytes += size;
    kv_write_timed(piece->to, entry, piece->begun);
    return true;
}

/* Writes {Entries, more | done}. Returns the error of the snapshot. */
static int write_piece(struct kv_snapshot *snapshot, struct kv_buffer *to, bool *more)
{
    struct piece piece = {.to = to, .begun = kv_snapshot_time(snapshot)};
    kv_write_tuple(to, 2);
    const size_t list = kv_begin_list(to);
    const int error = kv_snapshot_piece(snapshot, visit, &piece, more);
    kv_end_list(to, list, piece.count);
    kv_write_atom_text(to, error == KV_OK && *more ? "more" : "done");
    return error;
}

static int refuse(struct kv_answer *answer, int error)
{
    struct kv_buffer text = KV_BUFFER_INIT;
    kv_write_binary_text(&text, error == KV_ESIZE
                                    ? "the bucket changes faster than the snapshot is read: more "
                                      "than 128 MiB of older entries wait for the reader; try "
                                      "again while less is written"
                                    : "there was no memory for the older entries that the "
                                      "snapshot keeps; try again while less is written");
    (void)kv_answer_error(answer, error, "snapshot_too_old", kv_buffer_bytes(&text));
    kv_buffer_free(&text);
    return error;
}

static int next(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    struct kv_bucket *bucket = kv_process_state(self);
    struct kv_opened *opened = find(self, asked->arguments[0]);
    bool more = false;
    if (opened == NULL) {
        return kv_answer_refusal(answer, KV_ENOENT, "stale_snapshot");
    }
    const int error = write_piece(opened->snapshot, answer->term, &more);
    if (error != KV_OK || !more) {
        kv_snapshots_close(&bucket->snapshots, self, opened);
    }
    return error == KV_OK ? KV_OK : refuse(answer, error);
}

const struct kv_operation kv_snapshot_operations[] = {
    KV_OPERATION("snapshot", 1, KV_BY_CALL, 0, snapshot, "0.2.0"),
    KV_OPERATION("snapshot_next", 1, KV_BY_CALL, KV_BY_KEY, next, "0.2.0"),
    KV_OPERATION("snapshot_close", 1, KV_BY_CALL, KV_BY_KEY, close, "0.2.0"),
    KV_NO_OPERATION,
};
