/* A run of a program (program.h): the bucket, its book, and the comparison. */
#ifndef KV_TEST_RUN_H
#define KV_TEST_RUN_H

#include "store/reader.h"
#include "support/book.h"
#include "support/draw.h"
#include "support/fixture.h"

#include <stdio.h>

/* A walk by `scan` that is under way. Entries come and go meanwhile. */
struct run_walk {
    bool open;
    uint8_t cursor[64]; /* as a term */
    size_t length;
    unsigned returned;      /* enum run_returned */
    struct kv_bytes prefix; /* of the keys; no data: any key */
    unsigned expires;       /* 0: any entry; 1: those that expire; 2: those that never do */
    uint64_t count;         /* of entries that came */
    bool seen[BOOK_KEYS];   /* if keys are returned */
    bool stayed[BOOK_KEYS]; /* there since the walk began */
    bool came[BOOK_KEYS];   /* there at some time since */
};

/* The option `return`. Pieces without keys say only how many entries they have. */
enum run_returned { RUN_ENTRIES, RUN_KEYS, RUN_VALUES, RUN_TIMED, RUN_COUNT, RUN_RETURNED };

struct run {
    struct fixture *fixture;
    struct kv_pid pid;
    struct kv_table *table;
    struct kv_mapped mapped;
    struct kv_mapped_table mapped_table;
    struct book book;
    struct book before; /* the present step */
    struct run_walk walk;
    struct kv_buffer expected;
    FILE *trace;
    uint64_t counted; /* bytes against max_memory, before the request */
    uint64_t puts;    /* counted before the request */
    bool may_evict;   /* in the present step */
    bool several;     /* requests in the present step */
    bool failed;
    char reason[400];
};

/* The first reason counts. */
void run_fail(struct run *run, const char *format, ...);
void run_trace(const struct run *run, const char *what, struct kv_bytes term);

/* Compares the contents of the bucket with the book, by a walk over its table and as a reader of
 * this host sees them, and checks the limits. Removes from the book what may have been evicted. */
void run_compare(struct run *run);

/* While the bucket goes on with a request: a reader of this host sees the book before the request,
 * or must ask. */
void run_compare_meanwhile(struct run *run);

/* ---- run_walk.c: the operation `scan` */

/* Draws the two arguments: a new walk, the next piece of the one that is under way, or arguments
 * that must be refused. */
void run_draw_scan(struct draw *draw, struct run *run, struct kv_bytes arguments[2]);
void run_judge_scan(struct run *run, const struct kv_bytes arguments[2], struct kv_bytes answer);
/* After each step. */
void run_note_walk(struct run *run);

/* ---- run_stats.c */

/* Judges the answer to `stats`. */
void run_judge_stats(struct run *run, struct kv_bytes answer);

/* ---- run_long.c: requests that go on over several turns */

/* Sends a long request, and others while the bucket goes on with it. */
void run_step_long(struct run *run, struct draw *draw);

#endif
