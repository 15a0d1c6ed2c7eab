/* Room for entries: the limits of a table, and what can be done when there is none. */
#ifndef KV_STORE_ROOM_H
#define KV_STORE_ROOM_H

#include "store/table_state.h"

/* Evicts a little before the limit of the arena is reached. For a table that evicts. */
void kv_room_relieve(struct kv_table *table);

/* Called after a request for memory has failed. Returns false if no more can be done. */
bool kv_room_make(struct kv_table *table);

/* The room that a put adds to that of the table. */
struct kv_need_of_put {
    uint64_t bytes;
    bool entry;
};

/* Returns KV_OK if the limits of the table allow it, KV_EFULL for max_entries, KV_ENOMEM for
 * max_memory. Changes nothing. */
int kv_room_allows(const struct kv_table *table, struct kv_need_of_put need);

/* The table's limit of memory can never allow so many bytes. */
bool kv_room_is_hopeless(const struct kv_table *table, struct kv_need_of_put need);

#endif
