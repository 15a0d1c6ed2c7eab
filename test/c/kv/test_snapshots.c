/* The requests of a snapshot: a bucket as of one moment, for a process that watches over it. */
#include "support/bucket.h"

#include "kv/snapshots.h"
#include "store/arena_state.h"

#include <criterion/criterion.h>

enum { MANY = 9000, OWNER = 5, CLEARED = 100 };

TestSuite(snapshots, .init = set_up, .fini = tear_down, .timeout = 60);

static void put_number(unsigned i, int64_t value)
{
    (void)ask("put", term_integer(i), term_integer(value), NONE);
    forget(f);
}

static void fill(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        put_number(i, i);
    }
}

static struct kv_bytes open_for(unsigned owner)
{
    struct kv_pid pid = pid_a(owner);
    return ask("snapshot", term_pid(&pid), NONE, NONE);
}

/* Copies the handle of {ok, Handle, 0}, and returns it. */
static struct kv_bytes open(void)
{
    static uint8_t copy[KV_SNAPSHOTS_MAX][64];
    static unsigned next;
    uint8_t *to = copy[next++ % KV_SNAPSHOTS_MAX];
    struct kv_bytes handle;
    uint64_t lsn = 1;
    forget(f);
    struct kv_reader reader = kv_reader(open_for(OWNER));
    cr_assert_eq(kv_read_tuple_of(&reader, 3), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "ok"), KV_OK);
    cr_assert_eq(kv_read_any(&reader, &handle), KV_OK);
    cr_assert_eq(kv_read_u64(&reader, &lsn), KV_OK);
    cr_assert_eq(lsn, 0);
    cr_assert_leq(handle.length, sizeof copy[0]);
    memcpy(to, handle.data, handle.length);
    return kv_bytes(to, handle.length);
}

/* Counts the entries of a piece, each of which must have its number as its value, and the time to
 * live `ttl`, or none if it is 0. Returns true if there are more. */
static bool take(struct kv_bytes handle, uint64_t ttl, unsigned *count)
{
    uint32_t entries = 0;
    struct kv_bytes word;
    forget(f);
    struct kv_reader reader = kv_reader(ask("snapshot_next", handle, NONE, NONE));
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_list(&reader, &entries), KV_OK);
    for (uint32_t i = 0; i < entries; i++) {
        uint64_t key = 0;
        uint64_t value = 1;
        uint64_t left = 0;
        cr_assert_eq(kv_read_tuple_of(&reader, 3), KV_OK);
        cr_assert_eq(kv_read_u64(&reader, &key), KV_OK);
        cr_assert_eq(kv_read_u64(&reader, &value), KV_OK);
        cr_assert_eq(
            ttl == 0 ? kv_read_this_atom(&reader, "infinity") : kv_read_u64(&reader, &left), KV_OK);
        cr_assert(key == value && left == ttl);
    }
    cr_assert(entries == 0 || kv_read_nil(&reader) == KV_OK);
    cr_assert_eq(kv_read_atom(&reader, &word), KV_OK);
    *count += entries;
    return kv_bytes_is(word, "more");
}

static unsigned take_all(struct kv_bytes handle)
{
    unsigned count = 0;
    while (take(handle, 0, &count)) {
    }
    return count;
}

static struct kv_bytes stale(void)
{
    return pair(term_atom("error"), term_atom("stale_snapshot"));
}

static void owner_ends(const struct sent *monitor)
{
    struct kv_signal down = {.kind = KV_SIGNAL_DOWN,
                             .from = monitor->signal.to,
                             .to = bucket,
                             .ref = monitor->signal.ref,
                             .payload = {term_atom("killed")},
                             .payload_parts = 1};
    feed(f, f->a, &down);
}

Test(snapshots, changes_between_two_pieces_do_not_show)
{
    fill(MANY);
    const struct kv_bytes handle = open();
    unsigned count = 0;
    cr_assert(take(handle, 0, &count));
    for (unsigned i = 0; i < MANY; i += 3) {
        put_number(i, -1);
    }
    for (unsigned i = 1; i < MANY; i += 3) {
        (void)ask("delete", term_integer(i), NONE, NONE);
        put_number(MANY + i, 0);
    }
    cr_assert_eq(count + take_all(handle), MANY);
    cr_assert_eq(f->arena->snapshot_bytes, 0);
}

Test(snapshots, a_clear_does_not_show)
{
    fill(CLEARED);
    const struct kv_bytes handle = open();
    assert_term(call(f, &bucket, term_atom("clear")), term_atom("ok"));
    put_number(7, -1);
    cr_assert_eq(take_all(handle), CLEARED);
}

Test(snapshots, times_to_live_are_those_of_the_begin)
{
    (void)ask("put", term_integer(3), term_integer(3), term_integer(700));
    const struct kv_bytes handle = open();
    pass(600);
    (void)ask("persist", term_integer(3), NONE, NONE);
    pass(600);
    unsigned count = 0;
    cr_assert_not(take(handle, 700, &count));
    cr_assert_eq(count, 1);
}

