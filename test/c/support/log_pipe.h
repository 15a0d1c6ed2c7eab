/* A loop whose log a test reads: standard output is a pipe. */
#ifndef KV_TEST_LOG_PIPE_H
#define KV_TEST_LOG_PIPE_H

#include "host/log.h"

/* Opens loop and log. Returns the other end of standard output; a read of it does not wait. */
int log_pipe_open(uv_loop_t *loop, struct kv_log *log);

/* Closes what is open on the loop, and the rest. Nothing may be left of the memory. */
void log_pipe_close(uv_loop_t *loop, struct kv_log *log, int reader);

#endif
