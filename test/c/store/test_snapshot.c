/* Snapshots: a table as it was at one moment, whatever happens to it afterwards. */
#include "support/store_model.h"

#include "base/alloc.h"
#include "store/arena_state.h"
#include "store/table_state.h"

#include <kv/snapshot.h>

#include <criterion/criterion.h>
#include <string.h>

enum {
    RESERVE = 1 << 27,
    FIRST = 1000, /* the time at the begin */
    SMALL = 40,
    LARGE = KV_ENTRY_SMALL_MAX + 1000,
    SHOTS = 3,
    STEPS = 1500,
    ACTIONS = 12,
};

/* A snapshot beside a copy of the model at its begin. */
struct shot {
    struct kv_snapshot *snapshot;
    struct model_entry copy[MODEL_KEYS];
    uint64_t begun;
    unsigned most; /* entries in a piece */
    unsigned in_piece;
    uint8_t times[MODEL_KEYS];
};

static struct kv_arena_memory memory;
static struct model model;
static size_t outstanding;
static struct shot shots[SHOTS];
static uint64_t random_state;

static unsigned random_below(unsigned most)
{
    random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407U;
    return (unsigned)(random_state >> 33) % most;
}

static void begin(const struct kv_table_options *options, uint64_t max_memory)
{
    const struct kv_arena_options arena = {.hash_key = {.k0 = 3, .k1 = 4},
                                           .max_memory = max_memory};
    outstanding = kv_alloc_outstanding();
    memory = model_memory(RESERVE);
    model = (struct model){0};
    model.arena = kv_arena_new(&memory, &arena);
    random_state = 7;
    memset(shots, 0, sizeof shots);
    model_set_time(&model, FIRST);
    cr_assert_not_null(model_table_new(&model, options));
}

static void tear_down(void)
{
    for (unsigned i = 0; i < SHOTS; i++) {
        kv_snapshot_free(shots[i].snapshot);
    }
    kv_arena_fail(model.arena, 0);
    cr_assert_eq(model.arena->snapshot_bytes, 0);
    cr_assert(model.table == NULL || model.table->snapshots == NULL);
    while (kv_arena_work(model.arena, 100)) {
    }
    model_end(&model, &memory, outstanding);
}

TestSuite(snapshot, .fini = tear_down, .timeout = 240);

static uint32_t length_of(unsigned i)
{
    return i % 40 == 39 ? LARGE : i % 7 == 0 ? 2000 : SMALL + i % 3;
}

static void put(unsigned i, unsigned seed, uint64_t expiry)
{
    cr_assert_eq(model_put(&model, i, length_of(i + seed), 1, i + seed, expiry), KV_OK);
}

static void fill(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        put(i, 0, KV_NEVER);
    }
}

static void open_within(struct shot *shot, unsigned most, uint64_t limit)
{
    memset(shot, 0, sizeof *shot);
    memcpy(shot->copy, model.entries, sizeof shot->copy);
    shot->begun = model.now;
    shot->most = most;
    shot->snapshot = kv_snapshot_new(model.table, limit);
    cr_assert_not_null(shot->snapshot);
    cr_assert_eq(kv_snapshot_time(shot->snapshot), model.now);
}

static void open(struct shot *shot, unsigned most)
{
    open_within(shot, most, KV_SNAPSHOT_BYTES);
}

static bool same_value(const struct model_entry *entry, struct kv_bytes value)
{
    uint32_t seed = entry->seed;
    for (uint32_t i = 0; i < entry->length && i < value.length; i++) {
        seed = seed * 1664525 + 1013904223;
        if (value.data[i] != (uint8_t)(seed >> 24)) {
            return false;
        }
    }
    return entry->length == value.length;
}

static bool visit(void *context, const struct kv_table_entry *entry, bool may_end)
{
    struct shot *shot = context;
    unsigned i = 0;
    if (may_end && shot->in_piece >= shot->most) {
        return false;
    }
    shot->in_piece++;
    memcpy(&i, entry->key.bytes.data, entry->key.bytes.length == 0 ? 0 : sizeof i);
    cr_assert_lt(i, MODEL_KEYS);
    const struct kv_item key = model_key(i);
    cr_assert(kv_bytes_equal(entry->key.bytes, key.bytes) && entry->key.form == key.form);
    const struct model_entry *was = &shot->copy[i];
    cr_assert(was->there, "key %u was not there", i);
    cr_assert(was->expiry == KV_NEVER || was->expiry > shot->begun);
    cr_assert(entry->expiry == was->expiry && entry->value.form == was->form);
    cr_assert(same_value(was, entry->value.bytes), "key %u has another value", i);
    shot->times[i]++;
    return true;
}

