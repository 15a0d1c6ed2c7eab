/* Commit delay: a commit waits a moment for the callers that the commit before it has just
 * answered.
 *
 * Callers that call again and again fall into two halves otherwise: while one half is in the commit
 * that is under way, the other half gathers for the next one. Each commit then has half of the
 * callers, and each caller waits for two commits. A commit that waits until those that were
 * answered have called again has all of them.
 *
 * The wait ends when about as many answers wait as before, and at the latest after half the time
 * that a commit takes: beyond that the halves are as fast. If those who were answered do not come
 * back in time, the next commits do not wait: one at first, then three, at most KV_COMMIT_SKIPS.
 *
 * No clock: the caller says the time, in nanoseconds on a clock that does not go back. */
#ifndef KV_COMMIT_DELAY_H
#define KV_COMMIT_DELAY_H

#include <stddef.h>
#include <stdint.h>

enum {
    KV_COMMIT_DELAY_MOST_NS = 2 * 1000 * 1000,
    KV_COMMIT_SKIPS = 63, /* a power of two less one */
};

/* Zeroed, no commit waits yet. */
struct kv_commit_delay {
    uint64_t usual;   /* how long a commit takes: a moving average */
    uint64_t begun;   /* the commit under way; 0: none */
    uint64_t until;   /* the end of the wait; 0: there is none */
    size_t wanted;    /* with so many answers the wait is over; */
    size_t least;     /* with fewer than so many at its end it was in vain */
    unsigned skips;   /* commits that do not wait */
    unsigned skipped; /* how many they were the last time; 0: the last wait was worth it */
};

/* A commit is handed over to the disk. */
void kv_commit_delay_begin(struct kv_commit_delay *delay, uint64_t now);

/* The commit is done, and its answers are on their way. So many answers waited before, and so many
 * still wait: for the next commit. */
void kv_commit_delay_done(struct kv_commit_delay *delay, uint64_t now, size_t before, size_t after);

/* Returns for how long the next commit should wait at most, while so many answers wait; 0: it
 * should begin. Once it was 0 it stays so until the next kv_commit_delay_done(). */
uint64_t kv_commit_delay_left(struct kv_commit_delay *delay, uint64_t now, size_t waiting);

#endif
