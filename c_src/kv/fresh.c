#include "kv/fresh.h"

#include "base/alloc.h"

#include <string.h>

enum {
    SLOTS_FIRST = 64,
    SLOTS_KEPT = 1024, /* of an empty set, */
    SPARSE = 8,        /* or so many for each key that it had */
};

void kv_fresh_free(struct kv_fresh *fresh)
{
    for (unsigned i = 0; i < KV_FRESH_SETS; i++) {
        kv_free(fresh->sets[i].slots);
        fresh->sets[i] = (struct kv_fresh_set){.batch = 0};
    }
}

/* The slot that has the mark, or the free one where it would be. */
static uint64_t *slot_of(const struct kv_fresh_set *set, uint64_t mark)
{
    const uint32_t mask = set->slot_count - 1;
    uint32_t at = (uint32_t)(mark >> 32) & mask;
    while (set->slots[at] != 0 && set->slots[at] != mark) {
        at = (at + 1) & mask;
    }
    return &set->slots[at];
}

static void grow(struct kv_fresh_set *set)
{
    const struct kv_fresh_set old = *set;
    set->slot_count = old.slot_count == 0 ? SLOTS_FIRST : 2 * old.slot_count;
    set->slots = kv_zalloc(set->slot_count * sizeof *set->slots);
    for (uint32_t i = 0; i < old.slot_count; i++) {
        if (old.slots[i] != 0) {
            *slot_of(set, old.slots[i]) = old.slots[i];
        }
    }
    kv_free(old.slots);
}

bool kv_fresh_add(struct kv_fresh *fresh, uint64_t batch, uint64_t mark, bool commits)
{
    struct kv_fresh_set *set = &fresh->sets[kv_fresh_set_of(batch)];
    if (set->batch != batch && set->batch != 0) {
        return false;
    }
    if (2 * set->count >= set->slot_count && set->count < KV_FRESH_MOST) {
        grow(set);
    }
    uint64_t *slot = slot_of(set, mark);
    if (*slot == 0 && set->count == KV_FRESH_MOST) {
        return false;
    }
    set->batch = batch;
    set->commits = set->commits || commits;
    set->count += *slot == 0;
    *slot = mark;
    return true;
}

static bool has(const struct kv_fresh_set *set, uint64_t mark)
{
    return set->batch != 0 && *slot_of(set, mark) != 0;
}

uint64_t kv_fresh_find(const struct kv_fresh *fresh, uint64_t mark)
{
    uint64_t last = 0;
    for (unsigned i = 0; i < KV_FRESH_SETS; i++) {
        const struct kv_fresh_set *set = &fresh->sets[i];
        last = set->batch > last && has(set, mark) ? set->batch : last;
    }
    return last;
}

static void empty(struct kv_fresh_set *set)
{
    if (set->slot_count > SLOTS_KEPT && set->count < set->slot_count / SPARSE) {
        kv_free(set->slots);
        set->slots = NULL;
        set->slot_count = 0;
    } else {
        memset(set->slots, 0, set->slot_count * sizeof *set->slots);
    }
    set->batch = 0;
    set->commits = false;
    set->count = 0;
}

unsigned kv_fresh_release(struct kv_fresh *fresh, uint64_t written, uint64_t durable)
{
    unsigned emptied = 0;
    for (unsigned i = 0; i < KV_FRESH_SETS; i++) {
        struct kv_fresh_set *set = &fresh->sets[i];
        if (set->batch != 0 && set->batch <= (set->commits ? durable : written)) {
            empty(set);
            emptied |= 1U << i;
        }
    }
    return emptied;
}
