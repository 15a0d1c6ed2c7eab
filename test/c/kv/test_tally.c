/* The events of all tables together. */
#include "kv/tally.h"

#include <criterion/criterion.h>

enum { TABLES = 5, ALL = 100 };

static struct kv_tally tally;
static struct kv_counts counts[TABLES];

static void set_up(void)
{
    kv_tally_init(&tally);
    for (unsigned i = 0; i < TABLES; i++) {
        kv_tally_begin(&tally, &counts[i], i);
        counts[i].hits = 1;
    }
}

TestSuite(tally, .init = set_up, .timeout = 20);

static uint64_t hits_after(unsigned most)
{
    while (!kv_tally_walk(&tally, most)) {
    }
    return tally.told.hits;
}

Test(tally, counts_begin_at_zero_with_their_time)
{
    cr_assert_eq(counts[4].since, 4);
    cr_assert_eq(counts[4].puts, 0);
}

Test(tally, a_walk_of_any_step_adds_up_all_tables)
{
    for (unsigned most = 1; most <= TABLES + 1; most++) {
        cr_assert_eq(hits_after(most), TABLES, "%u", most);
    }
}

Test(tally, every_kind_of_event_is_added_up)
{
    counts[2] = (struct kv_counts){1, 2, 3, 4, 5, 6, .link = counts[2].link};
    cr_assert(kv_tally_walk(&tally, ALL));
    const struct kv_counts *told = &tally.told;
    cr_assert_eq(told->hits, TABLES);
    cr_assert_eq(told->misses, 2);
    cr_assert_eq(told->puts, 3);
    cr_assert_eq(told->deletes, 4);
    cr_assert_eq(told->expirations, 5);
    cr_assert_eq(told->evictions, 6);
}

Test(tally, nothing_is_told_before_the_first_walk_is_done)
{
    cr_assert_not(kv_tally_walk(&tally, TABLES - 1));
    cr_assert_not(tally.has_told);
    cr_assert(kv_tally_walk(&tally, 1));
    cr_assert(tally.has_told);
}

Test(tally, no_table_at_all_makes_sums_of_zero)
{
    kv_tally_init(&tally);
    cr_assert(kv_tally_walk(&tally, 1));
    cr_assert_eq(tally.told.hits, 0);
}

Test(tally, the_counts_of_tables_that_have_ended_stay)
{
    kv_tally_end(&tally, &counts[0]);
    kv_tally_end(&tally, &counts[4]);
    cr_assert_eq(hits_after(ALL), TABLES);
}

/* Each table may end at each step of a walk, before the walk comes by or after that. */
Test(tally, a_table_that_ends_during_a_walk_counts_once)
{
    for (unsigned ends = 0; ends < TABLES; ends++) {
        for (unsigned steps = 0; steps < TABLES; steps++) {
            set_up();
            for (unsigned i = 0; i < steps; i++) {
                cr_assert_not(kv_tally_walk(&tally, 1));
            }
            kv_tally_end(&tally, &counts[ends]);
            cr_assert_eq(hits_after(1), TABLES, "%u ends after %u", ends, steps);
            cr_assert_eq(hits_after(1), TABLES, "%u ended after %u", ends, steps);
        }
    }
}

Test(tally, a_table_that_begins_during_a_walk_counts_in_the_next_at_the_latest)
{
    struct kv_counts late;
    cr_assert_not(kv_tally_walk(&tally, 2));
    kv_tally_begin(&tally, &late, 0);
    late.hits = 1;
    cr_assert_geq(hits_after(1), TABLES);
    cr_assert_eq(hits_after(1), TABLES + 1);
}

Test(tally, no_sum_falls_while_tables_come_count_and_go)
{
    unsigned seed = 1;
    uint64_t before = 0;
    uint64_t all = TABLES;
    for (unsigned round = 0; round < 20000; round++) {
        seed = seed * 1103515245 + 12345;
        struct kv_counts *one = &counts[(seed >> 16) % TABLES];
        if ((seed >> 24) % 4 == 0) {
            kv_tally_end(&tally, one);
            kv_tally_begin(&tally, one, 0);
        } else {
            one->hits++;
            all++;
        }
        (void)kv_tally_walk(&tally, (seed >> 20) % 3);
        cr_assert_geq(tally.told.hits, before);
        cr_assert_leq(tally.told.hits, all);
        before = tally.told.hits;
    }
    (void)hits_after(ALL); /* that of the walk under way */
    cr_assert_eq(hits_after(ALL), all);
}

Test(tally, a_count_that_is_taken_back_leaves_the_sum)
{
    cr_assert_eq(hits_after(ALL), TABLES);
    counts[1].hits = 0;
    cr_assert_eq(hits_after(ALL), TABLES);
}

Test(tally, counts_without_a_tally_are_counts_all_the_same)
{
    struct kv_counts alone;
    kv_tally_begin(NULL, &alone, 7);
    cr_assert_eq(alone.since, 7);
    kv_tally_end(NULL, &alone);
    kv_tally_end(&tally, &alone);
    kv_tally_end(&tally, NULL);
    cr_assert_eq(hits_after(ALL), TABLES);
}
