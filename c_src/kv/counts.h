/* The figures of a table that tools may ask for. */
#ifndef KV_COUNTS_H
#define KV_COUNTS_H

#include "base/list.h"

#include <stdint.h>

/* The events in a table since it was created. */
struct kv_counts {
    uint64_t hits;   /* an operation has looked for a key and found it, */
    uint64_t misses; /* or not */
    uint64_t puts;
    uint64_t deletes; /* of keys that were there */
    uint64_t expirations;
    uint64_t evictions;
    uint64_t since;      /* the kv_arena_time() of the creation */
    struct kv_list link; /* of tally.h, */
    uint64_t walk;       /* and the last walk that has come by */
};

#endif
