#include "host/processors.h"

#include <sched.h>
#include <unistd.h>

unsigned kv_processors_allowed(void)
{
#ifdef __linux__
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0 && CPU_COUNT(&allowed) > 0) {
        return (unsigned)CPU_COUNT(&allowed);
    }
#endif
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 1;
}

bool kv_processors_leave(unsigned processor)
{
#ifdef __linux__
    cpu_set_t allowed;
    cpu_set_t others;
    if (processor >= CPU_SETSIZE || sched_getcpu() != (int)processor ||
        sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 2) {
        return false;
    }
    others = allowed;
    CPU_CLR(processor, &others);
    const bool moved = sched_setaffinity(0, sizeof others, &others) == 0;
    return sched_setaffinity(0, sizeof allowed, &allowed) == 0 && moved;
#else
    (void)processor;
    return false;
#endif
}
