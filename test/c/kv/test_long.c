/* Requests that go on over several turns: all or none, while others are served. */
#include "support/fixture.h"

#include "base/endian.h"
#include "kv/going.h"
#include "kv/kv.h"
#include "store/arena_state.h"
#include "store/layout.h"
#include "store/slots.h"
#include "store/table_state.h"

#include <criterion/criterion.h>

enum { MANY = 5000 };

static struct fixture *f;
static struct kv_pid bucket;
static struct kv_pid other;
static struct kv_buffer request;

static void set_up(void)
{
    struct kv_bytes none = term_list(NONE, NONE, NONE);
    f = bucket_fixture(&bucket);
    other = feed_spawn(f, f->a, "kv_bucket", none, none);
    other.node = kv_bytes_text(FIXTURE_NODE);
    f->stepwise = true;
}

static void tear_down(void)
{
    kv_buffer_free(&request);
    fixture_free(f);
}

TestSuite(long_requests, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- requests ----------------------------------------------------------------------------------
 */

static void begin_request(const char *name, uint32_t arity)
{
    kv_buffer_clear(&request);
    kv_write_tuple(&request, arity);
    kv_write_atom_text(&request, name);
}

/* Entries {i, value} from `first` on. */
static void write_entries(uint32_t first, uint32_t count, int64_t value)
{
    kv_write_list(&request, count);
    for (uint32_t i = first; i < first + count; i++) {
        kv_write_tuple(&request, 2);
        kv_write_i64(&request, i);
        kv_write_i64(&request, value);
    }
    kv_write_nil(&request);
}

static void write_keys(uint32_t first, uint32_t count)
{
    kv_write_list(&request, count);
    for (uint32_t i = first; i < first + count; i++) {
        kv_write_i64(&request, i);
    }
    kv_write_nil(&request);
}

/* Sends the request. Its answer goes to the alias `n`. */
static void send_request(uint32_t n)
{
    feed_call(f, &bucket, "$gen_call", n, kv_buffer_bytes(&request));
}

static struct kv_bytes ask(struct kv_bytes term)
{
    static uint32_t n = 1000;
    n++;
    feed_call(f, &bucket, "$gen_call", n, term);
    (void)run_to_the_end(f);
    return answer_at(f, n);
}

static void put_entries(uint32_t first, uint32_t count, int64_t value)
{
    begin_request("put_many", 2);
    write_entries(first, count, value);
    cr_assert(kv_bytes_equal(ask(kv_buffer_bytes(&request)), term_atom("ok")));
    forget(f);
}

static void assert_answer(uint32_t n, struct kv_bytes expected)
{
    struct kv_bytes answer = answer_at(f, n);
    cr_assert(kv_bytes_equal(answer, expected));
}

static struct kv_bytes get(int64_t key)
{
    return ask(term_tuple(term_atom("get"), term_integer(key), NONE, NONE));
}

static struct kv_table *table_of(void)
{
    struct kv_table *found = NULL;
    KV_LIST_FOREACH (link, &f->arena->tables) {
        struct kv_table *table = KV_LIST_OF(link, struct kv_table, of_arena);
        if (table->published && table->id == bucket.id) {
            found = table;
        }
    }
    return found;
}

/* ---- tests ------------------------------------------------------------------------------------
 */

Test(long_requests, a_long_put_many_takes_many_turns)
{
    begin_request("put_many", 2);
    write_entries(0, MANY, 7);
    send_request(1);
    cr_assert_eq(answer_at(f, 1).length, 0);
    cr_assert_gt(run_to_the_end(f), 3);
    assert_answer(1, term_atom("ok"));
    cr_assert(kv_bytes_equal(ask(term_atom("size")), term_integer(MANY)));
    cr_assert(kv_bytes_equal(get(MANY - 1), term_integer(7)));
}

Test(long_requests, others_are_served_meanwhile)
{
    begin_request("put_many", 2);
    write_entries(0, MANY, 7);
    send_request(1);
    cr_assert(kv_runtime_step(f->runtime));
    feed_call(f, &other, "$gen_call", 2, term_atom("size"));
    assert_answer(2, term_integer(0));
    cr_assert_eq(answer_at(f, 1).length, 0);
    (void)run_to_the_end(f);
    assert_answer(1, term_atom("ok"));
}

Test(long_requests, many_buckets_that_go_on_take_turns)
{
    enum { BUCKETS = 6, STEPS = BUCKETS / KV_LONG_TURNS };
    const struct kv_bytes none = term_list(NONE, NONE, NONE);
    const struct kv_process *processes[BUCKETS];
    uint64_t before[BUCKETS];
    struct kv_process_info info;
    begin_request("put_many", 2);
    write_entries(0, MANY, 7);
    for (uint32_t i = 0; i < BUCKETS; i++) {
        struct kv_pid pid = feed_spawn(f, f->a, "kv_bucket", none, none);
        pid.node = kv_bytes_text(FIXTURE_NODE);
        feed_call(f, &pid, "$gen_call", i + 1, kv_buffer_bytes(&request));
        processes[i] = kv_process_at(f->runtime, &pid);
        kv_process_inspect(processes[i], &info);
        before[i] = info.reductions;
    }
    for (unsigned step = 1; step <= 2 * STEPS; step++) {
        uint64_t pieces = 0;
        cr_assert(kv_runtime_step(f->runtime));
        for (uint32_t i = 0; i < BUCKETS; i++) {
            kv_process_inspect(processes[i], &info);
            pieces += info.reductions - before[i];
            cr_assert_leq(info.reductions - before[i], (step + STEPS - 1) / STEPS);
        }
        cr_assert_eq(pieces, step * KV_LONG_TURNS);
    }
    (void)run_to_the_end(f);
    for (uint32_t i = 0; i < BUCKETS; i++) {
        assert_answer(i + 1, term_atom("ok"));
    }
}

Test(long_requests, messages_to_the_bucket_wait_and_keep_their_order)
{
    begin_request("put_many", 2);
    write_entries(0, MANY, 7);
    send_request(1);
    feed_call(f, &bucket, "$gen_call", 2, term_atom("size"));
    feed_call(f, &bucket, "$gen_call", 3, term_atom("clear"));
    cr_assert(kv_runtime_step(f->runtime));
    feed_call(f, &bucket, "$gen_call", 4, term_atom("size"));
    cr_assert_eq(answer_at(f, 2).length, 0);
    (void)run_to_the_end(f);
    assert_answer(1, term_atom("ok"));
    assert_answer(2, term_integer(MANY));
    assert_answer(3, term_atom("ok"));
    assert_answer(4, term_integer(0));
}

Test(long_requests, suspension_takes_effect_after_the_request)
{
    begin_request("put_many", 2);
    write_entries(0, MANY, 7);
    send_request(1);
    cr_assert(kv_runtime_step(f->runtime));
    feed_call(f, &bucket, "system", 2, term_atom("suspend"));
    feed_call(f, &bucket, "$gen_call", 3, term_atom("size"));
    cr_assert_eq(answer_at(f, 2).length, 0);
    (void)run_to_the_end(f);
    assert_answer(1, term_atom("ok"));
    assert_answer(2, term_atom("ok"));
    cr_assert_eq(answer_at(f, 3).length, 0);
    cr_assert_eq(table_of()->slot->flags, KV_SLOT_ASK_OWNER);
    feed_call(f, &bucket, "system", 4, term_atom("resume"));
    (void)run_to_the_end(f);
    assert_answer(3, term_integer(MANY));
    cr_assert_eq(table_of()->slot->flags, 0);
}

Test(long_requests, a_caller_hears_that_the_bucket_was_killed_in_the_middle)
{
    static const char *const names[] = {"put_many", "put_new_many", "delete_many", "get_many"};
    for (unsigned i = 0; i < 4; i++) {
        const struct kv_pid caller = pid_a(1);
        struct kv_bytes none = term_list(NONE, NONE, NONE);
        bucket = feed_spawn(f, f->a, "kv_bucket", none, none);
        bucket.node = kv_bytes_text(FIXTURE_NODE);
        put_entries(0, MANY / 2, 1);
        begin_request(names[i], 2);
        if (i < 2) {
            write_entries(i == 0 ? 0 : MANY, MANY, 7);
        } else {
            write_keys(0, MANY);
        }
        struct kv_buffer message = KV_BUFFER_INIT;
        const struct kv_ref alias = ref_a(77);
        kv_write_tuple(&message, 3);
        kv_write_atom_text(&message, "$kv_call");
        kv_write_ref(&message, &alias);
        kv_write_term(&message, kv_buffer_bytes(&request));
        feed_message(f, f->a, &bucket, kv_buffer_bytes(&message));
        kv_buffer_free(&message);
        cr_assert(kv_runtime_step(f->runtime));
        forget(f);
        feed_exit(f, f->a, KV_SIGNAL_EXIT, &caller, &bucket, term_atom("kill"));
        const struct sent *down = sent_of(f, KV_SIGNAL_MESSAGE_ALIAS, 0);
        struct kv_reader reader = kv_reader(payload_of(down));
        cr_assert_eq(kv_read_tuple_of(&reader, 3), KV_OK);
        (void)run_to_the_end(f);
        forget(f);
    }
}

Test(long_requests, readers_in_shared_memory_ask_the_owner_while_something_changes)
{
    put_entries(0, 10, 1);
    begin_request("put_many", 2);
    write_entries(0, MANY, 7);
    send_request(1);
    while (kv_runtime_step(f->runtime) && answer_at(f, 1).length == 0) {
        cr_assert(answer_at(f, 1).length > 0 || table_of()->slot->flags == KV_SLOT_ASK_OWNER);
        cr_assert(answer_at(f, 1).length > 0 || table_of()->slot->stripes[0] % 2 == 1);
    }
    (void)run_to_the_end(f);
    cr_assert_eq(table_of()->slot->flags, 0);
    cr_assert_eq(table_of()->slot->stripes[0] % 2, 0);
}

Test(long_requests, a_put_many_that_finds_no_room_changes_nothing)
{
    struct kv_bytes most = term_tuple(term_atom("max_entries"), term_integer(3000), NONE, NONE);
    bucket =
        feed_spawn(f, f->a, "kv_bucket", term_list(NONE, NONE, NONE), term_list(most, NONE, NONE));
    bucket.node = kv_bytes_text(FIXTURE_NODE);
    put_entries(0, 2000, 1);
    begin_request("put_many", 2);
    write_entries(1000, MANY, 7);
    cr_assert(kv_bytes_equal(ask(kv_buffer_bytes(&request)),
                             term_tuple(term_atom("error"), term_atom("full"), NONE, NONE)));
    cr_assert(kv_bytes_equal(ask(term_atom("size")), term_integer(2000)));
    cr_assert(kv_bytes_equal(get(1500), term_integer(1)));
}

Test(long_requests, a_put_many_evicts_no_key_that_comes_later)
{
    const struct kv_bytes full =
        term_tuple(term_atom("max_entries"), term_integer(3000), NONE, NONE);
    const struct kv_bytes lru = term_tuple(term_atom("evict"), term_atom("lru"), NONE, NONE);
    bucket =
        feed_spawn(f, f->a, "kv_bucket", term_list(NONE, NONE, NONE), term_list(full, lru, NONE));
    bucket.node = kv_bytes_text(FIXTURE_NODE);
    begin_request("put_many", 3);
    write_entries(0, 1500, 1);
    kv_write_i64(&request, 50000);
    cr_assert(kv_bytes_equal(ask(kv_buffer_bytes(&request)), term_atom("ok")));
    put_entries(1500, 1500, 1);
    begin_request("put_many", 3);
    kv_write_list(&request, 3000);
    for (uint32_t i = 0; i < 3000; i++) { /* 1,500 new keys first */
        kv_write_tuple(&request, 2);
        kv_write_i64(&request, i < 1500 ? MANY + i : i - 1500);
        kv_write_i64(&request, 2);
    }
    kv_write_nil(&request);
    kv_write_atom_text(&request, "keep");
    cr_assert(kv_bytes_equal(ask(kv_buffer_bytes(&request)), term_atom("ok")));
    for (int64_t i = 0; i < 1500; i += 100) {
        const struct kv_bytes left = term_tuple(term_atom("ok"), term_integer(50000), NONE, NONE);
        cr_assert(
            kv_bytes_equal(ask(term_tuple(term_atom("ttl"), term_integer(i), NONE, NONE)), left));
    }
}

Test(long_requests, put_new_many_puts_all_or_none)
{
    put_entries(MANY - 1, 1, 1);
    begin_request("put_new_many", 2);
    write_entries(0, MANY, 7);
    cr_assert(kv_bytes_equal(ask(kv_buffer_bytes(&request)), term_atom("false")));
    cr_assert(kv_bytes_equal(ask(term_atom("size")), term_integer(1)));
    begin_request("put_new_many", 2);
    write_entries(0, MANY - 1, 7);
    cr_assert(kv_bytes_equal(ask(kv_buffer_bytes(&request)), term_atom("true")));
    cr_assert(kv_bytes_equal(ask(term_atom("size")), term_integer(MANY)));
}

Test(long_requests, delete_many_counts_what_was_there)
{
    put_entries(0, MANY, 1);
    begin_request("delete_many", 2);
    write_keys(1000, MANY);
    cr_assert(kv_bytes_equal(ask(kv_buffer_bytes(&request)), term_integer(MANY - 1000)));
    cr_assert(kv_bytes_equal(ask(term_atom("size")), term_integer(1000)));
}

static uint32_t length_of(struct kv_bytes term)
{
    uint32_t count = 0;
    struct kv_reader reader = kv_reader(term);
    if (kv_read_list(&reader, &count) != KV_OK) {
        (void)kv_read_map(&reader, &count);
    }
    return count;
}

/* A list that ends with an integer. */
static void spoil_end(void)
{
    request.length--;
    kv_write_i64(&request, 1);
}

Test(long_requests, a_long_list_with_a_bad_end_changes_nothing)
{
    put_entries(0, MANY, 7);
    begin_request("delete_many", 2);
    write_keys(0, MANY);
    spoil_end();
    (void)ask(kv_buffer_bytes(&request));
    begin_request("put_many", 2);
    write_entries(MANY, MANY, 8);
    spoil_end();
    (void)ask(kv_buffer_bytes(&request));
    cr_assert(kv_bytes_equal(ask(term_atom("size")), term_integer(MANY)));
    cr_assert(kv_bytes_equal(get(MANY - 1), term_integer(7)));
}

Test(long_requests, what_expires_in_the_middle_is_still_in_the_answer)
{
    static const char *const names[] = {"keys", "to_map", "get_many"};
    begin_request("put_many", 3);
    write_entries(0, MANY, 7);
    kv_write_i64(&request, 50);
    (void)ask(kv_buffer_bytes(&request));
    for (unsigned i = 0; i < 3; i++) {
        begin_request(names[i], i < 2 ? 1 : 2);
        if (i < 2) {
            kv_buffer_clear(&request);
            kv_write_atom_text(&request, names[i]);
        } else {
            write_keys(0, MANY);
        }
        forget(f);
        send_request(1);
        cr_assert(kv_runtime_step(f->runtime));
        kv_arena_set_time(f->arena, kv_arena_time(f->arena) + 20);
        (void)kv_arena_work(f->arena, 3);
        (void)run_to_the_end(f);
        cr_assert_eq(length_of(answer_at(f, 1)), MANY);
    }
    kv_arena_set_time(f->arena, kv_arena_time(f->arena) + 3000);
    while (kv_arena_work(f->arena, 1)) {
    }
    cr_assert(kv_bytes_equal(ask(term_atom("size")), term_integer(0)));
}

Test(long_requests, a_bucket_may_end_with_its_node)
{
    begin_request("put_many", 2);
    write_entries(0, MANY, 7);
    send_request(1);
    cr_assert(kv_runtime_step(f->runtime));
}

Test(long_requests, a_cast_goes_on_too)
{
    struct kv_buffer message = KV_BUFFER_INIT;
    begin_request("put_many", 2);
    write_entries(0, MANY, 7);
    kv_write_tuple(&message, 2);
    kv_write_atom_text(&message, "$gen_cast");
    kv_write_term(&message, kv_buffer_bytes(&request));
    feed_message(f, f->a, &bucket, kv_buffer_bytes(&message));
    kv_buffer_free(&message);
    cr_assert(kv_bytes_equal(ask(term_atom("size")), term_integer(MANY)));
}

/* ---- few keys with large values ---------------------------------------------------------------
 */

static void put_large(int64_t key, size_t length)
{
    static uint8_t data[1024 * 1024];
    begin_request("put", 3);
    kv_write_i64(&request, key);
    kv_write_binary(&request, kv_bytes(data, length));
    cr_assert(kv_bytes_equal(ask(kv_buffer_bytes(&request)), term_atom("ok")));
}

/* {get_many, Keys} with the keys 1, 2 (which is absent), 1, 2 and so on. */
static void request_values(uint32_t count)
{
    begin_request("get_many", 2);
    kv_write_list(&request, count);
    for (uint32_t i = 0; i < count; i++) {
        kv_write_i64(&request, 1 + i % 2);
    }
    kv_write_nil(&request);
}

Test(long_requests, a_get_many_of_few_keys_with_large_values_goes_on_too)
{
    enum { KEYS = 200, LENGTH = 100 * 1000 };
    uint32_t count = 0;
    put_large(1, LENGTH);
    request_values(KEYS);
    send_request(1);
    cr_assert_eq(answer_at(f, 1).length, 0);
    cr_assert_gt(run_to_the_end(f), KEYS / 2 * LENGTH / KV_PIECE_BYTES / 2);
    struct kv_reader reader = kv_reader(answer_at(f, 1));
    cr_assert_eq(kv_read_list(&reader, &count), KV_OK);
    cr_assert_eq(count, KEYS);
    for (uint32_t i = 0; i < KEYS; i++) {
        struct kv_bytes value = NONE;
        cr_assert_eq(i % 2 == 0 ? kv_read_binary(&reader, &value)
                                : kv_read_this_atom(&reader, "nil"),
                     KV_OK);
        cr_assert_eq(value.length, i % 2 == 0 ? LENGTH : 0);
    }
    cr_assert_eq(kv_read_nil(&reader), KV_OK);
    cr_assert(kv_reader_at_end(&reader));
}

Test(long_requests, a_get_many_with_too_large_an_answer_is_refused_in_its_first_turn)
{
    enum { KEYS = 800, LENGTH = 1024 * 1024 };
    put_large(1, LENGTH);
    request_values(KEYS);
    send_request(1);
    struct kv_reader reader = kv_reader(answer_at(f, 1));
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "error"), KV_OK);
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "too_large"), KV_OK);
    cr_assert_not(kv_runtime_step(f->runtime));
}
