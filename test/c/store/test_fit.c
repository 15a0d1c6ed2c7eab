/* Tables that have filled an arena, in one order and through many changes, fit into another arena
 * with the same limit, in any other order: with a loan meanwhile, and without it in the end. */
#include "store/arena.h"
#include "store/fit.h"
#include "support/draw.h"
#include "support/store_model.h"

#include <kv/error.h>

#include <criterion/criterion.h>

enum {
    RESERVE = 1 << 26,
    LIMIT = 4 << 20,
    TABLES_MOST = 400,
    LIFETIMES = 10,
    LENGTH_MOST = 40000,
    REFUSALS = 200, /* in a life: the arena is full for long */
    TOLERATED = LIMIT / 16 + 64 * KV_ARENA_PAGE
};

/* The lengths of values are drawn anew for each life, up to one of these. */
struct profile {
    unsigned tables;
    unsigned lengths[4];
    enum kv_evict evict; /* of every second table */
};

struct life {
    struct kv_arena_memory memory;
    struct kv_arena *arena;
    struct kv_table *tables[TABLES_MOST];
};

static uint8_t bytes[LENGTH_MOST];
static struct draw draw;

static enum kv_evict evict_of(const struct profile *profile, unsigned table)
{
    return table % 2 == 0 ? KV_EVICT_NONE : profile->evict;
}

static void begin(struct life *life, const struct profile *profile, uint64_t limit)
{
    const struct kv_arena_options options = {
        .hash_key = {.k0 = draw_number(&draw), .k1 = draw_number(&draw)}, .max_memory = limit};
    life->memory = model_memory(RESERVE);
    life->arena = kv_arena_new(&life->memory, &options);
    kv_arena_lend(life->arena, limit);
    for (unsigned i = 0; i < profile->tables; i++) {
        const struct kv_table_options of = {.evict = evict_of(profile, i)};
        life->tables[i] = kv_table_new(life->arena, &of);
        cr_assert_not_null(life->tables[i]);
    }
}

static void end(struct life *life, const struct profile *profile)
{
    model_check(life->arena);
    for (unsigned i = 0; i < profile->tables; i++) {
        kv_table_free(life->tables[i]);
    }
    kv_arena_free(life->arena);
    model_memory_free(&life->memory);
}

static uint64_t used(const struct life *life)
{
    return life->arena->used_pages * KV_ARENA_PAGE;
}

static enum kv_fit_state fit(struct life *life)
{
    struct kv_fit work;
    enum kv_fit_state state = KV_FIT_GOES_ON;
    kv_fit_begin(&work, life->arena);
    while (state == KV_FIT_GOES_ON) {
        state = kv_fit_step(&work);
    }
    model_check(life->arena);
    return state;
}

/* ---- a life -----------------------------------------------------------------------------------
 */

static struct kv_item key_of(const unsigned *number)
{
    return (struct kv_item){.bytes = kv_bytes(number, sizeof *number), .form = 1};
}

static int put(struct kv_table *table, unsigned key, unsigned longest)
{
    const unsigned length = draw_below(&draw, longest + 1);
    memset(bytes, (int)(key % 251), length);
    return kv_table_put(table, key_of(&key),
                        (struct kv_item){.bytes = kv_bytes(bytes, length), .form = 1}, KV_NEVER);
}

/* Fills the arena, and goes on with puts, new and again, and deletes. */
static void live(struct life *life, const struct profile *profile)
{
    const unsigned keys = 2 * LIMIT / 16 / profile->tables;
    unsigned longest = profile->lengths[draw_below(&draw, 4)];
    for (unsigned refused = 0, done = 0; refused < REFUSALS && done < LIMIT / 16; done++) {
        struct kv_table *table = life->tables[draw_below(&draw, profile->tables)];
        const unsigned key = draw_below(&draw, keys);
        if (draw_once_in(&draw, 8)) {
            (void)kv_table_delete(table, key_of(&key));
        } else if (put(table, key, longest) != KV_OK) {
            refused++;
            longest = draw_once_in(&draw, 4) ? profile->lengths[draw_below(&draw, 4)] : longest;
        }
    }
    cr_assert_leq(used(life), life->arena->limit_pages * KV_ARENA_PAGE + TOLERATED);
}

static void copy(const struct kv_table *from, struct kv_table *to)
{
    struct kv_table_walk walk = {0};
    struct kv_item key;
    struct kv_item value;
    while (kv_table_next(from, &walk, &key, &value)) {
        memcpy(bytes, key.bytes.data, key.bytes.length);
        uint8_t *at = bytes + key.bytes.length;
        memcpy(at, value.bytes.data, value.bytes.length);
        const struct kv_item own_key = {kv_bytes(bytes, key.bytes.length), key.form};
        const struct kv_item own_value = {kv_bytes(at, value.bytes.length), value.form};
        cr_assert_eq(kv_table_put(to, own_key, own_value, KV_NEVER), KV_OK);
    }
}

static void check_copy(const struct kv_table *from, struct kv_table *to)
{
    struct kv_table_walk walk = {0};
    struct kv_item key;
    struct kv_item value;
    struct kv_item copied;
    cr_assert_eq(kv_table_count(from), kv_table_count(to));
    while (kv_table_next(from, &walk, &key, &value)) {
        cr_assert(kv_table_get(to, key, &copied));
        cr_assert(kv_bytes_equal(copied.bytes, value.bytes));
    }
}

