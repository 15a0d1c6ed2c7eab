#include "store/slots.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "store/pages.h"

#include <string.h>

static unsigned block_of(uint32_t number)
{
    return 31 - (unsigned)__builtin_clz(number / KV_SLOT_BLOCK_FIRST + 1);
}

static uint64_t first_of_block(unsigned block)
{
    return KV_SLOT_BLOCK_FIRST * ((UINT64_C(1) << block) - 1);
}

struct kv_table_slot *kv_slot(const struct kv_arena *arena, uint32_t number)
{
    unsigned block = block_of(number);
    struct kv_table_slot *slots = kv_at(arena, kv_header_of(arena)->slot_blocks[block]);
    return &slots[number - first_of_block(block)];
}

/* A block of slots is never given back: a reader may look at a slot at any time. */
static bool make_block(struct kv_arena *arena, unsigned block)
{
    uint64_t size = (KV_SLOT_BLOCK_FIRST * sizeof(struct kv_table_slot)) << block;
    uint64_t offset = kv_memory_take(arena, size, KV_WITHIN_RESERVE);
    if (offset == 0) {
        return false;
    }
    KV_STORE_RELEASE(kv_header_of(arena)->slot_blocks[block], offset);
    return true;
}

/* Readers know the number of no slot that was never taken. A whole block may have megabytes, and
 * zeros for all of it would make a long turn. */
static void clear(const struct kv_arena *arena, uint32_t number)
{
    kv_races_begin();
    memset(kv_slot(arena, number), 0, sizeof(struct kv_table_slot));
    kv_races_end();
}

bool kv_slot_take(struct kv_arena *arena, uint32_t *number)
{
    if (arena->free_slot_count > 0) {
        *number = arena->free_slots[--arena->free_slot_count];
        return true;
    }
    unsigned block = block_of(arena->slot_count);
    if (arena->slot_count == first_of_block(block) && !make_block(arena, block)) {
        return false;
    }
    *number = arena->slot_count++;
    clear(arena, *number);
    return true;
}

void kv_slot_give(struct kv_arena *arena, uint32_t number)
{
    kv_assert(number < arena->slot_count);
    if (arena->free_slot_count == arena->free_slot_capacity) {
        arena->free_slot_capacity = arena->free_slot_capacity * 2 + 16;
        arena->free_slots =
            kv_realloc(arena->free_slots, arena->free_slot_capacity * sizeof *arena->free_slots);
    }
    arena->free_slots[arena->free_slot_count++] = number;
}
