/* The answers of a bucket. */
#include "support/fixture.h"

#include "kv/kv.h"

#include <criterion/criterion.h>

static struct fixture *f;
static struct kv_pid bucket;

static void set_up(void)
{
    f = bucket_fixture(&bucket);
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(bucket, .init = set_up, .fini = tear_down, .timeout = 20);

static struct kv_bytes request(const char *name, struct kv_bytes one, struct kv_bytes two)
{
    return term_tuple(term_atom(name), one, two, NONE);
}

static struct kv_bytes ask(const char *name, struct kv_bytes one, struct kv_bytes two)
{
    return call(f, &bucket, request(name, one, two));
}

static struct kv_bytes cannot_run_closures(struct kv_bytes reply)
{
    struct kv_reader reader = kv_reader(reply);
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "error"), KV_OK);
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "cannot_run_closures"), KV_OK);
    return reply;
}

Test(bucket, stores_values_by_key)
{
    assert_term(ask("get", term_binary("milk"), NONE), term_atom("nil"));
    assert_term(ask("put", term_binary("milk"), term_integer(3)), term_atom("ok"));
    assert_term(ask("get", term_binary("milk"), NONE), term_integer(3));
}

Test(bucket, a_second_put_replaces_the_value)
{
    (void)ask("put", term_binary("milk"), term_integer(3));
    (void)ask("put", term_binary("milk"), term_binary("a lot"));
    assert_term(ask("get", term_binary("milk"), NONE), term_binary("a lot"));
}

Test(bucket, get_with_a_default_answers_it_for_an_absent_key_only)
{
    (void)ask("put", term_atom("a"), term_atom("nil"));
    assert_term(ask("get", term_atom("a"), term_integer(0)), term_atom("nil"));
    assert_term(ask("get", term_atom("b"), term_integer(0)), term_integer(0));
}

Test(bucket, fetch_tells_an_absent_key_from_a_nil)
{
    (void)ask("put", term_atom("a"), term_atom("nil"));
    assert_term(ask("fetch", term_atom("a"), NONE), request("ok", term_atom("nil"), NONE));
    assert_term(ask("fetch", term_atom("b"), NONE), term_atom("error"));
}

Test(bucket, put_new_leaves_a_present_key_alone)
{
    assert_term(ask("put_new", term_atom("a"), term_integer(1)), term_atom("true"));
    assert_term(ask("put_new", term_atom("a"), term_integer(2)), term_atom("false"));
    assert_term(ask("get", term_atom("a"), NONE), term_integer(1));
}

Test(bucket, delete_answers_the_old_value_or_nil)
{
    (void)ask("put", term_atom("a"), term_integer(1));
    assert_term(ask("delete", term_atom("a"), NONE), term_integer(1));
    assert_term(ask("delete", term_atom("a"), NONE), term_atom("nil"));
    assert_term(ask("has_key", term_atom("a"), NONE), term_atom("false"));
}

Test(bucket, size_counts_and_clear_empties)
{
    (void)ask("put", term_atom("a"), term_integer(1));
    (void)ask("put", term_atom("b"), term_integer(1));
    assert_term(call(f, &bucket, term_atom("size")), term_integer(2));
    assert_term(call(f, &bucket, term_atom("clear")), term_atom("ok"));
    assert_term(call(f, &bucket, term_atom("size")), term_integer(0));
}

Test(bucket, keys_and_to_map_show_all_and_the_state_is_the_map)
{
    assert_term(call(f, &bucket, term_atom("keys")), term_list(NONE, NONE, NONE));
    (void)ask("put", term_atom("a"), term_integer(1));
    assert_term(call(f, &bucket, term_atom("keys")), term_list(term_atom("a"), NONE, NONE));
    static const uint8_t map[] = {116, 0, 0, 0, 1, 119, 1, 'a', 97, 1};
    assert_term(call(f, &bucket, term_atom("to_map")), kv_bytes(map, sizeof map));
    assert_term(system_call(f, &bucket, term_atom("get_state")), kv_bytes(map, sizeof map));
}

