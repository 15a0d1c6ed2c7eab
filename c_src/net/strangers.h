/* Who goes first when too many connections are in their handshake.
 *
 * A pool counts them by the address that they come from. The address with most of them loses its
 * oldest: a flood from few addresses pushes out nobody else, and one from many addresses those that
 * have had most time. There are two pools, one for those that have said no valid name yet: they
 * push out nobody who has. */
#ifndef KV_STRANGERS_H
#define KV_STRANGERS_H

#include "base/list.h"
#include "base/map.h"
#include "base/siphash.h"

struct sockaddr;

enum { KV_STRANGERS_MAX = 1024 }; /* of one pool */

struct kv_origin;

struct kv_stranger {
    struct kv_list of_origin; /* alone while it is in no pool */
    struct kv_origin *origin;
    struct kv_strangers *pool; /* NULL: none */
};

struct kv_strangers {
    struct kv_hash_key key;
    struct kv_map origins;                         /* struct kv_origin, by address */
    struct kv_list by_count[KV_STRANGERS_MAX + 1]; /* origins with so many strangers */
    size_t most;                                   /* that an origin has */
    size_t count;
};

/* key: random, since strangers choose their addresses. */
void kv_strangers_init(struct kv_strangers *pool, const struct kv_hash_key *key);

/* What an address counts as: one of IPv4, or the network of one of IPv6 (its first 64 bits). */
uint64_t kv_strangers_address(const struct sockaddr *address);

void kv_stranger_init(struct kv_stranger *stranger);

/* Adds one, as the youngest; it must be in no pool, and the pool not be full. */
void kv_strangers_add(struct kv_strangers *pool, struct kv_stranger *stranger, uint64_t address);

/* Takes one out of its pool, if it is in one. */
void kv_strangers_remove(struct kv_stranger *stranger);

/* Takes it from its pool to another one. */
void kv_strangers_move(struct kv_strangers *pool, struct kv_stranger *stranger);

/* The one that goes first; NULL: there is none. */
struct kv_stranger *kv_strangers_first(const struct kv_strangers *pool);

/* Releases the memory of an empty pool. */
void kv_strangers_free(struct kv_strangers *pool);

#endif
