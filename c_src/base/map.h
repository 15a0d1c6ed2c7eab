/* An intrusive hash map: the node is a field of the thing that is mapped; the map owns only its
 * array of chains. Hashes are the caller's and should be keyed where a peer chooses the keys.
 *
 * find and insert are O(1) on average. Growing moves every node once, at powers of two. */
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
};

#define KV_MAP_OF(node, type, field) ((type *)(void *)((char *)(node)-offsetof(type, field)))

/* Whether a node is the one that is looked for; only nodes of the same hash are asked. */
typedef bool (*kv_map_match)(const struct kv_map_node *node, const void *key);

/* Releases the chains, not the nodes; the map is empty and usable afterwards. */
void kv_map_free(struct kv_map *map);

/* NULL when there is none. Here, so that `match` need not be called. */
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

/* The node must not be in the map; two nodes of one key may be, the later is found first. */
void kv_map_insert(struct kv_map *map, struct kv_map_node *node, uint64_t hash);

/* The node must be in the map. */
void kv_map_remove(struct kv_map *map, struct kv_map_node *node);

/* Visits the nodes of some chains and moves *cursor on, which starts as 0 and is 0 again at the
 * end. Between two calls the map may change, and grow or shrink: a node that is in it all the time
 * is visited at least once. */
void kv_map_scan(const struct kv_map *map, uint64_t *cursor,
                 void (*visit)(void *context, struct kv_map_node *node), void *context);

/* Takes every node out, in an arbitrary order, and releases the chains: `visit` owns the node and
 * may free it, and must not use the map. Linear in nodes and chains. */
void kv_map_drain(struct kv_map *map, void (*visit)(void *context, struct kv_map_node *node),
                  void *context);

#endif
