#include "store/undo.h"

#include "base/alloc.h"
#include "base/later.h"

enum { SLOTS_MIN = 16, SLOTS_PER_KEY = 3 };

struct kv_undo *kv_undo_new(size_t most)
{
    struct kv_undo *pending = kv_zalloc(sizeof *pending);
    size_t slots = SLOTS_MIN;
    while (slots < SLOTS_PER_KEY * most) {
        slots *= 2;
    }
    pending->puts = kv_alloc((most + 1) * sizeof *pending->puts);
    pending->slots = kv_zalloc(slots * sizeof *pending->slots);
    pending->slot_mask = slots - 1;
    pending->most = most;
    return pending;
}

void kv_undo_free(struct kv_undo *pending)
{
    if (pending != NULL) {
        kv_free_later(pending->puts, (pending->most + 1) * sizeof *pending->puts);
        kv_free_later(pending->slots, (pending->slot_mask + 1) * sizeof *pending->slots);
        if (pending->held != NULL) {
            kv_free_later(pending->held, (pending->held_mask + 1) * sizeof *pending->held);
        }
        kv_free(pending);
    }
}

/* ---- hashes that are held -------------------------------------------------------------------- */

/* Where the hash is in the set, or would be. */
static uint64_t *held_at(const struct kv_undo *pending, uint64_t mark)
{
    size_t at = (size_t)(mark >> 1) & pending->held_mask;
    while (pending->held[at] != 0 && pending->held[at] != mark) {
        at = (at + 1) & pending->held_mask;
    }
    return &pending->held[at];
}

void kv_undo_hold(struct kv_undo *pending, uint64_t hash)
{
    if (pending->held == NULL) {
        size_t size = SLOTS_MIN;
        while (size < 2 * pending->most) {
            size *= 2;
        }
        pending->held = kv_zalloc(size * sizeof *pending->held);
        pending->held_mask = size - 1;
    }
    uint64_t *at = held_at(pending, hash | 1);
    pending->held_count += *at == 0;
    *at = hash | 1;
}

bool kv_undo_holds(const struct kv_undo *pending, uint64_t hash)
{
    return pending->held != NULL && *held_at(pending, hash | 1) != 0;
}

/* ---- offsets --------------------------------------------------------------------------------- */

/* How many may be in use: searches stay short, and end. */
static size_t slots_most(const struct kv_undo *pending)
{
    return (pending->slot_mask + 1) / 8 * 7;
}

static size_t first_slot(const struct kv_undo *pending, uint64_t offset)
{
    return (size_t)(offset * UINT64_C(0x9E3779B97F4A7C15) >> 32) & pending->slot_mask;
}

static uint64_t *noted(const struct kv_undo *pending, uint32_t slot)
{
    struct kv_undo_put *put = &pending->puts[(slot - 1) / 2];
    return (slot - 1) % 2 == 0 ? &put->old : &put->new;
}

uint64_t *kv_undo_find(const struct kv_undo *pending, uint64_t offset)
{
    for (size_t at = first_slot(pending, offset); pending->slots[at] != 0;
         at = (at + 1) & pending->slot_mask) {
        uint64_t *found = noted(pending, pending->slots[at]);
        if (*found == offset) {
            return found;
        }
    }
    return NULL;
}

static void fill_slot(struct kv_undo *pending, uint32_t slot)
{
    size_t at = first_slot(pending, *noted(pending, slot));
    while (pending->slots[at] != 0) {
        at = (at + 1) & pending->slot_mask;
    }
    pending->slots[at] = slot;
    pending->slots_used++;
}

/* Makes the slots anew, without those that are out of date. */
static void refill_slots(struct kv_undo *pending)
{
    size_t slots = pending->slot_mask + 1;
    kv_free(pending->slots);
    pending->slots = kv_zalloc(slots * sizeof *pending->slots);
    pending->slots_used = 0;
    for (size_t i = 0; i < pending->count; i++) {
        for (unsigned which = 0; which < 2; which++) {
            uint32_t slot = (uint32_t)(1 + 2 * i + which);
            if (*noted(pending, slot) != 0) {
                fill_slot(pending, slot);
            }
        }
    }
}

static void note(struct kv_undo *pending, const uint64_t *where)
{
    const struct kv_undo_put *put = pending->puts;
    size_t index = (size_t)((const uint8_t *)where - (const uint8_t *)put) / sizeof *put;
    if (pending->slots_used >= slots_most(pending)) {
        refill_slots(pending); /* `where` is filled in already */
        return;
    }
    fill_slot(pending, (uint32_t)(1 + 2 * index + (where == &put[index].new)));
}

void kv_undo_add(struct kv_undo *pending, uint64_t old, uint64_t new)
{
    struct kv_undo_put *put = &pending->puts[pending->count];
    *put = (struct kv_undo_put){.old = old, .new = new};
    pending->count++;
    if (pending->slots_used + 2 > slots_most(pending)) {
        refill_slots(pending);
        return;
    }
    if (old != 0) {
        note(pending, &put->old);
    }
    note(pending, &put->new);
}

void kv_undo_moved(struct kv_undo *pending, uint64_t from, uint64_t to)
{
    uint64_t *found = kv_undo_find(pending, from);
    if (found != NULL) {
        *found = to;
        note(pending, found);
    }
}
