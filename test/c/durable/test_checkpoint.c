/* A checkpoint: what was told is read again, and whatever is wrong with the file is found. */
#include "base/alloc.h"
#include "durable/checkpoint_reader.h"
#include "durable/crc32c.h"
#include "support/durable_world.h"
#include "support/fake_disk.h"

#include <criterion/criterion.h>
#include <kv/error.h>
#include <stdio.h>
#include <stdlib.h>

enum { BLOCKS = 5, SIZE = BLOCKS * KV_BLOCK, CHUNK = 2 * KV_BLOCK, TIME = 1234567890 };

static const struct kv_store_id STORE = {"0123456789abcde"};

static struct fake_disk *disk;
static struct kv_wal *wal;
static struct kv_checkpoint *checkpoint;
static struct draw draw;
static struct world told;
static struct world found;
static struct kv_recovery *recovery;
static struct kv_recovery_result result;
static unsigned exact; /* records that were handed out when tables were as they are to be, */
static uint64_t began; /* and when the checkpoint was begun, as known at the first record */
static char text[512];

static void commit(void)
{
    struct kv_wal_write write;
    kv_wal_sync(wal);
    cr_assert(kv_wal_take(wal, TIME, &write));
    kv_wal_seal(&write);
    for (size_t at = 0; at < write.bytes.length; at += KV_BLOCK) {
        const uint64_t lsn = write.lsn + at;
        const uint64_t segment = kv_segment_of(lsn, SIZE);
        if (!fake_disk_has(disk, segment)) {
            uint8_t block[KV_BLOCK];
            fake_disk_create(disk, segment);
            kv_segment_header(segment, &STORE, block);
            fake_disk_write(disk, segment, 0, kv_bytes(block, sizeof block));
        }
        fake_disk_write(disk, segment, kv_segment_offset(lsn, SIZE),
                        kv_bytes(write.bytes.data + at, KV_BLOCK));
    }
    fake_disk_sync(disk);
    kv_wal_written(wal);
}

static void set_up(void)
{
    disk = fake_disk_new(SIZE);
    draw = (struct draw){.state = 12};
    told = (struct world){.greatest = 0};
    wal = kv_wal_new(&(struct kv_wal_options){.epoch = 1, .store = STORE});
    for (unsigned i = 0; i < 150; i++) {
        world_change(&told, wal, &draw, 30000);
    }
    commit();
    checkpoint = NULL;
}

static void tear_down(void)
{
    kv_checkpoint_free(checkpoint);
    kv_wal_free(wal);
    fake_disk_free(disk);
}

TestSuite(checkpoint, .init = set_up, .fini = tear_down, .timeout = 600);

static void begin(void)
{
    checkpoint = kv_checkpoint_new(
        wal, &(struct kv_checkpoint_options){.store = STORE, .time = TIME, .chunk_max = CHUNK});
}

/* Writes the pieces that there are. Returns true after the last one. */
static bool write_pieces(void)
{
    struct kv_checkpoint_piece piece = {.last = false};
    while (kv_checkpoint_take(checkpoint, &piece)) {
        kv_checkpoint_seal(&piece);
        fake_checkpoint_write(disk, piece.offset, piece.bytes);
        kv_checkpoint_written(checkpoint);
    }
    return piece.last;
}

static void tell(void)
{
    struct world_walk walk = {.greatest = told.greatest};
    while (world_tell(&told, &walk, checkpoint, &draw)) {
        (void)write_pieces();
    }
    kv_checkpoint_end(checkpoint, told.greatest);
}

static void name(void)
{
    fake_disk_sync(disk);
    fake_checkpoint_name(disk, kv_checkpoint_lsn(checkpoint));
    fake_disk_sync(disk);
}

static void write_checkpoint(void)
{
    begin();
    tell();
    cr_assert(!write_pieces());
    commit();
    cr_assert(write_pieces());
    name();
}

