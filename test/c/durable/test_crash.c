/* All that was reported durable is there after a crash: random programs on a disk that loses what
 * was not synced (support/fake_disk.h), for several lives one after the other. Meanwhile
 * checkpoints are written, segments are used again, and older checkpoints go. And a table that has
 * what one of those on disk has is read by snapshots, each of which shows the moment of its begin.
 *
 * KV_CRASH_PROGRAMS is the number of random programs, KV_CRASH_EVERY the number of those that crash
 * at each of their points in turn, KV_CRASH_SEED the number of the first one. */
#include "base/alloc.h"
#include "support/durable_world.h"
#include "support/fake_disk.h"
#include "support/world_mirror.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum {
    BLOCKS = 5, /* of a segment, its header included */
    SIZE = BLOCKS * KV_BLOCK,
    LONGEST = 40000, /* value: three segments */
    OPEN_MAX = 30000,
    CHUNK = 4 * KV_BLOCK,
    STEPS = 110,
    LIVES = 4,
    HISTORY = STEPS * (LIVES + 1),
    LAST_SEGMENT = FAKE_SEGMENTS - 16,
};

static const struct kv_store_id STORE = {"0123456789abcde"};

struct run {
    uint64_t program;
    struct draw draw; /* what the program does, */
    struct draw fate; /* and what happens to it */
    struct fake_disk *disk;
    struct kv_wal *wal;
    struct world world; /* with what has gathered */

    /* The worlds and times after each batch, which is batch 0 before the first one. */
    struct world history[HISTORY];
    uint64_t times[HISTORY];
    uint64_t ends[HISTORY]; /* their LSNs */
    uint64_t base;          /* batch 1 of this life is number base + 1 */
    uint64_t handed;        /* the last batch that was handed out, */
    uint64_t durable;       /* and the last one that was reported durable */

    struct kv_checkpoint *checkpoint; /* under way, or NULL */
    struct world_walk walk;
    struct kv_checkpoint_piece piece;
    uint64_t checkpoints; /* in all lives */

    struct world_mirror *mirror; /* of the first table */

    struct kv_wal_write write;
    size_t done;           /* bytes of the write */
    uint64_t next_segment; /* that is to be made */
    uint64_t time;
    uint32_t epoch;
    unsigned life;
    uint64_t events, crash_at;
    bool crashed, is_writing, walked, has_piece;
};

static void demand(const struct run *run, bool condition, const char *text)
{
    cr_assert(condition, "program %llu, life %u, crash at %llu: %s",
              (unsigned long long)run->program, run->life, (unsigned long long)run->crash_at, text);
}

/* Does the same again in each life: then a batch may be equal to one that an earlier life left. */
static bool is_stubborn(const struct run *run)
{
    return run->program % 2 == 0;
}

/* A point where the crash may come. Returns true if it does. */
static bool event(struct run *run)
{
    run->events++;
    run->crashed = run->crashed || run->events == run->crash_at;
    return run->crashed;
}

/* ---- the node: changes, writes, segments --------------------------------------------------------
 */

static void change(struct run *run)
{
    const int error = kv_wal_reserve(run->wal, draw_below(&run->draw, 500));
    demand(run, error == KV_OK || (error == KV_EBUSY && kv_wal_open_bytes(run->wal) > 0),
           "what refuses a change is what has gathered");
    if (error != KV_OK) {
        return;
    }
    world_change(&run->world, run->wal, &run->draw, LONGEST);
    world_mirror_follow(run->mirror, &run->world.tables[0]);
    if (draw_once_in(&run->draw, 4)) {
        kv_wal_sync(run->wal);
    }
    if (draw_once_in(&run->draw, 40)) {
        kv_wal_mark(run->wal);
    }
}

static void write_header(struct run *run, uint64_t segment)
{
    uint8_t block[KV_BLOCK];
    kv_segment_header(segment, &STORE, block);
    fake_disk_write(run->disk, segment, 0, kv_bytes(block, sizeof block));
    if (!event(run)) {
        fake_disk_sync(run->disk);
        run->next_segment = segment + 1;
    }
}

static void make_segments(struct run *run, uint64_t last)
{
    while (!run->crashed && run->next_segment <= last) {
        if (!fake_disk_has(run->disk, run->next_segment)) {
            fake_disk_create(run->disk, run->next_segment);
        }
        write_header(run, run->next_segment);
    }
}

