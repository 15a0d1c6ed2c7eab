/* Salvage of a damaged log, and the counts of a survey. */
#include "base/alloc.h"
#include "durable/salvage.h"
#include "durable/survey.h"
#include "durable/wal.h"
#include "support/fake_disk.h"

#include <criterion/criterion.h>
#include <kv/error.h>

enum {
    BLOCKS = 5,
    SIZE = BLOCKS * KV_BLOCK,
    CONTENT = SIZE - KV_BLOCK,
    SEGMENTS = 4,
    GAPS_MAX = 8,
    LARGE = 2 * KV_BLOCK,
};

static const struct kv_store_id STORE = {"0123456789abcde"};
static const struct kv_hash_key KEY = {1, 2};

static struct fake_disk *disk;
static struct kv_wal *wal;
static struct kv_survey *survey;
static struct kv_salvage_gap gaps[GAPS_MAX];
static unsigned gap_count;
static struct kv_salvage_result result;

static void open_wal(uint64_t lsn, uint32_t epoch, uint32_t previous)
{
    kv_wal_free(wal);
    wal = kv_wal_new(
        &(struct kv_wal_options){.lsn = lsn, .epoch = epoch, .previous = previous, .store = STORE});
}

static void set_up(void)
{
    uint8_t block[KV_BLOCK];
    disk = fake_disk_new(SIZE);
    survey = kv_survey_new(&KEY);
    for (uint64_t i = 0; i < SEGMENTS; i++) {
        fake_disk_create(disk, i);
        kv_segment_header(i, &STORE, block);
        fake_disk_write(disk, i, 0, kv_bytes(block, sizeof block));
    }
    open_wal(0, 1, 0);
}

static void tear_down(void)
{
    kv_wal_free(wal);
    kv_survey_free(survey);
    fake_disk_free(disk);
    cr_assert_eq(kv_alloc_outstanding(), 0);
}

TestSuite(salvage, .init = set_up, .fini = tear_down, .timeout = 60);

/* Writes what has gathered as one batch. Returns its LSN. */
static uint64_t commit(void)
{
    struct kv_wal_write write;
    kv_wal_sync(wal);
    cr_assert(kv_wal_take(wal, 1000, &write));
    kv_wal_seal(&write);
    for (size_t at = 0; at < write.bytes.length; at += KV_BLOCK) {
        const uint64_t lsn = write.lsn + at;
        fake_disk_write(disk, kv_segment_of(lsn, SIZE), kv_segment_offset(lsn, SIZE),
                        kv_bytes(write.bytes.data + at, KV_BLOCK));
    }
    kv_wal_written(wal);
    return write.lsn;
}

static struct kv_item item(const char *text)
{
    return (struct kv_item){.bytes = kv_bytes_text(text)};
}

static void put(uint64_t table, const char *key, size_t length)
{
    static const uint8_t value[LARGE];
    kv_wal_put(
        wal, table,
        &(struct kv_table_entry){.key = item(key), .value = {.bytes = kv_bytes(value, length)}});
}

static void make(uint64_t table, const char *registry, const char *name)
{
    kv_wal_table(wal, table,
                 &(struct kv_record_table){.policy = 1,
                                           .kind = 1,
                                           .registry = kv_bytes_text(registry),
                                           .name = kv_bytes_text(name)});
}

/* Table 1, and six batches with a put each, the third of three blocks. Returns their places. */
static void write_log(uint64_t places[6])
{
    static const char *const keys[] = {"a", "b", "c", "d", "e", "f"};
    make(1, "", "one");
    for (unsigned i = 0; i < 6; i++) {
        put(1, keys[i], i == 2 ? LARGE : 10);
        places[i] = commit();
    }
}

static void damage(uint64_t lsn, unsigned at)
{
    fake_disk_bytes(disk, kv_segment_of(lsn, SIZE))[kv_segment_offset(lsn, SIZE) + at] ^= 1;
}

