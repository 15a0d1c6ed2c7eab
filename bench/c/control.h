/* A program that asks nothing of a node, to measure what the machine alone does: the control of an
 * experiment.
 *
 * Each runs for so long and looks at the clock all the time. */
#ifndef KV_BENCH_CONTROL_H
#define KV_BENCH_CONTROL_H

#include <stdint.h>

/* In nanoseconds. */
struct control {
    uint64_t longest;     /* time from one look at the clock to the next, */
    uint64_t longest_own; /* and without that for which others had the processor */
};

/* Computes only: no system call, no memory. In two threads, as node and client are both at work,
 * and a host may stop a guest that keeps two processors busy where it lets it have one. The longest
 * of either. */
struct control control_compute(double seconds);

/* Sleeps for 50 microseconds at a time, as a node does that is asked for something now and then. */
struct control control_sleep(double seconds);

/* Touches one page after the other that it has not had before, of a memfd as the arena is one. */
struct control control_touch(double seconds);

#endif