Test(bucket, a_key_is_one_however_it_was_encoded)
{
    static const uint8_t one_as_integer[] = {98, 0, 0, 0, 1};
    static const uint8_t one_as_big[] = {110, 2, 0, 1, 0};
    static const uint8_t one_as_float[] = {70, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0};
    (void)ask("put", term_integer(1), term_atom("integer"));
    (void)ask("put", kv_bytes(one_as_float, sizeof one_as_float), term_atom("float"));
    assert_term(ask("get", kv_bytes(one_as_integer, sizeof one_as_integer), NONE),
                term_atom("integer"));
    assert_term(ask("get", kv_bytes(one_as_big, sizeof one_as_big), NONE), term_atom("integer"));
    assert_term(call(f, &bucket, term_atom("size")), term_integer(2));
}

Test(bucket, maps_as_keys_agree_in_any_order)
{
    static const uint8_t ab[] = {116, 0, 0, 0, 2, 119, 1, 'a', 97, 1, 119, 1, 'b', 97, 2};
    static const uint8_t ba[] = {116, 0, 0, 0, 2, 119, 1, 'b', 97, 2, 119, 1, 'a', 97, 1};
    (void)ask("put", kv_bytes(ab, sizeof ab), term_integer(1));
    assert_term(ask("get", kv_bytes(ba, sizeof ba), NONE), term_integer(1));
}

Test(bucket, values_come_back_byte_for_byte)
{
    static const uint8_t big_one[] = {110, 2, 0, 1, 0};
    (void)ask("put", term_atom("a"), kv_bytes(big_one, sizeof big_one));
    assert_term(ask("get", term_atom("a"), NONE), kv_bytes(big_one, sizeof big_one));
}

static struct kv_bytes mfa(const char *module, const char *function, struct kv_bytes one,
                           struct kv_bytes two)
{
    return term_tuple(term_atom(module), term_atom(function), term_list(one, two, NONE), NONE);
}

Test(bucket, agents_closures_get_a_clear_error)
{
    static const uint8_t capture[] = {113, 119, 1, 'm', 119, 1, 'f', 97, 1};
    struct kv_bytes unknown = mfa("Elixir.Enum", "sum", term_atom("a"), NONE);
    struct kv_bytes put = mfa("Elixir.Map", "put", term_atom("a"), term_integer(1));
    struct kv_bytes fun = kv_bytes(capture, sizeof capture);
    (void)cannot_run_closures(ask("get", unknown, NONE));
    (void)cannot_run_closures(ask("get", put, NONE)); /* would answer the new map */
    (void)cannot_run_closures(ask("get", fun, NONE));
    (void)cannot_run_closures(ask("update", fun, NONE));
    (void)cannot_run_closures(ask("get_and_update", unknown, NONE));
}

Test(bucket, agents_functions_of_maps_are_done_without_their_code)
{
    struct kv_bytes a = term_atom("a");
    struct kv_bytes one = term_integer(1);
    assert_term(ask("get", mfa("Elixir.Map", "get", a, NONE), NONE), term_atom("nil"));
    assert_term(ask("get", mfa("Elixir.Map", "get", a, one), NONE), one);
    assert_term(ask("update", mfa("Elixir.Map", "put", a, one), NONE), term_atom("ok"));
    assert_term(ask("update", mfa("Elixir.Map", "put_new", a, a), NONE), term_atom("ok"));
    assert_term(ask("get", mfa("Elixir.Map", "get", a, NONE), NONE), one);
    assert_term(ask("get", mfa("Elixir.Map", "fetch", a, NONE), NONE), request("ok", one, NONE));
    assert_term(ask("get", mfa("Elixir.Map", "has_key?", a, NONE), NONE), term_atom("true"));
    assert_term(ask("get", mfa("maps", "size", NONE, NONE), NONE), one);
    assert_term(ask("get", mfa("maps", "keys", NONE, NONE), NONE), term_list(a, NONE, NONE));
    assert_term(ask("get", mfa("Elixir.Map", "values", NONE, NONE), NONE),
                term_list(one, NONE, NONE));
    assert_term(ask("get", mfa("Elixir.Map", "to_list", NONE, NONE), NONE),
                term_list(term_tuple(a, one, NONE, NONE), NONE, NONE));
    assert_term(ask("get_and_update", mfa("Elixir.Map", "pop", a, NONE), NONE), one);
    assert_term(ask("get_and_update", mfa("Elixir.Map", "pop", a, term_integer(2)), NONE),
                term_integer(2));
    assert_term(ask("get", mfa("Elixir.Map", "fetch", a, NONE), NONE), term_atom("error"));
    cast(f, &bucket, request("cast", mfa("Elixir.Map", "put", a, one), NONE));
    assert_term(ask("update", mfa("Elixir.Map", "delete", a, NONE), NONE), term_atom("ok"));
    assert_term(call(f, &bucket, term_atom("size")), term_integer(0));
}