static int end_of_batch(void *context, const struct kv_batch *batch)
{
    (void)context;
    cr_assert_gt(batch->epoch, 0);
    return KV_OK;
}

static void note_gap(void *context, const struct kv_salvage_gap *gap)
{
    (void)context;
    cr_assert_lt(gap_count, GAPS_MAX);
    gaps[gap_count++] = *gap;
}

static int salvage(void)
{
    gap_count = 0;
    return kv_salvage(&(struct kv_salvage_options){.disk = fake_disk_view(disk),
                                                   .sink = {.context = survey,
                                                            .record = kv_survey_record,
                                                            .batch = end_of_batch,
                                                            .gap = note_gap},
                                                   .store = STORE,
                                                   .segment_size = SIZE},
                      &result);
}

static void visit(void *context, const struct kv_survey_table *table)
{
    struct kv_survey_table *last = context;
    *last = *table;
}

static struct kv_survey_table last_table(uint64_t now)
{
    struct kv_survey_table table = {.id = 0};
    kv_survey_each(survey, now, visit, &table);
    return table;
}

/* ---- salvage -----------------------------------------------------------------------------------
 */

Test(salvage, of_a_whole_log_reads_all_of_it)
{
    uint64_t places[6];
    write_log(places);
    cr_assert_eq(salvage(), KV_OK);
    cr_assert(gap_count == 0 && result.gaps == 0 && result.tail.batches == 0);
    cr_assert(result.batches == 6 && result.records == 7 && result.time == 1000);
    cr_assert_eq(result.lsn, kv_wal_end(wal));
    cr_assert_eq(last_table(0).entries, 6);
}

Test(salvage, goes_on_behind_a_batch_with_damaged_records_and_says_what_is_lost)
{
    uint64_t places[6];
    write_log(places);
    damage(places[2], KV_BLOCK + 7);
    cr_assert_eq(salvage(), KV_OK);
    cr_assert(gap_count == 1 && result.gaps == 1 && result.batches == 5);
    cr_assert(gaps[0].lsn == places[2] && gaps[0].end == places[3]);
    cr_assert(gaps[0].batches == 1 && gaps[0].records == 1);
    cr_assert_eq(last_table(0).entries, 5);
}

Test(salvage, goes_on_behind_a_batch_with_a_damaged_header)
{
    uint64_t places[6];
    write_log(places);
    damage(places[1], 20);
    damage(places[2], 20);
    cr_assert_eq(salvage(), KV_OK);
    cr_assert(gap_count == 1 && gaps[0].lsn == places[1] && gaps[0].end == places[3]);
    cr_assert(gaps[0].batches == 0 && gaps[0].records == 0);
    cr_assert_eq(last_table(0).entries, 4);
}

Test(salvage, with_any_byte_changed_loses_the_batch_of_that_byte_at_most)
{
    uint64_t places[6];
    write_log(places);
    for (uint64_t lsn = 0; lsn < kv_wal_end(wal); lsn += 31) {
        damage(lsn, 0);
        kv_survey_free(survey);
        survey = kv_survey_new(&KEY);
        cr_assert_eq(salvage(), KV_OK);
        cr_assert_geq(result.batches, 5);
        damage(lsn, 0);
    }
}

Test(salvage, does_without_a_segment)
{
    uint64_t places[6];
    write_log(places);
    fake_disk_remove(disk, 0);
    cr_assert_eq(salvage(), KV_OK);
    cr_assert(gap_count == 1 && gaps[0].lsn == 0 && gaps[0].end == places[3]);
    cr_assert(gaps[0].end >= CONTENT && result.batches == 3);
    cr_assert_eq(kv_survey_count(survey), 0, "the record of the table was there");
}

Test(salvage, does_without_blocks_that_the_disk_cannot_read)
{
    uint64_t places[6];
    write_log(places);
    fake_disk_fail(disk, KV_EIO);
    cr_assert_eq(salvage(), KV_OK);
    cr_assert(result.batches == 0 && gap_count == 0);
    fake_disk_fail(disk, KV_OK);
}

