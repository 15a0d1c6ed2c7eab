/* Finds the canonical order of the pairs of each map in a term, which depends only on the keys.
 *
 * Keys are compared by the bytes of their canonical form. A map inside a key is replaced by a
 * SHA-256 digest of its pairs in order. So each byte of the term is compared and hashed at one
 * level only, however deep maps are nested. O(length * log(pairs)). */
#ifndef KV_TERM_ORDER_H
#define KV_TERM_ORDER_H

#include <kv/term.h>

/* The order of one map. Offsets count from the beginning of the term. */
struct kv_map_order {
    uint32_t offset;
    uint32_t end;   /* the first byte behind the map */
    uint32_t first; /* index of its first key in kv_orders.keys */
};

/* Maps of two pairs or more, sorted by offset. kv_orders_free() frees the arrays. */
struct kv_orders {
    struct kv_map_order *maps;
    size_t map_count;
    size_t map_capacity;
    uint32_t *keys; /* offsets of the keys, in order */
    size_t key_count;
    size_t key_capacity;
};

/* Fills `orders`. NULL: only looks for duplicate keys, and does so inside funs, too. Returns KV_OK,
 * KV_ENOMEM or KV_EDUPLICATE. */
int kv_order_maps(struct kv_bytes term, enum kv_zeros zeros, struct kv_orders *orders);

/* kv_order_maps() without orders, in pieces of some `bytes` of the term, which is borrowed. go_on
 * returns true if there is more to do, and else sets *error to the result. A large map is sorted in
 * pieces, too. */
struct kv_maps_check;
struct kv_maps_check *kv_maps_check_new(struct kv_bytes term, enum kv_zeros zeros);
bool kv_maps_check_go_on(struct kv_maps_check *check, size_t bytes, int *error);
/* `check` may be NULL. */
void kv_maps_check_free(struct kv_maps_check *check);

/* The order of the map at `offset`, which must be in `orders`. O(log maps). */
const struct kv_map_order *kv_orders_find(const struct kv_orders *orders, uint32_t offset);

void kv_orders_free(struct kv_orders *orders);

#endif
