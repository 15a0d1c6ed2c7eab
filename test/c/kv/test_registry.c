/* The answers of a registry, with buckets of its own and with a creator. */
#include "support/fixture.h"

#include "kv/kv.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct fixture *f;
static struct kv_pid native;   /* makes its own buckets */
static struct kv_pid asking;   /* asks process 50 of a@host for them */
static struct kv_pid observed; /* makes its own, and tells process 60 of a@host */

static struct kv_bytes pair(const char *name, struct kv_bytes term)
{
    return term_tuple(term_atom(name), term, NONE, NONE);
}

static void set_up(void)
{
    struct kv_pid creator = pid_a(50);
    struct kv_pid listener = pid_a(60);
    f = fixture_with_services();
    native = feed_registry(f, NONE);
    asking = feed_registry(f, pair("creator", term_pid(&creator)));
    observed = feed_registry(f, pair("event_manager", term_pid(&listener)));
    forget(f);
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(registry, .init = set_up, .fini = tear_down, .timeout = 60);

static struct kv_bytes lookup(const struct kv_pid *registry, const char *name)
{
    return call(f, registry, pair("lookup", term_binary(name)));
}

static struct kv_bytes create(const struct kv_pid *registry, const char *name)
{
    return call(f, registry, pair("create", term_binary(name)));
}

static void kill_process(const struct kv_pid *pid)
{
    struct kv_pid killer = pid_a(1);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &killer, pid, term_atom("kill"));
}

/* ---- names -------------------------------------------------------------------------------------
 */

Test(registry, spawns_buckets)
{
    assert_term(lookup(&native, "shopping"), term_atom("error"));
    struct kv_pid bucket = pid_in(create(&native, "shopping"));
    assert_term(lookup(&native, "shopping"), pair("ok", term_pid(&bucket)));
    struct kv_bytes put = term_tuple(term_atom("put"), term_binary("milk"), term_integer(1), NONE);
    assert_term(call(f, &bucket, put), term_atom("ok"));
}

Test(registry, creating_an_existing_name_answers_the_bucket_that_is_there)
{
    struct kv_pid bucket = pid_in(create(&native, "shopping"));
    struct kv_pid again = pid_in(create(&native, "shopping"));
    cr_assert(kv_pid_equal(&bucket, &again));
}

Test(registry, removes_buckets_on_exit_and_creates_another_under_the_name)
{
    struct kv_pid bucket = pid_in(create(&native, "shopping"));
    struct kv_pid other = pid_in(create(&native, "other"));
    kill_process(&bucket);
    assert_term(lookup(&native, "shopping"), term_atom("error"));
    assert_term(lookup(&native, "other"), pair("ok", term_pid(&other)));
    struct kv_pid fresh = pid_in(create(&native, "shopping"));
    cr_assert_not(kv_pid_equal(&bucket, &fresh));
}

Test(registry, registries_do_not_see_each_others_names)
{
    (void)create(&native, "shopping");
    assert_term(lookup(&observed, "shopping"), term_atom("error"));
}

Test(registry, names_lists_the_names_and_the_state_maps_them_to_pids)
{
    assert_term(call(f, &native, term_atom("names")), term_list(NONE, NONE, NONE));
    struct kv_pid bucket = pid_in(create(&native, "shopping"));
    assert_term(call(f, &native, term_atom("names")),
                term_list(term_binary("shopping"), NONE, NONE));
    struct kv_reader state = kv_reader(system_call(f, &native, term_atom("get_state")));
    struct kv_pid pid;
    uint32_t pairs = 0;
    cr_assert_eq(kv_read_map(&state, &pairs), KV_OK);
    cr_assert_eq(pairs, 1);
    cr_assert_eq(kv_read_any(&state, NULL), KV_OK);
    cr_assert_eq(kv_read_pid(&state, &pid), KV_OK);
    cr_assert(kv_pid_equal(&pid, &bucket));
}

Test(registry, any_binary_is_a_name_and_nothing_else)
{
    (void)pid_in(create(&native, ""));
    struct kv_bytes names[] = {term_atom("shopping"), term_integer(1)};
    for (size_t i = 0; i < 2; i++) {
        struct kv_bytes error = pair("error", pair("bad_name", names[i]));
        assert_term(call(f, &native, pair("lookup", names[i])), error);
        assert_term(call(f, &native, pair("create", names[i])), error);
        cast(f, &native, pair("create", names[i]));
    }
    assert_term(call(f, &native, term_atom("names")), term_list(term_binary(""), NONE, NONE));
}

