/* Durable registries: which names there are after the end of a bucket, of a registry and of the
 * node, the records of them, and the answers that wait for these. */
#include "support/shop.h"

TestSuite(durable_registry, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- what is recorded -------------------------------------------------------------------------
 */

Test(durable_registry, is_a_table_without_entries_and_its_names_are_tables_that_have_it)
{
    (void)pid_in(ask("create", "eggs"));
    cr_assert_eq(tables[1].about.kind, KV_JOURNAL_REGISTRY);
    cr_assert(kv_bytes_is(tables[1].about.name, "shop"));
    cr_assert_eq(tables[1].about.registry.length, (size_t)0);
    cr_assert_eq(tables[2].about.kind, KV_JOURNAL_BUCKET);
    cr_assert_eq(tables[2].about.policy, KV_POLICY_COMMIT);
    cr_assert(kv_bytes_is(tables[2].about.registry, "shop"));
    cr_assert(kv_bytes_is(tables[2].about.name, "eggs"));
}

Test(durable_registry, gives_its_policy_to_buckets_unless_create_says_another)
{
    (void)pid_in(create_with("eggs", pair("durable", term_atom("false"))));
    cr_assert_not(tables[2].there);
    (void)pid_in(create_with("milk", commit()));
    cr_assert(tables[2].there);
}

Test(durable_registry, records_a_rename_as_one_record_of_the_same_table)
{
    (void)pid_in(ask("create", "eggs"));
    assert_term(two("rename", "eggs", term_binary("omelette")), term_atom("ok"));
    cr_assert_eq(tables[2].records, 2U);
    cr_assert(kv_bytes_is(tables[2].about.name, "omelette"));
    recover();
    assert_list("omelette", term_atom("dormant"));
}

Test(durable_registry, records_metadata_with_the_table_at_once_and_an_attach_records_nothing)
{
    struct kv_pid eggs = pid_in(call(f, &shop,
                                     term_tuple(term_atom("create"), term_binary("eggs"),
                                                term_list(NONE, NONE, NONE), term_atom("brown"))));
    end_process(&eggs);
    (void)ask("lookup", "eggs");
    cr_assert_eq(tables[2].records, 1U);
    recover();
    assert_term(ask("meta", "eggs"), ok(term_atom("brown")));
    assert_list("eggs", term_atom("dormant"));
}

Test(durable_registry, a_change_of_a_name_for_which_there_is_no_room_is_refused_and_changes_nothing)
{
    struct kv_pid eggs = pid_in(ask("create", "eggs"));
    may_change = KV_ENOSPC;
    const struct kv_bytes refused = pair("error", term_atom("enospc"));
    assert_term(two("rename", "eggs", term_binary("omelette")), refused);
    assert_term(two("put_meta", "eggs", term_atom("brown")), refused);
    assert_term(ask("create", "milk"), refused);
    assert_list("eggs", term_pid(&eggs));
    assert_term(ask("meta", "eggs"), term_atom("error"));
    assert_term(ask("delete", "eggs"), term_atom("ok"));
    assert_count(0);
}

Test(durable_registry, without_room_in_the_reserve_of_a_full_disk_no_name_is_deleted)
{
    struct kv_pid eggs = pid_in(ask("create", "eggs"));
    may_free = KV_ENOSPC;
    assert_term(ask("delete", "eggs"), pair("error", term_atom("enospc")));
    assert_list("eggs", term_pid(&eggs));
    may_free = KV_OK;
    assert_term(ask("delete", "eggs"), term_atom("ok"));
    assert_count(0);
}

/* ---- names without a bucket -------------------------------------------------------------------
 */

Test(durable_registry, keeps_the_name_of_a_bucket_that_ends_and_attaches_another_process)
{
    struct kv_pid eggs = pid_in(ask("create", "eggs"));
    end_process(&eggs);
    assert_list("eggs", term_atom("dormant"));
    struct kv_reader found = kv_reader(ask("lookup", "eggs"));
    struct kv_pid next;
    cr_assert_eq(kv_read_tuple_of(&found, 2), KV_OK);
    cr_assert_eq(kv_read_this_atom(&found, "ok"), KV_OK);
    cr_assert_eq(kv_read_pid(&found, &next), KV_OK);
    cr_assert_not(kv_pid_equal(&eggs, &next));
    struct kv_pid again = pid_in(ask("create", "eggs"));
    cr_assert(kv_pid_equal(&again, &next));
}

Test(durable_registry, loses_the_name_of_a_bucket_that_is_destroyed_and_of_a_volatile_one)
{
    struct kv_pid eggs = pid_in(ask("create", "eggs"));
    assert_term(call(f, &eggs, term_atom("destroy")), term_atom("ok"));
    struct kv_pid milk = pid_in(create_with("milk", pair("durable", term_atom("false"))));
    end_process(&milk);
    assert_count(0);
    assert_term(ask("lookup", "eggs"), term_atom("error"));
}

Test(durable_registry, renames_and_deletes_a_name_without_a_bucket)
{
    struct kv_pid eggs = pid_in(ask("create", "eggs"));
    end_process(&eggs);
    assert_term(two("rename", "eggs", term_binary("omelette")), term_atom("ok"));
    assert_term(ask("lookup", "eggs"), term_atom("error"));
    assert_list("omelette", term_atom("dormant"));
    assert_term(ask("delete", "omelette"), term_atom("ok"));
    assert_term(ask("delete", "omelette"), term_atom("error"));
    cr_assert_not(tables[2].there);
}

Test(durable_registry, hears_of_a_bucket_that_somebody_else_attaches_and_destroys)
{
    struct kv_pid first = pid_in(ask("create", "eggs"));
    end_process(&first);
    struct kv_pid eggs = start("kv_bucket", commit(), place("shop", "eggs"), NONE);
    assert_list("eggs", term_atom("dormant"));
    assert_term(call(f, &eggs, term_atom("destroy")), term_atom("ok"));
    assert_count(0);
}

Test(durable_registry, refuses_a_bucket_whose_table_has_a_process_of_somebody_else)
{
    struct kv_pid first = pid_in(ask("create", "eggs"));
    end_process(&first);
    struct kv_pid eggs = start("kv_bucket", commit(), place("shop", "eggs"), NONE);
    const struct kv_bytes refused = pair("error", pair("already_started", term_pid(&eggs)));
    assert_term(ask("lookup", "eggs"), refused);
    assert_term(ask("create", "eggs"), refused);
    assert_list("eggs", term_atom("dormant"));
}

/* ---- by way of a creator ----------------------------------------------------------------------
 */

static void answer_creator(const char *kind, struct kv_bytes term)
{
    cast(f, &shop, term_tuple(term_atom(kind), term_binary("eggs"), term, NONE));
}

static struct kv_bytes lookup_eggs(void)
{
    return ask("lookup", "eggs");
}

/* A registry with a creator, and a name whose bucket has ended. */
static void rest_with_creator(void)
{
    const struct kv_pid creator = pid_a(50);
    struct kv_pid eggs = pid_in(ask("create", "eggs"));
    end_process(&eggs);
    end_process(&shop);
    shop = start_shop(pair("creator", term_pid(&creator)));
    forget(f);
}

Test(durable_registry, asks_its_creator_once_for_a_bucket_with_the_place_of_the_name)
{
    rest_with_creator();
    assert_term(lookup_eggs(), NONE);
    assert_term(ask("create", "eggs"), NONE);
    assert_list("eggs", term_atom("dormant"));
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE), 1);
    assert_term(payload_of(sent_of(f, KV_SIGNAL_MESSAGE, 0)),
                term_tuple(term_atom("create_bucket"), term_pid(&shop), term_binary("eggs"),
                           term_list(place("shop", "eggs"), commit(), NONE)));
}

