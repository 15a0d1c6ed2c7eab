/* How the programs of the benchmark end when something is not as they need it: with a line that
 * says what. */
#ifndef KV_BENCH_FAIL_H
#define KV_BENCH_FAIL_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends the program with status 1. What runs as its child ends when its standard input does. */
#define FAIL(...)                                                                                  \
    do {                                                                                           \
        fprintf(stderr, __VA_ARGS__);                                                              \
        fputc('\n', stderr);                                                                       \
        exit(1);                                                                                   \
    } while (0)

/* The same, with what errno says. */
#define FAIL_ERRNO(what) FAIL("%s: %s", what, strerror(errno))

#endif