Test(salvage, reads_a_segment_whose_header_is_damaged)
{
    uint64_t places[6];
    write_log(places);
    fake_disk_bytes(disk, 0)[3] ^= 1;
    cr_assert(salvage() == KV_OK && result.batches == 6 && result.gaps == 0);
}

Test(salvage, takes_nothing_that_an_earlier_life_left_behind_the_end)
{
    make(1, "", "one");
    commit();
    const struct kv_wal_place place = kv_wal_place(wal);
    put(1, "torn", LARGE);
    commit();
    put(1, "of the first life", 10);
    commit();
    open_wal(place.lsn, 2, place.previous);
    put(1, "of the second life", 10);
    commit();
    cr_assert_eq(salvage(), KV_OK);
    cr_assert(result.gaps == 0 && result.batches == 2 && result.lsn == kv_wal_end(wal));
    cr_assert_eq(last_table(0).entries, 1);
}

Test(salvage, says_that_the_last_batch_was_written_in_part)
{
    uint64_t places[6];
    write_log(places);
    damage(places[5], 70);
    cr_assert_eq(salvage(), KV_OK);
    cr_assert(result.gaps == 0 && result.batches == 5 && result.lsn == places[5]);
    cr_assert(result.tail.batches == 1 && result.tail.records == 1);
    cr_assert_eq(result.tail.lsn, places[5]);
}

Test(salvage, says_that_a_batch_is_not_the_next_one_of_the_batch_before)
{
    make(1, "", "one");
    commit();
    open_wal(kv_wal_end(wal), 1, 12345);
    put(1, "a", 10);
    const uint64_t place = commit();
    cr_assert_eq(salvage(), KV_OK);
    cr_assert(gap_count == 1 && gaps[0].lsn == place && gaps[0].end == place);
    cr_assert_eq(result.batches, 2);
}

Test(salvage, of_a_folder_without_a_log_says_so)
{
    for (uint64_t i = 0; i < SEGMENTS; i++) {
        fake_disk_remove(disk, i);
    }
    cr_assert_eq(salvage(), KV_ENOENT);
}

/* ---- survey ------------------------------------------------------------------------------------
 */

static void apply(enum kv_record_kind kind, uint64_t table, const char *key, uint64_t expiry)
{
    const struct kv_record record = {
        .kind = kind,
        .table = table,
        .entry = {.key = item(key), .value = item("value"), .expiry = expiry},
        .about = {.kind = 1, .registry = kv_bytes_text("r"), .name = kv_bytes_text(key)}};
    cr_assert_eq(kv_survey_record(survey, &record), KV_OK);
}

Test(salvage, a_survey_counts_entries_as_the_table_would)
{
    apply(KV_RECORD_TABLE, 3, "name", 0);
    apply(KV_RECORD_PUT, 3, "a", KV_NEVER);
    apply(KV_RECORD_PUT, 3, "a", KV_NEVER);
    apply(KV_RECORD_PUT, 3, "bb", 100);
    apply(KV_RECORD_PUT, 3, "cc", 100);
    apply(KV_RECORD_PUT, 3, "dd", KV_NEVER);
    apply(KV_RECORD_DELETE, 3, "dd", 0);
    apply(KV_RECORD_DELETE, 3, "dd", 0);
    apply(KV_RECORD_EXPIRY, 3, "cc", 200);
    apply(KV_RECORD_PUT, 4, "of no table", KV_NEVER);
    const struct kv_survey_table table = last_table(150);
    cr_assert(table.id == 3 && table.entries == 2 && table.expired == 1);
    cr_assert_eq(table.bytes, strlen("a") + strlen("cc") + 2 * strlen("value"));
    apply(KV_RECORD_CLEAR, 3, "", 0);
    cr_assert_eq(last_table(0).entries, 0);
}

