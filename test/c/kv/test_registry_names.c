/* A registry: options of buckets, other names, metadata, and lists of names. */
#include "support/fixture.h"

#include "kv/kv.h"
#include "kv/registry.h"
#include "process/inspect.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct fixture *f;
static struct kv_pid native;   /* makes its own buckets, and tells process 60 of a@host */
static struct kv_pid asking;   /* asks process 50 of a@host for them */
static struct kv_buffer large; /* a large term */

static struct kv_bytes pair(const char *name, struct kv_bytes term)
{
    return term_tuple(term_atom(name), term, NONE, NONE);
}

static void set_up(void)
{
    struct kv_pid creator = pid_a(50);
    struct kv_pid listener = pid_a(60);
    f = fixture_with_services();
    native = feed_registry(f, pair("event_manager", term_pid(&listener)));
    asking = feed_registry(f, pair("creator", term_pid(&creator)));
    forget(f);
}

static void tear_down(void)
{
    kv_buffer_free(&large);
    fixture_free(f);
}

TestSuite(registry_names, .init = set_up, .fini = tear_down, .timeout = 20);

static struct kv_bytes ask(const char *name, const char *first)
{
    return call(f, &native, pair(name, term_binary(first)));
}

static struct kv_bytes ask_with(const char *name, const char *first, struct kv_bytes second)
{
    return call(f, &native, term_tuple(term_atom(name), term_binary(first), second, NONE));
}

static struct kv_bytes rename_to(const char *old, const char *new)
{
    return ask_with("rename", old, term_binary(new));
}

static struct kv_pid create(const char *name)
{
    return pid_in(ask("create", name));
}

static struct kv_bytes error(const char *kind, struct kv_bytes detail)
{
    return pair("error", pair(kind, detail));
}

static struct kv_bytes bytes_of(size_t length)
{
    static uint8_t data[128 * 1024];
    kv_buffer_clear(&large);
    kv_write_binary(&large, kv_bytes(data, length));
    return kv_buffer_bytes(&large);
}

/* ---- options of the bucket ---------------------------------------------------------------------
 */

static struct kv_bytes create_with(struct kv_bytes option)
{
    return ask_with("create", "shopping", term_list(option, NONE, NONE));
}

Test(registry_names, a_bucket_is_created_with_the_options_of_the_request)
{
    struct kv_pid bucket = pid_in(create_with(pair("max_memory", term_integer(4096))));
    struct kv_bytes put = term_tuple(term_atom("put"), term_integer(1), bytes_of(8192), NONE);
    assert_term(call(f, &bucket, put), pair("error", term_atom("enomem")));
}

Test(registry_names, the_options_of_a_name_that_exists_do_not_matter)
{
    struct kv_pid bucket = create("shopping");
    struct kv_pid same = pid_in(create_with(pair("evict", term_atom("nonsense"))));
    cr_assert(kv_pid_equal(&bucket, &same));
}

Test(registry_names, a_wrong_option_is_refused_before_anything_starts)
{
    struct kv_pid owner = pid_a(1);
    struct kv_bytes wrong[] = {pair("evict", term_atom("all")), pair("colour", term_atom("red")),
                               pair("owner", term_pid(&owner)), pair("only", term_atom("true")),
                               term_atom("evict")};
    size_t buckets = f->store.buckets;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_term(create_with(wrong[i]), error("bad_option", wrong[i]));
    }
    assert_term(ask_with("create", "shopping", term_atom("evict")),
                error("bad_option", term_atom("evict")));
    assert_term(ask("lookup", "shopping"), term_atom("error"));
    cr_assert_eq(f->store.buckets, buckets);
}

Test(registry_names, options_have_a_limit)
{
    size_t length = KV_CREATE_OPTIONS_MAX_BYTES;
    assert_term(ask_with("create", "shopping", bytes_of(length)),
                error("options_too_large", term_integer((int64_t)length + KV_LONG_HEADER)));
}

/* ---- another name ------------------------------------------------------------------------------
 */

Test(registry_names, a_renamed_bucket_is_found_by_its_new_name_only)
{
    struct kv_pid bucket = create("draft");
    assert_term(rename_to("draft", "final"), term_atom("ok"));
    assert_term(ask("lookup", "draft"), term_atom("error"));
    assert_term(ask("lookup", "final"), pair("ok", term_pid(&bucket)));
    assert_term(call(f, &native, term_atom("names")), term_list(term_binary("final"), NONE, NONE));
}