/* Returns false at the end. */
static bool piece(struct shot *shot)
{
    bool more = false;
    shot->in_piece = 0;
    cr_assert_eq(kv_snapshot_piece(shot->snapshot, visit, shot, &more), KV_OK);
    cr_assert_leq(shot->in_piece, shot->most);
    return more;
}

static void check_whole(const struct shot *shot)
{
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        const struct model_entry *was = &shot->copy[i];
        const bool stays = was->there && (was->expiry == KV_NEVER || was->expiry > model.now);
        cr_assert_leq(shot->times[i], 1);
        cr_assert(!stays || shot->times[i] == 1, "key %u is missing", i);
    }
}

static void finish(struct shot *shot)
{
    while (piece(shot)) {
    }
    check_whole(shot);
    kv_snapshot_free(shot->snapshot);
    shot->snapshot = NULL;
}

/* ---- one change between begin and end ----------------------------------------------------------
 */

Test(snapshot, a_table_at_rest_is_visited_once)
{
    begin(NULL, 0);
    fill(MODEL_KEYS);
    open(&shots[0], 100);
    finish(&shots[0]);
}

Test(snapshot, an_empty_table_has_no_entries)
{
    begin(NULL, 0);
    open(&shots[0], 100);
    put(1, 0, KV_NEVER);
    finish(&shots[0]);
}

Test(snapshot, puts_of_new_keys_do_not_show_while_segments_split)
{
    begin(NULL, 0);
    fill(300);
    open(&shots[0], 10);
    for (unsigned i = 300; i < MODEL_KEYS; i++) {
        put(i, 0, KV_NEVER);
        (void)(i % 500 == 0 && piece(&shots[0]));
    }
    finish(&shots[0]);
}

Test(snapshot, overwritten_entries_keep_their_values)
{
    begin(NULL, 0);
    fill(MODEL_KEYS);
    open(&shots[0], 50);
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        put(MODEL_KEYS - 1 - i, i % 3 == 0 ? 0 : 7, KV_NEVER);
        (void)(i % 100 == 0 && piece(&shots[0]));
    }
    finish(&shots[0]);
}

Test(snapshot, deleted_entries_stay_while_segments_merge)
{
    begin(NULL, 0);
    fill(MODEL_KEYS);
    open(&shots[0], 50);
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        model_delete(&model, i);
        (void)(i % 200 == 0 && piece(&shots[0]));
    }
    while (kv_arena_work(model.arena, 100)) {
    }
    finish(&shots[0]);
}

Test(snapshot, a_clear_takes_nothing_away)
{
    begin(NULL, 0);
    fill(MODEL_KEYS);
    open(&shots[0], 50);
    open(&shots[1], 70);
    put(5, 1, KV_NEVER);
    (void)piece(&shots[0]);
    model_clear(&model);
    while (kv_arena_work(model.arena, 100)) {
    }
    for (unsigned i = 0; i < MODEL_KEYS; i += 2) {
        put(i, 3, KV_NEVER);
    }
    open(&shots[2], 10);
    model_clear(&model);
    for (unsigned i = 0; i < SHOTS; i++) {
        finish(&shots[i]);
    }
}

Test(snapshot, a_clear_of_a_small_table_takes_nothing_away)
{
    for (unsigned count = 1; count < 40; count += 19) {
        begin(NULL, 0);
        fill(count);
        open(&shots[0], 1);
        (void)(count > 10 && piece(&shots[0]));
        model_clear(&model);
        fill(count);
        model_clear(&model);
        finish(&shots[0]);
        (void)(count < 20 ? tear_down() : (void)0);
    }
}

Test(snapshot, another_expiry_does_not_show)
{
    begin(NULL, 0);
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        put(i, 0, i % 2 == 0 ? FIRST + 100 : KV_NEVER);
    }
    open(&shots[0], 500);
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        const uint64_t expiry = i % 3 == 0 ? FIRST + 500 : i % 3 == 1 ? FIRST + 1 : KV_NEVER;
        cr_assert_eq(kv_table_set_expiry(model.table, model_key(i), expiry), KV_OK);
        model.entries[i].expiry = expiry;
    }
    finish(&shots[0]);
}

Test(snapshot, reads_that_prolong_entries_do_not_show)
{
    begin(&(struct kv_table_options){.touch = 1000}, 0);
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        put(i, 0, FIRST + 100);
    }
    open(&shots[0], 500);
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        model_get(&model, i);
        model.entries[i].expiry = FIRST + 1000;
    }
    finish(&shots[0]);
}

Test(snapshot, entries_that_expire_meanwhile_cost_nothing_and_may_be_missing)
{
    begin(NULL, 0);
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        put(i, 0, i % 2 == 0 ? FIRST + 10 : FIRST + 100000);
    }
    open(&shots[0], 50);
    (void)piece(&shots[0]);
    model_set_time(&model, FIRST + 20);
    while (kv_arena_work(model.arena, 100)) {
    }
    cr_assert_eq(model.arena->snapshot_bytes, 0);
    for (unsigned i = 0; i < MODEL_KEYS; i += 4) {
        put(i, 9, KV_NEVER);
    }
    finish(&shots[0]);
}