static void take(struct run *run)
{
    run->time += is_stubborn(run) ? 0 : draw_below(&run->draw, 3);
    if (run->is_writing || run->handed + 1 >= HISTORY ||
        !kv_wal_take(run->wal, run->time, &run->write)) {
        return;
    }
    run->is_writing = true;
    run->done = 0;
    run->handed++;
    demand(run, run->write.number == run->handed - run->base, "batches are numbered");
    run->history[run->handed] = run->world;
    run->times[run->handed] = run->time;
    run->ends[run->handed] = kv_wal_end(run->wal);
    kv_wal_seal(&run->write);
    make_segments(run, kv_segment_of(run->write.lsn + run->write.bytes.length - 1, SIZE));
}

static void end_write(struct run *run)
{
    if (run->write.sync) {
        if (event(run)) {
            return;
        }
        fake_disk_sync(run->disk);
    }
    if (event(run)) {
        return;
    }
    kv_wal_written(run->wal);
    run->is_writing = false;
    run->durable = run->base + kv_wal_durable(run->wal) > run->durable
                       ? run->base + kv_wal_durable(run->wal)
                       : run->durable;
    demand(run, !run->write.sync || run->durable == run->handed, "a synced batch is durable");
}

static void write_piece(struct run *run)
{
    const uint64_t lsn = run->write.lsn + run->done;
    const uint64_t segment = kv_segment_of(lsn, SIZE);
    const uint64_t left = kv_segment_begin(segment + 1, SIZE) - lsn;
    const size_t rest = run->write.bytes.length - run->done;
    const size_t length = rest < left ? rest : (size_t)left;
    fake_disk_write(run->disk, segment, kv_segment_offset(lsn, SIZE),
                    kv_bytes(run->write.bytes.data + run->done, length));
    run->done += length;
    if (!event(run) && run->done == run->write.bytes.length) {
        end_write(run);
    }
}

static void sync_later(struct run *run)
{
    fake_disk_sync(run->disk);
    const uint64_t written = run->handed - (run->is_writing ? 1 : 0);
    if (!event(run)) {
        kv_wal_synced(run->wal, written - run->base);
        run->durable = written > run->durable ? written : run->durable;
    }
}

/* ---- the node: checkpoints ----------------------------------------------------------------------
 */

static void begin_checkpoint(struct run *run)
{
    run->checkpoint = kv_checkpoint_new(
        run->wal,
        &(struct kv_checkpoint_options){.store = STORE, .time = run->time, .chunk_max = CHUNK});
    run->walk = (struct world_walk){.greatest = run->world.greatest};
    run->walked = run->has_piece = false;
}

/* Segments before the checkpoint are used again; those that a crash left behind go. */
static void recycle(struct run *run, uint64_t lsn)
{
    for (uint64_t i = 0; !run->crashed && i < kv_segment_of(lsn, SIZE); i++) {
        if (!fake_disk_has(run->disk, i) || run->next_segment >= LAST_SEGMENT ||
            fake_disk_has(run->disk, run->next_segment)) {
            continue;
        }
        fake_disk_sync(run->disk);
        fake_disk_rename(run->disk, i, run->next_segment);
        if (!event(run)) {
            write_header(run, run->next_segment);
        }
    }
}

static void keep_checkpoint(struct run *run, uint64_t lsn)
{
    fake_checkpoint_keep(run->disk, lsn);
    if (!event(run) && draw_once_in(&run->draw, 2)) {
        recycle(run, lsn);
    }
}

/* As the disk does after the last piece: sync, name, sync of the folder. */
static void end_checkpoint(struct run *run)
{
    const uint64_t lsn = kv_checkpoint_lsn(run->checkpoint);
    fake_disk_sync(run->disk);
    if (event(run)) {
        return;
    }
    fake_checkpoint_name(run->disk, lsn);
    if (event(run)) {
        return;
    }
    fake_disk_sync(run->disk);
    if (event(run)) {
        return;
    }
    kv_checkpoint_free(run->checkpoint);
    run->checkpoint = NULL;
    run->checkpoints++;
    keep_checkpoint(run, lsn);
}

static void write_checkpoint(struct run *run)
{
    if (!run->has_piece) {
        run->has_piece = kv_checkpoint_take(run->checkpoint, &run->piece);
        return;
    }
    kv_checkpoint_seal(&run->piece);
    fake_checkpoint_write(run->disk, run->piece.offset, run->piece.bytes);
    if (event(run)) {
        return;
    }
    kv_checkpoint_written(run->checkpoint);
    run->has_piece = false;
    if (run->piece.last) {
        end_checkpoint(run);
    }
}

