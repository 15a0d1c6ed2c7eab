/* Strangers: connections in their handshake, and which of them goes first if there are too many.
 *
 * A pool counts its strangers by address. The address with the most strangers loses its oldest one.
 * So a flood from few addresses pushes out no other address, and a flood from many addresses pushes
 * out the strangers that have had the most time. There are two pools, so that a stranger without a
 * valid name cannot push out one that has a name. */
#ifndef KV_STRANGERS_H
#define KV_STRANGERS_H

#include "base/list.h"
#include "base/map.h"
#include "base/siphash.h"

struct sockaddr;

enum { KV_STRANGERS_MAX = 1024 }; /* of one pool */

struct kv_origin;

struct kv_stranger {
    struct kv_list of_origin; /* alone while the stranger is in no pool */
    struct kv_origin *origin;
    struct kv_strangers *pool; /* NULL: none */
};

struct kv_strangers {
    struct kv_hash_key key;
    struct kv_map origins;                         /* struct kv_origin, by address */
    struct kv_list by_count[KV_STRANGERS_MAX + 1]; /* origins, by their number of strangers */
    size_t most;                                   /* the largest of these numbers */
    size_t count;
};

/* `key` must be random, since strangers choose their addresses. */
void kv_strangers_init(struct kv_strangers *pool, const struct kv_hash_key *key);

/* Returns what an address counts as: an IPv4 address as a whole, or the network of an IPv6 address
 * (its first 64 bits). */
uint64_t kv_strangers_address(const struct sockaddr *address);

void kv_stranger_init(struct kv_stranger *stranger);

/* Adds a stranger as the youngest. The stranger must be in no pool, and the pool must not be full.
 */
void kv_strangers_add(struct kv_strangers *pool, struct kv_stranger *stranger, uint64_t address);

/* Removes a stranger from its pool, if it is in one. */
void kv_strangers_remove(struct kv_stranger *stranger);

/* Moves a stranger from its pool to another. */
void kv_strangers_move(struct kv_strangers *pool, struct kv_stranger *stranger);

/* Returns the stranger that goes first, or NULL if the pool is empty. */
struct kv_stranger *kv_strangers_first(const struct kv_strangers *pool);

/* Frees the memory of an empty pool. */
void kv_strangers_free(struct kv_strangers *pool);

#endif
