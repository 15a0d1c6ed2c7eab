#include "host/own_memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

uint64_t kv_process_private_memory(void)
{
    uint64_t resident = 0;
    uint64_t shared = 0; /* files and shared memory */
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) {
        return 0;
    }
    int read = fscanf(file, "%*u %" SCNu64 " %" SCNu64, &resident, &shared);
    (void)fclose(file);
    return read == 2 && resident > shared ? (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE)
                                          : 0;
}
