/* The memory of the arena: a file without a name that other processes of this user can map.
 *
 * docs/store-format.md, "The file". */
#ifndef KV_MAPPING_H
#define KV_MAPPING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kv_mapping {
    uint8_t *base;
    uint64_t size;
    int fd;           /* -1: the memory is private to this process */
    const char *flaw; /* why it is private; NULL: it is not */
    int error;        /* errno of the flaw */
};

/* Reserves address space for `wanted` bytes or, where the system does not let it, less. False when
 * there is none. */
bool kv_mapping_open(struct kv_mapping *mapping, uint64_t wanted);

/* To be called once nothing uses the memory any more; a mapping that is all zero is left alone. */
void kv_mapping_close(struct kv_mapping *mapping);

/* Gives the memory of these bytes, which are whole pages, back to the system: they are zero when
 * they are next read. `mapping` is a struct kv_mapping, void since it is called back. */
void kv_mapping_release(void *mapping, uint64_t offset, uint64_t length);

/* Has the system find memory for these bytes, which are left as they are. May be called by any
 * thread. False where the system can't or won't. */
bool kv_mapping_populate(void *start, size_t length);

/* How much to reserve for that limit, 0 = none: so much that a free run of pages is always found;
 * at most `most`. */
uint64_t kv_mapping_reserve(uint64_t max_memory, uint64_t most);

/* The limit when none was asked for: three quarters of the memory of the machine, or of what this
 * process may use of it. */
uint64_t kv_mapping_default_limit(void);

/* Milliseconds of CLOCK_MONOTONIC, by which entries expire. */
uint64_t kv_mapping_clock(void);

#endif
