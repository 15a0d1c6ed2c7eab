/* Waits a little before the next read while many callers are at work.
 *
 * A BEAM writes every signal with a system call of its own. A loop that reads each as soon as it is
 * there wakes once per signal, answers callers one by one, and takes processor time from the very
 * VM that is to send the next. So when KV_GATHER_SENDERS processes or more have sent something
 * within about half a millisecond, the loop writes what it has, and then sleeps for some tens of
 * microseconds before it looks again: more signals are handled at once, and the answers leave
 * together. With fewer senders it never sleeps: there would be nothing to gather, and each would
 * wait for nothing. Nor does it sleep after a turn that had plenty to do.
 *
 * While few call it is the other way round: to sleep and be woken takes longer than the call. So
 * the loop then looks for more for a while before it sleeps (pace.h). */
#ifndef KV_GATHER_H
#define KV_GATHER_H

#include <stdbool.h>
#include <stdint.h>

enum {
    KV_GATHER_SENDERS = 8,
    KV_GATHER_PLENTY = 64,     /* messages of one turn: more would not make it cheaper */
    KV_GATHER_WINDOW_US = 256, /* senders are counted over one to two of these */
    KV_GATHER_PRESET_US = 75,  /* see docs/architecture.md for what it was chosen by */
    KV_GATHER_MOST_US = 1000,
};

/* Zeroed, it never waits. */
struct kv_gather {
    uint64_t pause_ns; /* 0: off */
    uint64_t began;    /* of the present window, on the clock of uv_hrtime() */
    uint64_t senders;  /* of the present window: a bit for each, which some share */
    uint64_t before;   /* of the last one */
    unsigned messages; /* of this turn */
    uint64_t seen;     /* messages, ever */
};

/* Sets it up for the thread that calls it, which from now on is no one that takes the processor
 * from others the moment it wakes (SCHED_BATCH). 0: off. */
void kv_gather_init(struct kv_gather *gather, uint64_t pause_us);

/* A process of a peer has sent a message. `sender`: a number that differs between processes. */
static inline void kv_gather_saw(struct kv_gather *gather, uint64_t sender)
{
    gather->senders |= UINT64_C(1) << ((sender ^ sender >> 6) & 63);
    gather->messages++;
    gather->seen++;
}

/* Whether so many have sent something of late that it may wait. */
bool kv_gather_has_many(const struct kv_gather *gather);

/* The end of a turn with messages, at `now`: for how many nanoseconds kv_gather_wait() is to sleep.
 */
uint64_t kv_gather_pause(struct kv_gather *gather, uint64_t now);

/* The end of a turn, when all is written: waits if it is worth it. At most the pause it was set up
 * with, whatever happens. */
void kv_gather_wait(struct kv_gather *gather);

#endif
