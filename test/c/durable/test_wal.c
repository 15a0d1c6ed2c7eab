/* The writer of the log: batches are numbered, at most one write is under way, and durable is what
 * was synced. */
#include "base/alloc.h"
#include "durable/wal.h"

#include <criterion/criterion.h>
#include <kv/error.h>

static struct kv_wal *w;
static struct kv_wal_write write;

static void set_up(void)
{
    w = kv_wal_new(&(struct kv_wal_options){.lsn = 8192, .epoch = 4, .open_max = 1000});
}

static void tear_down(void)
{
    kv_wal_free(w);
}

TestSuite(wal, .init = set_up, .fini = tear_down);

static bool take(void)
{
    const bool taken = kv_wal_take(w, 77, &write);
    if (taken) {
        kv_wal_seal(&write);
    }
    return taken;
}

static struct kv_batch batch(void)
{
    struct kv_batch it;
    cr_assert_eq(
        kv_batch_read(write.bytes.data, kv_batch_seed(&(struct kv_store_id){{0}}), write.lsn, &it),
        KV_OK);
    return it;
}

Test(wal, has_nothing_to_write_before_a_change)
{
    cr_assert(!take() && kv_wal_batch(w) == 1 && kv_wal_open_bytes(w) == 0);
}

Test(wal, hands_out_whole_blocks_in_memory_at_a_block)
{
    kv_wal_clear(w, 3);
    cr_assert_gt(kv_wal_open_bytes(w), 0);
    cr_assert(take() && write.number == 1 && write.lsn == 8192 && !write.sync);
    cr_assert_eq(write.bytes.length, KV_BLOCK);
    cr_assert_eq((uintptr_t)write.bytes.data % KV_BLOCK, 0);
    cr_assert(batch().epoch == 4 && batch().time == 77 && batch().records == 1);
    for (size_t i = batch().length; i < KV_BLOCK; i++) {
        cr_assert_eq(write.bytes.data[i], 0);
    }
    cr_assert(kv_wal_batch(w) == 2 && kv_wal_open_bytes(w) == 0 && kv_wal_end(w) == 8192 + 4096);
}

Test(wal, gathers_while_a_write_is_under_way_and_hands_out_one_at_a_time)
{
    kv_wal_clear(w, 3);
    cr_assert(take() && kv_wal_is_writing(w));
    const struct kv_bytes bytes = write.bytes;
    const uint32_t sum = batch().checksum;
    kv_wal_drop(w, 3);
    cr_assert(!take());
    cr_assert(write.bytes.data == bytes.data && kv_wal_is_writing(w));
    kv_wal_written(w);
    cr_assert(take() && write.number == 2 && write.lsn == 8192 + 4096);
    cr_assert_eq(batch().previous, sum);
}

Test(wal, reports_a_synced_batch_and_all_before_it_as_durable)
{
    kv_wal_clear(w, 1);
    cr_assert(take());
    kv_wal_written(w);
    cr_assert_eq(kv_wal_durable(w), 0);
    kv_wal_clear(w, 1);
    kv_wal_sync(w);
    cr_assert(take() && write.sync && batch().durable == 8192);
    cr_assert_eq(kv_wal_durable(w), 0);
    kv_wal_written(w);
    cr_assert_eq(kv_wal_durable(w), 2);
    kv_wal_clear(w, 1);
    cr_assert(take() && !write.sync && batch().durable == 8192 + 2 * 4096);
    kv_wal_synced(w, 1);
    cr_assert_eq(kv_wal_durable(w), 2);
    kv_wal_written(w);
    kv_wal_synced(w, 3);
    cr_assert_eq(kv_wal_durable(w), 3);
}

Test(wal, writes_a_mark_without_a_record)
{
    kv_wal_mark(w);
    cr_assert(take() && write.sync && batch().records == 0 && batch().length == KV_BATCH_HEADER);
    kv_wal_written(w);
    cr_assert(!take() && kv_wal_durable(w) == 1);
}

Test(wal, refuses_more_than_may_gather_but_never_the_first)
{
    cr_assert_eq(kv_wal_reserve(w, 5000), KV_OK);
    cr_assert(!take());
    kv_wal_clear(w, 1);
    cr_assert_eq(kv_wal_reserve(w, 100), KV_OK);
    cr_assert_eq(kv_wal_reserve(w, 1000), KV_EBUSY);
    cr_assert_eq(kv_wal_reserve(w, UINT64_MAX), KV_EBUSY);
    cr_assert(take());
    cr_assert_eq(kv_wal_reserve(w, UINT64_MAX), KV_ENOMEM);
    cr_assert_eq(kv_wal_reserve(w, 1000), KV_OK);
}

Test(wal, says_when_there_is_no_memory_and_goes_on)
{
    (void)kv_try_realloc_fail(1);
    cr_assert_eq(kv_wal_reserve(w, 100000), KV_ENOMEM);
    cr_assert_eq(kv_wal_reserve(w, 100000), KV_OK);
    kv_wal_clear(w, 1);
    cr_assert(take() && batch().records == 1);
}

Test(wal, takes_a_value_larger_than_the_memory_that_it_keeps)
{
    const size_t length = ((size_t)9 << 20) + 5;
    uint8_t *value = kv_zalloc(length);
    kv_wal_put(w, 1,
               &(struct kv_table_entry){.key.bytes = kv_bytes("k", 1),
                                        .value.bytes = kv_bytes(value, length)});
    cr_assert(take() && batch().length > length);
    cr_assert_eq(write.bytes.length, kv_padded(batch().length));
    kv_wal_written(w);
    kv_free(value);
}

Test(wal, says_where_a_recovery_can_begin)
{
    kv_wal_clear(w, 1);
    cr_assert(take());
    const uint32_t sum = batch().checksum;
    cr_assert_eq(kv_wal_place(w).lsn, 8192);
    kv_wal_written(w);
    cr_assert(kv_wal_place(w).lsn == 8192 + 4096 && kv_wal_place(w).epoch == 4);
    cr_assert_eq(kv_wal_place(w).previous, sum);
}
