/* Gathering: a short pause before the next read while many callers are at work.
 *
 * A BEAM writes every signal with a system call of its own. A loop that reads each signal at once
 * wakes once per signal, answers callers one by one, and takes processor time from the VM that
 * sends the next signal. So if KV_GATHER_SENDERS processes or more have sent something within about
 * half a millisecond, the loop writes its output and then sleeps for some tens of microseconds. It
 * then handles more signals at once, and the answers leave together. With fewer senders the loop
 * never sleeps: it would gather nothing, and each sender would wait for nothing. The loop does not
 * sleep after a turn with plenty to do, either.
 *
 * With few callers, sleeping and being woken takes longer than the call. pace.h sees to that. */
#ifndef KV_GATHER_H
#define KV_GATHER_H

#include <stdbool.h>
#include <stdint.h>

enum {
    KV_GATHER_SENDERS = 8,
    KV_GATHER_PLENTY = 64,     /* messages of one turn: more would not make a turn cheaper */
    KV_GATHER_WINDOW_US = 256, /* senders are counted over one to two windows */
    KV_GATHER_PRESET_US = 75,  /* docs/scheduling.md has the measurements */
    KV_GATHER_MOST_US = 1000,
};

/* A zeroed gather never waits. */
struct kv_gather {
    uint64_t pause_ns; /* 0: off */
    uint64_t began;    /* start of the present window, on the clock of uv_hrtime() */
    uint64_t senders;  /* of the present window: one bit per sender, which senders may share */
    uint64_t before;   /* senders of the last window */
    unsigned messages; /* of this turn */
    uint64_t seen;     /* messages ever */
};

/* Sets up gathering for the calling thread, whose scheduling policy becomes SCHED_BATCH: the thread
 * no longer preempts others at the moment when it wakes. pause_us 0: off. */
void kv_gather_init(struct kv_gather *gather, uint64_t pause_us);

/* A process of a peer has sent a message. `sender`: a number that differs between processes. */
static inline void kv_gather_saw(struct kv_gather *gather, uint64_t sender)
{
    gather->senders |= UINT64_C(1) << ((sender ^ sender >> 6) & 63);
    gather->messages++;
    gather->seen++;
}

/* Returns true if at least KV_GATHER_SENDERS processes have sent something of late. */
bool kv_gather_has_many(const struct kv_gather *gather);

/* The end of a turn with messages, at `now`. Returns for how many nanoseconds to sleep; 0: not. */
uint64_t kv_gather_pause(struct kv_gather *gather, uint64_t now);

/* The end of a turn, after all output is written. Sleeps if that pays off, and never longer than
 * the pause given to kv_gather_init(). */
void kv_gather_wait(struct kv_gather *gather);

#endif
