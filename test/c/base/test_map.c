/* The hash map: its operations, and the same at each moment while it grows or shrinks in steps. */
#include "base/map.h"

#include "base/alloc.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(map, .timeout = 20);

struct entry {
    struct kv_map_node node;
    size_t key;
    bool seen;
};

static bool has_key(const struct kv_map_node *node, const void *key)
{
    return KV_MAP_OF(node, struct entry, node)->key == *(const size_t *)key;
}

enum { ENTRIES = 5000 };

/* hashes: how many different hashes the keys get. */
static struct entry *fill(struct kv_map *map, size_t hashes)
{
    struct entry *entries = kv_zalloc(ENTRIES * sizeof(struct entry));
    for (size_t i = 0; i < ENTRIES; i++) {
        entries[i].key = i;
        kv_map_insert(map, &entries[i].node, i % hashes);
    }
    return entries;
}

static void find_insert_and_remove(size_t hashes)
{
    struct kv_map map = {0};
    struct entry *entries = fill(&map, hashes);
    cr_expect_eq(map.count, ENTRIES);
    for (size_t i = 0; i < ENTRIES; i += 2) {
        kv_map_remove(&map, &entries[i].node);
    }
    cr_expect_eq(map.count, ENTRIES / 2);
    for (size_t i = 0; i < ENTRIES; i++) {
        struct kv_map_node *wanted = i % 2 == 0 ? NULL : &entries[i].node;
        cr_assert_eq(kv_map_find(&map, i % hashes, has_key, &i), wanted);
    }
    for (size_t i = 1; i < ENTRIES; i += 2) {
        kv_map_remove(&map, &entries[i].node);
    }
    cr_expect_eq(map.count, 0);
    kv_map_free(&map);
    kv_free(entries);
    cr_expect_eq(kv_alloc_outstanding(), 0);
}

Test(map, a_map_finds_what_was_inserted_and_not_what_was_removed)
{
    find_insert_and_remove(ENTRIES);
}

Test(map, a_map_tells_keys_of_one_hash_apart)
{
    find_insert_and_remove(50);
}

Test(map, an_unused_map_is_empty)
{
    struct kv_map map = {0};
    size_t key = 1;
    cr_expect_null(kv_map_find(&map, 1, has_key, &key));
    kv_map_free(&map);
}

static void spoil(void *context, struct kv_map_node *node)
{
    struct entry *entry = KV_MAP_OF(node, struct entry, node);
    size_t *met = context;
    cr_assert_not(entry->seen);
    entry->seen = true;
    memset(&entry->node, 0xff, sizeof entry->node);
    ++*met;
}

Test(map, draining_a_map_gives_every_node_away_once_and_leaves_it_empty)
{
    struct kv_map map = {0};
    struct entry *entries = fill(&map, 700);
    size_t met = 0;
    kv_map_drain(&map, spoil, &met);
    cr_expect_eq(met, ENTRIES);
    cr_expect_eq(map.count, 0);
    cr_expect_eq(map.chain_count, 0);
    kv_map_drain(&map, spoil, &met);
    cr_expect_eq(met, ENTRIES);
    kv_free(entries);
    cr_expect_eq(kv_alloc_outstanding(), 0);
}

static void count_visit(void *context, struct kv_map_node *node)
{
    size_t *visits = context;
    visits[KV_MAP_OF(node, struct entry, node)->key]++;
}

/* Those of an odd key stay; the others come, or go, in the midst of the scan. */
static void assert_scan(bool grows)
{
    struct kv_map map = {0};
    struct entry *entries = fill(&map, ENTRIES);
    size_t visits[ENTRIES] = {0};
    uint64_t cursor = 0;
    size_t steps = 0;
    for (size_t i = 0; grows && i < ENTRIES; i += 2) {
        kv_map_remove(&map, &entries[i].node);
    }
    do {
        kv_map_scan(&map, &cursor, count_visit, visits);
        if (++steps == 5) {
            for (size_t i = 0; i < ENTRIES; i += 2) {
                if (grows) {
                    kv_map_insert(&map, &entries[i].node, i);
                } else {
                    kv_map_remove(&map, &entries[i].node);
                }
            }
        }
        cr_assert_lt(steps, 10 * (size_t)ENTRIES);
    } while (cursor != 0);
    for (size_t i = 1; i < ENTRIES; i += 2) {
        cr_expect_geq(visits[i], 1, "%zu", i);
    }
    kv_map_free(&map);
    kv_free(entries);
}

Test(map, a_scan_meets_all_that_stay_though_the_map_grows_or_shrinks)
{
    assert_scan(true);
    assert_scan(false);
}

