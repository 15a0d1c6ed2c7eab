/* An intrusive hash map: each element has the node as a field, and the map owns only the heads of
 * its chains. The caller computes the hashes, with a keyed hash where a peer chooses the keys.
 *
 * Find, insert and remove are O(1) on average. Insert and remove touch few nodes always: a map
 * grows and shrinks in steps. */
#ifndef KV_BASE_MAP_H
#define KV_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kv_map_node {
    struct kv_map_node *next;
    uint64_t hash;
};

struct kv_map {
    struct kv_map_node **chains; /* owned; NULL while empty and never used */
    size_t chain_count;          /* a power of two, or 0 */
    size_t count;
    size_t most;               /* with so many nodes, an insert takes a step to grow */
    size_t least;              /* with fewer nodes, a remove takes a step to shrink */
    size_t split;              /* pairs of chains that are apart: map.c */
    struct kv_map_node **next; /* owned: the heads of twice the chains, or NULL */
    size_t copied;             /* heads that are in `next` */
};

#define KV_MAP_OF(node, type, field) ((type *)(void *)((char *)(node)-offsetof(type, field)))

/* Returns true if the node has the key. Called only for nodes with the hash of the key. */
typedef bool (*kv_map_match)(const struct kv_map_node *node, const void *key);

/* Frees the chains, not the nodes. The map is then empty and usable. */
void kv_map_free(struct kv_map *map);

/* Returns the node with the key, or NULL. Inline, so that the compiler can inline `match` too. */
static inline struct kv_map_node *kv_map_find(const struct kv_map *map, uint64_t hash,
                                              kv_map_match match, const void *key)
{
    if (map->count == 0) {
        return NULL;
    }
    struct kv_map_node *node = map->chains[hash & (map->chain_count - 1)];
    while (node != NULL && (node->hash != hash || !match(node, key))) {
        node = node->next;
    }
    return node;
}

/* The node must not be in the map. Two nodes may have the same key: find returns the later one. */
void kv_map_insert(struct kv_map *map, struct kv_map_node *node, uint64_t hash);

/* The node must be in the map. */
void kv_map_remove(struct kv_map *map, struct kv_map_node *node);

/* Visits the nodes of one chain and advances *cursor, which starts as 0 and is 0 again at the end.
 * The map may change between two calls, and grow or shrink. A node that is in the map from the
 * first call to the last is visited at least once. `visit` must not change the map. */
void kv_map_scan(const struct kv_map *map, uint64_t *cursor,
                 void (*visit)(void *context, struct kv_map_node *node), void *context);

/* Removes every node, in no particular order, and frees the chains. `visit` owns the node and may
 * free it, but must not use the map. O(nodes + chains). */
void kv_map_drain(struct kv_map *map, void (*visit)(void *context, struct kv_map_node *node),
                  void *context);

#endif
