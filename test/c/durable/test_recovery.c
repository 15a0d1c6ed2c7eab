/* Recovery of a log that is whole, cut, damaged or left behind by an earlier life. */
#include "base/alloc.h"
#include "durable/crc32c.h"
#include "support/durable_world.h"
#include "support/fake_disk.h"

#include <criterion/criterion.h>
#include <kv/error.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    BLOCKS = 5,
    SIZE = BLOCKS * KV_BLOCK,
    SEGMENTS = 6,
    BATCHES_MAX = 16,
};

static const struct kv_store_id STORE = {"0123456789abcde"};

/* A log under way, and what it holds after each batch. */
struct log {
    struct fake_disk *disk;
    struct kv_wal *wal;
    struct draw draw;
    struct world world;
    struct world history[BATCHES_MAX];
    uint64_t ends[BATCHES_MAX];
    unsigned batches;
};

static struct log *l;
static struct kv_recovery_result result;
static struct world found;
static char text[512];

static void go_on(uint64_t lsn, uint32_t epoch, uint32_t previous)
{
    kv_wal_free(l->wal);
    l->wal = kv_wal_new(
        &(struct kv_wal_options){.lsn = lsn, .epoch = epoch, .previous = previous, .store = STORE});
}

static void write_header(uint64_t segment)
{
    uint8_t block[KV_BLOCK];
    kv_segment_header(segment, &STORE, block);
    fake_disk_write(l->disk, segment, 0, kv_bytes(block, sizeof block));
}

static void set_up(void)
{
    l = kv_zalloc(sizeof *l);
    l->disk = fake_disk_new(SIZE);
    l->draw.state = 7;
    go_on(0, 1, 0);
    for (uint64_t i = 0; i < SEGMENTS; i++) {
        fake_disk_create(l->disk, i);
        write_header(i);
    }
    fake_disk_sync(l->disk);
}

static void tear_down(void)
{
    kv_wal_free(l->wal);
    fake_disk_free(l->disk);
    kv_free(l);
}

TestSuite(recovery, .init = set_up, .fini = tear_down, .timeout = 600);

static void write_out(const struct kv_wal_write *write)
{
    for (size_t at = 0; at < write->bytes.length; at += KV_BLOCK) {
        const uint64_t lsn = write->lsn + at;
        fake_disk_write(l->disk, kv_segment_of(lsn, SIZE), kv_segment_offset(lsn, SIZE),
                        kv_bytes(write->bytes.data + at, KV_BLOCK));
    }
}

/* Writes what has gathered as one batch. */
static void commit(bool sync)
{
    struct kv_wal_write write;
    if (sync) {
        kv_wal_sync(l->wal);
    }
    cr_assert(kv_wal_take(l->wal, 1000 + l->batches, &write));
    kv_wal_seal(&write);
    write_out(&write);
    kv_wal_written(l->wal);
    l->batches++;
    l->history[l->batches] = l->world;
    l->ends[l->batches] = kv_wal_end(l->wal);
}

static void change(unsigned times, unsigned longest)
{
    for (unsigned i = 0; i < times; i++) {
        world_change(&l->world, l->wal, &l->draw, longest);
    }
}

/* Batches of 1 to 6 blocks in several segments, all of them synced. */
static void write_log(void)
{
    static const unsigned longest[] = {10, 5000, 20, 20000, 3000, 9000, 50};
    for (unsigned i = 0; i < sizeof longest / sizeof longest[0]; i++) {
        change(8, longest[i]);
        commit(true);
    }
}

static struct kv_recovery_options options(void)
{
    found = (struct world){.greatest = 0};
    return (struct kv_recovery_options){
        .disk = fake_disk_view(l->disk),
        .sink = {.context = &found, .record = world_apply},
        .store = STORE,
        .segment_size = SIZE,
    };
}

static int recover_with(const struct kv_recovery_options *with)
{
    struct kv_recovery *recovery = kv_recovery_new(with);
    bool more = true;
    int error = KV_OK;
    while (more && error == KV_OK) {
        error = kv_recovery_step(recovery, &more);
    }
    result = *kv_recovery_result(recovery);
    (void)snprintf(text, sizeof text, "%s", kv_recovery_text(recovery));
    kv_recovery_free(recovery);
    return error;
}

static int recover(void)
{
    const struct kv_recovery_options with = options();
    return recover_with(&with);
}

/* ---- whole logs --------------------------------------------------------------------------------
 */

Test(recovery, of_a_folder_without_a_log_begins_a_new_one)
{
    for (uint64_t i = 0; i < SEGMENTS; i++) {
        fake_disk_remove(l->disk, i);
    }
    cr_assert_eq(recover(), KV_OK);
    cr_assert(result.lsn == 0 && result.epoch == 1 && result.previous == 0);
    cr_assert(result.batches == 0 && result.segments_end == 0 && result.time == 0);
}