Test(map, a_scan_of_a_map_that_does_not_change_meets_every_node_once)
{
    struct kv_map map = {0};
    struct entry *entries = fill(&map, ENTRIES);
    size_t visits[ENTRIES] = {0};
    uint64_t cursor = 0;
    do {
        kv_map_scan(&map, &cursor, count_visit, visits);
    } while (cursor != 0);
    for (size_t i = 0; i < ENTRIES; i++) {
        cr_expect_eq(visits[i], 1);
    }
    kv_map_free(&map);
    kv_map_scan(&map, &cursor, count_visit, visits);
    cr_expect_eq(cursor, 0, "a scan of an empty map ends at once");
    kv_free(entries);
}

Test(map, of_two_nodes_of_one_key_the_later_is_found_first)
{
    struct kv_map map = {0};
    struct entry first = {.key = 1};
    struct entry second = {.key = 1};
    struct entry others[100] = {{.key = 0}};
    kv_map_insert(&map, &first.node, 1);
    kv_map_insert(&map, &second.node, 1);
    size_t key = 1;
    cr_expect_eq(kv_map_find(&map, 1, has_key, &key), &second.node);
    for (size_t i = 0; i < 100; i++) {
        kv_map_insert(&map, &others[i].node, i + 2);
        cr_expect_eq(kv_map_find(&map, 1, has_key, &key), &second.node, "also when it has grown");
    }
    kv_map_remove(&map, &second.node);
    cr_expect_eq(kv_map_find(&map, 1, has_key, &key), &first.node);
    kv_map_free(&map);
}

/* ---- in the midst of a step --------------------------------------------------------------------
 * A map of up to MANY nodes grows some times, and shrinks again. Its nodes have few hashes, so
 * chains have more nodes than one. Each function is tried with every number of nodes, on the way up
 * and on the way down. */

enum { MANY = 150, HASHES = 100 };

struct steps {
    struct kv_map map;
    struct entry entries[MANY];
    bool in[MANY];
};

/* Hashes of different high bits, so that pairs of chains are taken apart at every size. */
static uint64_t hash_of(size_t key)
{
    return (key % HASHES) * UINT64_C(0x9E3779B97F4A7C15) >> 32;
}

static void put(struct steps *steps, size_t key)
{
    steps->entries[key].key = key;
    steps->in[key] = true;
    kv_map_insert(&steps->map, &steps->entries[key].node, hash_of(key));
}

static void take(struct steps *steps, size_t key)
{
    steps->in[key] = false;
    kv_map_remove(&steps->map, &steps->entries[key].node);
}

/* With `count` nodes, of which the map has had `most`. */
static void bring_to(struct steps *steps, size_t most, size_t count)
{
    *steps = (struct steps){.map = {0}};
    for (size_t key = 0; key < most; key++) {
        put(steps, key);
    }
    for (size_t key = count; key < most; key++) {
        take(steps, key);
    }
}

static void assert_finds(const struct steps *steps)
{
    for (size_t key = 0; key < MANY; key++) {
        const struct kv_map_node *wanted = steps->in[key] ? &steps->entries[key].node : NULL;
        cr_assert_eq(kv_map_find(&steps->map, hash_of(key), has_key, &key), wanted);
    }
}

static void assert_scan_is_exact(const struct steps *steps)
{
    size_t visits[MANY] = {0};
    uint64_t cursor = 0;
    do {
        kv_map_scan(&steps->map, &cursor, count_visit, visits);
    } while (cursor != 0);
    for (size_t key = 0; key < MANY; key++) {
        cr_assert_eq(visits[key], steps->in[key]);
    }
}

static void assert_drains(struct steps *steps)
{
    size_t met = 0;
    const size_t count = steps->map.count;
    kv_map_drain(&steps->map, spoil, &met);
    cr_assert_eq(met, count);
    cr_assert_eq(kv_alloc_outstanding(), 0);
}

/* Calls `check` with each number of nodes on the way up, and on the way down. */
static void at_each_moment(void (*check)(struct steps *steps))
{
    struct steps steps;
    for (size_t count = 0; count <= MANY; count++) {
        bring_to(&steps, count, count);
        check(&steps);
        kv_map_free(&steps.map);
        bring_to(&steps, MANY, count);
        check(&steps);
        kv_map_free(&steps.map);
    }
    cr_expect_eq(kv_alloc_outstanding(), 0);
}

static void check_reads(struct steps *steps)
{
    assert_finds(steps);
    assert_scan_is_exact(steps);
}

static void check_removes(struct steps *steps)
{
    for (size_t key = 0; key < MANY; key++) {
        if (steps->in[key]) {
            take(steps, key);
            assert_finds(steps);
            put(steps, key);
            assert_finds(steps);
        }
    }
    assert_scan_is_exact(steps);
}

Test(map, a_map_finds_and_scans_its_nodes_at_each_moment_of_a_step)
{
    at_each_moment(check_reads);
}

Test(map, a_map_loses_and_gets_any_node_at_each_moment_of_a_step)
{
    at_each_moment(check_removes);
}