static int apply(void *context, const struct kv_record *record)
{
    exact += kv_recovery_is_exact(recovery);
    began = began == 0 ? kv_recovery_result(recovery)->began : began;
    return world_apply(context, record);
}

static int recover(void)
{
    recovery = kv_recovery_new(&(struct kv_recovery_options){
        .disk = fake_disk_view(disk),
        .sink = {.context = &found, .record = apply},
        .store = STORE,
        .segment_size = SIZE,
    });
    bool more = true;
    int error = KV_OK;
    exact = 0;
    began = 0;
    found = (struct world){.fuzzy = true};
    while (more && error == KV_OK) {
        error = kv_recovery_step(recovery, &more);
    }
    result = *kv_recovery_result(recovery);
    (void)snprintf(text, sizeof text, "%s", kv_recovery_text(recovery));
    kv_recovery_free(recovery);
    return error;
}

/* ---- whole checkpoints -------------------------------------------------------------------------
 */

Test(checkpoint, gives_back_all_tables_without_the_log_before)
{
    write_checkpoint();
    const uint64_t begin = kv_checkpoint_lsn(checkpoint);
    for (uint64_t i = 0; i < kv_segment_of(begin, SIZE); i++) {
        fake_disk_remove(disk, i);
    }
    cr_assert_eq(recover(), KV_OK, "%s", text);
    cr_assert(world_equal(&found, &told));
    cr_assert(result.begin == begin && result.lsn == kv_wal_end(wal) && result.batches == 1);
    cr_assert(result.checkpoint == kv_checkpoint_size(checkpoint) && result.entries > 0);
    cr_assert_gt(result.checkpoint, 3 * (uint64_t)CHUNK, "%llu",
                 (unsigned long long)result.checkpoint);
    cr_assert(result.table == told.greatest && result.time == TIME && result.epoch == 2);
}

Test(checkpoint, of_no_tables_is_a_head_and_a_tail)
{
    begin();
    kv_checkpoint_end(checkpoint, 7);
    commit();
    cr_assert(write_pieces());
    name();
    cr_assert_eq(kv_checkpoint_size(checkpoint), 2 * (uint64_t)KV_BLOCK);
    cr_assert_eq(recover(), KV_OK);
    cr_assert(result.table == 7 && result.entries == 0);
}

static void write_checkpoint_amid_changes(void)
{
    begin();
    struct world_walk walk = {.greatest = told.greatest};
    bool more = true;
    while (more) {
        more = world_tell(&told, &walk, checkpoint, &draw);
        world_change(&told, wal, &draw, 100);
        (void)write_pieces();
    }
    kv_checkpoint_end(checkpoint, told.greatest);
    cr_assert(!write_pieces());
    commit();
    cr_assert(write_pieces());
    name();
}

Test(checkpoint, may_tell_of_changes_that_the_log_has_too)
{
    write_checkpoint_amid_changes();
    cr_assert_eq(recover(), KV_OK, "%s", text);
    cr_assert(world_equal(&found, &told));
    cr_assert_eq(exact, 0);
}

Test(checkpoint, is_followed_by_records_that_find_the_tables_as_they_were)
{
    enum { RECORDS = 7 };
    write_checkpoint_amid_changes();
    for (unsigned i = 0; i < RECORDS; i++) {
        world_change(&told, wal, &draw, 100);
    }
    commit();
    cr_assert_eq(recover(), KV_OK, "%s", text);
    cr_assert(world_equal(&found, &told));
    cr_assert_eq(exact, RECORDS);
    cr_assert_eq(began, TIME);
}

