/* Graves: what tables leave behind, freed step by step. */
#ifndef KV_STORE_GRAVES_H
#define KV_STORE_GRAVES_H

#include "store/table_state.h"

struct kv_grave;

/* Takes the entries out of a table, and its index on `root`, which no reader follows any more.
 * kv_graves_step() frees them once each of the `holders` has called kv_grave_release(); until then
 * what lies there stays as it is. */
struct kv_grave *kv_bury(struct kv_table *table, uint64_t root, unsigned holders);

void kv_grave_release(struct kv_arena *arena, struct kv_grave *grave);

/* Frees some of what is buried. Returns false if there is nothing. */
bool kv_graves_step(struct kv_arena *arena);

#endif