Test(recovery, gives_back_what_was_written_and_where_to_go_on)
{
    write_log();
    cr_assert_eq(recover(), KV_OK, "%s", text);
    cr_assert(world_equal(&found, &l->world));
    cr_assert_eq(result.batches, l->batches);
    cr_assert(result.lsn == kv_wal_end(l->wal) && result.lsn > 2 * (SIZE - KV_BLOCK));
    cr_assert(result.epoch == 2 && result.previous == kv_wal_place(l->wal).previous);
    cr_assert(result.time == 1000 + l->batches - 1 && result.table == l->world.greatest);
    cr_assert_eq(result.segments_end, SEGMENTS);
}

Test(recovery, fills_the_last_segment_to_its_end)
{
    while (kv_wal_end(l->wal) < SEGMENTS * (uint64_t)(SIZE - KV_BLOCK)) {
        kv_wal_clear(l->wal, 1);
        struct kv_wal_write write;
        cr_assert(kv_wal_take(l->wal, 0, &write));
        kv_wal_seal(&write);
        write_out(&write);
        kv_wal_written(l->wal);
    }
    struct kv_recovery_options with = options();
    found.tables[0].number = 1;
    cr_assert_eq(recover_with(&with), KV_OK);
    cr_assert(result.lsn == kv_wal_end(l->wal) && result.segments_end == SEGMENTS);
}

/* ---- torn and damaged --------------------------------------------------------------------------
 */

/* The batch that the world is after, or BATCHES_MAX. */
static unsigned find_world(void)
{
    for (unsigned i = 0; i <= l->batches; i++) {
        if (result.batches == i && world_equal(&found, &l->history[i])) {
            return i;
        }
    }
    return BATCHES_MAX;
}

/* Flips one bit of each `every`th byte in turn. At least `durable` batches have to be there, or the
 * damage has to be found. */
static void flip_each(unsigned every, unsigned durable)
{
    for (uint64_t segment = 0; segment < SEGMENTS; segment++) {
        uint8_t *bytes = fake_disk_bytes(l->disk, segment);
        for (unsigned at = 0; at < SIZE; at += at % KV_BLOCK < KV_BATCH_HEADER ? 1 : every) {
            const uint8_t mask = (uint8_t)(1 << draw_below(&l->draw, 8));
            bytes[at] ^= mask;
            const int error = recover();
            bytes[at] ^= mask;
            if (error == KV_OK) {
                const unsigned batch = find_world();
                cr_assert(batch != BATCHES_MAX && batch >= durable, "segment %u, byte %u",
                          (unsigned)segment, at);
            } else {
                cr_assert(error == KV_ECORRUPT && strstr(text, "log-0000000000000") == text, "%s",
                          text);
            }
        }
    }
}

static unsigned every(void)
{
    return getenv("KV_CRASH_FLIPS") != NULL ? 1 : 61;
}

Test(recovery, with_any_byte_changed_is_the_same_or_says_damaged_if_a_mark_ends_the_log)
{
    write_log();
    kv_wal_mark(l->wal);
    commit(true);
    flip_each(every(), l->batches - 1);
}

Test(recovery, with_any_byte_changed_loses_the_last_batch_at_most)
{
    write_log();
    flip_each(every(), l->batches - 1);
}

Test(recovery, with_any_byte_changed_loses_nothing_but_what_was_never_synced)
{
    write_log();
    const unsigned synced = l->batches;
    for (unsigned i = 0; i < 4; i++) {
        change(3, 4000);
        commit(false);
    }
    flip_each(every(), synced);
}

Test(recovery, of_a_segment_cut_at_any_length_says_damaged)
{
    write_log();
    for (uint64_t segment = 0; segment < SEGMENTS; segment++) {
        for (uint64_t length = KV_BLOCK; length < SIZE; length += 100) {
            fake_disk_set_length(l->disk, segment, length);
            cr_assert_eq(recover(), KV_ECORRUPT);
            cr_assert_not_null(strstr(text, " is shorter than it was made"));
        }
        fake_disk_set_length(l->disk, segment, SIZE);
    }
}

Test(recovery, of_a_log_whose_last_segment_was_not_made_to_its_end_goes_on_there)
{
    change(1, 10);
    commit(true);
    for (uint64_t length = 0; length < KV_BLOCK; length += 100) {
        fake_disk_set_length(l->disk, SEGMENTS - 1, length);
        cr_assert_eq(recover(), length > 44 ? KV_ECORRUPT : KV_OK);
        cr_assert(length > 44 || result.segments_end == SEGMENTS - 1);
    }
}

Test(recovery, names_the_file_and_the_byte_of_damage)
{
    for (unsigned i = 0; i < 6; i++) {
        change(1, 10);
        commit(true);
    }
    fake_disk_bytes(l->disk, 0)[2 * KV_BLOCK + 70] ^= 1;
    cr_assert_eq(recover(), KV_ECORRUPT);
    cr_assert_str_eq(text,
                     "log-0000000000000000, byte 8192: a batch begins here that is damaged or "
                     "missing, and it was on disk: the batch in log-0000000000000000 at byte "
                     "12288 says so");
}