Test(registry_names, a_renamed_bucket_that_ends_takes_its_new_name_along)
{
    struct kv_pid killer = pid_a(1);
    struct kv_pid bucket = create("draft");
    (void)rename_to("draft", "final");
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &killer, &bucket, term_atom("kill"));
    assert_term(ask("lookup", "final"), term_atom("error"));
    assert_term(call(f, &native, term_atom("count")), term_integer(0));
}

Test(registry_names, a_name_that_another_bucket_has_is_taken)
{
    struct kv_pid draft = create("draft");
    struct kv_pid final = create("final");
    assert_term(rename_to("draft", "final"), pair("error", term_atom("name_taken")));
    assert_term(ask("lookup", "draft"), pair("ok", term_pid(&draft)));
    assert_term(ask("lookup", "final"), pair("ok", term_pid(&final)));
}

Test(registry_names, a_bucket_may_be_given_the_name_it_has)
{
    struct kv_pid bucket = create("draft");
    forget(f);
    assert_term(rename_to("draft", "draft"), term_atom("ok"));
    assert_term(ask("lookup", "draft"), pair("ok", term_pid(&bucket)));
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE), 0);
}

Test(registry_names, what_is_absent_or_no_name_is_not_renamed)
{
    struct kv_bytes odd = term_atom("final");
    (void)create("draft");
    assert_term(rename_to("other", "final"), term_atom("error"));
    assert_term(ask_with("rename", "draft", odd), error("bad_name", odd));
    assert_term(call(f, &native, term_tuple(term_atom("rename"), odd, term_binary("final"), NONE)),
                error("bad_name", odd));
    assert_term(ask_with("rename", "draft", bytes_of(KV_NAME_MAX_BYTES + 1)),
                error("name_too_long", term_integer(KV_NAME_MAX_BYTES + 1)));
}

static struct kv_bytes event(const char *kind, const char *name, const struct kv_pid *pid)
{
    return pair("notify", term_tuple(term_atom(kind), term_binary(name), term_pid(pid), NONE));
}

Test(registry_names, a_rename_is_an_exit_and_a_create_for_the_event_manager)
{
    struct kv_pid bucket = create("draft");
    forget(f);
    cast(f, &native,
         term_tuple(term_atom("rename"), term_binary("draft"), term_binary("final"), NONE));
    assert_term(payload_of(sent_of(f, KV_SIGNAL_MESSAGE, 0)), event("exit", "draft", &bucket));
    assert_term(payload_of(sent_of(f, KV_SIGNAL_MESSAGE, 1)), event("create", "final", &bucket));
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE), 2);
}

/* ---- the end of a name -------------------------------------------------------------------------
 */

Test(registry_names, a_deleted_name_is_gone_and_so_is_its_bucket)
{
    struct kv_pid bucket = create("shopping");
    assert_term(ask("delete", "shopping"), term_atom("ok"));
    cr_assert_not(kv_is_alive(f->runtime, &bucket));
    assert_term(ask("lookup", "shopping"), term_atom("error"));
    assert_term(ask("delete", "shopping"), term_atom("error"));
    assert_term(ask("delete", ""), term_atom("error"));
    struct kv_pid fresh = create("shopping");
    cr_assert_not(kv_pid_equal(&bucket, &fresh));
}

Test(registry_names, a_deletion_is_one_exit_for_the_event_manager)
{
    struct kv_pid bucket = create("shopping");
    forget(f);
    cast(f, &native, pair("delete", term_binary("shopping")));
    assert_term(payload_of(sent_of(f, KV_SIGNAL_MESSAGE, 0)), event("exit", "shopping", &bucket));
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE), 1);
}

Test(registry_names, a_suspended_bucket_can_be_deleted)
{
    struct kv_pid bucket = create("shopping");
    assert_term(system_call(f, &bucket, term_atom("suspend")), term_atom("ok"));
    assert_term(ask("delete", "shopping"), term_atom("ok"));
    cr_assert_not(kv_is_alive(f->runtime, &bucket));
}

/* ---- metadata ----------------------------------------------------------------------------------
 */

Test(registry_names, a_name_carries_a_term)
{
    (void)create("shopping");
    assert_term(ask("meta", "shopping"), term_atom("error"));
    assert_term(ask_with("put_meta", "shopping", term_integer(7)), term_atom("ok"));
    assert_term(ask("meta", "shopping"), pair("ok", term_integer(7)));
    assert_term(ask_with("put_meta", "shopping", term_atom("nil")), term_atom("ok"));
    assert_term(ask("meta", "shopping"), pair("ok", term_atom("nil")));
    assert_term(ask_with("put_meta", "other", term_integer(7)), term_atom("error"));
    assert_term(ask("meta", "other"), term_atom("error"));
}

