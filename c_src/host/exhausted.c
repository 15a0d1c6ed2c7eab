/* The end of the node when the system has no memory left. */
#include "host/exhausted.h"

#include "base/alloc.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static bool is_set(unsigned which)
{
    struct rlimit limit;
    return getrlimit(which, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
}

const char *kv_limits_of_memory(void)
{
    if (!is_set(RLIMIT_DATA)) {
        return "ulimit -v";
    }
    return is_set(RLIMIT_AS) ? "ulimit -v and -d" : "ulimit -d";
}

/* The line looks like those of kv_log_last(), which may need memory itself. The supervisor of the
 * node reads the line and the status, and starts the node anew. No handler of exit() runs: one
 * could allocate. */
_Noreturn void kv_out_of_memory(size_t size)
{
    (void)printf(
        "fatal out_of_memory no memory for %zu bytes: lower --max-memory, or raise the limit "
        "of memory (%s, or that of the container)\n",
        size, kv_limits_of_memory());
    (void)fflush(stdout);
    _Exit(KV_EXIT_OUT_OF_MEMORY);
}