Test(snapshot, evicted_entries_stay)
{
    begin(&(struct kv_table_options){.evict = KV_EVICT_LRU, .max_entries = 1500}, 0);
    fill(1500);
    open(&shots[0], 20);
    for (unsigned i = 1500; i < MODEL_KEYS; i++) {
        put(i, 0, KV_NEVER);
    }
    cr_assert_gt(model.gone[KV_GONE_EVICTED], 1000);
    finish(&shots[0]);
}

/* ---- changes that may be taken back ------------------------------------------------------------
 */

Test(snapshot, puts_that_are_taken_back_show_neither_before_nor_after)
{
    for (unsigned keep = 0; keep < 2; keep++) {
        begin(NULL, 0);
        fill(2000);
        open(&shots[0], 30);
        model_begin_all(&model, MODEL_KEYS);
        for (unsigned i = 1000; i < 3000; i++) {
            put(i, 5, KV_NEVER);
            (void)(i % 500 == 0 && piece(&shots[0]));
        }
        model_end_all(&model, keep == 1, 7);
        (void)piece(&shots[0]);
        finish(&shots[0]);
        (void)(keep == 0 ? tear_down() : (void)0);
    }
}

Test(snapshot, none_begins_amid_changes_that_may_be_taken_back)
{
    begin(NULL, 0);
    fill(10);
    model_begin_all(&model, 10);
    cr_assert_null(kv_snapshot_new(model.table, KV_SNAPSHOT_BYTES));
    model_end_all(&model, true, 10);
}

/* ---- bounds ------------------------------------------------------------------------------------
 */

static int error_of(struct shot *shot)
{
    bool more = true;
    return kv_snapshot_piece(shot->snapshot, visit, shot, &more);
}

Test(snapshot, a_snapshot_over_the_limit_fails_and_the_table_goes_on)
{
    begin(NULL, 0);
    fill(MODEL_KEYS);
    open_within(&shots[0], 10, 1 << 20);
    open(&shots[1], 10);
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        put(i, 3, KV_NEVER);
    }
    cr_assert_eq(error_of(&shots[0]), KV_ESIZE);
    cr_assert_eq(error_of(&shots[0]), KV_ESIZE);
    cr_assert_leq(kv_snapshot_memory(shots[0].snapshot), 1 << 15);
    finish(&shots[1]);
}

Test(snapshot, keys_alone_reach_the_limit_too)
{
    begin(NULL, 0);
    open_within(&shots[0], 10, 1 << 16);
    for (unsigned i = 0; i < 100; i++) {
        put(i, 0, KV_NEVER);
    }
    cr_assert_geq(kv_snapshot_memory(shots[0].snapshot), 100 * sizeof(uint64_t));
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        put(i, 0, KV_NEVER);
    }
    cr_assert_eq(error_of(&shots[0]), KV_ESIZE);
}

Test(snapshot, what_the_reader_has_taken_does_not_count)
{
    begin(NULL, 0);
    fill(MODEL_KEYS);
    open_within(&shots[0], 4000, 1 << 20);
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        put(i, 3, KV_NEVER);
        (void)(i % 40 == 0 && piece(&shots[0]));
    }
    finish(&shots[0]);
}

Test(snapshot, the_limit_is_for_all_snapshots_of_the_arena)
{
    begin(NULL, 0);
    fill(MODEL_KEYS);
    open(&shots[0], 10);
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        put(i, 3, KV_NEVER);
    }
    open_within(&shots[1], 10, 1 << 20);
    put(1, 0, KV_NEVER);
    cr_assert_eq(error_of(&shots[1]), KV_ESIZE);
    finish(&shots[0]);
}

Test(snapshot, it_gives_way_when_the_arena_is_full)
{
    begin(NULL, 6 << 20);
    unsigned count = 0;
    while (count < MODEL_KEYS && model_put(&model, count, 2000, 1, count, KV_NEVER) == KV_OK) {
        count++;
    }
    cr_assert(count > 1000 && count < MODEL_KEYS);
    open(&shots[0], 10);
    model_clear(&model);
    for (unsigned i = 0; i < count / 2; i++) {
        cr_assert_eq(model_put(&model, i, 2000, 1, i, KV_NEVER), KV_OK);
    }
    cr_assert_eq(error_of(&shots[0]), KV_ENOMEM);
}

