/* The end of the node when the system has no memory left. */
#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>

/* The line looks like those of kv_log_last(), which may need memory itself. The supervisor of the
 * node reads the line and the status, and starts the node anew. No handler of exit() runs: one
 * could allocate. */
_Noreturn void kv_out_of_memory(size_t size)
{
    (void)printf(
        "fatal out_of_memory no memory for %zu bytes: lower --max-memory, or raise the limit "
        "of memory (ulimit -v, or that of the container)\n",
        size);
    (void)fflush(stdout);
    _Exit(KV_EXIT_OUT_OF_MEMORY);
}
