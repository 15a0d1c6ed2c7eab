/* Tests under ThreadSanitizer: threads of one program share what the program, the VMs and their
 * threads share. They are no Criterion tests, since Criterion forks. */
#ifndef KV_TEST_RACES_H
#define KV_TEST_RACES_H

#include "host/shared_memory.h"
#include "store/arena.h"
#include "store/reader.h"
#include "store/table.h"

#include <stdatomic.h>

/* Ends the program with a message when a condition does not hold. */
#define REQUIRE(condition) ((condition) ? (void)0 : race_failed(__FILE__, __LINE__, #condition))
_Noreturn void race_failed(const char *file, int line, const char *condition);

struct random {
    uint64_t state; /* not 0 */
};

uint64_t next_random(struct random *random);

/* ---- values that prove themselves ------------------------------------------------------------ */

enum { KEY_MAX = 24, VALUE_MAX = 12000, KEYS = 512 };

/* The bytes of a key; `to` has KEY_MAX of them. */
struct kv_bytes race_key(unsigned key, uint8_t *to);

/* A value for a key: any length, and all its bytes follow from the first ones. `to` has VALUE_MAX
 * bytes. */
struct kv_bytes race_value(struct random *random, unsigned key, uint8_t *to);

/* Returns true if the bytes are one whole value of the key. */
bool is_race_value(unsigned key, struct kv_bytes value);

/* ---- the writer ------------------------------------------------------------------------------ */

/* An arena in a mapping that is open. It gives memory back to the system, as the node's does. */
struct kv_arena *race_arena(struct kv_mapping *mapping, const struct kv_arena_options *options);

/* One change of a table: put, delete, expiring put, many at a time, rarely clear. */
void race_change(struct kv_table *table, struct random *random);

/* ---- what main() runs, each some seconds ----------------------------------------------------- */

void race_store(void);
void race_library(void);
void race_memory(void);
void race_disk(void);
void race_lane(void);

/* mapping.c: the arena of the next kv_nif_map() is the writer's own mapping, so that the readers'
 * accesses and the writer's are to the same addresses, as ThreadSanitizer needs it. */
unsigned race_shared_mappings(void);

#endif
