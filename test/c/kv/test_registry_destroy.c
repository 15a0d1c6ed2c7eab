/* The end of a durable registry together with all its names: one record, and then many turns. */
#include "support/shop.h"

#include "kv/durable_walk.h"

TestSuite(registry_destroy, .init = set_up, .fini = tear_down, .timeout = 60);

Test(registry_destroy, is_destroyed_with_all_its_names_by_one_record)
{
    const struct kv_pid eggs = pid_in(ask("create", "eggs"));
    const struct kv_pid milk = pid_in(create_with("milk", pair("durable", term_atom("false"))));
    const struct kv_pid tea = pid_in(ask("create", "tea"));
    end_process(&tea);
    assert_term(call(f, &shop, term_atom("destroy_registry")), term_atom("ok"));
    cr_assert_not(kv_is_alive(f->runtime, &shop));
    cr_assert(!kv_is_alive(f->runtime, &eggs) && !kv_is_alive(f->runtime, &milk));
    cr_assert_eq(drops, 1U);
    cr_assert(kv_list_is_empty(&durables.tables));
    shop = start_shop(NONE);
    assert_count(0);
    recover();
    assert_count(0);
}

Test(registry_destroy, tells_its_event_manager_of_each_bucket_that_ends_with_it)
{
    const struct kv_pid manager = pid_a(60);
    end_process(&shop);
    shop = start_shop(pair("event_manager", term_pid(&manager)));
    const struct kv_pid eggs = pid_in(ask("create", "eggs"));
    forget(f);
    assert_term(call(f, &shop, term_atom("destroy_registry")), term_atom("ok"));
    assert_term(
        payload_of(sent_of(f, KV_SIGNAL_MESSAGE, 0)),
        pair("notify", term_tuple(term_atom("exit"), term_binary("eggs"), term_pid(&eggs), NONE)));
}

Test(registry_destroy, that_is_volatile_is_not_destroyed_and_says_why)
{
    const struct kv_pid other = feed_registry(f, NONE);
    const char *text = "the registry keeps nothing on disk; stop ends it, and its names";
    assert_term(call(f, &other, term_atom("destroy_registry")),
                pair("error", pair("not_durable", term_binary(text))));
    cr_assert(kv_is_alive(f->runtime, &other));
}

Test(registry_destroy, is_not_destroyed_without_room_in_the_reserve_of_a_full_disk)
{
    const struct kv_pid eggs = pid_in(ask("create", "eggs"));
    may_free = KV_ENOSPC;
    assert_term(call(f, &shop, term_atom("destroy_registry")), pair("error", term_atom("enospc")));
    assert_list("eggs", term_pid(&eggs));
    cr_assert_eq(drops, 0U);
}

Test(registry_destroy, holds_the_answer_to_destroy_until_the_record_is_on_disk)
{
    (void)pid_in(ask("create", "eggs"));
    batch = BEFORE + 1;
    send(&shop, 1, term_atom("destroy_registry"));
    cr_assert_eq(answer_at(f, 1).length, 0);
    kv_durables_release(&durables, batch, batch);
    kv_runtime_release(f->runtime, batch);
    assert_term(answer_at(f, 1), term_atom("ok"));
}

/* It has many names, and drops them in many turns. */
static void begin_to_destroy(void)
{
    create_many();
    f->stepwise = true;
    send(&shop, 1, term_atom("destroy_registry"));
    cr_assert(kv_runtime_step(f->runtime));
    cr_assert_eq(drops, 1U);
    cr_assert_eq(answer_at(f, 1).length, 0);
}

Test(registry_destroy, is_destroyed_over_many_turns_while_others_are_served)
{
    begin_to_destroy();
    const struct kv_pid other = start("kv_bucket", NONE, NONE, NONE);
    send(&other, 2, term_atom("size"));
    assert_term(answer_at(f, 2), term_integer(0));
    cr_assert_gt(run_to_the_end(f), (unsigned)TURNS_MIN);
    assert_term(answer_at(f, 1), term_atom("ok"));
    cr_assert_eq(f->store.buckets, (size_t)1);
    cr_assert(kv_list_is_empty(&durables.tables));
}

static bool visit_none(void *context, uint64_t table, const struct kv_table_entry *entry,
                       bool may_end)
{
    (void)context;
    (void)table;
    (void)entry;
    (void)may_end;
    return true;
}

static void count_table(void *context, const struct kv_journal_table *about)
{
    unsigned *count = context;
    (void)about;
    (*count)++;
}

/* The log of such a checkpoint does not have the record. */
Test(registry_destroy, that_is_being_destroyed_is_in_no_checkpoint_that_begins_then)
{
    struct kv_durables_walk walk;
    unsigned count = 0;
    begin_to_destroy();
    kv_durables_walk_begin(&walk, &durables,
                           &(struct kv_durables_visitor){
                               .context = &count, .table = count_table, .entry = visit_none});
    while (kv_durables_walk_step(&walk)) {
    }
    cr_assert_eq(count, 0U);
}

