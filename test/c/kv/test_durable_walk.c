/* A walk over all durable tables, which change between its steps. */
#include "kv/durable_walk.h"
#include "support/draw.h"
#include "support/store_model.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { TABLES = 5, KEYS = 3000, RESERVE = 1 << 28 };

static struct kv_arena_memory memory;
static struct kv_durables set;
static struct kv_durables_walk walk;
static unsigned seen[TABLES + 2][KEYS]; /* by id of the table and number of the key */
static unsigned told[TABLES + 2];
static struct kv_stored stored; /* the options of the last table that was told of */
static unsigned settled;
static unsigned refused;
static unsigned least; /* entries of a step, until it is to end */
static unsigned taken;

/* ---- a journal that takes everything -----------------------------------------------------------
 */

static int may_change(void *context, uint64_t bytes)
{
    (void)context;
    (void)bytes;
    return KV_OK;
}

static int may_free(void *context, uint64_t bytes, bool whole)
{
    (void)context;
    (void)bytes;
    (void)whole;
    return KV_OK;
}

static void put(void *context, uint64_t table, const struct kv_table_entry *entry)
{
    (void)context;
    (void)table;
    (void)entry;
}

static void gone(void *context, uint64_t table, struct kv_item key)
{
    (void)context;
    (void)table;
    (void)key;
}

static void drop(void *context, uint64_t table)
{
    (void)context;
    (void)table;
}

static void commit(void *context)
{
    (void)context;
}

static uint64_t batch(void *context)
{
    (void)context;
    return 1;
}

static const struct kv_journal journal = {.may_change = may_change,
                                          .may_free = may_free,
                                          .put = put,
                                          .gone = gone,
                                          .drop = drop,
                                          .sync = commit,
                                          .batch = batch};

/* ---- tables ------------------------------------------------------------------------------------
 */

static struct kv_item key_of(const unsigned *number)
{
    return (struct kv_item){.bytes = kv_bytes(number, sizeof *number)};
}

static void put_key(uint64_t table, unsigned number, uint64_t expiry)
{
    const struct kv_table_entry entry = {
        .key = key_of(&number), .value = key_of(&number), .expiry = expiry};
    cr_assert_eq(kv_durables_put(&set, table, &entry), KV_OK);
    cr_assert_eq(kv_durables_settle(&set), KV_OK); /* key and value are borrowed until then */
}

static void make(uint64_t id)
{
    char name[8];
    (void)snprintf(name, sizeof name, "t%u", (unsigned)id);
    const struct kv_journal_table about = {
        .id = id, .policy = KV_POLICY_COMMIT, .kind = 1, .name = kv_bytes_text(name)};
    cr_assert_eq(kv_durables_table(&set, &about), KV_OK);
}

static struct kv_durable *table(uint64_t id)
{
    char name[8];
    (void)snprintf(name, sizeof name, "t%u", (unsigned)id);
    return kv_durable_find(&set, kv_bytes(NULL, 0), kv_bytes_text(name));
}

static void set_up(void)
{
    const struct kv_hash_key key = {1, 2};
    memory = model_memory(RESERVE);
    kv_durables_init(&set, kv_arena_new(&memory, &(struct kv_arena_options){.max_memory = 0}),
                     &key);
    for (uint64_t id = 1; id <= TABLES; id++) {
        make(id);
        for (unsigned number = 0; number < KEYS; number++) {
            put_key(id, number, KV_NEVER);
        }
    }
    kv_durables_open(&set, &journal, TABLES);
    memset(seen, 0, sizeof seen);
    memset(told, 0, sizeof told);
    settled = refused = taken = 0;
    least = 50;
}

static void tear_down(void)
{
    struct kv_arena *arena = set.arena;
    kv_durables_walk_end(&walk);
    kv_durables_free(&set);
    while (kv_arena_work(arena, 1)) {
    }
    kv_arena_free(arena);
    model_memory_free(&memory);
}