Test(salvage, a_survey_finds_tables_by_id_and_by_identity)
{
    apply(KV_RECORD_TABLE, 3, "name", 0);
    apply(KV_RECORD_TABLE, 7, "other", 0);
    const struct kv_bytes registry = kv_bytes_text("r");
    cr_assert_eq(kv_survey_find(survey, registry, kv_bytes_text("name")), 3);
    cr_assert_eq(kv_survey_find(survey, kv_bytes_text(""), kv_bytes_text("name")), 0);
    cr_assert(kv_survey_has(survey, 7) && !kv_survey_has(survey, 4));
    apply(KV_RECORD_DROP, 3, "", 0);
    cr_assert_eq(kv_survey_find(survey, registry, kv_bytes_text("name")), 0);
    cr_assert_eq(kv_survey_count(survey), 1);
}

static void name(uint64_t table, const char *registry, const char *name, uint8_t policy)
{
    const struct kv_record record = {.kind = KV_RECORD_TABLE,
                                     .table = table,
                                     .about = {.policy = policy,
                                               .kind = 1,
                                               .registry = kv_bytes_text(registry),
                                               .name = kv_bytes_text(name),
                                               .options = kv_bytes_text("options")}};
    cr_assert_eq(kv_survey_record(survey, &record), KV_OK);
}

static uint64_t owner(const char *registry, const char *name)
{
    return kv_survey_find(survey, kv_bytes_text(registry), kv_bytes_text(name));
}

Test(salvage, a_survey_follows_a_table_that_gets_another_name_or_registry)
{
    struct kv_record_table about;
    name(3, "r", "old", 1);
    apply(KV_RECORD_PUT, 3, "a", KV_NEVER);
    name(3, "other", "new", 2);
    name(4, "r", "old", 1);
    cr_assert(owner("other", "new") == 3 && owner("r", "old") == 4 && owner("r", "new") == 0);
    kv_survey_about(survey, 3, &about);
    cr_assert(about.policy == 2 && kv_bytes_is(about.name, "new"));
    cr_assert(kv_bytes_is(about.registry, "other") && kv_bytes_is(about.options, "options"));
    about.name = kv_bytes_text("again");
    const struct kv_record record = {.kind = KV_RECORD_TABLE, .table = 3, .about = about};
    cr_assert_eq(kv_survey_record(survey, &record), KV_OK);
    cr_assert(owner("other", "again") == 3 && owner("other", "new") == 0);
    apply(KV_RECORD_DROP, 4, "", 0);
    cr_assert_eq(last_table(0).entries, 1);
}

Test(salvage, of_two_tables_with_one_identity_a_survey_finds_the_one_that_got_it_last)
{
    name(3, "r", "one", 1);
    name(4, "r", "other", 1);
    name(5, "r", "one", 1);
    name(4, "r", "one", 1);
    cr_assert_eq(owner("r", "one"), 4);
    apply(KV_RECORD_DROP, 4, "", 0);
    cr_assert_eq(owner("r", "one"), 5);
}

Test(salvage, a_survey_drops_a_registry_with_its_names_and_no_other_table)
{
    name(1, "", "shop", 1);
    name(2, "shop", "eggs", 1);
    name(3, "stall", "eggs", 1);
    name(4, "", "shop's", 1);
    name(5, "shop", "milk", 1);
    const struct kv_record gone = {
        .kind = KV_RECORD_DROP_REGISTRY, .table = 1, .about = {.name = kv_bytes_text("shop")}};
    cr_assert_eq(kv_survey_record(survey, &gone), KV_OK);
    cr_assert_eq(kv_survey_count(survey), 2);
    cr_assert(kv_survey_has(survey, 3) && kv_survey_has(survey, 4));
    name(6, "shop", "tea", 1); /* of a checkpoint that has not the table of the registry */
    cr_assert_eq(kv_survey_record(survey, &gone), KV_OK);
    cr_assert_eq(kv_survey_count(survey), 2);
}
