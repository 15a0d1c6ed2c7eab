/* The memory of the node's tables: the arena, its mapping, its clock, and when work on it is due.
 */
#ifndef KV_NODE_MEMORY_H
#define KV_NODE_MEMORY_H

#include "host/aside.h"
#include "host/log.h"
#include "host/shared_memory.h"
#include "store/arena.h"
#include "store/fit.h"

#include <uv.h>

enum { KV_MEMORY_TEXT_MAX = 128 };

struct kv_memory {
    struct kv_arena *arena; /* NULL before kv_memory_open() and after kv_memory_close() */
    struct kv_mapping mapping;
    uv_timer_t timer; /* for work that is left when no peer asks for anything, */
    uint64_t due;     /* or will be at this time, on the clock of the arena; 0: not known */
    struct {
        struct kv_aside thread;
        struct kv_arena_range ranges[KV_ARENA_RANGES];
        bool ready;
    } preparation; /* of memory that will soon be written */
    uint64_t loan; /* bytes above the limit, for kv_memory_pause() */
    struct kv_fit fit;
    bool stopping;
    bool paused;
    char wrong[KV_MEMORY_TEXT_MAX]; /* why there is no arena */
};

/* The timer alone. */
void kv_memory_init(struct kv_memory *memory, uv_loop_t *loop);

/* Makes the arena. max_memory: bytes in use; 0 is a part of the machine's memory. Logs a warning if
 * other processes cannot share the memory. Returns NULL, or why there is no arena, in a text that
 * lives as long as `memory`. */
const char *kv_memory_open(struct kv_memory *memory, uint64_t max_memory, struct kv_log *log);

/* Between these two the clock of the arena stands at 0, so nothing expires, and more than the limit
 * may be in use, as much as kv_mapping_loan() says. */
void kv_memory_pause(struct kv_memory *memory);
void kv_memory_resume(struct kv_memory *memory);

/* After kv_memory_resume(): does some of the work that brings the memory back to its limit, for
 * about a millisecond. No table may be made, freed or changed until it has come to an end. */
enum kv_fit_state kv_memory_fit(struct kv_memory *memory);

/* No work is done from now on. */
void kv_memory_stop(struct kv_memory *memory);

/* Frees everything. All tables must be gone, and nothing may be pinned any more. */
void kv_memory_close(struct kv_memory *memory);

/* Tells the arena the time. Does nothing before kv_memory_open(). */
void kv_memory_tick(struct kv_memory *memory);

/* The end of a turn: does some of the work that tables have left, and sees to it that the rest is
 * done. */
void kv_memory_tend(struct kv_memory *memory);

#endif
