/* Checkpoints of the node: all durable tables are written to one file, a little in each turn, and
 * the log before is not needed any more. One begins when the log since the last one is longer than
 * one and a half times that one, and longer than settings.checkpoint_log. On a full disk one begins
 * as soon as a file of the log could go.
 *
 *     begin --> walk, a step in each turn of the loop --> the log is durable --> the file has its
 * name
 *
 * Two buffers: one gathers while the disk writes the other. So the walk is as fast as the disk. */
#include "node/data_parts.h"

#include <kv/error.h>

enum {
    TURN_NS = 50 * 1000,     /* of a walk, in one turn */
    STEP_BYTES = 24 * 1024,  /* that are copied between two looks at the clock, */
    VALUE_BYTES = 32 * 1024, /* and of a larger value */
    LOOK_MS = 1000,          /* from one look to the next whether a failed one may be tried again */
};

/* ---- the end -----------------------------------------------------------------------------------
 */

static void unpin(struct kv_data *data)
{
    struct kv_data_checkpoint *c = &data->checkpoint;
    if (c->pinned != NULL) {
        kv_arena_unpin(data->durables.arena, c->pinned);
        c->pinned = NULL;
    }
    c->value = kv_bytes(NULL, 0);
}

/* No piece of it is being written. */
static void end(struct kv_data *data, int error)
{
    struct kv_data_checkpoint *c = &data->checkpoint;
    void (*done)(void *context, int error) = c->done;
    (void)uv_idle_stop(&c->steps);
    unpin(data);
    kv_durables_walk_end(&c->walk);
    kv_checkpoint_free(c->writer);
    c->writer = NULL;
    c->error = KV_OK;
    c->done = NULL;
    if (done != NULL) {
        done(c->context, error);
    }
}

static uint64_t table_bytes(const struct kv_data *data)
{
    uint64_t limit = 0;
    return kv_data_in_use(data, &limit);
}

/* Perhaps nothing is written meanwhile, after which the next one would begin. */
static void on_retry(uv_timer_t *retry)
{
    kv_data_tend_checkpoint(retry->data);
}

static void tell_failure(struct kv_data *data, int error)
{
    struct kv_data_checkpoint *c = &data->checkpoint;
    c->retry_at = uv_now(data->settings.loop) + KV_CHECKPOINT_RETRY_MS;
    c->failed_bytes = table_bytes(data);
    (void)uv_timer_start(&c->retry, on_retry, LOOK_MS, LOOK_MS);
    if (!c->is_failing) {
        kv_log(data->settings.log, KV_LOG_WARNING,
               "a checkpoint of the durable buckets was given up, and the log grows until there is "
               "one: %s",
               error == KV_ENOMEM ? kv_error_text(error) : kv_disk_text(data->disk));
    }
    c->is_failing = true;
}

static void give_up(struct kv_data *data, int error)
{
    tell_failure(data, error);
    end(data, error);
}

static void remove_old(struct kv_data *data)
{
    const struct kv_data_checkpoint *c = &data->checkpoint;
    if (c->size > 0 && c->holds == 0 && data->disk != NULL) {
        kv_disk_keep_checkpoint(data->disk, c->lsn);
        kv_disk_recycle(data->disk, kv_segment_of(c->lsn, data->store.segment_size));
    }
}

void kv_data_keep_checkpoint(struct kv_data *data, uint64_t lsn, uint64_t size)
{
    data->checkpoint.lsn = lsn;
    data->checkpoint.size = size;
    remove_old(data);
}

static void succeed(struct kv_data *data)
{
    struct kv_data_checkpoint *c = &data->checkpoint;
    c->count++;
    c->time = c->begun;
    if (c->is_failing) {
        kv_log(data->settings.log, KV_LOG_NOTICE,
               "there is a checkpoint of the durable buckets again");
        c->is_failing = false;
        (void)uv_timer_stop(&c->retry);
    }
    kv_data_keep_checkpoint(data, kv_checkpoint_lsn(c->writer), kv_checkpoint_size(c->writer));
    end(data, KV_OK);
}

/* ---- pieces ------------------------------------------------------------------------------------
 */

/* In the thread of the disk. */
static void seal(const void *sealed)
{
    kv_checkpoint_seal(sealed);
}

