/* The bytes of the log: checksums, records, batches, headers. */
#include "durable/batch.h"
#include "durable/blocks.h"
#include "durable/crc32c.h"
#include "durable/record.h"
#include "durable/store_block.h"

#include <criterion/criterion.h>
#include <kv/error.h>

enum { ROOM = 256 };

static const struct kv_store_id STORE = {"the store's id.."};

/* ---- CRC32C ------------------------------------------------------------------------------------
 */

Test(crc32c, gives_the_checksum_that_the_standard_gives)
{
    cr_assert_eq(kv_crc32c(0, kv_bytes_text("123456789")), 0xE3069283U);
    cr_assert_eq(kv_crc32c_by_table(0, kv_bytes_text("123456789")), 0xE3069283U);
    cr_assert_eq(kv_crc32c(0, kv_bytes(NULL, 0)), 0U);
    uint8_t zeros[32] = {0};
    cr_assert_eq(kv_crc32c(0, kv_bytes(zeros, sizeof zeros)), 0x8A9136AAU); /* RFC 3720, B.4 */
}

Test(crc32c, is_the_same_by_instruction_and_by_table_at_every_split_and_alignment)
{
    uint8_t bytes[64];
    for (unsigned i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * i + 3);
    }
    for (size_t from = 0; from < 9; from++) {
        for (size_t length = 0; from + length <= sizeof bytes; length++) {
            const struct kv_bytes all = kv_bytes(bytes + from, length);
            const uint32_t wanted = kv_crc32c_by_table(0, all);
            cr_assert_eq(kv_crc32c(0, all), wanted);
            const size_t half = length / 3;
            const uint32_t first = kv_crc32c(0, kv_bytes(bytes + from, half));
            cr_assert_eq(kv_crc32c(first, kv_bytes(bytes + from + half, length - half)), wanted);
        }
    }
}

/* ---- records -----------------------------------------------------------------------------------
 */

#define KEY(text)                                                                                  \
    {                                                                                              \
        .bytes = {(const uint8_t *)(text), sizeof(text) - 1}, .form = 2                            \
    }
#define TEXT(text)                                                                                 \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

