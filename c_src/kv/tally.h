/* The events of all tables of a node together, for metrics: sums that never fall.
 *
 * Each table counts its own events (counts.h), and nothing else is done when one happens. A walk
 * adds the counts up, so many tables at a time. The counts of a table that ends are kept.
 *
 *     kv_tally_walk() again and again, until it returns true ---> tally.told is new
 *
 * The sums of a walk are not those of one moment: each table counts as it was when the walk came
 * by, or when it ended. So no sum is less than that of the walk before. */
#ifndef KV_TALLY_H
#define KV_TALLY_H

#include "kv/counts.h"

#include <stdbool.h>

struct kv_tally {
    struct kv_list tables;  /* by kv_counts.link */
    struct kv_counts ended; /* of all tables that have ended */
    struct kv_counts sums;  /* of the walk that is under way, as far as it has come */
    struct kv_counts told;  /* of the last walk that is done; nothing before the first one */
    struct kv_list *next;   /* the table at which the walk goes on; NULL: none is under way */
    uint64_t walk;          /* its number, from 1 on */
    bool has_told;
};

void kv_tally_init(struct kv_tally *tally);

/* Begins the counts of a table, at 0. `tally` may be NULL here and below: then nobody adds up. */
void kv_tally_begin(struct kv_tally *tally, struct kv_counts *counts, uint64_t now);

/* The table ends. Does nothing for counts that were begun without a tally. They may be NULL. */
void kv_tally_end(struct kv_tally *tally, struct kv_counts *counts);

/* Goes on with the walk, or begins one, by up to `most` tables. Returns true once it is done. */
bool kv_tally_walk(struct kv_tally *tally, unsigned most);

#endif