Test(snapshots, a_transaction_that_is_refused_does_not_show)
{
    fill(10);
    const struct kv_bytes handle = open();
    const struct kv_bytes change =
        term_tuple(term_atom("put"), term_integer(3), term_integer(-1), NONE);
    const struct kv_bytes wrong = pair(term_atom("check_absent"), term_integer(4));
    (void)ask("transaction", term_list(change, wrong, NONE), NONE, NONE);
    cr_assert_eq(take_all(handle), 10);
}

Test(snapshots, the_last_piece_ends_it)
{
    const struct kv_bytes handle = open();
    cr_assert_eq(take_all(handle), 0);
    cr_assert_eq(count_of(f, KV_SIGNAL_DEMONITOR), 1);
    assert_term(ask("snapshot_next", handle, NONE, NONE), stale());
}

Test(snapshots, close_ends_one_and_no_other)
{
    fill(10);
    const struct kv_bytes one = open();
    const struct kv_bytes other = open();
    assert_term(ask("snapshot_close", one, NONE, NONE), term_atom("ok"));
    forget(f);
    assert_term(ask("snapshot_close", one, NONE, NONE), term_atom("ok"));
    forget(f);
    assert_term(ask("snapshot_next", one, NONE, NONE), stale());
    cr_assert_eq(take_all(other), 10);
}

Test(snapshots, the_end_of_its_process_ends_it_and_gives_its_memory_back)
{
    fill(MANY);
    const struct kv_bytes handle = open();
    const struct sent monitor = *sent_of(f, KV_SIGNAL_MONITOR, 0);
    cr_assert_eq(monitor.signal.to.id, pid_a(OWNER).id);
    owner_ends(&monitor);
    cr_assert(kv_list_is_empty(&f->arena->snapshots));
    put_number(1, -1);
    cr_assert_eq(f->arena->snapshot_bytes, 0);
    assert_term(ask("snapshot_next", handle, NONE, NONE), stale());
}

Test(snapshots, the_loss_of_its_node_ends_it)
{
    fill(10);
    const struct kv_pid owner = pid_b(OWNER);
    (void)ask("snapshot", term_pid(&owner), NONE, NONE);
    cr_assert_not(kv_list_is_empty(&f->arena->snapshots));
    kv_runtime_peer_down(f->runtime, f->b);
    cr_assert(kv_list_is_empty(&f->arena->snapshots));
}

Test(snapshots, a_bucket_has_eight_at_most)
{
    fill(10);
    for (unsigned i = 0; i < KV_SNAPSHOTS_MAX; i++) {
        (void)open();
    }
    const struct kv_bytes last = open_for(OWNER);
    forget(f);
    assert_term(open_for(OWNER), pair(term_atom("error"), pair(term_atom("too_many_snapshots"),
                                                               term_integer(KV_SNAPSHOTS_MAX))));
    cr_assert_gt(last.length, 0);
}

Test(snapshots, only_a_pid_can_have_one)
{
    struct kv_reader reader = kv_reader(ask("snapshot", term_atom("me"), NONE, NONE));
    struct kv_bytes reason;
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "error"), KV_OK);
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_atom(&reader, &reason), KV_OK);
    cr_assert(kv_bytes_is(reason, "bad_request"));
}

Test(snapshots, what_is_no_handle_of_the_bucket_is_stale)
{
    const struct kv_bytes handle = open();
    const struct kv_pid first = bucket;
    open_bucket(NONE, NONE);
    const struct kv_bytes wrong[] = {term_atom("start"), term_binary(""), term_binary("handle"),
                                     handle};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        forget(f);
        assert_term(ask("snapshot_next", wrong[i], NONE, NONE), stale());
        forget(f);
        assert_term(ask("snapshot_close", wrong[i], NONE, NONE), term_atom("ok"));
    }
    bucket = first;
    cr_assert_eq(take_all(handle), 0);
}

Test(snapshots, a_bucket_that_ends_leaves_none)
{
    fill(10);
    (void)open();
    (void)open();
    put_number(1, -1);
    assert_term(call(f, &bucket, term_atom("destroy")), term_atom("ok"));
    cr_assert(kv_list_is_empty(&f->arena->snapshots));
    cr_assert_eq(f->arena->snapshot_bytes, 0);
}

Test(snapshots, one_that_falls_too_far_behind_says_so)
{
    struct kv_reader reader;
    struct kv_bytes reason;
    fill(100);
    const struct kv_bytes handle = open();
    f->arena->snapshot_bytes += KV_SNAPSHOT_BYTES; /* as if others had as much */
    put_number(1, -1);
    f->arena->snapshot_bytes -= KV_SNAPSHOT_BYTES;
    reader = kv_reader(ask("snapshot_next", handle, NONE, NONE));
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "error"), KV_OK);
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_atom(&reader, &reason), KV_OK);
    cr_assert(kv_bytes_is(reason, "snapshot_too_old"));
    cr_assert(kv_list_is_empty(&f->arena->snapshots));
}