static const struct {
    struct kv_record record;
    struct kv_bytes bytes;
} rows[] = {
    {{.kind = KV_RECORD_PUT,
      .table = 1,
      .entry = {.key = KEY("k"), .value = {.bytes = TEXT("val"), .form = 3}}},
     TEXT("\x01\x01\x0E\x01\x03kval")},
    {{.kind = KV_RECORD_PUT,
      .table = 300,
      .entry = {.key = KEY("k"), .value = KEY(""), .expiry = UINT64_C(0x010203040506)}},
     TEXT("\x01\xAC\x02\x1A\x01\x02\x03\x04\x05\x06\x01\x00k")},
    {{.kind = KV_RECORD_DELETE, .table = 2, .entry = {.key = KEY("key")}},
     TEXT("\x02\x02\x02\x03key")},
    {{.kind = KV_RECORD_EXPIRY, .table = 2, .entry = {.key = KEY("key"), .expiry = 7}},
     TEXT("\x03\x02\x02\x00\x00\x00\x00\x00\x07\x03key")},
    {{.kind = KV_RECORD_EXPIRY, .table = 2, .entry = {.key = KEY("")}},
     TEXT("\x03\x02\x02\x00\x00\x00\x00\x00\x00\x00")},
    {{.kind = KV_RECORD_CLEAR, .table = 127}, TEXT("\x04\x7F")},
    {{.kind = KV_RECORD_TABLE,
      .table = 128,
      .about = {.policy = 9,
                .kind = 8,
                .registry = TEXT("r"),
                .name = TEXT("name"),
                .options = TEXT("op")}},
     TEXT("\x05\x80\x01\x09\x08\x01r\x04name\x02op")},
    {{.kind = KV_RECORD_DROP, .table = UINT64_MAX},
     TEXT("\x06\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01")},
    {{.kind = KV_RECORD_DROP_REGISTRY, .table = 3, .about = {.name = TEXT("shop")}},
     TEXT("\x07\x03\x04shop")},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static void same_entry(const struct kv_table_entry *a, const struct kv_table_entry *b)
{
    cr_assert(kv_bytes_equal(a->key.bytes, b->key.bytes) && a->key.form == b->key.form);
    cr_assert(kv_bytes_equal(a->value.bytes, b->value.bytes) && a->value.form == b->value.form);
    cr_assert_eq(a->expiry, b->expiry);
}

static void same_record(const struct kv_record *a, const struct kv_record *b)
{
    cr_assert_eq(a->kind, b->kind);
    cr_assert_eq(a->table, b->table);
    same_entry(&a->entry, &b->entry);
    cr_assert(a->about.policy == b->about.policy && a->about.kind == b->about.kind);
    cr_assert(kv_bytes_equal(a->about.registry, b->about.registry));
    cr_assert(kv_bytes_equal(a->about.name, b->about.name));
    cr_assert(kv_bytes_equal(a->about.options, b->about.options));
}

Test(record, is_written_as_the_document_says_and_read_back)
{
    for (unsigned i = 0; i < ROWS; i++) {
        uint8_t bytes[ROOM];
        struct kv_record back;
        cr_assert_leq(kv_record_bound(&rows[i].record), sizeof bytes);
        const size_t length = kv_record_write(&rows[i].record, bytes);
        cr_assert(kv_bytes_equal(kv_bytes(bytes, length), rows[i].bytes), "row %u", i);
        bytes[length] = 0xFF; /* of the next record */
        struct kv_bytes from = kv_bytes(bytes, length + 1);
        cr_assert_eq(kv_record_read(&from, &back), KV_OK);
        cr_assert_eq(from.length, 1);
        same_record(&back, &rows[i].record);
    }
}

Test(record, that_ends_too_early_is_truncated_and_nothing_is_taken)
{
    for (unsigned i = 0; i < ROWS; i++) {
        for (size_t length = 0; length < rows[i].bytes.length; length++) {
            struct kv_bytes from = kv_bytes(rows[i].bytes.data, length);
            struct kv_record record;
            cr_assert_eq(kv_record_read(&from, &record), KV_ETRUNCATED, "row %u, %zu", i, length);
            cr_assert_eq(from.length, length);
        }
    }
}

Test(record, with_any_bit_changed_is_another_record_or_an_error)
{
    for (unsigned i = 0; i < ROWS; i++) {
        for (size_t bit = 0; bit < 8 * rows[i].bytes.length; bit++) {
            uint8_t bytes[ROOM];
            uint8_t again[ROOM];
            struct kv_record record;
            memcpy(bytes, rows[i].bytes.data, rows[i].bytes.length);
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            struct kv_bytes from = kv_bytes(bytes, rows[i].bytes.length);
            if (kv_record_read(&from, &record) == KV_OK) {
                const size_t length = kv_record_write(&record, again);
                cr_assert(!kv_bytes_equal(kv_bytes(again, length), rows[i].bytes), "row %u", i);
            }
        }
    }
}

Test(record, that_cannot_be_is_malformed)
{
    static const struct kv_bytes bad[] = {
        TEXT("\x00\x01\x00\x00"),                             /* no kind */
        TEXT("\x08\x01\x00\x00"),                             /* an unknown one */
        TEXT("\x04\x00"),                                     /* table 0 */
        TEXT("\x04\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02"), /* a number of more than 64 bits */
        TEXT("\x04\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"),
        TEXT("\x01\x01\x20\x00\x00"),                     /* unknown bits of a put, */
        TEXT("\x02\x01\x04\x00"),                         /* a delete */
        TEXT("\x03\x01\x10\x00\x00\x00\x00\x00\x00\x00"), /* and an expiry */
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct kv_bytes from = bad[i];
        struct kv_record record;
        cr_assert_eq(kv_record_read(&from, &record), KV_EMALFORMED, "row %u", i);
    }
}

Test(record, holds_an_expiry_up_to_its_limit)
{
    uint8_t bytes[ROOM];
    struct kv_record record = {
        .kind = KV_RECORD_EXPIRY, .table = 1, .entry.expiry = KV_RECORD_EXPIRY_MAX + 1};
    struct kv_bytes from = kv_bytes(bytes, kv_record_write(&record, bytes));
    cr_assert_eq(kv_record_read(&from, &record), KV_OK);
    cr_assert_eq(record.entry.expiry, KV_RECORD_EXPIRY_MAX);
}

/* ---- batches -----------------------------------------------------------------------------------
 */

enum { BATCH = KV_BATCH_HEADER + 21 };

static struct kv_batch sealed(uint8_t bytes[BATCH], uint32_t seed)
{
    struct kv_batch batch = {
        .lsn = 5 * (uint64_t)KV_BLOCK,
        .length = BATCH,
        .epoch = 3,
        .previous = 0x01020304,
        .records = 2,
        .time = UINT64_C(0x0102030405060708),
        .durable = 4 * (uint64_t)KV_BLOCK,
    };
    memset(bytes, 'r', BATCH);
    kv_batch_seal(&batch, seed, bytes);
    return batch;
}

static bool is_valid(const uint8_t *bytes, uint32_t seed, uint64_t lsn)
{
    struct kv_batch batch;
    return kv_batch_read(bytes, seed, lsn, &batch) == KV_OK && batch.length == BATCH &&
           kv_batch_sum(&batch, seed, 0, kv_bytes(bytes, BATCH)) == batch.checksum;
}

Test(batch, is_read_as_it_was_sealed)
{
    uint8_t bytes[BATCH];
    const uint32_t seed = kv_batch_seed(&STORE);
    const struct kv_batch batch = sealed(bytes, seed);
    struct kv_batch back;
    cr_assert_eq(kv_batch_read(bytes, seed, batch.lsn, &back), KV_OK);
    cr_assert(back.lsn == batch.lsn && back.length == batch.length && back.epoch == batch.epoch);
    cr_assert(back.previous == batch.previous && back.records == batch.records);
    cr_assert(back.time == batch.time && back.durable == batch.durable);
    cr_assert_eq(back.checksum, batch.checksum);
    for (size_t split = 0; split <= BATCH; split++) {
        const uint32_t sum = kv_batch_sum(&back, seed, 0, kv_bytes(bytes, split));
        cr_assert_eq(kv_batch_sum(&back, sum, split, kv_bytes(bytes + split, BATCH - split)),
                     batch.checksum);
    }
}

Test(batch, with_any_bit_changed_is_not_valid)
{
    uint8_t bytes[BATCH];
    const uint32_t seed = kv_batch_seed(&STORE);
    const struct kv_batch batch = sealed(bytes, seed);
    cr_assert(is_valid(bytes, seed, batch.lsn));
    for (size_t bit = 0; bit < (size_t)8 * BATCH; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert(!is_valid(bytes, seed, batch.lsn), "bit %zu", bit);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

Test(batch, is_valid_only_at_its_place_and_in_its_store)
{
    uint8_t bytes[BATCH];
    const struct kv_batch batch = sealed(bytes, kv_batch_seed(&STORE));
    cr_assert(!is_valid(bytes, kv_batch_seed(&STORE), batch.lsn + KV_BLOCK));
    cr_assert(!is_valid(bytes, kv_batch_seed(&(struct kv_store_id){{0}}), batch.lsn));
}

/* ---- header blocks -----------------------------------------------------------------------------
 */

Test(segment, header_is_valid_for_its_number_and_store_alone)
{
    uint8_t block[KV_BLOCK];
    kv_segment_header(7, &STORE, block);
    cr_assert_eq(kv_segment_check(block, 7, &STORE), KV_OK);
    cr_assert_eq(kv_segment_check(block, 8, &STORE), KV_ECORRUPT);
    cr_assert_eq(kv_segment_check(block, 7, &(struct kv_store_id){{0}}), KV_ECORRUPT);
    for (size_t bit = 0; bit < (size_t)8 * 44; bit++) {
        block[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_eq(kv_segment_check(block, 7, &STORE), KV_ECORRUPT, "bit %zu", bit);
        block[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

Test(segment, names_its_file_by_its_number_in_sixteen_digits)
{
    char name[KV_SEGMENT_NAME_SIZE];
    kv_segment_name(0x1234ABCD, name);
    cr_assert_str_eq(name, "log-000000001234abcd");
    kv_segment_name(UINT64_MAX, name);
    cr_assert_str_eq(name, "log-ffffffffffffffff");
}

Test(segment, holds_its_part_of_the_stream_behind_its_header)
{
    const uint64_t size = KV_SEGMENT_SIZE;
    const uint64_t content = size - KV_BLOCK;
    cr_assert_eq(kv_segment_of(content - 1, size), 0);
    cr_assert_eq(kv_segment_offset(content - 1, size), size - 1);
    cr_assert_eq(kv_segment_of(content, size), 1);
    cr_assert_eq(kv_segment_offset(content, size), KV_BLOCK);
    cr_assert_eq(kv_segment_begin(1, size), content);
}

Test(store_block, is_read_as_it_was_written_and_no_bit_may_change)
{
    uint8_t block[KV_BLOCK];
    struct kv_store_block back;
    const struct kv_store_block store = {
        .id = STORE, .created = 1234567, .segment_size = KV_SEGMENT_SIZE, .zeros = 1};
    kv_store_block_write(&store, block);
    cr_assert_eq(kv_store_block_read(block, &back), KV_OK);
    cr_assert(memcmp(&back.id, &STORE, sizeof STORE) == 0 && back.created == 1234567);
    cr_assert(back.segment_size == KV_SEGMENT_SIZE && back.zeros == 1);
    cr_assert_eq(back.version, KV_DURABLE_VERSION);
    for (size_t bit = 0; bit < (size_t)8 * 56; bit++) {
        block[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_eq(kv_store_block_read(block, &back), KV_ECORRUPT, "bit %zu", bit);
        block[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

Test(store_block, gives_each_store_a_hash_key_of_its_own)
{
    struct kv_store_id id = {{1, 2, 3}};
    const struct kv_hash_key first = kv_store_hash_key(&id);
    const struct kv_hash_key again = kv_store_hash_key(&id);
    cr_assert(first.k0 == again.k0 && first.k1 == again.k1 && first.k0 != first.k1);
    for (size_t bit = 0; bit < 8 * sizeof id.bytes; bit++) {
        id.bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        const struct kv_hash_key other = kv_store_hash_key(&id);
        cr_assert(other.k0 != first.k0 && other.k1 != first.k1);
        id.bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
}

Test(store_block, gives_a_fingerprint_that_tells_stores_apart_and_no_secret)
{
    struct kv_store_id id = {{1, 2, 3}};
    const struct kv_hash_key key = kv_store_hash_key(&id);
    const uint64_t fingerprint = kv_store_fingerprint(&id);
    cr_assert_eq(fingerprint, kv_store_fingerprint(&id));
    cr_assert(fingerprint != key.k0 && fingerprint != key.k1);
    for (unsigned i = 0; i < KV_STORE_ID_SIZE; i++) {
        id.bytes[i] ^= 1;
        cr_assert_neq(kv_store_fingerprint(&id), fingerprint);
        id.bytes[i] ^= 1;
    }
}

Test(store_block, of_a_newer_program_is_refused_with_its_version)
{
    uint8_t block[KV_BLOCK];
    struct kv_store_block back;
    kv_store_block_write(&(struct kv_store_block){.segment_size = KV_SEGMENT_SIZE}, block);
    block[11] = KV_DURABLE_VERSION + 1;
    const uint32_t sum = kv_crc32c(0, kv_bytes(block, 52));
    for (unsigned i = 0; i < 4; i++) {
        block[52 + i] = (uint8_t)(sum >> (24 - 8 * i));
    }
    cr_assert_eq(kv_store_block_read(block, &back), KV_EVERSION);
    cr_assert_eq(back.version, KV_DURABLE_VERSION + 1);
}

Test(blocks, begin_at_a_block_however_they_grow)
{
    struct kv_blocks blocks = {0};
    for (unsigned i = 0; i < 40; i++) {
        cr_assert_eq(kv_blocks_reserve(&blocks, 10000), KV_OK);
        cr_assert_eq((uintptr_t)blocks.data % KV_BLOCK, 0);
        memset(blocks.data + blocks.length, (int)i, 10000);
        blocks.length += 10000;
    }
    cr_assert(blocks.data[0] == 0 && blocks.data[399999] == 39);
    kv_blocks_pad(&blocks);
    cr_assert(blocks.length == kv_padded(400000) && blocks.data[400000] == 0);
    cr_assert_eq(kv_blocks_reserve(&blocks, UINT64_MAX), KV_ENOMEM);
    kv_blocks_clear(&blocks, 0);
    cr_assert_null(blocks.memory);
}