Test(bucket, agents_functions_count_as_size_does_what_has_expired)
{
    struct kv_bytes put =
        term_tuple(term_atom("put"), term_atom("a"), term_integer(1), term_integer(30));
    struct kv_bytes modules[] = {term_atom("maps"), term_atom("erlang"),
                                 term_atom("Elixir.Kernel")};
    kv_arena_set_time(f->arena, 1000);
    (void)call(f, &bucket, put);
    kv_arena_set_time(f->arena, 2000);
    assert_term(ask("get", mfa("maps", "size", NONE, NONE), NONE), term_integer(0));
    assert_term(call(f, &bucket, term_atom("size")), term_integer(0));
    for (size_t i = 1; i < sizeof modules / sizeof modules[0]; i++) {
        assert_term(
            ask("get",
                term_tuple(modules[i], term_atom("map_size"), term_list(NONE, NONE, NONE), NONE),
                NONE),
            term_integer(0));
    }
}

Test(bucket, agents_arguments_are_a_proper_list)
{
    struct kv_buffer *improper = term_buffer();
    kv_write_list(improper, 1);
    kv_write_atom_text(improper, "a");
    kv_write_atom_text(improper, "tail");
    (void)ask("put", term_atom("a"), term_integer(1));
    struct kv_bytes get =
        term_tuple(term_atom("Elixir.Map"), term_atom("get"), kv_buffer_bytes(improper), NONE);
    (void)cannot_run_closures(ask("get", get, NONE));
}

Test(bucket, small_numbers_as_arguments_may_come_as_a_string)
{
    static const uint8_t put_1_2[] = {104, 3,   119, 10, 'E', 'l', 'i', 'x', 'i', 'r', '.', 'M',
                                      'a', 'p', 119, 3,  'p', 'u', 't', 107, 0,   2,   1,   2};
    assert_term(ask("update", kv_bytes(put_1_2, sizeof put_1_2), NONE), term_atom("ok"));
    assert_term(ask("fetch", term_integer(1), NONE), request("ok", term_integer(2), NONE));
}

Test(bucket, a_fun_is_a_key_like_any_other_where_a_default_is_given)
{
    static const uint8_t capture[] = {113, 119, 1, 'm', 119, 1, 'f', 97, 1};
    struct kv_bytes fun = kv_bytes(capture, sizeof capture);
    (void)ask("put", fun, term_integer(1));
    assert_term(ask("get", fun, term_atom("nil")), term_integer(1));
}

Test(bucket, an_unknown_request_is_answered_with_an_error_that_repeats_it)
{
    struct kv_bytes odd[] = {
        term_atom("frobnicate"),
        term_integer(1),
        term_binary("get"),
        request("get", NONE, NONE),
        term_tuple(term_atom("delete"), term_integer(1), term_integer(2), term_integer(3)),
        term_tuple(term_integer(1), term_integer(2), NONE, NONE)};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        assert_term(call(f, &bucket, odd[i]),
                    request("error", request("bad_request", odd[i], NONE), NONE));
    }
}

Test(bucket, casts_put_delete_and_clear)
{
    cast(f, &bucket, request("put", term_atom("a"), term_integer(1)));
    assert_term(ask("get", term_atom("a"), NONE), term_integer(1));
    cast(f, &bucket, request("delete", term_atom("a"), NONE));
    assert_term(ask("get", term_atom("a"), NONE), term_atom("nil"));
    cast(f, &bucket, request("put", term_atom("a"), term_integer(1)));
    cast(f, &bucket, term_atom("clear"));
    assert_term(call(f, &bucket, term_atom("size")), term_integer(0));
}

Test(bucket, casts_and_messages_that_mean_nothing_are_ignored)
{
    cast(f, &bucket, request("cast", term_integer(1), NONE));
    cast(f, &bucket, term_integer(1));
    feed_message(f, f->a, &bucket, term_atom("hello"));
    cr_assert(kv_is_alive(f->runtime, &bucket));
}

/* ---- options -----------------------------------------------------------------------------------
 */

static struct kv_pid spawn_with(struct kv_bytes one, struct kv_bytes two)
{
    return feed_spawn(f, f->a, "kv_bucket", term_list(term_atom("monitor"), NONE, NONE),
                      term_list(one, two, NONE));
}