/* The next life has the data of the last one, as a recovery brings it. */
static void succeed(struct life *old, struct life *next, const struct profile *profile)
{
    begin(next, profile, LIMIT);
    for (unsigned i = 0; i < profile->tables; i++) {
        copy(old->tables[i], next->tables[i]);
    }
    cr_assert_eq(fit(next), KV_FIT_DONE, "%lu bytes of %d", (unsigned long)used(next), LIMIT);
    cr_assert_leq(used(next), LIMIT + TOLERATED + profile->tables * (uint64_t)KV_ARENA_PAGE);
    for (unsigned i = 0; i < profile->tables; i++) {
        if (evict_of(profile, i) == KV_EVICT_NONE) {
            check_copy(old->tables[i], next->tables[i]);
        }
        cr_assert_eq(kv_arena_publish(next->arena, i + 1, 1, KV_PUBLISHED_VALUES, next->tables[i]),
                     KV_OK);
    }
    end(old, profile);
}

static void check_lifetimes(const struct profile *profile)
{
    struct life lives[2];
    draw = (struct draw){.state = 7 + profile->tables + profile->lengths[0]};
    begin(&lives[0], profile, LIMIT);
    kv_arena_lend(lives[0].arena, 0);
    for (unsigned i = 0; i < LIFETIMES; i++) {
        live(&lives[i % 2], profile);
        succeed(&lives[i % 2], &lives[(i + 1) % 2], profile);
    }
    end(&lives[LIFETIMES % 2], profile);
}

TestSuite(fit, .timeout = 120);

Test(fit, small_values_of_one_table_fit_again)
{
    check_lifetimes(&(struct profile){1, {8, 20, 40, 100}, KV_EVICT_NONE});
}

Test(fit, values_that_become_shorter_while_the_memory_is_full_fit_again)
{
    check_lifetimes(&(struct profile){2, {4000, 300, 60, 8}, KV_EVICT_NONE});
}

Test(fit, values_of_all_sizes_fit_again)
{
    check_lifetimes(&(struct profile){8, {16, 200, 7000, LENGTH_MOST - 100}, KV_EVICT_NONE});
}

Test(fit, many_small_tables_fit_again)
{
    check_lifetimes(&(struct profile){TABLES_MOST, {10, 30, 90, 600}, KV_EVICT_NONE});
}

Test(fit, tables_that_evict_beside_others_fit_again)
{
    check_lifetimes(&(struct profile){6, {16, 100, 1000, 9000}, KV_EVICT_LRU});
}

Test(fit, tables_lose_nothing_that_do_not_evict_and_others_give_way)
{
    const struct profile profile = {2, {100, 100, 100, 100}, KV_EVICT_LRU};
    struct life life;
    begin(&life, &profile, LIMIT);
    for (unsigned i = 0; used(&life) < LIMIT + LIMIT / 2; i++) {
        cr_assert_eq(put(life.tables[i % 2], i, 100), KV_OK);
    }
    const uint64_t kept = kv_table_count(life.tables[0]);
    const uint64_t given = kv_table_count(life.tables[1]);
    cr_assert_eq(fit(&life), KV_FIT_DONE);
    cr_assert_leq(used(&life), LIMIT);
    cr_assert_eq(kv_table_count(life.tables[0]), kept);
    cr_assert_lt(kv_table_count(life.tables[1]), given);
    end(&life, &profile);
}

Test(fit, expired_entries_go_first)
{
    const struct profile profile = {2, {100, 100, 100, 100}, KV_EVICT_LRU};
    const struct kv_item value = {.bytes = kv_bytes(bytes, 100), .form = 1};
    struct life life;
    begin(&life, &profile, LIMIT);
    for (unsigned i = 0; used(&life) < LIMIT + LIMIT / 2; i++) {
        cr_assert_eq(kv_table_put(life.tables[i % 2], key_of(&i), value, i % 4 < 2 ? 2 : 1000),
                     KV_OK);
    }
    const uint64_t count = kv_table_count(life.tables[1]);
    kv_arena_set_time(life.arena, 2);
    cr_assert_eq(fit(&life), KV_FIT_DONE);
    cr_assert_geq(2 * kv_table_count(life.tables[1]) + 1, count);
    end(&life, &profile);
}

Test(fit, data_that_is_larger_than_the_limit_is_too_much)
{
    const struct profile profile = {3, {100, 100, 100, 100}, KV_EVICT_NONE};
    struct life life;
    begin(&life, &profile, LIMIT);
    for (unsigned i = 0; used(&life) < LIMIT + LIMIT / 4; i++) {
        cr_assert_eq(put(life.tables[i % 3], i, 100), KV_OK);
    }
    cr_assert_eq(fit(&life), KV_FIT_TOO_MUCH);
    end(&life, &profile);
}

Test(fit, an_arena_that_is_full_has_a_reserve_for_its_directory)
{
    const struct profile profile = {TABLES_MOST, {100, 100, 100, 100}, KV_EVICT_NONE};
    struct life life;
    begin(&life, &profile, LIMIT);
    kv_arena_lend(life.arena, 0);
    for (unsigned i = 0; put(life.tables[i % TABLES_MOST], i, 8) == KV_OK; i++) {
    }
    for (unsigned i = 0; i < TABLES_MOST; i++) {
        cr_assert_eq(kv_arena_publish(life.arena, i + 1, 1, KV_PUBLISHED_VALUES, life.tables[i]),
                     KV_OK);
    }
    end(&life, &profile);
}