Test(registry, an_unknown_request_is_answered_with_an_error_that_repeats_it)
{
    struct kv_bytes odd = term_atom("frobnicate");
    assert_term(call(f, &native, odd), pair("error", pair("bad_request", odd)));
}

Test(registry, stop_answers_ok_and_ends_it_and_the_buckets_it_made)
{
    struct kv_pid bucket = pid_in(create(&native, "shopping"));
    assert_term(call(f, &native, term_atom("stop")), term_atom("ok"));
    cr_assert_not(kv_is_alive(f->runtime, &native));
    cr_assert_not(kv_is_alive(f->runtime, &bucket));
}

Test(registry, takes_the_buckets_it_made_with_it_when_it_is_killed)
{
    struct kv_pid bucket = pid_in(create(&native, "shopping"));
    kill_process(&native);
    cr_assert_not(kv_is_alive(f->runtime, &bucket));
}

Test(registry, a_create_by_cast_is_there_for_the_next_lookup)
{
    cast(f, &native, pair("create", term_binary("shopping")));
    cr_assert_not(kv_term_is_atom(lookup(&native, "shopping"), "error"));
}

Test(registry, a_thousand_names_come_and_go)
{
    char name[16];
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof name, "%d", i);
        struct kv_pid bucket = pid_in(create(&native, name));
        if (i % 2 == 0) {
            kill_process(&bucket);
        }
        forget(f);
    }
    assert_term(lookup(&native, "998"), term_atom("error"));
    cr_assert_not(kv_term_is_atom(lookup(&native, "999"), "error"));
}

/* ---- events ------------------------------------------------------------------------------------
 */

static struct kv_bytes event(const char *kind, const char *name, const struct kv_pid *pid)
{
    return pair("notify", term_tuple(term_atom(kind), term_binary(name), term_pid(pid), NONE));
}

Test(registry, sends_events_on_create_and_exit)
{
    struct kv_pid bucket = pid_in(create(&observed, "shopping"));
    (void)create(&observed, "shopping");
    kill_process(&bucket);
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE), 2);
    assert_term(payload_of(sent_of(f, KV_SIGNAL_MESSAGE, 0)), event("create", "shopping", &bucket));
    assert_term(payload_of(sent_of(f, KV_SIGNAL_MESSAGE, 1)), event("exit", "shopping", &bucket));
}

Test(registry, an_event_manager_may_be_a_name_on_a_node)
{
    struct kv_pid registry =
        feed_registry(f, pair("event_manager",
                              term_tuple(term_atom("manager"), term_atom("b@host"), NONE, NONE)));
    (void)create(&registry, "shopping");
    const struct sent *sent = sent_of(f, KV_SIGNAL_MESSAGE_NAME, 0);
    cr_assert_not_null(sent);
    cr_assert_str_eq(sent->to, "b@host");
    cr_assert(kv_bytes_is(sent->signal.name, "manager"));
}

/* ---- by way of a creator -----------------------------------------------------------------------
 */

static struct kv_pid spawn_bucket(void)
{
    struct kv_pid pid =
        feed_spawn(f, f->a, "kv_bucket", term_list(NONE, NONE, NONE), term_list(NONE, NONE, NONE));
    pid.node = kv_bytes_text(FIXTURE_NODE);
    return pid;
}

static void answer(const char *kind, const char *name, struct kv_bytes term)
{
    cast(f, &asking, term_tuple(term_atom(kind), term_binary(name), term, NONE));
}

Test(registry, asks_its_creator_once_and_goes_on_serving)
{
    assert_term(create(&asking, "shopping"), NONE);
    assert_term(create(&asking, "shopping"), NONE);
    cast(f, &asking, pair("create", term_binary("shopping")));
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE), 1);
    const struct sent *question = sent_of(f, KV_SIGNAL_MESSAGE, 0);
    assert_term(payload_of(question), term_tuple(term_atom("create_bucket"), term_pid(&asking),
                                                 term_binary("shopping"), NONE));
    assert_term(lookup(&asking, "other"), term_atom("error"));
}

