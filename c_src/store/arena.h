/* The memory that all tables of a node lie in: one mapping, addressed by offsets. What lies where
 * is in docs/store-format.md.
 *
 * The memory is the owner's, who maps it; the arena makes no system call. It hands out pages of 4
 * KiB and blocks of 64 to 2048 bytes in such pages, and gives whole free pages back to the owner.
 * What it knows of its pages lies outside of the arena, where no reader sees it. */
#ifndef KV_ARENA_H
#define KV_ARENA_H

#include "base/siphash.h"
#include "store/layout.h"

#include <stdbool.h>
#include <stddef.h>

struct kv_arena;
struct kv_table;

enum { KV_ARENA_RANGES = 2 };

struct kv_arena_range {
    void *start;
    size_t length;
};

struct kv_arena_memory {
    uint8_t *base;    /* at a multiple of KV_ARENA_PAGE; all zero */
    uint64_t reserve; /* bytes, a multiple of KV_ARENA_PAGE, at most KV_ARENA_RESERVE_MAX */
    void *context;
    /* Gives some pages back to the system. They are zero when they are next used, or as they were.
     * NULL: nothing is given back. */
    void (*release)(void *context, uint64_t offset, uint64_t length);
    /* Has the system find memory for what will soon be written, away from the thread that serves:
     * it may take a page from the system milliseconds to come. Calls kv_arena_prepared() later, not
     * from within. Changes no byte; `start` lies on no boundary. NULL: nothing is prepared. */
    void (*prepare)(void *preparer, const struct kv_arena_range ranges[KV_ARENA_RANGES]);
    void *preparer;
};

/* What a reference of 40 bits can address. */
#define KV_ARENA_RESERVE_MAX (UINT64_C(1) << 43)
/* Room for the header, some table slots and the directory. */
#define KV_ARENA_RESERVE_MIN (UINT64_C(1) << 20)

struct kv_arena_options {
    struct kv_hash_key hash_key;  /* random */
    uint8_t id[KV_ARENA_ID_SIZE]; /* random */
    uint64_t max_memory;          /* bytes in use at most; 0: as much as there is */
};

/* Never NULL; writes the header. The memory must outlive it. */
struct kv_arena *kv_arena_new(const struct kv_arena_memory *memory,
                              const struct kv_arena_options *options);

/* Marks the arena as ended, for those who still read, and frees what the writer knows of it, but
 * not the memory. All tables must be gone. */
void kv_arena_free(struct kv_arena *arena);

/* Milliseconds of the clock that entries expire by, from now on. */
void kv_arena_set_time(struct kv_arena *arena, uint64_t now);
uint64_t kv_arena_time(const struct kv_arena *arena);

/* Does work that is due, in at most `steps` steps of up to some 50 microseconds each: frees what
 * tables left behind, removes what expired, moves entries together, gives memory back. True when
 * there is more to do. */
bool kv_arena_work(struct kv_arena *arena, unsigned steps);

/* The kv_arena_time() from which there is such work because something will have expired;
 * UINT64_MAX: nothing expires. */
uint64_t kv_arena_due(const struct kv_arena *arena);

/* The end of a `prepare`. `ready` false: the system does not do such a thing, and is not asked
 * again. */
void kv_arena_prepared(struct kv_arena *arena, bool ready);

/* Keeps what lies at `data`, a value that a table handed out, where and as it is until it is
 * unpinned, whatever becomes of its key. Nests. False, and nothing is kept, when the value is one
 * of those that have no run of their own (entries up to KV_ENTRY_SMALL_MAX). */
bool kv_arena_pin(struct kv_arena *arena, const void *data);
void kv_arena_unpin(struct kv_arena *arena, const void *data);

/* Entries of more bytes lie in a run of pages of their own. */
enum { KV_ENTRY_SMALL_MAX = 8192 };

/* All in bytes but the numbers. O(1). */
struct kv_arena_stats {
    uint64_t limit;    /* max_memory, or the whole reserve */
    uint64_t reserved; /* of the system: pages in use, and free ones that were not given back */
    uint64_t entries;  /* pages of entries */
    uint64_t live;     /* entries themselves: the rest of their pages is free or dead */
    uint64_t index;
    uint64_t other; /* header, table slots, parts of pages not in use */
    uint64_t free;  /* pages that are free and not given back */
    uint64_t tables;
    uint64_t items;      /* a number: entries of the tables that are not internal, and */
    uint64_t item_bytes; /* bytes of their keys and values */
};

void kv_arena_stats(const struct kv_arena *arena, struct kv_arena_stats *stats);

/* Where the pid (id, serial) has its table: an entry of the directory. KV_OK or KV_ENOMEM. Ends
 * with the table. One pid a table. */
int kv_arena_publish(struct kv_arena *arena, uint32_t id, uint32_t serial, struct kv_table *table);

/* For tests: the n-th request for memory from now on fails, once; 0: none. And what has been done
 * so far: entries moved or looked at, segments and pages freed. */
void kv_arena_fail(struct kv_arena *arena, uint64_t n);
uint64_t kv_arena_effort(const struct kv_arena *arena);

#endif