Test(bucket, tells_its_owner_that_it_serves_and_watches_it)
{
    struct kv_pid owner = pid_b(3);
    forget(f);
    struct kv_pid pid = spawn_with(request("owner", term_pid(&owner), NONE), NONE);
    const struct sent *ack = sent_of(f, KV_SIGNAL_MESSAGE, 0);
    struct kv_bytes self = term_pid(&pid);
    assert_term(payload_of(ack),
                term_tuple(term_atom("ack"), self, request("ok", self, NONE), NONE));
    cr_assert_str_eq(ack->to, "b@host");
    cr_assert(kv_pid_equal(&sent_of(f, KV_SIGNAL_MONITOR, 0)->signal.to, &owner));
}

Test(bucket, watches_its_owner_before_it_tells_it)
{
    struct kv_pid owner = pid_b(3);
    forget(f);
    (void)spawn_with(request("owner", term_pid(&owner), NONE), NONE);
    cr_assert_lt(sent_of(f, KV_SIGNAL_MONITOR, 0), sent_of(f, KV_SIGNAL_MESSAGE, 0));
}

Test(bucket, ends_with_the_reason_of_its_owner)
{
    struct kv_pid owner = pid_b(3);
    forget(f);
    struct kv_pid pid = spawn_with(request("owner", term_pid(&owner), NONE), NONE);
    struct kv_signal down = {.kind = KV_SIGNAL_DOWN,
                             .from = owner,
                             .to = pid,
                             .ref = sent_of(f, KV_SIGNAL_MONITOR, 0)->signal.ref,
                             .payload = {term_atom("shutdown")},
                             .payload_parts = 1};
    feed(f, f->b, &down);
    assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)), term_atom("shutdown"));
}

Test(bucket, ends_with_noconnection_when_its_owners_node_is_lost)
{
    struct kv_pid owner = pid_b(3);
    forget(f);
    (void)spawn_with(request("owner", term_pid(&owner), NONE), NONE);
    kv_runtime_peer_down(f->runtime, f->b);
    assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)), term_atom("noconnection"));
}

Test(bucket, a_wrong_option_ends_it_and_names_the_option)
{
    struct kv_pid owner = pid_b(3);
    struct kv_bytes bad = request("flavour", term_atom("sweet"), NONE);
    forget(f);
    (void)spawn_with(request("owner", term_pid(&owner), NONE), bad);
    struct kv_bytes reason = request("bad_option", bad, NONE);
    assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)), reason);
    struct kv_reader ack = kv_reader(payload_of(sent_of(f, KV_SIGNAL_MESSAGE, 0)));
    struct kv_bytes told = NONE;
    cr_assert_eq(kv_read_tuple_of(&ack, 3), KV_OK);
    cr_assert_eq(kv_read_any(&ack, NULL), KV_OK);
    cr_assert_eq(kv_read_any(&ack, NULL), KV_OK);
    cr_assert_eq(kv_read_any(&ack, &told), KV_OK);
    assert_term(told, request("error", reason, NONE));
}

Test(bucket, misshapen_options_are_wrong_options)
{
    struct kv_bytes rows[] = {term_integer(5),
                              term_atom("owner"),
                              request("owner", term_integer(1), NONE),
                              request("generation", term_integer(0), NONE),
                              request("generation", term_integer(-1), NONE),
                              request("generation", term_atom("one"), NONE),
                              request("only", term_integer(1), NONE),
                              request("name", term_integer(1), NONE),
                              request("name", term_atom(""), NONE),
                              request("name", term_atom("undefined"), NONE),
                              request("label", term_integer(1), NONE),
                              request("creator", term_integer(1), NONE)};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        forget(f);
        (void)spawn_with(rows[i], NONE);
        struct kv_reader reader = kv_reader(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)));
        cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
        cr_assert_eq(kv_read_this_atom(&reader, "bad_option"), KV_OK);
    }
}

Test(bucket, options_that_are_bytes_are_wrong_and_the_first_is_named)
{
    static const uint8_t text[] = {107, 0, 2, 'h', 'i'};
    forget(f);
    (void)feed_spawn(f, f->a, "kv_bucket", term_list(term_atom("monitor"), NONE, NONE),
                     kv_bytes(text, sizeof text));
    assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)),
                request("bad_option", term_integer('h'), NONE));
}