Test(durable_registry, records_metadata_in_the_first_record_of_a_bucket_of_its_creator)
{
    const struct kv_pid creator = pid_a(50);
    end_process(&shop);
    shop = start_shop(pair("creator", term_pid(&creator)));
    assert_term(call(f, &shop,
                     term_tuple(term_atom("create"), term_binary("eggs"),
                                term_list(NONE, NONE, NONE), term_atom("brown"))),
                NONE);
    (void)start("kv_bucket", commit(), place("shop", "eggs"), NONE);
    cr_assert_eq(tables[2].records, 1U);
    recover();
    assert_term(ask("meta", "eggs"), ok(term_atom("brown")));
}

Test(durable_registry, tells_all_who_wait_why_there_is_no_bucket_and_asks_again_only_when_asked)
{
    rest_with_creator();
    assert_term(lookup_eggs(), NONE);
    assert_term(ask("create", "eggs"), NONE);
    const size_t before = count_of(f, KV_SIGNAL_MESSAGE_ALIAS);
    answer_creator("bucket_failed", term_atom("noproc"));
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE_ALIAS), before + 2);
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE), 1);
    assert_list("eggs", term_atom("dormant"));
    assert_term(lookup_eggs(), NONE);
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE), 2);
}

Test(durable_registry, does_not_take_a_bucket_for_which_it_has_not_asked)
{
    rest_with_creator();
    const struct kv_pid late = start("kv_bucket", commit(), place("shop", "eggs"), NONE);
    assert_term(
        call(f, &shop,
             term_tuple(term_atom("bucket_created"), term_binary("eggs"), term_pid(&late), NONE)),
        pair("error", term_atom("unknown_name")));
}