static struct kv_bytes create_described(const char *name, struct kv_bytes meta)
{
    return call(
        f, &native,
        term_tuple(term_atom("create"), term_binary(name), term_list(NONE, NONE, NONE), meta));
}

Test(registry_names, a_name_may_be_created_with_its_term)
{
    (void)pid_in(create_described("shopping", term_integer(7)));
    (void)pid_in(create_described("shopping", term_integer(8)));
    assert_term(ask("meta", "shopping"), pair("ok", term_integer(7)));
}

Test(registry_names, the_term_follows_the_name_and_is_lost_with_it)
{
    (void)pid_in(create_described("draft", term_integer(7)));
    (void)rename_to("draft", "final");
    assert_term(ask("meta", "final"), pair("ok", term_integer(7)));
    (void)ask("delete", "final");
    (void)create("final");
    assert_term(ask("meta", "final"), term_atom("error"));
}

Test(registry_names, the_term_has_a_limit_and_counts_as_memory)
{
    const struct kv_process *registry = kv_process_at(f->runtime, &native);
    size_t most = KV_META_MAX_BYTES - KV_LONG_HEADER;
    (void)create("shopping");
    size_t before = kv_registry_behaviour.memory(registry);
    assert_term(ask_with("put_meta", "shopping", bytes_of(most)), term_atom("ok"));
    cr_assert_geq(kv_registry_behaviour.memory(registry), before + most);
    struct kv_bytes refused = error("meta_too_large", term_integer(KV_META_MAX_BYTES + 1));
    assert_term(ask_with("put_meta", "shopping", bytes_of(most + 1)), refused);
    assert_term(create_described("other", bytes_of(most + 1)), refused);
    assert_term(ask_with("put_meta", "shopping", term_integer(1)), term_atom("ok"));
    (void)ask("delete", "shopping");
    cr_assert_leq(kv_registry_behaviour.memory(registry), before);
}

/* ---- lists -------------------------------------------------------------------------------------
 */

Test(registry_names, names_can_be_listed_with_their_buckets_and_counted)
{
    assert_term(call(f, &native, term_atom("list")), term_list(NONE, NONE, NONE));
    struct kv_pid bucket = create("user:1");
    struct kv_bytes one = term_tuple(term_binary("user:1"), term_pid(&bucket), NONE, NONE);
    assert_term(call(f, &native, term_atom("list")), term_list(one, NONE, NONE));
    (void)create("guest");
    assert_term(call(f, &native, term_atom("count")), term_integer(2));
}

Test(registry_names, a_prefix_selects_names)
{
    struct kv_pid bucket = create("user:1");
    struct kv_bytes one = term_tuple(term_binary("user:1"), term_pid(&bucket), NONE, NONE);
    (void)create("use");
    (void)create("guest");
    assert_term(ask("names", "user:"), term_list(term_binary("user:1"), NONE, NONE));
    assert_term(ask("list", "user:"), term_list(one, NONE, NONE));
    assert_term(ask("count", "use"), term_integer(2));
    assert_term(ask("count", ""), term_integer(3));
    assert_term(ask("names", "user:12"), term_list(NONE, NONE, NONE));
}

Test(registry_names, a_prefix_is_a_binary)
{
    const char *requests[] = {"names", "list", "count"};
    for (size_t i = 0; i < 3; i++) {
        assert_term(call(f, &native, pair(requests[i], term_atom("user"))),
                    error("bad_prefix", term_atom("user")));
    }
}

/* ---- a creator ---------------------------------------------------------------------------------
 */

static struct kv_pid spawn_bucket(void)
{
    struct kv_pid pid =
        feed_spawn(f, f->a, "kv_bucket", term_list(NONE, NONE, NONE), term_list(NONE, NONE, NONE));
    pid.node = kv_bytes_text(FIXTURE_NODE);
    return pid;
}

static void tell(const char *kind, struct kv_bytes term)
{
    cast(f, &asking, term_tuple(term_atom(kind), term_binary("shopping"), term, NONE));
}

/* Sends a request about "shopping", with one more argument if it is given. */
static void request(const char *name, struct kv_bytes second)
{
    assert_term(
        call(f, &asking, term_tuple(term_atom(name), term_binary("shopping"), second, NONE)), NONE);
}

