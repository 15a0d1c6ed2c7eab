/* Growing and shrinking go on in steps, a few chains with each insert or remove, so that no turn of
 * the loop moves many nodes.
 *
 * Two chains whose numbers differ in the highest bit only are a pair. The pairs below `split` are
 * apart. The two heads of any other pair are equal: both begin one chain, which has the nodes of
 * both. A search thus finds a node from the head that its hash names, at any time, and needs not
 * know of the steps.
 *
 * To grow, inserts first copy the heads to `next`, twice each. Then `next` takes the place of the
 * heads with each pair still one chain, and further inserts take the pairs apart. To shrink,
 * removes join the pairs again, and then give the upper half of the heads back. */
#include "base/map.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/later.h"

/* ROOMINESS: chains for each node, at least. Every new monitor is first searched for in vain. With
 * two chains a node most chains are empty, and the search loads no node from memory.
 *
 * A map of n chains begins to grow at 3/8 n nodes, and has n / 8 inserts to copy n heads. It has
 * 2 n chains then, and n / 4 inserts to take n pairs apart before it may grow again. It shrinks
 * below n / 16 nodes, and has n / 32 removes to join n / 2 pairs. */
enum {
    SMALLEST_CHAIN_COUNT = 8,
    ROOMINESS = 2,
    COPIES = 8,  /* heads that an insert copies */
    SPLITS = 4,  /* pairs that an insert takes apart */
    JOINS = 16,  /* pairs that a remove joins */
    SCARCE = 16, /* after a failed allocation, a map grows by this part before it tries again */
};

static size_t chain_number(const struct kv_map *map, uint64_t hash)
{
    return hash & (map->chain_count - 1);
}

static size_t pair_count(const struct kv_map *map)
{
    return map->chain_count / 2;
}

static size_t begins_to_grow(const struct kv_map *map)
{
    return map->chain_count / ROOMINESS / 4 * 3;
}

static size_t begins_to_shrink(const struct kv_map *map)
{
    return map->chain_count > SMALLEST_CHAIN_COUNT ? map->chain_count / ROOMINESS / 8 : 0;
}

/* In the midst of a change, each insert and each remove takes a step. */
static void set_bounds(struct kv_map *map)
{
    const bool settled = map->next == NULL && map->split == pair_count(map);
    map->most = settled ? begins_to_grow(map) : 0;
    map->least = settled ? begins_to_shrink(map) : SIZE_MAX;
}

/* Every head of the chain. */
static void set_head(struct kv_map *map, uint64_t hash, struct kv_map_node *node)
{
    const size_t number = chain_number(map, hash);
    map->chains[number] = node;
    if ((number & (pair_count(map) - 1)) >= map->split) {
        map->chains[number ^ pair_count(map)] = node;
    }
    if (number < map->copied) {
        map->next[number] = node;
        map->next[number + map->chain_count] = node;
    }
}

/* ---- growing -----------------------------------------------------------------------------------
 */

static void begin(struct kv_map *map)
{
    map->chains = kv_zalloc(SMALLEST_CHAIN_COUNT * sizeof(struct kv_map_node *));
    map->chain_count = SMALLEST_CHAIN_COUNT;
    map->split = pair_count(map);
}

/* The order of a chain stays. */
static void split_pair(struct kv_map *map, size_t number)
{
    struct kv_map_node **low = &map->chains[number];
    struct kv_map_node **high = &map->chains[number + pair_count(map)];
    for (struct kv_map_node *node = *low; node != NULL; node = node->next) {
        struct kv_map_node ***end = (node->hash & pair_count(map)) == 0 ? &low : &high;
        **end = node;
        *end = &node->next;
    }
    *low = NULL;
    *high = NULL;
}

static void replace_heads(struct kv_map *map)
{
    struct kv_map_node **old = map->chains;
    map->chains = map->next;
    map->next = NULL;
    map->copied = 0;
    map->chain_count *= 2;
    map->split = 0;
    kv_free_later((void *)old, pair_count(map) * sizeof(struct kv_map_node *));
}

static void copy_some(struct kv_map *map)
{
    for (unsigned i = 0; i < COPIES && map->copied < map->chain_count; i++) {
        struct kv_map_node *head = map->chains[map->copied];
        map->next[map->copied] = head;
        map->next[map->copied + map->chain_count] = head;
        map->copied++;
    }
    if (map->copied == map->chain_count) {
        replace_heads(map);
    }
}

