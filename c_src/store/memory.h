/* The memory of an arena: the owner maps it, and the arena uses it. */
#ifndef KV_STORE_MEMORY_H
#define KV_STORE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kv_arena;

enum { KV_ARENA_RANGES = 2 };

struct kv_arena_range {
    void *start;
    size_t length;
};

struct kv_arena_memory {
    uint8_t *base;    /* at a multiple of KV_ARENA_PAGE; all zero */
    uint64_t reserve; /* bytes, a multiple of KV_ARENA_PAGE, at most KV_ARENA_RESERVE_MAX */
    void *context;    /* for `release` */
    /* Gives some pages back to the system. When the arena next uses them, they are zero or
     * unchanged. NULL: the arena gives nothing back. */
    void (*release)(void *context, uint64_t offset, uint64_t length);
    /* Makes the system find memory for pages that will soon be written. Works in another thread,
     * since the system may take milliseconds. Calls kv_arena_prepared() later, and never before
     * `prepare` has returned. Changes no byte. The start of a range may lie on no page boundary.
     * NULL: the arena prepares nothing. */
    void (*prepare)(void *preparer, const struct kv_arena_range ranges[KV_ARENA_RANGES]);
    void *preparer;
    /* The same, for pages that are written at once, and before it returns. NULL: the system finds
     * memory page by page, which takes longer. */
    void (*populate)(void *start, size_t length);
};

/* The bytes that a reference of 40 bits can address. */
#define KV_ARENA_RESERVE_MAX (UINT64_C(1) << 43)
/* Room for the header, some table slots and the directory. */
#define KV_ARENA_RESERVE_MIN (UINT64_C(1) << 20)

/* Ends a `prepare`. `ready` false: the system cannot do such a thing, and is not asked again. */
void kv_arena_prepared(struct kv_arena *arena, bool ready);

/* Much will be put soon: so many bytes of free memory are to be ready at any time, in place of the
 * usual few. 0: the usual. */
void kv_arena_prepare_ahead(struct kv_arena *arena, uint64_t bytes);

#endif