Test(checkpoint, wants_no_more_records_while_a_chunk_gathers_that_is_not_handed_out)
{
    const uint8_t value[CHUNK] = {1};
    const struct kv_table_entry entry = {.value.bytes = kv_bytes(value, sizeof value)};
    struct kv_checkpoint_piece piece;
    begin();
    cr_assert(kv_checkpoint_wants(checkpoint));
    cr_assert_eq(kv_checkpoint_put(checkpoint, 1, &entry), KV_OK);
    cr_assert(!kv_checkpoint_wants(checkpoint));
    cr_assert(kv_checkpoint_take(checkpoint, &piece) && piece.offset == 0);
    cr_assert(!kv_checkpoint_take(checkpoint, &piece));
    kv_checkpoint_written(checkpoint);
    cr_assert(kv_checkpoint_take(checkpoint, &piece) && piece.offset == KV_BLOCK);
    cr_assert(kv_checkpoint_wants(checkpoint));
}

Test(checkpoint, has_no_last_piece_before_the_log_is_durable)
{
    struct kv_wal_write write;
    begin();
    tell();
    cr_assert(!write_pieces());
    cr_assert(kv_wal_take(wal, TIME, &write) && write.sync);
    cr_assert(!write_pieces());
    kv_wal_seal(&write);
    kv_wal_written(wal);
    cr_assert(write_pieces());
}

Test(checkpoint, that_is_given_up_leaves_the_log_as_it_is)
{
    begin();
    tell();
    (void)write_pieces();
    commit();
    cr_assert_eq(recover(), KV_OK);
    cr_assert(world_equal(&found, &told) && result.checkpoint == 0);
}

Test(checkpoint, without_memory_for_a_record_says_so)
{
    static const uint8_t value[KV_CHUNK_MAX];
    const struct kv_table_entry entry = {.value.bytes = kv_bytes(value, sizeof value)};
    begin();
    (void)kv_try_realloc_fail(1);
    cr_assert_eq(kv_checkpoint_put(checkpoint, 1, &entry), KV_ENOMEM);
    (void)kv_try_realloc_fail(1);
    cr_assert_eq(kv_checkpoint_value(checkpoint, entry.value.bytes), KV_ENOMEM);
}

/* ---- damage ------------------------------------------------------------------------------------
 */

static const char *file(void)
{
    static char of[KV_CHECKPOINT_NAME_SIZE];
    kv_checkpoint_name(kv_checkpoint_lsn(checkpoint), of);
    return of;
}

static unsigned every(void)
{
    return getenv("KV_CRASH_FLIPS") != NULL ? 1 : 13;
}

Test(checkpoint, with_any_byte_changed_is_the_same_or_says_damaged)
{
    write_checkpoint();
    struct kv_buffer *bytes = fake_checkpoint_bytes(disk);
    for (size_t at = 0; at < bytes->length; at += at % KV_BLOCK < 64 ? 1 : every()) {
        const uint8_t mask = (uint8_t)(1 << draw_below(&draw, 8));
        bytes->data[at] ^= mask;
        const int error = recover();
        bytes->data[at] ^= mask;
        if (error == KV_OK) {
            cr_assert(world_equal(&found, &told), "byte %zu", at);
        } else {
            cr_assert(error == KV_ECORRUPT && strstr(text, file()) == text, "%s", text);
        }
    }
}

/* ---- what is left behind damage ----------------------------------------------------------------
 */

enum { RECORDS_MAX = 1000 };

/* The checksums of records, in their order. */
struct listing {
    unsigned count;
    uint32_t records[RECORDS_MAX];
};

static int list_record(void *context, const struct kv_record *record)
{
    struct listing *listing = context;
    uint8_t *copy = kv_alloc(kv_record_bound(record));
    cr_assert_lt(listing->count, (unsigned)RECORDS_MAX);
    listing->records[listing->count++] =
        kv_crc32c(0, kv_bytes(copy, kv_record_write(record, copy)));
    kv_free(copy);
    return KV_OK;
}