Test(map, a_map_is_drained_at_each_moment_of_a_step)
{
    at_each_moment(assert_drains);
}

Test(map, nodes_come_and_go_in_any_order)
{
    struct steps steps = {.map = {0}};
    uint32_t random = 1;
    for (unsigned i = 0; i < 20000; i++) {
        random = random * 1664525 + 1013904223;
        const size_t key = (random >> 8) % MANY;
        const bool fills = i / 2000 % 2 == 0; /* more come, or more go */
        if (steps.in[key] && (!fills || (random >> 30) == 0)) {
            take(&steps, key);
        } else if (!steps.in[key] && (fills || (random >> 30) == 0)) {
            put(&steps, key);
        }
        if (i % 16 == 0) {
            check_reads(&steps);
        }
    }
    kv_map_free(&steps.map);
    cr_expect_eq(kv_alloc_outstanding(), 0);
}

/* From each number of nodes, up or down, and after each number of calls. */
static void scan_while(struct steps *steps, size_t calls, bool grows)
{
    size_t visits[MANY] = {0};
    uint64_t cursor = 0;
    const size_t stay = grows ? steps->map.count : steps->map.count / 4;
    const size_t all = steps->map.count;
    for (size_t call = 0; call == 0 || cursor != 0; call++) {
        kv_map_scan(&steps->map, &cursor, count_visit, visits);
        for (size_t key = stay; call == calls && key < (grows ? (size_t)MANY : all); key++) {
            grows ? put(steps, key) : take(steps, key);
        }
    }
    for (size_t key = 0; key < stay; key++) {
        cr_assert_geq(visits[key], 1);
    }
    kv_map_free(&steps->map);
}

Test(map, a_scan_in_the_midst_of_steps_meets_all_that_stay)
{
    struct steps steps;
    for (size_t count = 1; count <= MANY; count += 7) {
        for (size_t calls = 0; calls < 40; calls += 3) {
            bring_to(&steps, count, count);
            scan_while(&steps, calls, true);
            bring_to(&steps, count, count);
            scan_while(&steps, calls, false);
            bring_to(&steps, MANY, count);
            scan_while(&steps, calls, true);
        }
    }
}

static void change_one(struct kv_map *map, struct entry *entry, bool grows)
{
    if (grows) {
        kv_map_insert(map, &entry->node, entry->key);
    } else {
        kv_map_remove(map, &entry->node);
    }
}

/* The effect of one insert or remove on the chains. */
static void assert_small_step(const struct kv_map *now, const struct kv_map *before)
{
    enum { COPIED_MOST = 8, SPLIT_MOST = 4, JOINED_MOST = 16 };
    if (now->chain_count == before->chain_count) {
        cr_assert_leq(now->copied, before->copied + COPIED_MOST);
        cr_assert_leq(now->split, before->split + SPLIT_MOST);
        cr_assert_leq(before->split, now->split + JOINED_MOST);
    } else if (now->chain_count > before->chain_count && before->chains != NULL) {
        cr_assert_geq(before->copied + COPIED_MOST, before->chain_count);
        cr_assert_eq(now->split, 0);
    } else if (before->chains != NULL) {
        cr_assert_leq(before->split, JOINED_MOST);
    }
}

Test(map, one_insert_or_remove_changes_a_few_chains_and_there_are_two_for_each_node)
{
    struct kv_map map = {0};
    struct entry *entries = kv_zalloc(ENTRIES * sizeof(struct entry));
    for (size_t i = 0; i < 2 * (size_t)ENTRIES; i++) {
        const bool grows = i < ENTRIES;
        struct entry *entry = &entries[grows ? i : i - ENTRIES];
        const struct kv_map before = map;
        entry->key = grows ? i : entry->key;
        change_one(&map, entry, grows);
        assert_small_step(&map, &before);
        cr_assert_geq(map.chain_count, 2 * map.count);
        cr_assert(map.chain_count <= 8 || map.chain_count <= 64 * (map.count + 1));
    }
    cr_expect_eq(map.count, 0);
    kv_map_free(&map);
    kv_free(entries);
    cr_expect_eq(kv_alloc_outstanding(), 0);
}

Test(map, a_map_that_gets_no_memory_serves_on_and_grows_later)
{
    struct steps steps = {.map = {0}};
    for (size_t key = 0; key < MANY; key++) {
        (void)kv_try_realloc_fail(key < MANY / 2 ? 1 : 0);
        put(&steps, key);
        check_reads(&steps);
        cr_assert(key >= MANY / 2 || steps.map.chain_count == 8);
    }
    cr_expect_geq(steps.map.chain_count, 128);
    for (size_t key = 0; key < MANY; key++) {
        take(&steps, key);
        check_reads(&steps);
    }
    kv_map_free(&steps.map);
    cr_expect_eq(kv_alloc_outstanding(), 0);
}
