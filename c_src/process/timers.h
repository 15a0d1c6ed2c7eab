/* Timers of processes: a heap, the one that is due first at its top. Starting and cancelling one
 * takes O(log n) of all timers of the runtime. */
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
    uint64_t last;      /* number given to a timer */
};

void kv_timers_init(struct kv_timers *timers);

/* There must be no timer. */
void kv_timers_free(struct kv_timers *timers);

/* Takes the timers that are due at `now` out of the heap. Timers that are started later are not
 * among those that kv_timers_next() returns. */
void kv_timers_collect(struct kv_timers *timers, uint64_t now);

/* The process of the next of them, by the time that they were set for, or NULL; sets its tag. The
 * timer is gone then. */
struct kv_process *kv_timers_next(struct kv_timers *timers, uint64_t *tag);

/* Milliseconds from `now` until the next timer; KV_NO_TIMER: there is none. O(1). */
uint64_t kv_timers_wait(const struct kv_timers *timers, uint64_t now);

/* Cancels all timers of a process. */
void kv_timers_drop(struct kv_process *process);

#endif
