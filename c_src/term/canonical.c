/* The canonical form of a term, kv_term_canonical(): equal bytes for equal terms. */
#include "base/alloc.h"
#include "term/leaf.h"
#include "term/order.h"
#include "term/token.h"
#include "term/walk.h"

/* The error that ends a walk at a map of two pairs or more while no order is known. */
enum { NEEDS_ORDER = KV_ERROR_COUNT };

struct canonical {
    const uint8_t *term;
    const struct kv_orders *orders; /* NULL until a map of two pairs or more is met */
};

static int enter_map(struct kv_walk *walk, struct kv_frame *frame, const uint8_t *map)
{
    const struct canonical *canonical = walk->owner;
    if (canonical->orders == NULL) {
        return NEEDS_ORDER;
    }
    const struct kv_map_order *order =
        kv_orders_find(canonical->orders, (uint32_t)(map - canonical->term));
    frame->map = (size_t)(order - canonical->orders->maps);
    frame->index = order->first;
    if (kv_buffer_try_reserve(walk->out, KV_LONG_HEADER) != KV_OK) {
        return KV_ENOMEM;
    }
    kv_write_map(walk->out, (uint32_t)frame->remaining);
    walk->next = canonical->term + canonical->orders->keys[frame->index];
    return KV_OK;
}

/* The value follows its key, but the next key in order is elsewhere. */
static int next_in_map(struct kv_walk *walk, struct kv_frame *frame)
{
    const struct canonical *canonical = walk->owner;
    if (frame->at_key) {
        frame->at_key = false;
        return KV_OK;
    }
    frame->at_key = true;
    frame->remaining--;
    frame->index++;
    walk->next = canonical->term + (frame->remaining > 0 ? canonical->orders->keys[frame->index]
                                                         : canonical->orders->maps[frame->map].end);
    return KV_OK;
}

static int write_canonical(const uint8_t *term, enum kv_zeros zeros, const struct kv_orders *orders,
                           struct kv_buffer *to)
{
    struct canonical canonical = {.term = term, .orders = orders};
    struct kv_walk walk;
    walk.next = term;
    walk.out = to;
    walk.zeros = zeros;
    walk.quiet = false;
    walk.into_funs = false;
    walk.every_map = false;
    walk.enter_map = enter_map;
    walk.next_in_map = next_in_map;
    walk.owner = &canonical;
    return kv_walk(&walk);
}

/* Most terms have no map of two pairs, so the first walk assumes none. A second walk, with the
 * order of all maps, follows if the first one met such a map. */
void kv_term_canonical(struct kv_bytes term, enum kv_zeros zeros, struct kv_buffer *to)
{
    if (kv_term_is_canonical(term)) {
        kv_buffer_append(to, term);
        return;
    }
    size_t start = to->length;
    int error = write_canonical(term.data, zeros, NULL, to);
    if (error == NEEDS_ORDER) {
        struct kv_orders orders = {0};
        to->length = start;
        error = kv_order_maps(term, zeros, &orders);
        if (error == KV_OK) {
            error = write_canonical(term.data, zeros, &orders, to);
        }
        kv_orders_free(&orders);
    }
    if (error != KV_OK) { /* a validated term can only fail for lack of memory */
        kv_out_of_memory(term.length);
    }
}
