/* How the programs of the benchmark end when something is not as they need it: with a line that
 * says what. */
#ifndef KV_BENCH_FAIL_H
#define KV_BENCH_FAIL_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends the program with status 1. A child that the program has started ends
 * with its standard input. */
#define FAIL(...)                                                                                  \
    do {                                                                                           \
        fprintf(stderr, __VA_ARGS__);                                                              \
        fputc('\n', stderr);                                                                       \
        exit(1);                                                                                   \
    } while (0)

/* The same, with what errno says. */
#define FAIL_ERRNO(what) FAIL("%s: %s", what, strerror(errno))

/* The number that an argument says. */
static inline long number_within(const char *text, long least, long most)
{
    char *end = NULL;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < least || number > most) {
        FAIL("\"%s\" is no number from %ld to %ld", text, least, most);
    }
    return number;
}

#endif
