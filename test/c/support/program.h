/* Random programs: requests to a bucket, steps of its clock, and work of its arena. A program is
 * run on a bucket and on its book at once. Each step is one random number, from which its request
 * is drawn, so that the rest of a program still means something when a step is dropped. */
#ifndef KV_TEST_PROGRAM_H
#define KV_TEST_PROGRAM_H

#include "support/book.h"
#include "support/fixture.h"

#include <stdio.h>

enum { PROGRAM_STEPS = 60 };

struct program {
    struct book_rules rules;
    unsigned count;
    uint64_t steps[PROGRAM_STEPS];
};

/* The program with that number. */
struct program program_of(uint64_t number);

/* Runs a program on a new bucket of the fixture. Writes the steps to `trace`, unless NULL. Returns
 * NULL, or the reason why the bucket is not what its book says. */
const char *program_run(struct fixture *fixture, const struct program *program, FILE *trace);

/* Drops steps while the program still fails. */
void program_shrink(struct fixture *fixture, struct program *program);

#endif
