/* The memory that holds all tables of a node: one mapping, addressed by offsets. This is its
 * owner's side; docs/store-format.md has the layout.
 *
 * The owner maps the memory; the arena makes no system call. The arena hands out pages of 4 KiB,
 * and blocks of 64 to 2048 bytes within pages. Whole free pages go back to the owner. The records
 * of the pages lie outside of the arena, where no reader sees them. */
#ifndef KV_STORE_ARENA_H
#define KV_STORE_ARENA_H

#include "base/siphash.h"
#include "store/layout.h"
#include "store/memory.h"

#include <kv/table.h>

struct kv_arena_options {
    struct kv_hash_key hash_key;  /* random */
    uint8_t id[KV_ARENA_ID_SIZE]; /* random */
    uint64_t max_memory;          /* limit for the bytes in use; 0: the whole reserve */
};

/* Creates an arena in the memory and writes its header. Never returns NULL. The memory must outlive
 * the arena. */
struct kv_arena *kv_arena_new(const struct kv_arena_memory *memory,
                              const struct kv_arena_options *options);

/* Replaces the hash key. No table may have had an entry, and no reader may know the arena. */
void kv_arena_set_hash_key(struct kv_arena *arena, const struct kv_hash_key *key);

/* Marks the arena as ended, for processes that still read it, and frees the records of the writer.
 * The caller frees all tables before, and the memory afterwards. */
void kv_arena_free(struct kv_arena *arena);

/* Sets the time by which entries expire: milliseconds, never less than before. */
void kv_arena_set_time(struct kv_arena *arena, uint64_t now);

/* Does work that is due, in at most `steps` steps of up to about 50 microseconds each: frees what
 * tables left behind, removes expired entries, compacts the heap, gives memory back. Returns true
 * if there is more to do. */
bool kv_arena_work(struct kv_arena *arena, unsigned steps);

/* The kv_arena_time() from which kv_arena_work() has something expired to remove, or memory to give
 * back; UINT64_MAX if it has neither. */
uint64_t kv_arena_due(const struct kv_arena *arena);

/* Returns true if an entry may expire up to this time, as far as the last sweeps know. O(tables).
 */
bool kv_arena_expires_by(const struct kv_arena *arena, uint64_t time);

/* Lends the arena so many bytes above its limit, in place of what it was lent before; 0: nothing.
 * Takes no memory back that is in use: see store/fit.h. */
void kv_arena_lend(struct kv_arena *arena, uint64_t bytes);

/* For tests: the n-th request for memory from now on fails, once; 0: none fails. */
void kv_arena_fail(struct kv_arena *arena, uint64_t n);

/* For tests: the work done so far, in entries moved or looked at, and segments and pages freed. */
uint64_t kv_arena_effort(const struct kv_arena *arena);

#endif
