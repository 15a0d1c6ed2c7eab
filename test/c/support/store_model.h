/* A table beside a simple map of what should be in it, and a check of the whole arena that takes
 * the layout from docs/store-format.md. A failed check aborts, so that tests and fuzzers both
 * notice. */
#ifndef KV_STORE_MODEL_H
#define KV_STORE_MODEL_H

#include "store/arena.h"

enum { MODEL_KEYS = 4096, MODEL_AHEAD = 8, MODEL_REASONS = 3 };

/* Memory for an arena, anonymous and released page by page. */
struct kv_arena_memory model_memory(uint64_t reserve);
void model_memory_free(struct kv_arena_memory *memory);
/* The bytes that were given back so far. */
uint64_t model_memory_released(void);

struct model_entry {
    bool there;
    uint8_t form; /* of the value */
    uint32_t length;
    uint32_t seed; /* of the bytes of the value */
    uint64_t expiry;
};

struct model {
    struct kv_arena *arena;
    struct kv_table *table;
    uint64_t now;
    unsigned gone[MODEL_REASONS]; /* reports of the table, by reason */
    struct model_entry entries[MODEL_KEYS];
    /* Puts that may be taken back: the keys, and what was under each before. */
    bool has_batch;
    bool is_ending; /* an old entry that is reported as expired is one of `before` */
    bool in_batch[MODEL_KEYS];
    struct model_entry before[MODEL_KEYS];
    unsigned ahead; /* the first of MODEL_AHEAD keys that were looked for ahead */
    bool is_ahead;
    struct kv_lookup lookups[MODEL_AHEAD];
};

/* Creates the table. Entries that the table reports as gone leave the map. Returns NULL if there is
 * no memory. */
struct kv_table *model_table_new(struct model *model, const struct kv_table_options *options);

/* Key number i: empty, short or long, and of one of two forms. Valid until the next call. */
struct kv_item model_key(unsigned i);

/* Each function changes table and map alike, and compares the results. */
int model_put(struct model *model, unsigned i, uint32_t length, uint8_t form, uint32_t seed,
              uint64_t expiry);
void model_get(struct model *model, unsigned i);
void model_delete(struct model *model, unsigned i);
/* From now on, operations on this key and the MODEL_AHEAD - 1 keys behind it use lookups. */
void model_look_ahead(struct model *model, unsigned i);
void model_clear(struct model *model);
void model_set_time(struct model *model, uint64_t now);

/* From now on, puts can be taken back; and the end of that, in steps of `most` keys. */
void model_begin_all(struct model *model, size_t keys);
void model_end_all(struct model *model, bool keep, unsigned most);

/* Compares all keys: by get, by kv_table_next() and by kv_table_scan(). */
void model_compare(struct model *model);

/* Checks and compares once more, and frees table, arena and memory. Aborts if more than
 * `outstanding` allocations are left: an assertion in a tear-down does not fail the test. */
void model_end(struct model *model, struct kv_arena_memory *memory, size_t outstanding);

/* Checks every invariant of the arena and of all tables in it. */
void model_check(const struct kv_arena *arena);

#endif