/* ---- the end of the registry ------------------------------------------------------------------
 */

static struct kv_pid start_beside(const char *name)
{
    return start("kv_bucket", NONE, place("shop", name), NONE);
}

/* A shop that has a bucket in memory, with a creator. Returns the bucket. */
static struct kv_pid start_with_eggs(const struct kv_pid *creator)
{
    end_process(&shop);
    shop = start_shop(pair("creator", term_pid(creator)));
    assert_term(create_with("eggs", pair("durable", term_atom("false"))), NONE);
    const struct kv_pid eggs = start_beside("eggs");
    answer_creator("bucket_created", term_pid(&eggs));
    return eggs;
}

Test(durable_registry, leaves_its_names_and_buckets_to_the_next)
{
    const struct kv_pid creator = pid_a(50);
    const struct kv_pid eggs = start_with_eggs(&creator);
    end_process(&shop);
    cr_assert(kv_is_alive(f->runtime, &eggs));
    shop = start_shop(pair("creator", term_pid(&creator)));
    assert_list("eggs", term_pid(&eggs));
    end_process(&eggs);
    assert_count(0);
}

Test(durable_registry, leaves_names_that_nobody_takes)
{
    const struct kv_pid creator = pid_a(50);
    (void)start_with_eggs(&creator);
    assert_term(two("put_meta", "eggs", term_atom("brown")), term_atom("ok"));
    end_process(&shop);
}

/* ---- what waits for the disk ------------------------------------------------------------------
 */

Test(durable_registry, holds_an_answer_until_the_name_is_on_disk)
{
    batch = BEFORE + 1;
    assert_term(ask("create", "eggs"), NONE);
    cr_assert_not(kv_durable_find(&durables, kv_bytes_text("shop"), kv_bytes_text("eggs")) == NULL);
    kv_durables_release(&durables, batch, batch);
    kv_runtime_release(f->runtime, batch++);
    (void)pid_in(ask("create", "eggs"));
}

Test(durable_registry, holds_the_answers_to_rename_delete_and_put_meta)
{
    (void)pid_in(ask("create", "eggs"));
    batch = BEFORE + 1;
    assert_term(two("put_meta", "eggs", term_atom("brown")), NONE);
    kv_runtime_release(f->runtime, batch++);
    assert_term(two("rename", "eggs", term_binary("omelette")), NONE);
    kv_runtime_release(f->runtime, batch++);
    assert_term(ask("delete", "omelette"), NONE);
    kv_runtime_release(f->runtime, batch++);
    assert_count(0);
}

/* If the node ends before the record is durable, the bucket is there. */
Test(durable_registry, holds_the_answers_of_a_bucket_that_is_being_deleted)
{
    const struct kv_pid eggs = pid_in(ask("create", "eggs"));
    batch = BEFORE + 1;
    send(&shop, 1, pair("delete", term_binary("eggs")));
    send(&eggs, 2, term_tuple(term_atom("put"), term_atom("a"), term_integer(1), NONE));
    send(&eggs, 3, pair("get", term_atom("a")));
    cr_assert(answer_at(f, 2).length == 0 && answer_at(f, 3).length == 0);
    kv_durables_release(&durables, batch, batch);
    kv_runtime_release(f->runtime, batch);
    assert_term(answer_at(f, 2), term_atom("ok"));
    assert_term(answer_at(f, 3), term_integer(1));
    cr_assert_not(kv_is_alive(f->runtime, &eggs));
}