/* Reads all that can be read. Returns how often something was skipped. */
static unsigned read_what_is_left(struct listing *listing)
{
    struct kv_checkpoint_reader *reader = kv_checkpoint_reader_new(&(struct kv_checkpoint_source){
        .disk = fake_disk_view(disk),
        .sink = {.context = listing, .record = list_record},
        .store = STORE,
        .lsn = kv_checkpoint_lsn(checkpoint),
        .size = fake_checkpoint_bytes(disk)->length,
    });
    unsigned skipped = 0;
    uint64_t end = 0;
    bool more = true;
    listing->count = 0;
    while (more) {
        if (kv_checkpoint_reader_step(reader, &more) != KV_OK) {
            skipped++;
            more = kv_checkpoint_reader_skip(reader, &end) == KV_OK;
        }
    }
    kv_checkpoint_reader_free(reader);
    return skipped;
}

/* Returns true if all of `some` are in `all`, in the same order. */
static bool is_part_of(const struct listing *some, const struct listing *all)
{
    unsigned at = 0;
    for (unsigned i = 0; i < all->count && at < some->count; i++) {
        at += some->records[at] == all->records[i];
    }
    return at == some->count;
}

Test(checkpoint, with_a_damaged_block_gives_all_records_but_those_near_it)
{
    static struct listing all;
    static struct listing some;
    unsigned lost = 0;
    write_checkpoint();
    struct kv_buffer *bytes = fake_checkpoint_bytes(disk);
    cr_assert_eq(read_what_is_left(&all), 0);
    for (size_t at = 0; at < bytes->length; at += KV_BLOCK) {
        bytes->data[at + 50] ^= 1;
        const unsigned skipped = read_what_is_left(&some);
        cr_assert(skipped == 1 || (skipped == 0 && some.count == all.count), "byte %zu", at);
        bytes->data[at + 50] ^= 1;
        cr_assert(is_part_of(&some, &all));
        cr_assert_gt(some.count, 0);
        lost += all.count - some.count;
    }
    cr_assert_lt(lost, all.count * (bytes->length / KV_BLOCK) / 4, "%u of %u", lost, all.count);
}

Test(checkpoint, cut_at_any_length_says_damaged)
{
    write_checkpoint();
    struct kv_buffer *bytes = fake_checkpoint_bytes(disk);
    const size_t whole = bytes->length;
    for (size_t length = 0; length < whole; length += 64) {
        bytes->length = length;
        cr_assert_eq(recover(), KV_ECORRUPT, "%zu bytes", length);
        cr_assert(strstr(text, file()) == text);
    }
    bytes->length = whole;
    cr_assert_eq(recover(), KV_OK);
}

Test(checkpoint, that_is_longer_than_it_was_made_says_damaged)
{
    static const uint8_t more[KV_BLOCK];
    write_checkpoint();
    kv_buffer_append(fake_checkpoint_bytes(disk), kv_bytes(more, 1));
    cr_assert_eq(recover(), KV_ECORRUPT);
    kv_buffer_append(fake_checkpoint_bytes(disk), kv_bytes(more, sizeof more - 1));
    cr_assert_eq(recover(), KV_ECORRUPT);
}

Test(checkpoint, names_the_file_and_the_byte_of_damage)
{
    char expected[128];
    write_checkpoint();
    fake_checkpoint_bytes(disk)->data[3 * KV_BLOCK + 50] ^= 1;
    cr_assert_eq(recover(), KV_ECORRUPT);
    (void)snprintf(expected, sizeof expected, "%s, byte 12288: the checkpoint is damaged", file());
    cr_assert_str_eq(text, expected);
}

Test(checkpoint, of_another_store_or_with_another_name_is_refused)
{
    struct kv_checkpoint_head head;
    uint8_t block[KV_BLOCK];
    struct kv_store_id other = STORE;
    write_checkpoint();
    const uint64_t lsn = kv_checkpoint_lsn(checkpoint);
    memcpy(block, fake_checkpoint_bytes(disk)->data, sizeof block);
    cr_assert_eq(kv_checkpoint_read_head(block, lsn, &STORE, &head), KV_OK);
    cr_assert(head.place.lsn == lsn && head.place.epoch == 1 && head.time == TIME);
    cr_assert_eq(kv_checkpoint_read_head(block, lsn + KV_BLOCK, &STORE, &head), KV_ECORRUPT);
    other.bytes[0] ^= 1;
    cr_assert_eq(kv_checkpoint_read_head(block, lsn, &other, &head), KV_ECORRUPT);
}

