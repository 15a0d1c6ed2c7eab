#include "base/map.h"

#include "base/alloc.h"
#include "base/assert.h"

/* ROOMINESS: chains for each node, at least. Every new monitor is first searched for in vain. With
 * two chains a node most chains are empty, and the search loads no node from memory. */
enum { SMALLEST_CHAIN_COUNT = 8, ROOMINESS = 2 };

static struct kv_map_node **chain_of(const struct kv_map *map, uint64_t hash)
{
    return &map->chains[hash & (map->chain_count - 1)];
}

static void grow(struct kv_map *map, size_t chain_count)
{
    struct kv_map old = *map;
    map->chains = kv_zalloc(chain_count * sizeof(struct kv_map_node *));
    map->chain_count = chain_count;
    for (size_t i = 0; i < old.chain_count; i++) {
        struct kv_map_node *node = old.chains[i];
        while (node != NULL) {
            struct kv_map_node *next = node->next;
            struct kv_map_node **end = chain_of(map, node->hash);
            while (*end != NULL) { /* the order of a chain stays */
                end = &(*end)->next;
            }
            node->next = NULL;
            *end = node;
            node = next;
        }
    }
    kv_free((void *)old.chains);
}

/* Each chain of the upper half goes behind that of the lower half with the same bits. Few nodes are
 * left by then, and most of them are not looked at: growing reads each from memory. */
static void halve(struct kv_map *map)
{
    const size_t half = map->chain_count / 2;
    for (size_t i = 0; i < half; i++) {
        struct kv_map_node *upper = map->chains[half + i];
        if (upper != NULL) {
            struct kv_map_node **end = &map->chains[i];
            while (*end != NULL) {
                end = &(*end)->next;
            }
            *end = upper;
        }
    }
    map->chain_count = half;
    map->chains =
        (struct kv_map_node **)kv_realloc((void *)map->chains, half * sizeof(struct kv_map_node *));
}

void kv_map_free(struct kv_map *map)
{
    kv_free((void *)map->chains);
    *map = (struct kv_map){0};
}

void kv_map_insert(struct kv_map *map, struct kv_map_node *node, uint64_t hash)
{
    if (ROOMINESS * map->count >= map->chain_count) {
        grow(map, map->chain_count == 0 ? SMALLEST_CHAIN_COUNT : map->chain_count * 2);
    }
    struct kv_map_node **chain = chain_of(map, hash);
    kv_assert(*chain != node);
    node->hash = hash;
    node->next = *chain;
    *chain = node;
    map->count++;
}

void kv_map_reserve(struct kv_map *map, size_t count)
{
    size_t chain_count = map->chain_count == 0 ? SMALLEST_CHAIN_COUNT : map->chain_count;
    while (chain_count < ROOMINESS * count) {
        chain_count *= 2;
    }
    if (chain_count > map->chain_count) {
        grow(map, chain_count);
    }
}

void kv_map_remove(struct kv_map *map, struct kv_map_node *node)
{
    kv_assert(map->count > 0);
    struct kv_map_node **link = chain_of(map, node->hash);
    while (*link != node) {
        kv_assert(*link != NULL);
        link = &(*link)->next;
    }
    *link = node->next;
    node->next = NULL;
    map->count--;
    if (map->chain_count > SMALLEST_CHAIN_COUNT && ROOMINESS * map->count < map->chain_count / 8) {
        halve(map);
    }
}

void kv_map_drain(struct kv_map *map, void (*visit)(void *context, struct kv_map_node *node),
                  void *context)
{
    for (size_t i = 0; i < map->chain_count; i++) {
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
    uint64_t mask = map->chain_count - 1;
    for (struct kv_map_node *node = map->chains[*cursor & mask]; node != NULL; node = node->next) {
        visit(context, node);
    }
    *cursor = reversed(reversed(*cursor | ~mask) + 1);
}
