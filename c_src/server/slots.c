#include "server/slots.h"

#include "lane/layout.h"
#include "server/at_once.h"

#include <string.h>

/* More than the rest of the message would take in which the request came. */
enum { MESSAGE_AROUND = 512 };

static bool is_valid(const struct kv_slots *slots, struct kv_bytes request)
{
    size_t length = 0;
    return request.length > 0 && request.length + MESSAGE_AROUND <= slots->limits.size &&
           kv_term_validate(request, &slots->limits, &length) == KV_OK && length == request.length;
}

static uint32_t put_answer(struct kv_slot *slot, const struct kv_bytes answer[2])
{
    size_t at = 0;
    for (unsigned i = 0; i < 2; i++) {
        if (answer[i].length > 0) {
            memcpy(slot->data + at, answer[i].data, answer[i].length);
        }
        at += answer[i].length;
    }
    return (uint32_t)at;
}

/* The asker may write at any time, so nothing is looked at twice: numbers are read once, and the
 * request is copied before it is validated. */
static void serve(const struct kv_slots *slots, struct kv_slot *slot)
{
    const uint32_t id = atomic_load_explicit(&slot->id, memory_order_relaxed);
    const uint32_t serial = atomic_load_explicit(&slot->serial, memory_order_relaxed);
    const uint32_t length = atomic_load_explicit(&slot->length, memory_order_relaxed);
    const struct kv_bytes request = kv_bytes(slots->copy, length);
    struct kv_bytes answer[2] = {{NULL, 0}, {NULL, 0}};
    uint32_t written = KV_SLOT_DECLINED;
    if (slots->taken != NULL) {
        slots->taken(slots->context);
    }
    if (length <= KV_SLOT_REQUEST_MAX) {
        memcpy(slots->copy, slot->data, length);
        if (is_valid(slots, request) &&
            kv_server_at_once(slots->runtime, id, serial, request, KV_SLOT_ROOM, answer)) {
            written = put_answer(slot, answer);
        }
    }
    atomic_store_explicit(&slot->length, written, memory_order_relaxed);
    if (!kv_slot_finish(slot)) {
        kv_slot_drop(slot);
    }
}

unsigned kv_slots_serve(const struct kv_slots *slots, void *lane, uint32_t groups)
{
    const struct kv_lane_header *header = lane;
    const uint32_t most = groups * KV_LANE_WAYS;
    uint32_t used = atomic_load_explicit(&header->used, memory_order_relaxed);
    unsigned served = 0;
    used = kv_lane_is_dead(header) ? 0 : used;
    used = used < most ? used : most;
    for (uint32_t i = 0; i < used; i++) {
        struct kv_slot *slot = kv_lane_slot(lane, i);
        if (!kv_slot_is_asked(slot)) {
            continue;
        }
        __builtin_prefetch(slot->data + KV_LANE_LINE - KV_SLOT_HEAD); /* while the state comes */
        if (kv_slot_take(slot)) {
            serve(slots, slot);
            served++;
        }
    }
    return served;
}
