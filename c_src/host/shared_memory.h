/* The memory of the arena: a file without a name, which other processes of this user can map.
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
    const char *flaw; /* the system call or limit that refuses, if the memory is private; or NULL */
    int error;        /* errno of the flaw */
};

/* Reserves address space for `wanted` bytes, or for less if the system does not allow so much.
 * Returns false if it allows none. */
bool kv_mapping_open(struct kv_mapping *mapping, uint64_t wanted);

/* Opens a small file of that size, of which all pages are there. Returns false if the system does
 * not allow it: mapping->flaw and error say why. */
bool kv_mapping_open_file(struct kv_mapping *mapping, const char *name, uint64_t size);

/* Must be called once nothing uses the memory any more. Does nothing if *mapping is all zero. */
void kv_mapping_close(struct kv_mapping *mapping);

/* Gives the memory of these whole pages back to the system: they are zero when they are next read.
 * `mapping` is a struct kv_mapping; it is void for struct kv_arena_memory, which calls this. */
void kv_mapping_release(void *mapping, uint64_t offset, uint64_t length);

/* Makes the system find memory for these bytes now, and changes none of them. May be called by any
 * thread. Returns false if the system cannot. */
bool kv_mapping_populate(void *start, size_t length);

/* Returns the bytes of the mapping that take memory now; 0 if the memory is private. */
uint64_t kv_mapping_resident(const struct kv_mapping *mapping);

/* Returns how much to reserve for a limit (0: there is none), at most `most`: so much that the
 * arena always finds a free run of pages. */
uint64_t kv_mapping_reserve(uint64_t max_memory, uint64_t most);

/* The default limit: three quarters of the machine's memory, or of the part of it that the control
 * groups of this process allow. Sets *of to the part of a sentence that says of what; it is cut to
 * `size` bytes. */
uint64_t kv_mapping_default_limit(char *of, size_t size);

/* Returns how many bytes a node with this limit may take above it for a moment, while it reads its
 * data from the disk: as many again, but no more than leave an eighth of the same memory to others;
 * and a little in any case. */
uint64_t kv_mapping_loan(uint64_t max_memory);

/* Returns the milliseconds of KV_EXPIRY_CLOCK. */
uint64_t kv_mapping_clock(void);

#endif