static void walk(struct run *run)
{
    if (run->walked || !kv_checkpoint_wants(run->checkpoint)) {
        return;
    }
    run->walked = !world_tell(&run->world, &run->walk, run->checkpoint, &run->draw);
    if (run->walked) {
        kv_checkpoint_end(run->checkpoint, run->world.greatest);
    }
}

static void give_up_checkpoint(struct run *run)
{
    kv_checkpoint_free(run->checkpoint);
    run->checkpoint = NULL;
}

static void tend_checkpoint(struct run *run)
{
    if (run->checkpoint == NULL) {
        begin_checkpoint(run);
    } else if (draw_once_in(&run->draw, 200)) {
        give_up_checkpoint(run);
    } else {
        for (unsigned i = draw_below(&run->draw, 12); i > 0; i--) {
            walk(run);
        }
        write_checkpoint(run);
    }
}

static void step(struct run *run)
{
    const unsigned choice = draw_below(&run->draw, 44);
    if (choice < 14) {
        change(run);
    } else if (choice < 20) {
        take(run);
    } else if (choice < 30) {
        if (run->is_writing) {
            write_piece(run);
        }
    } else if (choice == 30) {
        sync_later(run);
    } else {
        tend_checkpoint(run);
    }
    world_mirror_look(run->mirror);
}

/* ---- recovery ----------------------------------------------------------------------------------
 */

static struct kv_recovery *recovery_of(struct run *run, struct world *world)
{
    *world = (struct world){.fuzzy = true};
    return kv_recovery_new(&(struct kv_recovery_options){
        .disk = fake_disk_view(run->disk),
        .sink = {.context = world, .record = world_apply},
        .store = STORE,
        .segment_size = SIZE,
    });
}

/* The batch that recovery ended with. */
static uint64_t last_batch(struct run *run, const struct kv_recovery_result *result)
{
    uint64_t begin = 0;
    while (begin < run->handed && run->ends[begin] != result->begin) {
        begin++;
    }
    demand(run, run->ends[begin] == result->begin, "a checkpoint begins where a batch does");
    return begin + result->batches;
}

/* The greatest epoch of which the head of a batch is left in a segment. */
static uint32_t greatest_epoch_in(const struct kv_disk_view *view, uint64_t segment)
{
    uint8_t block[KV_BLOCK];
    struct kv_batch batch;
    uint32_t greatest = 0;
    for (uint64_t offset = KV_BLOCK; offset < SIZE; offset += KV_BLOCK) {
        const uint64_t lsn = kv_segment_begin(segment, SIZE) + offset - KV_BLOCK;
        size_t got = 0;
        cr_assert_eq(view->read(view->context, segment, offset, block, sizeof block, &got), KV_OK);
        if (got == sizeof block &&
            kv_batch_read(block, kv_batch_seed(&STORE), lsn, &batch) == KV_OK &&
            batch.epoch > greatest) {
            greatest = batch.epoch;
        }
    }
    return greatest;
}

/* An epoch comes again only if nothing of it is left. A batch that is left need not be one of this
 * life: if this life has written the same bytes in the same place, its torn write may complete the
 * batch that an earlier life left torn there. */
static void check_epoch(struct run *run, const struct kv_recovery_result *result)
{
    const struct kv_disk_view view = fake_disk_view(run->disk);
    demand(run, result->epoch >= run->epoch, "epochs do not go down");
    for (uint64_t i = 0; i < FAKE_SEGMENTS; i++) {
        demand(run, !fake_disk_has(run->disk, i) || result->epoch > greatest_epoch_in(&view, i),
               "epochs grow");
    }
}

static void check(struct run *run, const struct kv_recovery_result *result,
                  const struct world *world)
{
    const uint64_t last = last_batch(run, result);
    demand(run, last >= run->durable, "a durable batch is missing");
    demand(run, last <= run->handed, "a batch that was never written is there");
    demand(run, world_equal(world, &run->history[last]), "another world");
    check_epoch(run, result);
    demand(run,
           result->batches > 0 ? result->time == run->times[last] || result->checkpoint > 0
                               : result->time <= run->time,
           "the last time");
    demand(run, result->time >= (result->batches > 0 ? run->times[last] : 0), "no earlier time");
    demand(run, result->table <= run->history[last].greatest, "the greatest table");
    demand(run,
           fake_disk_has(run->disk, result->segments_end) || result->segments_end > 0 ||
               result->lsn == 0,
           "the first segment to be made");
}