static void hand_over(struct kv_data *data)
{
    struct kv_data_checkpoint *c = &data->checkpoint;
    if (c->stopped || c->is_writing || !kv_checkpoint_take(c->writer, &c->piece)) {
        return;
    }
    c->is_writing = true;
    kv_disk_write_piece(data->disk, &(struct kv_disk_piece){
                                        .checkpoint = kv_checkpoint_lsn(c->writer),
                                        .offset = c->piece.offset,
                                        .bytes = c->piece.bytes,
                                        .last = c->piece.last,
                                        .seal = seal,
                                        .sealed = &c->piece,
                                    });
}

static void on_steps(uv_idle_t *steps);

/* Goes on with what can go on. */
static void go_on(struct kv_data *data)
{
    struct kv_data_checkpoint *c = &data->checkpoint;
    if (c->error != KV_OK && !c->is_writing) {
        give_up(data, c->error);
        return;
    }
    if (c->error != KV_OK || c->stopped) {
        return;
    }
    hand_over(data);
    if (c->walk.set != NULL && kv_checkpoint_wants(c->writer)) {
        (void)uv_idle_start(&c->steps, on_steps);
    }
}

void kv_data_piece_done(void *context, int error)
{
    struct kv_data *data = context;
    struct kv_data_checkpoint *c = &data->checkpoint;
    c->is_writing = false;
    if (error != KV_OK) {
        c->error = error;
    } else {
        kv_checkpoint_written(c->writer);
    }
    if (error == KV_OK && c->piece.last) {
        succeed(data);
    } else {
        go_on(data);
    }
}

/* ---- the walk ----------------------------------------------------------------------------------
 */

static void note(struct kv_data_checkpoint *c, int error)
{
    c->error = c->error != KV_OK ? c->error : error;
}

static void visit_table(void *context, const struct kv_journal_table *table)
{
    struct kv_data *data = context;
    const struct kv_record_table about = {.policy = (uint8_t)table->policy,
                                          .kind = table->kind,
                                          .registry = table->registry,
                                          .name = table->name,
                                          .options = table->options};
    note(&data->checkpoint, kv_checkpoint_table(data->checkpoint.writer, table->id, &about));
}

/* More of a value that is copied in steps. */
static void copy_value(struct kv_data *data, size_t most)
{
    struct kv_data_checkpoint *c = &data->checkpoint;
    const size_t length = c->value.length < most ? c->value.length : most;
    note(c, kv_checkpoint_value(c->writer, kv_bytes(c->value.data, length)));
    c->value = kv_bytes(c->value.data + length, c->value.length - length);
    if (c->value.length == 0) {
        unpin(data);
    }
}

static bool visit_entry(void *context, uint64_t table, const struct kv_table_entry *entry,
                        bool may_end)
{
    struct kv_data *data = context;
    struct kv_data_checkpoint *c = &data->checkpoint;
    struct kv_table_entry written = *entry;
    if (may_end && (c->spent >= STEP_BYTES || c->pinned != NULL || c->error != KV_OK)) {
        return false;
    }
    if (c->pinned != NULL) { /* two of the same hash */
        copy_value(data, SIZE_MAX);
    }
    c->spent += entry->key.bytes.length + entry->value.bytes.length;
    written.expiry = kv_data_to_wall(data, entry->expiry);
    if (entry->value.bytes.length > VALUE_BYTES &&
        kv_arena_pin(data->durables.arena, entry->value.bytes.data)) {
        note(c, kv_checkpoint_begin_put(c->writer, table, &written));
        c->value = entry->value.bytes;
        c->pinned = entry->value.bytes.data;
    } else {
        note(c, kv_checkpoint_put(c->writer, table, &written));
    }
    return true;
}

static void step(struct kv_data *data)
{
    struct kv_data_checkpoint *c = &data->checkpoint;
    c->spent = 0;
    if (c->pinned != NULL) {
        copy_value(data, VALUE_BYTES);
    } else if (!kv_durables_walk_step(&c->walk)) {
        kv_checkpoint_end(c->writer, data->durables.greatest);
    }
}

