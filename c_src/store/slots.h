/* The slots by which readers find tables. */
#ifndef KV_STORE_SLOTS_H
#define KV_STORE_SLOTS_H

#include "store/arena_state.h"

/* Takes a slot with an even generation. Returns false if there is no room. */
bool kv_slot_take(struct kv_arena *arena, uint32_t *number);
void kv_slot_give(struct kv_arena *arena, uint32_t number);

/* The slot with a number that was taken before. */
struct kv_table_slot *kv_slot(const struct kv_arena *arena, uint32_t number);

#endif