Test(checkpoint, of_a_newer_program_is_refused)
{
    write_checkpoint();
    uint8_t *block = fake_checkpoint_bytes(disk)->data;
    block[11] = KV_DURABLE_VERSION + 1;
    const uint32_t sum = kv_crc32c(0, kv_bytes(block, 56));
    for (unsigned i = 0; i < 4; i++) {
        block[56 + i] = (uint8_t)(sum >> (24 - 8 * i));
    }
    cr_assert_eq(recover(), KV_EVERSION);
    cr_assert_not_null(strstr(text, "byte 0: a newer version of this program wrote"));
}

Test(checkpoint, without_the_log_up_to_its_end_says_damaged)
{
    write_checkpoint();
    const uint64_t at = kv_checkpoint_lsn(checkpoint);
    fake_disk_bytes(disk, kv_segment_of(at, SIZE))[kv_segment_offset(at, SIZE)] ^= 1;
    cr_assert_eq(recover(), KV_ECORRUPT);
    cr_assert_not_null(strstr(text, "log-"));
    cr_assert_not_null(strstr(text, file()));
}

Test(checkpoint, without_the_segment_of_its_lsn_says_which_one_is_missing)
{
    write_checkpoint();
    const uint64_t segment = kv_segment_of(kv_checkpoint_lsn(checkpoint), SIZE);
    fake_disk_create(disk, segment + 3);
    fake_disk_remove(disk, segment);
    char expected[128];
    (void)snprintf(expected, sizeof expected,
                   "log-%016llx is missing, but a part of the log lies there",
                   (unsigned long long)segment + 2);
    cr_assert_eq(recover(), KV_ECORRUPT);
    cr_assert_str_eq(text, expected);
}

Test(checkpoint, ends_with_the_error_of_the_disk)
{
    write_checkpoint();
    fake_disk_fail(disk, KV_EIO);
    cr_assert_eq(recover(), KV_EIO);
    cr_assert(strstr(text, file()) == text && strstr(text, "byte 0: the disk failed") != NULL);
}

/* ---- the parts ---------------------------------------------------------------------------------
 */

Test(checkpoint, a_chunk_cut_at_any_length_or_with_any_byte_changed_is_refused)
{
    uint8_t chunk[100];
    struct kv_chunk read;
    memset(chunk, 'c', sizeof chunk);
    kv_chunk_seal(&(struct kv_chunk){.number = 3, .length = sizeof chunk, .record = 30}, 77, chunk);
    cr_assert_eq(kv_chunk_read(kv_bytes(chunk, sizeof chunk), 77, &read), KV_OK);
    cr_assert(read.number == 3 && read.length == sizeof chunk && read.record == 30);
    cr_assert_eq(kv_chunk_read(kv_bytes(chunk, sizeof chunk), 78, &read), KV_ECORRUPT);
    for (size_t i = 0; i < sizeof chunk; i++) {
        cr_assert_eq(kv_chunk_read(kv_bytes(chunk, i), 77, &read), KV_ECORRUPT);
        chunk[i] ^= 4;
        cr_assert_eq(kv_chunk_read(kv_bytes(chunk, sizeof chunk), 77, &read), KV_ECORRUPT);
        chunk[i] ^= 4;
    }
}

