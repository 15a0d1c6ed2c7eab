/* A kv_node of one's own: started with a cookie, ended by the end of its standard input. */
#ifndef KV_BENCH_PROGRAM_H
#define KV_BENCH_PROGRAM_H

#include <stdint.h>
#include <sys/types.h>

struct program {
    pid_t pid;
    int input;     /* its standard input: the leash */
    int output;    /* its standard output */
    uint16_t port; /* where it listens */
};

#define PROGRAM_COOKIE "benchmark"
/* The host of every program that is started: loopback, even if the machine's name is another
 * address. */
#define PROGRAM_HOST "127.0.0.1"

/* Starts the program at path under that node name and waits until it is ready. extra: more
 * arguments, ended by NULL. Needs an EPMD at ERL_EPMD_PORT. Ends the caller if anything fails. */
void program_start(struct program *program, const char *path, const char *node, char **extra);

/* Lets go of it, and waits for its end. */
void program_stop(struct program *program);

/* Nanoseconds of processor time that a process has used in all its threads. */
uint64_t processor_time(pid_t pid);

/* The scheduler's account of the first thread of a process, to be looked at often: a file
 * descriptor. */
int schedule_open(pid_t pid);

/* Nanoseconds for which that thread could have run and did not get a processor. */
uint64_t schedule_waited(int schedule);

/* Nanoseconds on the monotonic clock. */
uint64_t now(void);

#endif
