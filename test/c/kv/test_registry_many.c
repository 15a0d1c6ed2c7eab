/* A durable registry with many names takes them over from the one before it in many turns. */
#include "support/shop.h"

TestSuite(registry_many, .init = set_up, .fini = tear_down, .timeout = 60);

Test(registry_many, finds_a_thousand_names_again_without_a_process)
{
    create_many();
    recover();
    assert_count(MANY);
    cr_assert_eq(f->store.buckets, (size_t)0);
    (void)ask("lookup", "eggs");
    (void)pid_in(ask("create", many_name(MANY - 1)));
    cr_assert_eq(f->store.buckets, (size_t)1);
}

Test(registry_many, takes_many_names_over_in_many_turns_while_others_are_served)
{
    create_many();
    recover_in(true);
    const struct kv_pid eggs = start("kv_bucket", NONE, NONE, NONE);
    send(&shop, 1, term_atom("count"));
    send(&shop, 2, pair("lookup", term_binary(many_name(MANY - 1))));
    send(&shop, 3, pair("lookup", term_binary("nobody's")));
    for (unsigned i = 0; i < TURNS_MIN; i++) {
        cr_assert(kv_runtime_step(f->runtime));
        cr_assert_eq(answer_at(f, 1).length, 0);
    }
    send(&eggs, 4, term_atom("size"));
    assert_term(answer_at(f, 4), term_integer(0));
    (void)run_to_the_end(f);
    assert_term(answer_at(f, 1), term_integer(MANY));
    cr_assert_eq(f->store.durable_buckets, (size_t)1);
    assert_term(answer_at(f, 3), term_atom("error"));
}

static void destroy_by_somebody_else(const char *name)
{
    const struct kv_pid bucket = start("kv_bucket", commit(), place("shop", name), NONE);
    send(&bucket, 9, term_atom("destroy"));
    assert_term(answer_at(f, 9), term_atom("ok"));
    forget(f);
}

Test(registry_many, forgets_names_that_go_while_it_takes_names_over)
{
    create_many();
    recover_in(true);
    destroy_by_somebody_else(many_name(0));
    destroy_by_somebody_else(many_name(KV_REGISTRY_PIECE)); /* the next one */
    destroy_by_somebody_else(many_name(MANY - 1));
    send(&shop, 1, term_atom("count"));
    send(&shop, 2, pair("lookup", term_binary(many_name(KV_REGISTRY_PIECE))));
    (void)run_to_the_end(f);
    assert_term(answer_at(f, 1), term_integer(MANY - 3));
    assert_term(answer_at(f, 2), term_atom("error"));
}

Test(registry_many, leaves_all_names_to_the_next_if_it_ends_while_it_takes_them_over)
{
    const struct kv_pid creator = pid_a(50);
    create_many();
    end_process(&shop);
    shop = start_shop(pair("creator", term_pid(&creator)));
    for (unsigned i = 0; i < MANY; i++) {
        const struct kv_bytes name = term_binary(many_name(i));
        (void)ask("lookup", many_name(i));
        const struct kv_pid bucket =
            start("kv_bucket", commit(), place("shop", many_name(i)), NONE);
        cast(f, &shop, term_tuple(term_atom("bucket_created"), name, term_pid(&bucket), NONE));
        forget(f);
    }
    f->stepwise = true;
    for (unsigned i = 0; i < 3; i++) {
        end_process(&shop);
        shop = start_shop(pair("creator", term_pid(&creator)));
        cr_assert(kv_runtime_step(f->runtime));
    }
    (void)run_to_the_end(f);
    f->stepwise = false;
    assert_count(MANY);
    cr_assert_eq(f->store.buckets, (size_t)MANY);
    forget(f);
    assert_term(ask("create", many_name(0)), ask("create", many_name(0)));
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE), 0); /* to the creator: all have their buckets */
}

/* Its buckets belong to it. Whoever hears of its end from another node finds none of them. */
Test(registry_many, ends_with_its_buckets_in_many_turns_while_others_are_served)
{
    const struct kv_pid watcher = pid_a(40);
    const struct kv_pid other = start("kv_bucket", NONE, NONE, NONE);
    const struct kv_ref ref = ref_a(41);
    create_many();
    feed_monitor(f, f->a, &watcher, &shop, &ref);
    f->stepwise = true;
    end_process(&shop);
    for (unsigned i = 0; i < TURNS_MIN; i++) {
        cr_assert(kv_runtime_step(f->runtime));
        cr_assert(!kv_is_alive(f->runtime, &shop) && count_of(f, KV_SIGNAL_DOWN) == 0);
    }
    send(&other, 4, term_atom("size"));
    assert_term(answer_at(f, 4), term_integer(0));
    cr_assert_gt(run_to_the_end(f), (unsigned)TURNS_MIN);
    assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)), term_atom("killed"));
    cr_assert_eq(f->store.buckets, (size_t)1);
}

Test(registry_many, leaves_all_names_to_one_that_is_started_while_it_ends)
{
    create_many();
    const struct kv_pid last = pid_in(ask("create", many_name(MANY - 1)));
    f->stepwise = true;
    end_process(&shop);
    cr_assert(kv_runtime_step(f->runtime));
    end_process(&last); /* it hears of no end any more */
    shop = start_shop(NONE);
    (void)run_to_the_end(f);
    f->stepwise = false;
    assert_count(MANY);
    cr_assert_eq(f->store.buckets, (size_t)0);
}

Test(registry_many, frees_one_that_is_ending_with_the_node)
{
    create_many();
    f->stepwise = true;
    end_process(&shop);
    cr_assert(kv_runtime_step(f->runtime));
    recover();
    assert_count(MANY);
}

/* As of a data folder in which the record of a registry comes late. */
Test(registry_many, finds_names_whose_tables_come_before_that_of_the_registry)
{
    (void)pid_in(ask("create", "eggs"));
    (void)pid_in(ask("create", "milk"));
    tables[4].about = tables[1].about;
    tables[4].about.id = 4;
    tables[4].there = true;
    tables[1].there = false;
    recover();
    assert_count(2);
}
