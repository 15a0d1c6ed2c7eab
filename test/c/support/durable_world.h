/* A few small tables, and what the records of a log make of them. A wrong record or value aborts.
 */
#ifndef KV_TEST_DURABLE_WORLD_H
#define KV_TEST_DURABLE_WORLD_H

#include "durable/checkpoint_writer.h"
#include "durable/recovery.h"
#include "durable/wal.h"
#include "support/draw.h"

enum { WORLD_TABLES = 3, WORLD_KEYS = 6, WORLD_VALUE_MAX = 1 << 16 };

struct world_cell {
    bool there;
    uint8_t form, seed; /* of the value */
    uint32_t length;
    uint64_t expiry;
};

struct world_table {
    uint64_t number; /* 0: no table has this name */
    uint8_t policy;
    struct world_cell cells[WORLD_KEYS];
};

struct world {
    struct world_table tables[WORLD_TABLES];
    uint64_t greatest; /* number of a table */
    bool fuzzy;        /* records come from a fuzzy checkpoint: tables may be gone */
};

/* The key of that number, and the other way round; a value, valid until the next call. */
struct kv_item world_key(unsigned i);
unsigned world_find_key(struct kv_item key);
struct kv_bytes world_value(uint32_t length, uint8_t seed);

bool world_tables_equal(const struct world_table *a, const struct world_table *b);
bool world_equal(const struct world *a, const struct world *b);

/* Changes something, and adds the record of that to the log. Values have up to `longest` bytes. */
void world_change(struct world *world, struct kv_wal *wal, struct draw *draw, unsigned longest);

/* A walk over a world that changes, for a checkpoint. `walk` begins with slot and key 0, and with
 * the greatest number of a table then. Adds a table, or an entry, and returns false at the end. */
struct world_walk {
    unsigned slot, key;
    uint64_t number; /* of the present table; 0: it was not told of */
    uint64_t greatest;
};
bool world_tell(const struct world *world, struct world_walk *walk, struct kv_checkpoint *to,
                struct draw *draw);

/* For struct kv_recovery_sink, with a world as context. */
int world_apply(void *context, const struct kv_record *record);

#endif
