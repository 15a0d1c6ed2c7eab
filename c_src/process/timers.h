/* Timers of processes: a heap with the earliest at its top. Starting and cancelling a timer takes
 * O(log n) of all timers of the runtime. */
#ifndef KV_PROCESS_TIMERS_H
#define KV_PROCESS_TIMERS_H

#include "base/list.h"
#include "base/map.h"

#include <kv/process.h>

struct kv_timer;

struct kv_timers {
    struct kv_timer **heap;
    size_t count;
    size_t capacity;
    struct kv_map by_number;
    struct kv_list due; /* taken out of the heap by kv_timers_collect() */
    uint64_t last;      /* number given */
};

void kv_timers_init(struct kv_timers *timers);

/* There must be no timer. */
void kv_timers_free(struct kv_timers *timers);

/* Takes the timers that are due at `now` out of the heap, for kv_timers_next(). Timers that start
 * later are not among them. */
void kv_timers_collect(struct kv_timers *timers, uint64_t now);

/* Returns the process of the next collected timer, by time, and sets *tag; NULL if there is none.
 * Frees the timer. */
struct kv_process *kv_timers_next(struct kv_timers *timers, uint64_t *tag);

/* Returns the milliseconds from `now` until the next timer, or KV_NO_TIMER. O(1). */
uint64_t kv_timers_wait(const struct kv_timers *timers, uint64_t now);

/* Cancels all timers of a process. */
void kv_timers_drop(struct kv_process *process);

#endif