Test(registry, requests_about_a_name_wait_until_it_is_created_and_keep_their_order)
{
    cast(f, &asking, pair("create", term_binary("shopping")));
    assert_term(lookup(&asking, "shopping"), NONE);
    assert_term(create(&asking, "shopping"), NONE);
    struct kv_pid bucket = spawn_bucket();
    answer("bucket_created", "shopping", term_pid(&bucket));
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE_ALIAS), 2);
    struct kv_bytes replies[2] = {pair("ok", term_pid(&bucket)), term_pid(&bucket)};
    for (size_t i = 0; i < 2; i++) {
        struct kv_bytes reply = NONE;
        struct kv_reader reader = kv_reader(payload_of(sent_of(f, KV_SIGNAL_MESSAGE_ALIAS, i)));
        cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
        cr_assert_eq(kv_read_any(&reader, NULL), KV_OK);
        cr_assert_eq(kv_read_any(&reader, &reply), KV_OK);
        assert_term(reply, replies[i]);
    }
}

Test(registry, a_failed_creation_is_an_error_for_creates_and_no_bucket_for_lookups)
{
    (void)create(&asking, "shopping");
    (void)lookup(&asking, "shopping");
    answer("bucket_failed", "shopping", term_atom("no_room"));
    struct kv_bytes replies[2] = {pair("error", term_atom("no_room")), term_atom("error")};
    for (size_t i = 0; i < 2; i++) {
        struct kv_bytes reply = NONE;
        struct kv_reader reader = kv_reader(payload_of(sent_of(f, KV_SIGNAL_MESSAGE_ALIAS, i)));
        cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
        cr_assert_eq(kv_read_any(&reader, NULL), KV_OK);
        cr_assert_eq(kv_read_any(&reader, &reply), KV_OK);
        assert_term(reply, replies[i]);
    }
    assert_term(lookup(&asking, "shopping"), term_atom("error"));
}

Test(registry, a_bucket_that_died_before_it_was_announced_is_not_found_afterwards)
{
    (void)create(&asking, "shopping");
    struct kv_pid bucket = spawn_bucket();
    kill_process(&bucket);
    answer("bucket_created", "shopping", term_pid(&bucket));
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE_ALIAS), 1);
    assert_term(lookup(&asking, "shopping"), term_atom("error"));
}

Test(registry, answers_nobody_asked_for_change_nothing)
{
    struct kv_pid bucket = spawn_bucket();
    answer("bucket_created", "shopping", term_pid(&bucket));
    answer("bucket_failed", "shopping", term_atom("no_room"));
    answer("bucket_eaten", "shopping", term_atom("no_room"));
    assert_term(lookup(&asking, "shopping"), term_atom("error"));
}

static struct kv_bytes say_created(const char *name, struct kv_bytes pid)
{
    return call(f, &asking, term_tuple(term_atom("bucket_created"), term_binary(name), pid, NONE));
}

Test(registry, a_creator_that_asks_hears_whether_its_bucket_has_the_name)
{
    struct kv_pid one = spawn_bucket();
    struct kv_pid two = spawn_bucket();
    assert_term(say_created("shopping", term_pid(&one)), pair("error", term_atom("unknown_name")));
    cast(f, &asking, pair("create", term_binary("shopping")));
    assert_term(say_created("shopping", term_pid(&one)), term_atom("ok"));
    assert_term(say_created("shopping", term_pid(&one)), term_atom("ok"));
    assert_term(say_created("shopping", term_pid(&two)),
                pair("error", pair("already_created", term_pid(&one))));
    assert_term(lookup(&asking, "shopping"), pair("ok", term_pid(&one)));
}

Test(registry, a_bucket_that_is_announced_by_call_and_dead_is_created_and_gone)
{
    struct kv_pid bucket = spawn_bucket();
    kill_process(&bucket);
    cast(f, &asking, pair("create", term_binary("shopping")));
    assert_term(say_created("shopping", term_pid(&bucket)), term_atom("ok"));
    assert_term(say_created("shopping", term_pid(&bucket)),
                pair("error", term_atom("unknown_name")));
}

Test(registry, an_announcement_of_what_is_no_pid_is_a_bad_request)
{
    cast(f, &asking, pair("create", term_binary("shopping")));
    struct kv_bytes odd =
        term_tuple(term_atom("bucket_created"), term_binary("shopping"), term_integer(1), NONE);
    assert_term(call(f, &asking, odd), pair("error", pair("bad_request", odd)));
    odd = term_tuple(term_atom("bucket_failed"), term_binary("shopping"), term_atom("x"), NONE);
    assert_term(call(f, &asking, odd), pair("error", pair("bad_request", odd)));
}