Test(snapshot, it_fails_if_the_system_has_no_memory)
{
    begin(NULL, 0);
    fill(100);
    open(&shots[0], 10);
    (void)kv_try_realloc_fail(1);
    put(1, 3, KV_NEVER);
    cr_assert_eq(error_of(&shots[0]), KV_ENOMEM);
}

Test(snapshot, it_fails_when_the_table_ends)
{
    begin(NULL, 0);
    struct kv_table *other = kv_table_new(model.arena, NULL);
    struct kv_snapshot *snapshot = kv_snapshot_new(other, KV_SNAPSHOT_BYTES);
    fill(100);
    open(&shots[0], 10);
    kv_table_free(other);
    bool more;
    cr_assert_eq(kv_snapshot_piece(snapshot, visit, &shots[0], &more), KV_ENOENT);
    kv_snapshot_free(snapshot);
    finish(&shots[0]);
}

Test(snapshot, an_end_before_the_last_piece_gives_everything_back)
{
    begin(NULL, 0);
    fill(MODEL_KEYS);
    open(&shots[0], 10);
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        put(i, 3, KV_NEVER);
    }
    model_clear(&model);
    cr_assert_gt(model.arena->snapshot_bytes, 100000);
    kv_snapshot_free(shots[0].snapshot);
    shots[0].snapshot = NULL;
    cr_assert_eq(model.arena->snapshot_bytes, 0);
    cr_assert_eq(model.table->is_plain, true);
}

/* ---- random programs ---------------------------------------------------------------------------
 */

static void change_in_batch(void)
{
    model_begin_all(&model, 100);
    for (unsigned i = 0; i < 30; i++) {
        const unsigned key = random_below(MODEL_KEYS);
        (void)model_put(&model, key, length_of(random_below(100)), 1, random_below(1000),
                        random_below(2) == 0 ? KV_NEVER : model.now + 1 + random_below(50));
        struct shot *shot = &shots[random_below(SHOTS)];
        (void)(random_below(10) == 0 && shot->snapshot != NULL && piece(shot));
    }
    model_end_all(&model, random_below(2) == 0, 1 + random_below(20));
}

static void change_expiry(unsigned key)
{
    const uint64_t expiry = random_below(2) == 0 ? KV_NEVER : model.now + 1 + random_below(50);
    if (kv_table_set_expiry(model.table, model_key(key), expiry) == KV_OK) {
        model.entries[key].expiry = expiry;
    }
}

static void step_shot(struct shot *shot)
{
    if (shot->snapshot == NULL) {
        open(shot, 1 + random_below(700));
    } else if (random_below(12) == 0) {
        finish(shot);
    } else if (random_below(40) == 0) {
        kv_snapshot_free(shot->snapshot);
        shot->snapshot = NULL;
    } else {
        (void)piece(shot);
    }
}

static void step(void)
{
    const unsigned key = random_below(MODEL_KEYS);
    switch (random_below(ACTIONS)) {
    case 0:
        change_in_batch();
        break;
    case 1:
        model_set_time(&model, model.now + random_below(4));
        break;
    case 2:
        (void)kv_arena_work(model.arena, random_below(30));
        break;
    case 3:
        (void)(random_below(60) == 0 ? model_clear(&model) : (void)0);
        break;
    case 4:
    case 5:
        step_shot(&shots[random_below(SHOTS)]);
        break;
    case 6:
        change_expiry(key);
        break;
    case 7:
        model_look_ahead(&model, key);
        break;
    case 8:
        for (unsigned i = 0; i < 200; i++) {
            model_delete(&model, random_below(MODEL_KEYS));
        }
        break;
    default:
        for (unsigned i = 0; i < 100; i++) {
            (void)model_put(&model, (key + i) % MODEL_KEYS, length_of(random_below(100)), 1,
                            random_below(1000),
                            random_below(3) > 0 ? KV_NEVER : model.now + 1 + random_below(50));
        }
    }
}

static void run(const struct kv_table_options *options, unsigned seed)
{
    begin(options, 0);
    random_state = seed;
    for (unsigned i = 0; i < STEPS; i++) {
        step();
    }
    for (unsigned i = 0; i < SHOTS; i++) {
        if (shots[i].snapshot != NULL) {
            finish(&shots[i]);
        }
    }
    model_check(model.arena);
}

Test(snapshot, random_programs_change_no_snapshot)
{
    for (unsigned seed = 1; seed < 7; seed++) {
        run(NULL, seed);
        tear_down();
    }
    run(NULL, 7);
}

Test(snapshot, random_programs_change_no_snapshot_while_entries_are_evicted)
{
    for (unsigned seed = 1; seed < 7; seed++) {
        run(&(struct kv_table_options){.evict = KV_EVICT_LRU, .max_memory = 1 << 20}, seed);
        tear_down();
    }
    run(&(struct kv_table_options){.evict = KV_EVICT_TTL, .max_entries = 700}, 7);
}
