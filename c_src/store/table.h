/* A table, as the store's own files and tests see it; <kv/table.h> has the rest. */
#ifndef KV_STORE_TABLE_H
#define KV_STORE_TABLE_H

#include <kv/table.h>

/* A reader in another process knows the table by its slot and by the generation of the slot. */
uint32_t kv_table_slot_number(const struct kv_table *table);
uint32_t kv_table_generation(const struct kv_table *table);

#endif