Test(registry, says_of_which_generation_it_is)
{
    struct kv_pid seventh = feed_registry(f, pair("generation", term_integer(7)));
    assert_term(call(f, &seventh, term_atom("generation")), term_integer(7));
    assert_term(call(f, &native, term_atom("generation")), term_integer(1));
}

Test(registry, when_the_creator_is_lost_what_was_being_created_has_failed)
{
    struct kv_pid creator = pid_b(50);
    struct kv_pid registry = feed_registry(f, pair("creator", term_pid(&creator)));
    (void)create(&registry, "shopping");
    kv_runtime_peer_down(f->runtime, f->b);
    struct kv_reader reader = kv_reader(payload_of(sent_of(f, KV_SIGNAL_MESSAGE_ALIAS, 0)));
    struct kv_bytes reply = NONE;
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_any(&reader, NULL), KV_OK);
    cr_assert_eq(kv_read_any(&reader, &reply), KV_OK);
    assert_term(reply, pair("error", term_atom("noconnection")));
}

Test(registry, ends_with_its_owner)
{
    struct kv_pid owner = pid_b(3);
    struct kv_pid registry = feed_registry(f, pair("owner", term_pid(&owner)));
    kv_runtime_peer_down(f->runtime, f->b);
    cr_assert_not(kv_is_alive(f->runtime, &registry));
}

/* ---- bounds -----------------------------------------------------------------------------------
 */

enum { NAME_MOST = 64 * 1024 };

static struct kv_bytes long_name(uint32_t number, size_t length)
{
    static uint8_t name[NAME_MOST + 1];
    memcpy(name, &number, sizeof number);
    return kv_bytes(name, length);
}

/* Calls {create, Name}. The answer is the only one since forget(). */
static void create_long(const struct kv_pid *registry, uint32_t number, size_t length)
{
    struct kv_pid caller = pid_a(1);
    struct kv_ref alias = ref_a(1);
    struct kv_buffer message = KV_BUFFER_INIT;
    kv_write_tuple(&message, 3);
    kv_write_atom_text(&message, "$gen_call");
    kv_write_term(&message, term_from(&caller, &alias));
    kv_write_tuple(&message, 2);
    kv_write_atom_text(&message, "create");
    kv_write_binary(&message, long_name(number, length));
    forget(f);
    feed_message(f, f->a, registry, kv_buffer_bytes(&message));
    kv_buffer_free(&message);
}

static struct kv_bytes last_answer(void)
{
    struct kv_bytes term = NONE;
    struct kv_reader reader = kv_reader(payload_of(sent_of(f, KV_SIGNAL_MESSAGE_ALIAS, 0)));
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_any(&reader, &term), KV_OK);
    cr_assert_eq(kv_read_any(&reader, &term), KV_OK);
    return term;
}

Test(registry, takes_names_of_up_to_64_kib)
{
    create_long(&native, 1, NAME_MOST);
    (void)pid_in(last_answer());
    create_long(&native, 2, NAME_MOST + 1);
    assert_term(last_answer(), pair("error", pair("name_too_long", term_integer(NAME_MOST + 1))));
}

/* {'$gen_cast', {bucket_created, Name, Pid}} */
static void answer_creator(uint32_t number, const struct kv_pid *bucket)
{
    struct kv_buffer message = KV_BUFFER_INIT;
    kv_write_tuple(&message, 2);
    kv_write_atom_text(&message, "$gen_cast");
    kv_write_tuple(&message, 3);
    kv_write_atom_text(&message, "bucket_created");
    kv_write_binary(&message, long_name(number, NAME_MOST));
    kv_write_pid(&message, bucket);
    feed_message(f, f->a, &asking, kv_buffer_bytes(&message));
    kv_buffer_free(&message);
}

Test(registry, whose_lists_are_too_large_for_a_message_says_so)
{
    enum { NAMES = (1 << 28) / NAME_MOST };
    struct kv_pid bucket = pid_in(create(&native, "one for all"));
    for (uint32_t i = 0; i < NAMES; i++) {
        create_long(&asking, i, NAME_MOST);
        answer_creator(i, &bucket);
    }
    forget(f);
    int64_t names = (int64_t)NAMES * (NAME_MOST + 5);
    int64_t state = names + (int64_t)NAMES * (15 + 7);
    assert_term(call(f, &asking, term_atom("names")),
                pair("error", pair("too_large", term_integer(names))));
    assert_term(system_call(f, &asking, term_atom("get_state")),
                pair("error", pair("too_large", term_integer(state))));
    assert_term(lookup(&asking, "none"), term_atom("error"));
}