Test(registry_destroy, that_is_being_destroyed_gives_its_place_and_names_to_nobody)
{
    begin_to_destroy();
    const struct kv_bytes last = place("shop", many_name(MANY - 1));
    const struct kv_bytes second = reason_of_refusal("kv_registry", commit(), place("", "shop"));
    assert_term(second, pair("already_started", term_pid(&shop)));
    cr_assert(is_refusal(reason_of_refusal("kv_bucket", commit(), last), "unknown_name"));
    (void)run_to_the_end(f);
    cr_assert(is_refusal(reason_of_refusal("kv_bucket", commit(), last), "unknown_name"));
}

/* If the node ends before the record is durable, the registry is there, and the change must not
 * have been answered. */
Test(registry_destroy, records_no_change_behind_its_end_and_holds_the_answer_to_one)
{
    create_many();
    const struct kv_pid last = pid_in(ask("create", many_name(MANY - 1)));
    f->stepwise = true;
    batch = BEFORE + 1;
    send(&shop, 1, term_atom("destroy_registry"));
    send(&last, 2, term_tuple(term_atom("put"), term_atom("a"), term_integer(1), NONE));
    send(&last, 3, pair("get", term_atom("a")));
    cr_assert_eq(changes_put, 0U);
    (void)run_to_the_end(f);
    cr_assert(answer_at(f, 2).length == 0 && answer_at(f, 3).length == 0);
    kv_durables_release(&durables, batch, batch);
    kv_runtime_release(f->runtime, batch);
    assert_term(answer_at(f, 2), term_atom("ok"));
    assert_term(answer_at(f, 3), term_integer(1));
    cr_assert(!kv_is_alive(f->runtime, &last));
}

Test(registry_destroy, that_is_killed_while_it_is_being_destroyed_takes_all_names_along)
{
    begin_to_destroy();
    end_process(&shop);
    cr_assert(kv_list_is_empty(&durables.tables));
    (void)run_to_the_end(f);
    cr_assert_eq(f->store.buckets, (size_t)0);
    shop = start_shop(NONE);
    send(&shop, 4, term_atom("count"));
    assert_term(answer_at(f, 4), term_integer(0));
}

Test(registry_destroy, ends_a_bucket_that_its_creator_has_made_and_not_told_of)
{
    const struct kv_pid creator = pid_a(50);
    end_process(&shop);
    shop = start_shop(pair("creator", term_pid(&creator)));
    assert_term(ask("create", "eggs"), NONE);
    const struct kv_pid eggs = start("kv_bucket", commit(), place("shop", "eggs"), NONE);
    assert_term(call(f, &shop, term_atom("destroy_registry")), term_atom("ok"));
    cr_assert_not(kv_is_alive(f->runtime, &eggs));
    cr_assert(kv_list_is_empty(&durables.tables));
}

Test(registry_destroy, that_is_destroyed_tells_those_who_wait_for_a_bucket)
{
    const struct kv_pid creator = pid_a(50);
    end_process(&shop);
    shop = start_shop(pair("creator", term_pid(&creator)));
    assert_term(ask("create", "eggs"), NONE);
    assert_term(call(f, &shop, term_atom("destroy_registry")), term_atom("ok"));
    cr_assert_not(kv_is_alive(f->runtime, &shop));
}

/* A checkpoint may have some of its tables, and those of the next registry of the name. */
Test(registry_destroy, that_is_dropped_during_a_recovery_takes_its_names_along)
{
    const struct kv_journal_table about[] = {
        {.id = 2,
         .kind = KV_JOURNAL_BUCKET,
         .registry = kv_bytes_text("stand"),
         .name = kv_bytes_text("eggs")},
        {.id = 1, .kind = KV_JOURNAL_REGISTRY, .name = kv_bytes_text("stand")},
        {.id = 3,
         .kind = KV_JOURNAL_BUCKET,
         .registry = kv_bytes_text("stand"),
         .name = kv_bytes_text("milk")},
        {.id = 4,
         .kind = KV_JOURNAL_BUCKET,
         .registry = kv_bytes_text("shop"),
         .name = kv_bytes_text("milk")},
    };
    struct kv_durables set;
    for (size_t from = 0; from < 2; from++) { /* with and without the table of the registry */
        kv_durables_init(&set, f->arena, &f->store.hash_key);
        for (size_t i = 0; i < sizeof about / sizeof about[0]; i++) {
            if (from == 0 || about[i].id != 1) {
                cr_assert_eq(kv_durables_table(&set, &about[i]), KV_OK);
            }
        }
        cr_assert_eq(kv_durables_drop_registry(&set, 1, kv_bytes_text("stand")), KV_OK);
        cr_assert_not_null(kv_durable_find(&set, kv_bytes_text("shop"), kv_bytes_text("milk")));
        cr_assert_eq(set.by_id.count, (size_t)1);
        kv_durables_free(&set);
    }
}
