#include "node/footing.h"

#include "host/exhausted.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <uv.h>

/* Returns true if the limit is lower than `least`, and sets `allowed`. */
static bool is_under(unsigned which, unsigned long long least, unsigned long long *allowed)
{
    struct rlimit limit;
    if (getrlimit(which, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
        return false;
    }
    *allowed = limit.rlim_cur;
    return limit.rlim_cur < least;
}

static void nothing(void *argument)
{
    (void)argument;
}

/* The stack of a thread of libuv: by its release, as the limit says or KV_THREAD_STACK. */
static size_t largest_stack(void)
{
    unsigned long long allowed = 0;
    return is_under(RLIMIT_STACK, RLIM_INFINITY, &allowed) && allowed > KV_THREAD_STACK
               ? (size_t)allowed
               : KV_THREAD_STACK;
}

/* libuv resolves names and prepares memory in threads of its own, one job at a time here. It aborts
 * if it gets none. */
static int try_thread(void)
{
    uv_thread_t thread;
    const uv_thread_options_t options = {.flags = UV_THREAD_HAS_STACK_SIZE,
                                         .stack_size = largest_stack()};
    (void)setenv("UV_THREADPOOL_SIZE", "1", 0);
    int error = uv_thread_create_ex(&thread, &options, nothing, NULL);
    return error != 0 ? error : uv_thread_join(&thread);
}

const char *kv_footing_check(char text[KV_FOOTING_TEXT_MAX])
{
    unsigned long long allowed = 0;
    if (is_under(RLIMIT_NOFILE, KV_FILES_LEAST, &allowed)) {
        (void)snprintf(text, KV_FOOTING_TEXT_MAX,
                       "at most %llu files can be open, and the program needs %d: raise the hard "
                       "limit (ulimit -Hn, LimitNOFILE of systemd)",
                       allowed, KV_FILES_LEAST);
        return text;
    }
    if (is_under(RLIMIT_STACK, KV_STACK_LEAST, &allowed)) {
        (void)snprintf(text, KV_FOOTING_TEXT_MAX,
                       "the stack may have %llu bytes, and the program needs %d: raise the limit "
                       "(ulimit -s)",
                       allowed, KV_STACK_LEAST);
        return text;
    }
    int error = try_thread();
    if (error != 0) {
        (void)snprintf(text, KV_FOOTING_TEXT_MAX,
                       "no thread can be started (%s): raise the limit of processes (ulimit -u, or "
                       "pids of the container) or of memory (%s)",
                       uv_strerror(error), kv_limits_of_memory());
        return text;
    }
    return NULL;
}