static void recover(struct run *run, struct kv_recovery_result *result)
{
    struct world world;
    struct kv_recovery *recovery = recovery_of(run, &world);
    bool more = true;
    while (more) {
        const int error = kv_recovery_step(recovery, &more);
        demand(run, error == KV_OK, kv_recovery_text(recovery));
    }
    *result = *kv_recovery_result(recovery);
    check(run, result, &world);
    kv_recovery_free(recovery);
}

/* The power is cut, or the program is killed: then the disk loses nothing, until the power is cut
 * during the recovery. */
static void crash_and_recover(struct run *run, struct kv_recovery_result *result)
{
    struct kv_recovery_result again;
    if (draw_once_in(&run->fate, 3)) {
        recover(run, result);
        if (draw_once_in(&run->fate, 2)) {
            fake_disk_crash(run->disk, &run->fate);
        }
    } else {
        fake_disk_crash(run->disk, &run->fate);
    }
    recover(run, result);
    recover(run, &again);
    demand(run, memcmp(result, &again, sizeof again) == 0, "a recovery changes nothing");
    fake_disk_sync(run->disk);
}

static void begin_life(struct run *run, const struct kv_recovery_result *result)
{
    const uint64_t last = last_batch(run, result);
    run->next_segment = result->segments_end;
    run->epoch = result->epoch;
    run->base = run->handed = run->durable = last;
    run->world = run->history[last];
    world_mirror_crash(run->mirror);
    world_mirror_follow(run->mirror, &run->world.tables[0]);
    run->draw.state = is_stubborn(run) ? run->program : run->draw.state;
    run->is_writing = run->crashed = false;
    give_up_checkpoint(run);
    kv_wal_free(run->wal);
    run->wal = kv_wal_new(&(struct kv_wal_options){
        .lsn = result->lsn,
        .epoch = result->epoch,
        .previous = result->previous,
        .store = STORE,
        .open_max = OPEN_MAX,
    });
    if (result->checkpoint > 0 && draw_once_in(&run->draw, 2)) {
        keep_checkpoint(run, result->begin);
    }
}

/* ---- programs ----------------------------------------------------------------------------------
 */

static struct run *run_new(uint64_t program)
{
    struct run *run = kv_zalloc(sizeof *run);
    run->program = program;
    run->draw.state = program;
    run->fate.state = ~program;
    run->time = 1000;
    run->disk = fake_disk_new(SIZE);
    run->mirror = world_mirror_new(program);
    begin_life(run, &(struct kv_recovery_result){.epoch = 1});
    return run;
}

static void run_free(struct run *run)
{
    give_up_checkpoint(run);
    kv_wal_free(run->wal);
    fake_disk_free(run->disk);
    world_mirror_free(run->mirror);
    kv_free(run);
}

static void live(struct run *run)
{
    for (unsigned i = 0; i < STEPS && !run->crashed && run->next_segment < LAST_SEGMENT; i++) {
        step(run);
    }
}

/* Runs a program. The first life crashes at event `crash_at`, or after its last step. Returns the
 * events of the first life. */
static uint64_t run_program(uint64_t program, uint64_t crash_at)
{
    struct run *run = run_new(program);
    struct kv_recovery_result result;
    uint64_t events = 0;
    run->crash_at = crash_at;
    for (run->life = 1; run->life <= LIVES; run->life++) {
        live(run);
        events = run->life == 1 ? run->events : events;
        crash_and_recover(run, &result);
        begin_life(run, &result);
        run->crash_at = run->events + 1 + draw_below(&run->fate, 80);
    }
    run_free(run);
    return events;
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

TestSuite(crash, .timeout = 3600);

Test(crash, each_batch_reported_durable_is_there_after_a_crash_at_every_point)
{
    const uint64_t first = setting("KV_CRASH_SEED", 1);
    const uint64_t count = setting("KV_CRASH_EVERY", 10);
    for (uint64_t i = first; i < first + count; i++) {
        const uint64_t events = run_program(i, 0);
        for (uint64_t at = 1; at <= events; at++) {
            (void)run_program(i, at);
        }
    }
}

Test(crash, each_batch_reported_durable_is_there_after_crashes_at_random_points)
{
    const uint64_t first = setting("KV_CRASH_SEED", 1) + (UINT64_C(1) << 32);
    const uint64_t count = setting("KV_CRASH_PROGRAMS", 1000);
    for (uint64_t i = first; i < first + count; i++) {
        struct draw draw = {.state = i};
        (void)run_program(i, 1 + draw_below(&draw, 100));
    }
}
