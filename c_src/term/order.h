/* The order in which the pairs of each map inside a term are written: it depends on the values of
 * the keys only. Keys are compared by the bytes of their canonical form; a map inside a key stands
 * there as a digest (SHA-256) of its pairs in order, so that each byte of the term is compared and
 * hashed at one level only, however maps are nested. O(length * log(pairs)). */
#ifndef KV_TERM_ORDER_H
#define KV_TERM_ORDER_H

#include <kv/term.h>

/* Of one map; offsets are from the beginning of the term. */
struct kv_map_order {
    uint32_t offset;
    uint32_t end;   /* the first byte behind the map */
    uint32_t first; /* where its keys begin in kv_orders.keys */
};

/* Maps of two pairs or more, by offset. The arrays are owned; kv_orders_free() releases them. */
struct kv_orders {
    struct kv_map_order *maps;
    size_t map_count;
    size_t map_capacity;
    uint32_t *keys; /* the offset of each key */
    size_t key_count;
    size_t key_capacity;
};

/* Fills `orders`. When it is NULL, looks for duplicate keys only, but inside funs, too.
 * KV_OK, KV_ENOMEM or KV_EDUPLICATE. */
int kv_order_maps(struct kv_bytes term, enum kv_zeros zeros, struct kv_orders *orders);

/* The map at `offset`, which must be there. O(log maps). */
const struct kv_map_order *kv_orders_find(const struct kv_orders *orders, uint32_t offset);

void kv_orders_free(struct kv_orders *orders);

#endif