Test(checkpoint, a_tail_with_any_byte_changed_is_refused)
{
    uint8_t block[KV_BLOCK];
    const struct kv_checkpoint_tail tail = {
        .chunks = 1, .tables = 2, .entries = 3, .table = 4, .end = 5 * (uint64_t)KV_BLOCK};
    struct kv_checkpoint_tail read;
    kv_checkpoint_write_tail(&tail, 9, block);
    cr_assert_eq(kv_checkpoint_read_tail(block, 9, &read), KV_OK);
    cr_assert_eq(memcmp(&tail, &read, sizeof tail), 0);
    cr_assert_eq(kv_checkpoint_read_tail(block, 8, &read), KV_ECORRUPT);
    for (size_t i = 0; i < 52; i++) {
        block[i] ^= 2;
        cr_assert_eq(kv_checkpoint_read_tail(block, 9, &read), KV_ECORRUPT);
        block[i] ^= 2;
    }
}

/* Records with right checksums that no program writes: the head and the tail are right. */
static int recover_chunk(const struct kv_record *record, struct kv_checkpoint_tail tail)
{
    static uint8_t chunk[KV_BLOCK];
    uint8_t block[KV_BLOCK];
    write_checkpoint();
    const uint64_t lsn = kv_checkpoint_lsn(checkpoint);
    const uint32_t seed = kv_checkpoint_seed(&STORE, lsn);
    struct kv_buffer *bytes = fake_checkpoint_bytes(disk);
    memset(chunk, 0, sizeof chunk);
    const size_t length = kv_record_write(record, chunk + KV_CHUNK_HEADER);
    kv_chunk_seal(&(struct kv_chunk){.length = KV_CHUNK_HEADER + (uint32_t)length}, seed, chunk);
    tail.chunks = 1;
    tail.end = lsn;
    kv_checkpoint_write_tail(&tail, seed, block);
    bytes->length = KV_BLOCK;
    kv_buffer_append(bytes, kv_bytes(chunk, sizeof chunk));
    kv_buffer_append(bytes, kv_bytes(block, sizeof block));
    return recover();
}

static const struct kv_record TABLE = {
    .kind = KV_RECORD_TABLE, .table = 2, .about.name = {(const uint8_t *)"one", 3}};

Test(checkpoint, with_another_kind_of_record_is_refused)
{
    const struct kv_record record = {.kind = KV_RECORD_CLEAR, .table = 2};
    cr_assert_eq(recover_chunk(&record, (struct kv_checkpoint_tail){.table = 2}), KV_ECORRUPT);
    cr_assert_not_null(strstr(text, "a record that a checkpoint cannot have"));
}

Test(checkpoint, with_an_entry_before_its_table_is_refused)
{
    const struct kv_record record = {.kind = KV_RECORD_PUT, .table = 2};
    const struct kv_checkpoint_tail tail = {.entries = 1, .table = 2};
    cr_assert_eq(recover_chunk(&record, tail), KV_ECORRUPT);
    cr_assert_not_null(strstr(text, "a record that a checkpoint cannot have"));
}

Test(checkpoint, with_a_record_of_no_kind_is_refused)
{
    struct kv_record record = TABLE;
    record.kind = (enum kv_record_kind)9;
    cr_assert_eq(recover_chunk(&record, (struct kv_checkpoint_tail){.table = 2}), KV_ECORRUPT);
    cr_assert_not_null(strstr(text, "no record that this program can read"));
}

Test(checkpoint, with_other_numbers_than_its_end_says_is_refused)
{
    const struct kv_checkpoint_tail right = {.tables = 1, .table = 2};
    struct kv_checkpoint_tail wrong[] = {right, right, right};
    wrong[0].tables = 2;
    wrong[1].entries = 1;
    wrong[2].table = 1;
    cr_assert_eq(recover_chunk(&TABLE, right), KV_OK, "%s", text);
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        kv_checkpoint_free(checkpoint);
        cr_assert_eq(recover_chunk(&TABLE, wrong[i]), KV_ECORRUPT);
        cr_assert_not_null(strstr(text, "the checkpoint holds something else than its end says"));
    }
}
