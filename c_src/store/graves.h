/* Graves: what tables leave behind, freed step by step. */
#ifndef KV_STORE_GRAVES_H
#define KV_STORE_GRAVES_H

#include "store/table_state.h"

/* Takes the entries out of a table, and its index on `root`, which no reader follows any more.
 * kv_graves_step() frees them. */
void kv_bury(struct kv_table *table, uint64_t root);

/* Frees some of what is buried. Returns false if there is nothing. */
bool kv_graves_step(struct kv_arena *arena);

#endif