Test(recovery, finds_a_missing_segment)
{
    write_log();
    fake_disk_remove(l->disk, 1);
    cr_assert_eq(recover(), KV_ECORRUPT);
    cr_assert_str_eq(text, "log-0000000000000001 is missing, but a part of the log lies there");
    fake_disk_remove(l->disk, 0);
    cr_assert_eq(recover(), KV_ECORRUPT);
    cr_assert_str_eq(text, "log-0000000000000001 is missing, but a part of the log lies there");
}

Test(recovery, refuses_a_segment_of_a_newer_program)
{
    write_log();
    uint8_t *block = fake_disk_bytes(l->disk, 1);
    block[11] = KV_DURABLE_VERSION + 1;
    const uint32_t sum = kv_crc32c(0, kv_bytes(block, 40));
    for (unsigned i = 0; i < 4; i++) {
        block[40 + i] = (uint8_t)(sum >> (24 - 8 * i));
    }
    cr_assert_eq(recover(), KV_EVERSION);
    cr_assert_str_eq(text, "log-0000000000000001 was written by a newer version of this program");
}

Test(recovery, has_segments_without_a_header_made_anew)
{
    change(2, 10);
    commit(true);
    memset(fake_disk_bytes(l->disk, 3), 0, KV_BLOCK);
    cr_assert_eq(recover(), KV_OK);
    cr_assert(result.segments_end == 3 && result.batches == 1);
}

Test(recovery, ends_with_the_error_of_the_disk)
{
    write_log();
    fake_disk_fail(l->disk, KV_EIO);
    cr_assert_eq(recover(), KV_EIO);
    cr_assert_str_eq(text, "log-0000000000000000 the disk failed");
}

static int refuse(void *context, const struct kv_record *record)
{
    (void)context;
    (void)record;
    return KV_ENOMEM;
}

Test(recovery, ends_with_the_error_of_who_gets_the_records)
{
    write_log();
    struct kv_recovery_options with = options();
    with.sink.record = refuse;
    cr_assert_eq(recover_with(&with), KV_ENOMEM);
}

Test(recovery, refuses_a_batch_that_the_memory_has_no_room_for)
{
    change(20, 30);
    kv_wal_put(l->wal, 1,
               &(struct kv_table_entry){.key.bytes = kv_bytes("", 0),
                                        .value.bytes = kv_bytes(text, sizeof text)});
    (void)kv_try_realloc_fail(1);
    struct kv_wal_write write;
    cr_assert(kv_wal_take(l->wal, 0, &write));
    kv_wal_seal(&write);
    write_out(&write);
    cr_assert_eq(recover(), KV_ENOMEM);
}

/* ---- earlier lives -----------------------------------------------------------------------------
 */

static void write_batches(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct kv_item key = {.bytes = kv_bytes("", 0)};
        struct kv_wal_write write;
        kv_wal_delete(l->wal, 1, key);
        cr_assert(kv_wal_take(l->wal, 5, &write));
        kv_wal_seal(&write);
        write_out(&write);
        kv_wal_written(l->wal);
    }
}

static void recover_deletes(void)
{
    const struct kv_recovery_options with = options();
    found.tables[0].number = 1;
    cr_assert_eq(recover_with(&with), KV_OK, "%s", text);
}

Test(recovery, takes_no_batch_that_an_earlier_life_left_behind_an_equal_one)
{
    write_batches(1);
    recover_deletes();
    go_on(result.lsn, result.epoch, result.previous);
    write_batches(2);
    memset(fake_disk_bytes(l->disk, 0) + 2 * KV_BLOCK, 0, KV_BLOCK); /* the first one was lost */
    recover_deletes();
    cr_assert(result.batches == 1 && result.lsn == KV_BLOCK);
    go_on(result.lsn, result.epoch, result.previous);
    write_batches(1);
    recover_deletes();
    cr_assert(result.batches == 2 && result.lsn == 2 * KV_BLOCK);
}

Test(recovery, takes_no_batch_of_another_store)
{
    write_log();
    struct kv_recovery_options with = options();
    with.store.bytes[3] ^= 1;
    cr_assert_eq(recover_with(&with), KV_OK);
    cr_assert(result.batches == 0 && result.segments_end == 0);
}

Test(recovery, takes_bounded_steps_and_tells_how_far_it_is)
{
    write_log();
    const struct kv_recovery_options with = options();
    struct kv_recovery *recovery = kv_recovery_new(&with);
    uint64_t before = 0;
    uint64_t done = 0;
    uint64_t all = 0;
    bool more = true;
    while (more) {
        cr_assert_eq(kv_recovery_step(recovery, &more), KV_OK);
        kv_recovery_progress(recovery, &done, &all);
        cr_assert(done >= before && done <= all);
        before = done;
    }
    cr_assert(done == all && all == SEGMENTS * (uint64_t)(SIZE - KV_BLOCK));
    kv_recovery_free(recovery);
}