Test(bucket, a_name_that_is_taken_ends_it_and_says_by_whom)
{
    forget(f);
    struct kv_pid first = spawn_with(request("name", term_atom("bob"), NONE), NONE);
    (void)spawn_with(request("name", term_atom("bob"), NONE), NONE);
    assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)),
                request("already_registered", term_pid(&first), NONE));
}

Test(bucket, net_kernel_answers_a_ping)
{
    struct kv_pid net_kernel;
    cr_assert(kv_whereis(f->runtime, kv_bytes_text("net_kernel"), &net_kernel));
    assert_term(call(f, &net_kernel, request("is_auth", term_atom("a@host"), NONE)),
                term_atom("yes"));
    cr_assert_neq(call(f, &net_kernel, term_atom("other")).length, 0);
}

/* ---- time and room ----------------------------------------------------------------------------
 */

static struct kv_bytes put_for(const char *name, struct kv_bytes key, struct kv_bytes value,
                               struct kv_bytes ttl)
{
    return call(f, &bucket, term_tuple(term_atom(name), key, value, ttl));
}

Test(bucket, a_key_that_was_put_with_a_time_is_gone_when_it_is_over)
{
    struct kv_bytes key = term_binary("milk");
    kv_arena_set_time(f->arena, 1000);
    assert_term(put_for("put", key, term_integer(3), term_integer(500)), term_atom("ok"));
    assert_term(put_for("put_new", term_integer(1), term_integer(3), term_integer(500)),
                term_atom("true"));
    assert_term(put_for("put", term_integer(2), term_integer(3), term_atom("infinity")),
                term_atom("ok"));
    (void)ask("put", term_integer(4), term_integer(4)); /* the time holds for one request */
    kv_arena_set_time(f->arena, 1499);
    assert_term(ask("get", key, NONE), term_integer(3));
    kv_arena_set_time(f->arena, 1500);
    assert_term(ask("get", key, NONE), term_atom("nil"));
    assert_term(ask("has_key", term_integer(1), NONE), term_atom("false"));
    assert_term(ask("has_key", term_integer(2), NONE), term_atom("true"));
    assert_term(ask("has_key", term_integer(4), NONE), term_atom("true"));
    assert_term(put_for("put_new", key, term_integer(5), term_integer(1)), term_atom("true"));
}

Test(bucket, lists_and_maps_leave_out_what_has_expired_and_was_not_removed_yet)
{
    kv_arena_set_time(f->arena, 1000);
    (void)put_for("put", term_integer(1), term_integer(1), term_integer(10));
    kv_arena_set_time(f->arena, 1010);
    static const uint8_t nil[] = {106};
    static const uint8_t no_pairs[] = {116, 0, 0, 0, 0};
    assert_term(call(f, &bucket, term_atom("keys")), kv_bytes(nil, sizeof nil));
    assert_term(call(f, &bucket, term_atom("to_map")), kv_bytes(no_pairs, sizeof no_pairs));
    (void)ask("put", term_integer(2), term_integer(2));
    assert_term(call(f, &bucket, term_atom("keys")), term_list(term_integer(2), NONE, NONE));
}

Test(bucket, a_time_that_is_none_is_refused_and_nothing_is_put)
{
    struct kv_bytes odd[] = {term_integer(0), term_integer(-1), term_atom("soon"),
                             term_binary("1")};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        assert_term(put_for("put", term_integer(1), term_integer(2), odd[i]),
                    request("error", request("bad_ttl", odd[i], NONE), NONE));
    }
    assert_term(call(f, &bucket, term_atom("size")), term_integer(0));
}

static struct kv_pid limited(struct kv_bytes more)
{
    struct kv_bytes most = request("max_memory", term_integer(4096), NONE);
    struct kv_pid pid =
        feed_spawn(f, f->a, "kv_bucket", term_list(NONE, NONE, NONE), term_list(most, more, NONE));
    pid.node = kv_bytes_text(FIXTURE_NODE);
    return pid;
}

static unsigned puts_that_fit(const struct kv_pid *to, unsigned most)
{
    for (unsigned i = 0; i < most; i++) {
        struct kv_bytes put = term_tuple(term_atom("put"), term_integer(i),
                                         term_binary("thirty-two bytes of some value.."), NONE);
        if (!kv_bytes_equal(call(f, to, put), term_atom("ok"))) {
            return i;
        }
    }
    return most;
}