/* Without memory the map serves with longer chains. */
static bool prepare_next(struct kv_map *map)
{
    if (map->next == NULL) {
        map->next = (struct kv_map_node **)kv_try_realloc(NULL, 2 * map->chain_count *
                                                                    sizeof(struct kv_map_node *));
    }
    return map->next != NULL;
}

static void step_up(struct kv_map *map)
{
    if (map->chains == NULL) {
        begin(map);
    } else if (map->split < pair_count(map)) {
        for (unsigned i = 0; i < SPLITS && map->split < pair_count(map); i++) {
            split_pair(map, map->split++);
        }
    } else if (prepare_next(map)) {
        copy_some(map);
    } else {
        map->most = map->count + map->count / SCARCE + 1;
        return;
    }
    set_bounds(map);
}

/* ---- shrinking ---------------------------------------------------------------------------------
 */

/* Few nodes are left by then, and most of them are not looked at. */
static void join_pair(struct kv_map *map, size_t number)
{
    struct kv_map_node **high = &map->chains[number + pair_count(map)];
    struct kv_map_node **end = &map->chains[number];
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = *high;
    *high = map->chains[number];
}

static void join_some(struct kv_map *map)
{
    for (unsigned i = 0; i < JOINS && map->split > 0; i++) {
        join_pair(map, --map->split);
    }
    if (map->split == 0) {
        map->chain_count = pair_count(map);
        map->split = pair_count(map);
        map->chains = (struct kv_map_node **)kv_realloc(
            (void *)map->chains, map->chain_count * sizeof(struct kv_map_node *));
    }
}

static void drop_next(struct kv_map *map)
{
    kv_free_later((void *)map->next, 2 * map->chain_count * sizeof(struct kv_map_node *));
    map->next = NULL;
    map->copied = 0;
}

static void step_down(struct kv_map *map)
{
    if (map->next != NULL && map->count < begins_to_grow(map) / 2) {
        drop_next(map);
    }
    if (map->next == NULL && map->count < begins_to_shrink(map)) {
        join_some(map);
    }
    set_bounds(map);
}

/* ---- the map -----------------------------------------------------------------------------------
 */

void kv_map_free(struct kv_map *map)
{
    kv_free((void *)map->chains);
    kv_free((void *)map->next);
    *map = (struct kv_map){0};
}

void kv_map_insert(struct kv_map *map, struct kv_map_node *node, uint64_t hash)
{
    const bool grows = map->count >= map->most;
    if (grows) {
        step_up(map);
    }
    struct kv_map_node **chain = &map->chains[chain_number(map, hash)];
    kv_assert(*chain != node);
    node->hash = hash;
    node->next = *chain;
    *chain = node;
    map->count++;
    if (grows) {
        set_head(map, hash, node);
    }
}

void kv_map_remove(struct kv_map *map, struct kv_map_node *node)
{
    kv_assert(map->count > 0);
    struct kv_map_node **head = &map->chains[chain_number(map, node->hash)];
    struct kv_map_node **link = head;
    while (*link != node) {
        kv_assert(*link != NULL);
        link = &(*link)->next;
    }
    *link = node->next;
    node->next = NULL;
    map->count--;
    if (map->count < map->least) {
        if (link == head) {
            set_head(map, node->hash, *head);
        }
        step_down(map);
    }
}

void kv_map_drain(struct kv_map *map, void (*visit)(void *context, struct kv_map_node *node),
                  void *context)
{
    for (size_t i = 0; i < pair_count(map) + map->split; i++) { /* a chain of two heads once */
        struct kv_map_node *next = map->chains[i];
        while (next != NULL) {
            struct kv_map_node *node = next;
            next = node->next;
            node->next = NULL;
            visit(context, node);
        }
    }
    kv_map_free(map);
}

static uint64_t reversed(uint64_t word)
{
    uint64_t result = 0;
    for (int bit = 0; bit < 64; bit++) {
        result = (result << 1) | (word & 1);
        word >>= 1;
    }
    return result;
}

/* The cursor counts with its bits reversed. The chains that one chain splits into, or that merge
 * into one, then follow each other, so that growing and shrinking skip no unvisited chain. */
void kv_map_scan(const struct kv_map *map, uint64_t *cursor,
                 void (*visit)(void *context, struct kv_map_node *node), void *context)
{
    if (map->count == 0) {
        *cursor = 0;
        return;
    }
    const uint64_t mask = map->chain_count - 1;
    struct kv_map_node *node = map->chains[*cursor & mask];
    for (; node != NULL; node = node->next) {
        if (((node->hash ^ *cursor) & mask) == 0) { /* not one of the other head */
            visit(context, node);
        }
    }
    *cursor = reversed(reversed(*cursor | ~mask) + 1);
}