TestSuite(durable_walk, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- the visitor -------------------------------------------------------------------------------
 */

static void visit_table(void *context, const struct kv_journal_table *about)
{
    (void)context;
    told[about->id]++;
    cr_assert(about->policy == KV_POLICY_COMMIT && about->kind == 1 && about->name.length == 2);
    kv_stored_read(about->options, &stored);
}

static bool visit_entry(void *context, uint64_t id, const struct kv_table_entry *entry,
                        bool may_end)
{
    unsigned number = 0;
    (void)context;
    if (may_end && taken >= least) {
        refused++;
        return false;
    }
    memcpy(&number, entry->key.bytes.data, sizeof number);
    cr_assert(id < TABLES + 2 && number < KEYS && told[id] == 1);
    seen[id][number]++;
    taken++;
    return true;
}

static void visit_settled(void *context)
{
    (void)context;
    settled++;
}

static void begin(void)
{
    kv_durables_walk_begin(&walk, &set,
                           &(struct kv_durables_visitor){.table = visit_table,
                                                         .entry = visit_entry,
                                                         .settled = visit_settled});
}

static bool step(void)
{
    taken = 0;
    return kv_durables_walk_step(&walk);
}

static unsigned count(uint64_t id, unsigned times)
{
    unsigned found = 0;
    for (unsigned number = 0; number < KEYS; number++) {
        found += seen[id][number] == times;
    }
    return found;
}

/* ---- tests -------------------------------------------------------------------------------------
 */

Test(durable_walk, visits_each_table_and_each_entry_once)
{
    begin();
    while (step()) {
        cr_assert_leq(taken, 700);
    }
    for (uint64_t id = 1; id <= TABLES; id++) {
        cr_assert(told[id] == 1 && count(id, 1) == KEYS);
    }
    cr_assert_gt(refused, 0);
    cr_assert_null(set.walk);
}

Test(durable_walk, tells_of_each_table_how_many_entries_it_has)
{
    begin();
    for (uint64_t id = 1; id <= TABLES; id++) {
        while (told[id] == 0) {
            cr_assert(step());
        }
        cr_assert_eq(stored.entries, KEYS);
    }
}

Test(durable_walk, visits_what_is_there_all_the_time_once_while_other_entries_come_and_go)
{
    struct draw draw = {.state = 3};
    begin();
    while (step()) {
        const uint64_t id = 1 + draw_below(&draw, TABLES);
        const unsigned number = 1 + 2 * draw_below(&draw, KEYS / 2);
        if (draw_once_in(&draw, 2)) {
            (void)kv_table_delete(table(id)->table, key_of(&number));
        } else {
            put_key(id, number, KV_NEVER);
        }
    }
    for (uint64_t id = 1; id <= TABLES; id++) {
        for (unsigned number = 0; number < KEYS; number++) {
            cr_assert(seen[id][number] == 1 || (number % 2 == 1 && seen[id][number] == 0));
        }
    }
}

Test(durable_walk, goes_on_behind_a_table_that_is_destroyed_under_it)
{
    begin();
    cr_assert(step());
    cr_assert_eq(kv_durables_drop(&set, 1), KV_OK);
    cr_assert_eq(kv_durables_drop(&set, 2), KV_OK);
    while (step()) {
    }
    cr_assert(told[2] == 0 && count(1, 0) > 0);
    cr_assert(count(3, 1) == KEYS && count(4, 1) == KEYS && count(5, 1) == KEYS);
}

Test(durable_walk, leaves_out_a_table_that_is_made_after_its_begin)
{
    begin();
    cr_assert(step());
    make(TABLES + 1);
    put_key(TABLES + 1, 7, KV_NEVER);
    while (step()) {
    }
    cr_assert(told[TABLES + 1] == 0 && count(TABLES, 1) == KEYS);
}

Test(durable_walk, visits_no_entry_whose_time_is_over)
{
    const unsigned number = 7;
    put_key(1, number, 10);
    kv_arena_set_time(set.arena, 10);
    begin();
    while (step()) {
    }
    cr_assert(seen[1][number] == 0 && count(1, 1) == KEYS - 1);
}

Test(durable_walk, waits_while_changes_of_its_table_may_be_taken_back)
{
    begin();
    table(1)->deferring = true;
    for (unsigned i = 0; i < 5; i++) {
        cr_assert(step() && walk.waits && taken == 0);
    }
    cr_assert_eq(kv_durable_settle(table(1)), KV_OK);
    cr_assert_eq(settled, 1);
    table(2)->deferring = true;
    kv_durable_cancel(table(2));
    cr_assert_eq(settled, 1);
    while (step()) {
    }
    cr_assert_eq(count(1, 1), KEYS);
}

Test(durable_walk, waits_while_deletes_that_are_on_record_are_made)
{
    const unsigned number = 7;
    table(1)->deferring = true;
    kv_durable_gone(table(1), key_of(&number));
    cr_assert_eq(kv_durable_record_ahead(table(1)), KV_OK);
    begin();
    for (unsigned i = 0; i < 5; i++) {
        cr_assert(step() && walk.waits && taken == 0);
    }
    cr_assert(kv_table_delete(table(1)->table, key_of(&number)));
    kv_durable_caught_up(table(1));
    cr_assert_eq(settled, 1);
    while (step()) {
    }
    cr_assert(seen[1][number] == 0 && count(1, 1) == KEYS - 1);
}

Test(durable_walk, may_end_at_any_time_and_another_one_begin)
{
    begin();
    cr_assert(step());
    kv_durables_walk_end(&walk);
    kv_durables_walk_end(&walk);
    cr_assert_null(set.walk);
    memset(seen, 0, sizeof seen);
    memset(told, 0, sizeof told);
    begin();
    while (step()) {
    }
    cr_assert_eq(count(1, 1), KEYS);
}

Test(durable_walk, of_no_tables_ends_at_once)
{
    for (uint64_t id = 1; id <= TABLES; id++) {
        cr_assert_eq(kv_durables_drop(&set, id), KV_OK);
    }
    begin();
    cr_assert_not(step());
}