Test(bucket, a_put_that_finds_no_room_gets_an_error_and_reads_go_on)
{
    struct kv_pid small = limited(NONE);
    unsigned fitting = puts_that_fit(&small, 1000);
    cr_assert_gt(fitting, 30);
    cr_assert_lt(fitting, 1000);
    assert_term(call(f, &small, request("has_key", term_integer(0), NONE)), term_atom("true"));
    assert_term(call(f, &small,
                     request("put_new", term_integer(1000),
                             term_binary("thirty-two bytes of some value.."))),
                request("error", term_atom("enomem"), NONE));
    (void)call(f, &small, request("delete", term_integer(0), NONE));
    assert_term(call(f, &small, request("put", term_integer(0), term_integer(1))), term_atom("ok"));
}

Test(bucket, one_that_evicts_always_finds_room)
{
    struct kv_pid small = limited(request("evict", term_atom("lru"), NONE));
    cr_assert_eq(puts_that_fit(&small, 1000), 1000);
}

Test(bucket, readers_of_the_memory_are_told_while_it_is_suspended)
{
    const struct kv_arena_header *header = (const void *)f->memory.base;
    const struct kv_table_slot *slots =
        (const void *)(f->memory.base + header->slot_blocks[0]); /* slot 0: the directory */
    struct kv_bytes none = term_atom("suspend");
    cr_assert_eq(slots[1].flags, 0);
    (void)system_call(f, &bucket, none);
    cr_assert_eq(slots[1].flags, KV_SLOT_ASK_OWNER);
    (void)system_call(f, &bucket, term_atom("resume"));
    cr_assert_eq(slots[1].flags, 0);
    uint32_t generation = slots[1].generation;
    struct kv_pid killer = pid_a(1);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &killer, &bucket, term_atom("kill"));
    cr_assert_eq(slots[1].generation, generation + 1);
    cr_assert_eq(slots[0].count, 0);
}

/* ---- which life, and how much -------------------------------------------------------------------
 */

Test(bucket, says_of_which_generation_it_is)
{
    struct kv_pid seventh = spawn_with(request("generation", term_integer(7), NONE), NONE);
    seventh.node = kv_bytes_text(FIXTURE_NODE);
    assert_term(call(f, &seventh, term_atom("generation")), term_integer(7));
    assert_term(call(f, &bucket, term_atom("generation")), term_integer(1));
}

/* {kv_totals, Buckets, Registries, Entries, Bytes, Durable} */
static void expect_totals(int64_t buckets, int64_t registries, int64_t entries, int64_t bytes)
{
    struct kv_pid net_kernel;
    struct kv_buffer *expected = term_buffer();
    cr_assert(kv_whereis(f->runtime, kv_bytes_text("net_kernel"), &net_kernel));
    kv_write_tuple(expected, 6);
    kv_write_atom_text(expected, "kv_totals");
    kv_write_i64(expected, buckets);
    kv_write_i64(expected, registries);
    kv_write_i64(expected, entries);
    kv_write_i64(expected, bytes);
    kv_write_i64(expected, 0);
    assert_term(call(f, &net_kernel, term_atom("kv_totals")), kv_buffer_bytes(expected));
}

Test(bucket, the_node_counts_what_all_of_them_hold)
{
    expect_totals(1, 0, 0, 0);
    (void)ask("put", term_binary("milk"), term_binary("three"));
    (void)ask("put", term_binary("eggs"), term_binary("12"));
    expect_totals(1, 0, 2, 4 + 5 + 4 + 2);
    (void)ask("put", term_binary("milk"), term_binary("1"));
    (void)ask("put", term_binary("eggs"), term_binary("10"));
    expect_totals(1, 0, 2, 4 + 1 + 4 + 2);
    (void)ask("delete", term_binary("eggs"), NONE);
    expect_totals(1, 0, 1, 4 + 1);
    struct kv_pid registry = feed_spawn(f, f->a, "kv_registry", term_list(NONE, NONE, NONE),
                                        term_list(NONE, NONE, NONE));
    registry.node = kv_bytes_text(FIXTURE_NODE);
    cast(f, &registry, request("create", term_binary("shopping"), NONE));
    expect_totals(2, 1, 1, 4 + 1); /* its names are nobody's entries */
    (void)call(f, &bucket, term_atom("clear"));
    expect_totals(2, 1, 0, 0);
    (void)ask("put", term_binary("milk"), term_binary("three"));
    struct kv_pid killer = pid_a(1);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &killer, &bucket, term_atom("kill"));
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &killer, &registry, term_atom("kill"));
    expect_totals(0, 0, 0, 0);
}