/* A turn's share of the walk. */
static void walk(struct kv_data *data)
{
    struct kv_data_checkpoint *c = &data->checkpoint;
    const uint64_t until = uv_hrtime() + TURN_NS;
    do {
        step(data);
    } while (c->walk.set != NULL && !c->walk.waits && c->error == KV_OK &&
             kv_checkpoint_wants(c->writer) && uv_hrtime() < until);
}

static bool can_walk(const struct kv_data_checkpoint *c)
{
    return c->writer != NULL && c->walk.set != NULL && c->error == KV_OK &&
           kv_checkpoint_wants(c->writer);
}

static void on_steps(uv_idle_t *steps)
{
    struct kv_data *data = steps->data;
    struct kv_data_checkpoint *c = &data->checkpoint;
    if (can_walk(c)) {
        walk(data);
    }
    if (!can_walk(c)) {
        (void)uv_idle_stop(steps);
    }
    go_on(data);
}

/* A table that is changed all the time by long requests can be read between two of them. */
static void settled(void *context)
{
    struct kv_data *data = context;
    if (can_walk(&data->checkpoint)) {
        walk(data);
    }
}

/* ---- the beginning -----------------------------------------------------------------------------
 */

static void begin(struct kv_data *data)
{
    struct kv_data_checkpoint *c = &data->checkpoint;
    const struct kv_durables_visitor visitor = {
        .context = data, .table = visit_table, .entry = visit_entry, .settled = settled};
    c->begun = kv_data_clock(data);
    c->writer = kv_checkpoint_new(data->wal, &(struct kv_checkpoint_options){
                                                 .store = data->store.id,
                                                 .time = c->begun,
                                             });
    kv_durables_walk_begin(&c->walk, &data->durables, &visitor);
    if (c->steps.data == NULL) {
        (void)uv_idle_init(data->settings.loop, &c->steps);
        (void)uv_timer_init(data->settings.loop, &c->retry);
        c->steps.data = data;
        c->retry.data = data;
    }
    go_on(data);
}

/* One that failed is tried again after a while, or once half of the entries are gone. */
static bool may_try(const struct kv_data *data)
{
    const struct kv_data_checkpoint *c = &data->checkpoint;
    return !c->is_failing || uv_now(data->settings.loop) >= c->retry_at ||
           table_bytes(data) < c->failed_bytes / 2;
}

static bool is_time(const struct kv_data *data)
{
    const struct kv_data_checkpoint *c = &data->checkpoint;
    const uint64_t least =
        data->settings.checkpoint_log > 0 ? data->settings.checkpoint_log : KV_CHECKPOINT_LOG;
    const uint64_t wanted = c->size + c->size / 2;
    const uint64_t end = kv_wal_end(data->wal);
    const uint64_t size = data->store.segment_size;
    const bool makes_room =
        data->room != KV_OK && kv_segment_of(end, size) > kv_segment_of(c->lsn, size);
    return (makes_room || end - c->lsn > (wanted > least ? wanted : least)) && may_try(data);
}

void kv_data_tend_checkpoint(struct kv_data *data)
{
    struct kv_data_checkpoint *c = &data->checkpoint;
    if (c->stopped) {
        return;
    }
    if (c->writer != NULL) {
        go_on(data);
    } else if (is_time(data)) {
        begin(data);
    }
}

int kv_data_checkpoint_now(struct kv_data *data, void (*done)(void *context, int error),
                           void *context)
{
    struct kv_data_checkpoint *c = &data->checkpoint;
    if (c->done != NULL || c->stopped) {
        return KV_EBUSY;
    }
    c->done = done;
    c->context = context;
    if (c->writer == NULL) {
        begin(data);
    }
    return KV_OK;
}

void kv_data_hold_files(struct kv_data *data)
{
    data->checkpoint.holds++;
}

void kv_data_release_files(struct kv_data *data)
{
    data->checkpoint.holds--;
    remove_old(data);
}

void kv_data_stop_checkpoint(struct kv_data *data)
{
    data->checkpoint.stopped = true;
}

void kv_data_finish_checkpoint(struct kv_data *data)
{
    if (data->checkpoint.writer != NULL) {
        data->checkpoint.done = NULL;
        end(data, KV_OK);
    }
}