static void assert_answer(size_t number, struct kv_bytes expected)
{
    struct kv_bytes reply = NONE;
    const struct sent *sent = sent_of(f, KV_SIGNAL_MESSAGE_ALIAS, number);
    cr_assert_not_null(sent);
    struct kv_reader reader = kv_reader(payload_of(sent));
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_any(&reader, NULL), KV_OK);
    cr_assert_eq(kv_read_any(&reader, &reply), KV_OK);
    assert_term(reply, expected);
}

Test(registry_names, a_creator_gets_the_options_of_a_bucket)
{
    struct kv_bytes options = term_list(pair("colour", term_atom("red")), NONE, NONE);
    request("create", options);
    assert_term(payload_of(sent_of(f, KV_SIGNAL_MESSAGE, 0)),
                term_tuple(term_atom("create_bucket"), term_pid(&asking), term_binary("shopping"),
                           options));
    struct kv_bytes odd = term_tuple(term_atom("create"), term_binary("a"), term_atom("b"), NONE);
    assert_term(call(f, &asking, odd), error("bad_option", term_atom("b")));
}

Test(registry_names, requests_about_a_name_that_is_being_created_are_served_in_order)
{
    struct kv_pid bucket = spawn_bucket();
    request("create", term_list(NONE, NONE, NONE));
    request("put_meta", term_integer(7));
    cast(f, &asking, pair("delete", term_binary("no such name")));
    request("meta", NONE);
    request("rename", term_binary("final"));
    request("lookup", NONE);
    request("delete", NONE);
    forget(f);
    tell("bucket_created", term_pid(&bucket));
    assert_answer(0, term_pid(&bucket));
    assert_answer(1, term_atom("ok"));
    assert_answer(2, pair("ok", term_integer(7)));
    assert_answer(3, term_atom("ok"));
    assert_answer(4, term_atom("error"));
    assert_answer(5, term_atom("error"));
    assert_term(call(f, &asking, pair("lookup", term_binary("final"))),
                pair("ok", term_pid(&bucket)));
}

Test(registry_names, a_create_behind_a_delete_asks_the_creator_again)
{
    struct kv_pid bucket = spawn_bucket();
    request("create", NONE);
    cast(f, &asking, pair("delete", term_binary("shopping")));
    request("create", NONE);
    forget(f);
    tell("bucket_created", term_pid(&bucket));
    cr_assert_not(kv_is_alive(f->runtime, &bucket));
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE_ALIAS), 1);
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE), 1);
    struct kv_pid second = spawn_bucket();
    forget(f);
    tell("bucket_created", term_pid(&second));
    assert_answer(0, term_pid(&second));
}

Test(registry_names, a_creation_that_fails_leaves_nothing_to_change)
{
    request("create", NONE);
    request("rename", term_binary("final"));
    request("delete", NONE);
    request("put_meta", term_integer(7));
    forget(f);
    tell("bucket_failed", term_atom("no_room"));
    assert_answer(0, pair("error", term_atom("no_room")));
    for (size_t i = 1; i < 4; i++) {
        assert_answer(i, term_atom("error"));
    }
}

Test(registry_names, a_name_that_is_being_created_is_taken)
{
    struct kv_pid bucket = spawn_bucket();
    request("create", NONE);
    tell("bucket_created", term_pid(&bucket));
    cast(f, &asking, pair("create", term_binary("final")));
    assert_term(
        call(f, &asking,
             term_tuple(term_atom("rename"), term_binary("shopping"), term_binary("final"), NONE)),
        pair("error", term_atom("name_taken")));
}

Test(registry_names, requests_that_wait_are_freed_with_the_registry)
{
    request("create", NONE);
    request("put_meta", bytes_of(KV_META_MAX_BYTES - KV_LONG_HEADER));
    assert_term(call(f, &asking, term_atom("stop")), term_atom("ok"));
}

Test(registry_names, there_is_a_limit_for_what_waits)
{
    struct kv_bytes meta = bytes_of(KV_META_MAX_BYTES - KV_LONG_HEADER);
    request("create", NONE);
    for (size_t i = 0; i < KV_REGISTRY_PARKED_MAX / KV_META_MAX_BYTES; i++) {
        cast(f, &asking, term_tuple(term_atom("put_meta"), term_binary("shopping"), meta, NONE));
        forget(f);
    }
    struct kv_bytes answer =
        call(f, &asking, term_tuple(term_atom("put_meta"), term_binary("shopping"), meta, NONE));
    struct kv_reader reader = kv_reader(answer);
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "error"), KV_OK);
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "too_much_pending"), KV_OK);
}
