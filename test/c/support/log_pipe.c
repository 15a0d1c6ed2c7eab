#include "support/log_pipe.h"

#include "base/alloc.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <unistd.h>

int log_pipe_open(uv_loop_t *loop, struct kv_log *log)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    cr_assert(dup2(ends[1], STDOUT_FILENO) >= 0);
    (void)close(ends[1]);
    cr_assert_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    cr_assert_eq(uv_loop_init(loop), 0);
    kv_log_init(log, loop);
    return ends[0];
}

static void close_handle(uv_handle_t *handle, void *context)
{
    (void)context;
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

void log_pipe_close(uv_loop_t *loop, struct kv_log *log, int reader)
{
    uv_walk(loop, close_handle, NULL);
    (void)uv_run(loop, UV_RUN_DEFAULT);
    kv_log_finish(log);
    cr_assert_eq(uv_loop_close(loop), 0);
    (void)close(reader);
    cr_assert_eq(kv_alloc_outstanding(), 0);
}