/* ---- refusals ---------------------------------------------------------------------------------
 */

Test(durable_registry, is_refused_without_a_name_twice_or_in_the_place_of_another)
{
    struct kv_bytes second = reason_of_refusal("kv_registry", commit(), place("", "shop"));
    assert_term(second, pair("already_started", term_pid(&shop)));
    cr_assert(is_refusal(reason_of_refusal("kv_registry", commit(), NONE), "no_name"));
    cr_assert(is_refusal(reason_of_refusal("kv_registry", commit(), place("a", "b")), "no_name"));
    cr_assert(is_refusal(reason_of_refusal("kv_registry", place("", "shop"), NONE), "is_durable"));
    cr_assert(
        is_refusal(reason_of_refusal("kv_bucket", commit(), place("", "shop")), "is_durable"));
    (void)start("kv_bucket", commit(), place("", "eggs"), NONE);
    cr_assert(
        is_refusal(reason_of_refusal("kv_registry", commit(), place("", "eggs")), "is_durable"));
    f->store.durables = NULL;
    cr_assert(
        is_refusal(reason_of_refusal("kv_registry", commit(), place("", "milk")), "no_data_dir"));
    f->store.durables = &durables;
}

/* As one that was asked for by a registry that has ended since. */
Test(durable_registry, no_bucket_makes_a_name_that_the_registry_does_not_create)
{
    cr_assert(is_refusal(reason_of_refusal("kv_bucket", commit(), place("shop", "eggs")),
                         "unknown_name"));
    assert_count(0);
    end_process(&shop);
    cr_assert(is_refusal(reason_of_refusal("kv_bucket", commit(), place("shop", "eggs")),
                         "unknown_name"));
    cr_assert_not(tables[2].there);
}

Test(durable_registry, no_other_registry_has_durable_buckets)
{
    const struct kv_pid volatile_one = feed_registry(f, NONE);
    const struct kv_bytes request =
        term_tuple(term_atom("create"), term_binary("eggs"), term_list(commit(), NONE, NONE), NONE);
    assert_term(call(f, &volatile_one, request), pair("error", pair("bad_option", commit())));
}

/* ---- no memory ---------------------------------------------------------------------------------
 * The first page that is asked for is refused. Not each start needs one. */

static void check_without_memory(unsigned i)
{
    const char *name = many_name(i);
    kv_arena_fail(f->arena, 1);
    const struct kv_bytes answer = ask("create", name);
    kv_arena_fail(f->arena, 0);
    if (kv_bytes_equal(answer, pair("error", term_atom("enomem")))) {
        cr_assert_null(kv_durable_find(&durables, kv_bytes_text("shop"), kv_bytes_text(name)));
        assert_count(i);
        (void)pid_in(ask("create", name));
    }
    forget(f);
}

Test(durable_registry, a_creation_for_which_there_is_no_memory_leaves_no_name)
{
    for (unsigned i = 0; i < 500; i++) {
        check_without_memory(i);
    }
    cr_assert_gt(durables.greatest, (uint64_t)501); /* more were made than there are */
    recover();
    assert_count(500);
}

Test(durable_registry, a_registry_that_did_not_start_for_want_of_memory_is_not_there)
{
    const struct kv_bytes none = kv_bytes(NULL, 0);
    for (unsigned i = 0; i < 500; i++) {
        kv_arena_fail(f->arena, 1);
        (void)start("kv_registry", commit(), place("", many_name(i)), NONE);
        kv_arena_fail(f->arena, 0);
        const struct kv_durable *table =
            kv_durable_find(&durables, none, kv_bytes_text(many_name(i)));
        cr_assert(table == NULL || table->process != NULL);
        forget(f);
    }
    for (uint64_t id = 1; id <= durables.greatest; id++) {
        cr_assert(!tables[id].there ||
                  kv_durable_find(&durables, none, tables[id].about.name) != NULL);
    }
}
